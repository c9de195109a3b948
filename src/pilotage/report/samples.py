"""Pictures of the same seeds at each w, as the sweep left them beside its table."""

import base64
from pathlib import Path
from typing import NamedTuple

from pilotage.report.grouping import Curve
from pilotage.report.rows import Row

SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Strip(NamedTuple):
    """The first images of one row; no picture if its file is gone."""

    w: float
    picture: bytes | None

    @property
    def uri(self) -> str:
        """The picture, to be put into a page."""
        return "data:image/png;base64," + base64.b64encode(self.picture or b"").decode()


def captions_text(curve: Curve) -> str:
    """The captions of the pictures, in reading order; empty without any."""
    found = curve.rows[0].raw.get("first_captions")
    found = found if isinstance(found, list) else []
    said = "; ".join(f"{k}. {caption}" for k, caption in enumerate(found, 1))
    return f"Row by row they were asked for by: {said}" if said else ""


def strips(curve: Curve) -> list[Strip]:
    """In order of w; empty if the sweep kept no pictures."""
    return [Strip(row.w, _picture(row)) for row in curve.rows if row.raw.get("preview")]


def _picture(row: Row) -> bytes | None:
    """A PNG within the run folder: a table that came from elsewhere reaches no other file."""
    folder = row.folder.resolve()
    path = (folder / str(row.raw["preview"])).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        return None
    content = path.read_bytes()
    return content if content.startswith(SIGNATURE) else None


def save_strips(found: list[Strip], title: str, path: Path) -> None:
    """All strips below each other as one PNG."""
    import io

    from matplotlib.figure import Figure
    from PIL import Image

    from pilotage.utils.files import whole_file  # needs torch

    shown = [(s.w, Image.open(io.BytesIO(s.picture)).convert("RGB")) for s in found if s.picture]
    width, height = shown[0][1].size
    strip, gap, top = 7 * height / width, 0.14, 0.4  # in inches
    total = (strip + gap) * len(shown) + top
    with whole_file(path) as temporary:
        figure = Figure(figsize=(8, total), dpi=150, facecolor="white")
        for k, (w, image) in enumerate(shown):
            bottom = total - top - strip - k * (strip + gap)
            axis = figure.add_axes((0.8 / 8, bottom / total, 7 / 8, strip / total))
            axis.imshow(image, interpolation="bicubic", aspect="auto")
            axis.set_axis_off()
            middle = (bottom + strip / 2) / total
            figure.text(0.7 / 8, middle, f"w = {w:g}", ha="right", va="center", fontsize=8)
        place = {"ha": "left", "va": "center", "parse_math": False}
        figure.text(0.8 / 8, 1 - top / 2 / total, title, fontsize=9, **place)
        figure.savefig(temporary, format="png", metadata={"Software": None})
