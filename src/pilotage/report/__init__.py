"""Reports: run folders in, one self-contained page (and Markdown, CSV, PNGs) out.

``read`` reads the runs, ``grouping`` sorts their rows into what may be compared, ``best`` says which
w is best and how sure that is. ``sweeps`` and ``training`` turn these into the blocks of
``content`` (text, tables, charts, images), which ``page.html.jinja`` and ``report.md.jinja`` write
down; ``charts`` draws. ``compared`` is apart: it puts the models of a study in one table.
"""

from pilotage.report.write import write_report

__all__ = ["write_report"]
