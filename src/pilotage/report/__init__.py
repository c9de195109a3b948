"""Reports: run folders in, one self-contained page (and Markdown, CSV, PNGs) out.

``read`` checks what the files say (``lines``, ``rows``, ``levels``), ``arrange`` sorts rows into
groups and curves that may be compared (``guidance``, ``asked``, ``variants``), ``best``,
``tables``, ``matched``, ``captioned`` and ``classifiers`` turn these into statements, ``charts``
and ``series`` into pictures; ``page`` (of ``parts``), ``markdown`` and ``flat`` only write down
what these say. ``compared`` is apart: it puts
the models of a study side by side.
"""

from pilotage.report.write import write_report

__all__ = ["write_report"]
