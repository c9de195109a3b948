"""Figures whose text is drawn as it stands: never parsed as markup, in fonts that have its letters.

Class names and prompts are a user's: ``$5_$6`` is no formula, and what no font has is escaped.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pilotage.utils.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# for letters that the default font lacks, in the order in which they are tried
FALLBACKS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans JP",
    "Noto Sans SC",
    "Source Han Sans",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Noto Sans",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "Arial Unicode MS",
    "Symbola",
    "Noto Emoji",
    "Segoe UI Emoji",
)


@contextmanager
def figure(path: Path, dpi: float | None = None, **look: Any) -> Iterator["Figure"]:
    """A figure that becomes a PNG when the block ends, whole or not at all.

    Args:
        path: of the PNG.
        dpi: dots per inch; the figure's own if not given.
        **look: arguments of matplotlib's ``Figure``.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcParams["text.parse_math"] = matplotlib.rcParams["text.usetex"] = False
        matplotlib.rcParams["font.family"] = ["sans-serif", *fallback_fonts()]
        drawn = Figure(**look)
        yield drawn
        make_drawable(drawn)
        with whole_file(path) as temporary:
            drawn.savefig(temporary, format="png", dpi=dpi or "figure")


def make_drawable(drawn: "Figure") -> None:
    """Escape every text of a figure; those of named ticks come from their formatters."""
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter

    for text in drawn.findobj(Text):
        text.set_text(drawable(text.get_text()))
    for axis in (axis for axes in drawn.axes for axis in (axes.xaxis, axes.yaxis)):
        names = axis.get_major_formatter()
        if isinstance(names, FuncFormatter):
            axis.set_major_formatter(partial(_drawable_name, names))


def _drawable_name(names: Any, value: float, place: int | None = None) -> str:
    return drawable(names(value, place))


def drawable(text: str) -> str:
    r"""The text, with characters that no font has escaped, as in ``\u4e2d``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c == "\n" or _drawn(c) else _escaped(c) for c in text)


def _drawn(character: str) -> bool:
    return character.isprintable() and ord(character) in _letters()


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


@cache
def fallback_fonts() -> list[str]:
    """The fallback fonts that this machine has."""
    from matplotlib import font_manager

    known = set(font_manager.fontManager.get_font_names())
    return [name for name in FALLBACKS if name in known]


@cache
def _letters() -> frozenset[int]:
    """Code points that one of the fonts has."""
    from matplotlib import font_manager, ft2font

    names = [["sans-serif"], *([name] for name in fallback_fonts())]
    paths = {font_manager.findfont(font_manager.FontProperties(family=name)) for name in names}
    return frozenset().union(*(ft2font.FT2Font(path).get_charmap() for path in paths))
