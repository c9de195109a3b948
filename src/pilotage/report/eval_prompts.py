"""What images were asked for by, where that is captions and images beside them."""

from collections.abc import Iterable
from typing import NamedTuple

from pilotage.errors import PilotageError
from pilotage.report.lines import Line


class Asked(NamedTuple):
    """Where captions, and images to enlarge or to complete, come from.

    Attributes:
        data: what the data are called.
        split: "held-out" or "train".
        count: of captions, which are asked for in turn.
        hash: theirs.
        negative: the caption that is led away from, if any.
        low_res: height and width of the images to be enlarged, if any.
        known: whether images are completed.
        image_w: the strength of its own that the image beside x has, if any.
        each: images of a caption in a row.
    """

    data: str
    split: str
    count: int
    hash: str
    negative: str | None = None
    low_res: tuple[int, ...] | None = None
    known: bool = False
    image_w: float | None = None
    each: int = 1


def parse_asked(line: Line) -> Asked | None:
    """What a row says of it; None without captions.

    Raises:
        PilotageError: naming file, line and field.
    """
    if line.content.get("captions") is None:
        return None
    captions = Line(f"{line.where}, captions", line.need("captions", dict))
    low_res = None
    if line.content.get("low_res") is not None:
        inner = Line(f"{line.where}, low_res", line.need("low_res", dict))
        low_res = tuple(inner.need("size", list))
        if not all(isinstance(side, int) for side in low_res):
            raise PilotageError(f"{inner.where}: size is {list(low_res)!r}, not two numbers.")
    return Asked(
        data=captions.need("data", str),
        split=captions.need("split", str),
        count=captions.need("n", int),
        hash=captions.need("hash", str),
        negative=line.need("negative", str) if line.content.get("negative") is not None else None,
        low_res=low_res,
        known=line.content.get("known") is not None,
        image_w=line.number_or("image_w"),
        each=int(line.number_or("per_caption") or 1),
    )


def size_text(size: Iterable[int]) -> str:
    """``16x16``."""
    return "x".join(map(str, size))


def asked_text(asked: Asked) -> str:
    """All of it, as a sentence would have it."""
    split = {"train": "training"}.get(asked.split, asked.split)
    said = f"asked for by the {asked.count} {split} captions of {asked.data} in turn"
    if asked.each > 1:
        said += f", {asked.each} images each"
    if asked.low_res:
        said += f", enlarging their images from {size_text(asked.low_res)}"
    if asked.known:
        said += ", completing their images where boxes were erased"
    if asked.image_w is not None:
        said += f", the image's own strength {asked.image_w:g}"
    return said + (f", away from {asked.negative!r}" if asked.negative else "")


def asked_names(found: Iterable[Asked | None]) -> dict[Asked | None, str]:
    """Short names that tell them apart; empty if there is but one."""
    found = list(dict.fromkeys(found))
    captioned = [asked for asked in found if asked]
    several = len({asked.hash for asked in captioned}) > 1
    names: dict[Asked | None, str] = {None: "labels"}
    for asked in captioned:
        parts = [f"captions {asked.hash[:6]}" if several else "captions"]
        parts += [f"from {size_text(asked.low_res)}"] if asked.low_res else []
        parts += ["completing"] if asked.known else []
        parts += [f"{asked.each} images each"] if asked.each > 1 else []
        parts += [f"image w {asked.image_w:g}"] if asked.image_w is not None else []
        parts += [f"away from {asked.negative!r}"] if asked.negative else []
        names[asked] = " ".join(parts)
    return names if len(found) > 1 else dict.fromkeys(found, "")
