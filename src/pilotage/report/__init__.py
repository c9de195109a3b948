"""Reports: run folders in, one self-contained page (and Markdown, CSV, PNGs) out.

``read`` checks what the files say (``lines``, ``rows``), ``grouping`` sorts rows into groups and
curves that may be compared (``variants``); ``best``, ``tables``, ``attributes``, ``likelihood`` and
``training_curves`` turn these into statements, ``charts`` into pictures (``figures``); ``content``
gathers them, and ``page``, ``markdown`` and ``write`` only write down what it says. ``compared`` is
apart: it puts the models of a study side by side.
"""

from pilotage.report.write import write_report

__all__ = ["write_report"]
