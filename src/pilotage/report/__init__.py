"""Reports: run folders in, one self-contained page (and Markdown, CSV, PNGs) out.

``read`` reads the runs; ``sweeps`` and ``training`` turn what they measured into the blocks of
``content``: text, tables, charts, images. ``manifest`` puts these in order, ``charts`` draws, and
``write`` writes all down by the templates ``page.html.jinja`` and ``page.md.jinja``.
"""

from pilotage.report.write import write_report

__all__ = ["write_report"]
