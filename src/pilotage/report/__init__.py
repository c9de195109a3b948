"""Reports: run folders in, one self-contained page (and Markdown, CSV, PNGs) out.

``read`` checks what the files say (``lines``, ``rows``, ``levels``), ``arrange`` sorts rows into
groups and curves that may be compared (``guidance``, ``variants``), ``best``, ``tables``,
``matched`` and ``classifiers`` turn these into statements, ``charts`` and ``series`` into pictures;
``page``, ``markdown`` and ``flat`` only write down what these say.
"""

from pilotage.report.write import write_report

__all__ = ["write_report"]
