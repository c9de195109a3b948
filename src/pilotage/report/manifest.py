"""What anyone needs to make the numbers again, as (name, value) pairs; and the warnings."""

import re
from collections.abc import Iterable
from typing import Any

from pilotage.report.arrange import Group, seeds_text, variant_text
from pilotage.report.names import STANDARD, features_name, listed
from pilotage.report.read import Source

Facts = list[tuple[str, str]]
CONVENTION = "(1 + w) · conditional − w · unconditional; guidance_scale = 1 + w"


def title(sources: list[Source]) -> str:
    """Which runs it is about."""
    return listed(source.label for source in sources)


def how_to_read(groups: list[Group]) -> str:
    """The convention and the signs, in a few sentences."""
    found = _values(groups, "convention")
    convention = "; ".join(found) if found else CONVENTION
    said = f"Guidance: {convention.replace(' * ', ' · ').replace(' - ', ' − ')}."
    if not groups:
        return said
    said += (
        " So w = 0 is the conditional model alone. ± is one standard error, ↑ and ↓ tell which way "
        "is better, bold is the best of a column."
    )
    if any(group.extractor["name"] != STANDARD for group in groups):
        said += " A distance or score named with its features compares only with others in these."
    return said


def group_facts(group: Group) -> Facts:
    """The yardstick and the ways of sampling of a group."""
    ext, ref = group.extractor, group.reference
    facts = [
        ("extractor", features_name(ext) if ext["name"] == STANDARD else ext["name"]),
        ("extractor hash", ext["hash"]),
        ("feature dimensions", _text(ext.get("dimensions"))),
        ("resize", _text(ext.get("resize"))),
        ("extractor's held-out accuracy", _text(ext.get("accuracy"))),
        ("reference set", " ".join(str(ref[k]) for k in ("data", "split") if ref.get(k))),
        ("reference images", _text(ref.get("n"))),
        ("reference hash", ref["hash"]),
        *(("sampling", variant_text(variant)) for variant in group.variants),
        ("steps T", ", ".join(str(t) for t in sorted({c.steps for c in group.curves}))),
        *(("real against real", f"n = {row.n}") for row in group.floors),
        *(("other images", f"{row.name}, n = {row.n}") for row in group.images),
        ("code version", ", ".join(_values([group], "code"))),
        ("convention", ", ".join(_values([group], "convention"))),
        ("time of sampling and measuring", _duration(group)),
    ]
    return [(name, value) for name, value in facts if value]


def source_facts(source: Source, groups: list[Group]) -> Facts:
    """A run: its folder, weights and training so far."""
    models = {m: None for g in groups for m in g.models if m.run == source.label}
    last = source.training[-1] if source.training else {}
    facts = [
        ("run folder", str(source.folder)),
        ("trained to step", _text(last.get("step"))),
        ("p_uncond", _text(source.p_uncond)),
        *((f"hash of the weights at step {m.step}", m.run_hash) for m in models),
    ]
    return [(name, value) for name, value in facts if value]


def seeds_of(group: Group) -> str:
    """Which images a strip shows: the first of these seeds."""
    return listed(dict.fromkeys(seeds_text(variant.seeds) for variant in group.variants))


def warnings_of(source: Source) -> list[tuple[str, str]]:
    """(when, sentence) of the health warnings; those that differ only in numbers become one."""
    steps: dict[str, list[float]] = {}
    latest: dict[str, str] = {}
    for line in source.health:
        said = line.get("warnings") or []
        for sentence in [said] if isinstance(said, str) else said:
            kind = re.sub(r"\d+(\.\d+)?", "#", str(sentence))
            steps.setdefault(kind, []).append(line["step"])
            latest[kind] = str(sentence).rstrip(".")
    return [(_when(steps[kind]), latest[kind]) for kind in steps]


def _when(steps: list[float]) -> str:
    if len(steps) == 1:
        return f"step {steps[0]:g}"
    return f"steps {steps[0]:g} to {steps[-1]:g} ({len(steps)} times), lastly"


def _values(groups: Iterable[Group], name: str) -> list[str]:
    found = (row.raw.get(name) for group in groups for row in group.rows)
    return list(dict.fromkeys(str(value) for value in found if value))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _duration(group: Group) -> str:
    found = [row.raw.get("seconds") for row in group.rows]
    seconds = sum(x for x in found if isinstance(x, int | float))
    minutes = round(seconds / 60)
    if not seconds:
        return ""
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
