"""What anyone needs to make the numbers again, as (name, value) pairs; and the warnings."""

import re
from collections.abc import Iterable
from typing import Any

from pilotage.report.grouping import Group
from pilotage.report.names import STANDARD, features_name, listed
from pilotage.report.read import Source
from pilotage.report.rows import BY_CLASSIFIER, FREE, GUIDANCE_KINDS, Row
from pilotage.report.tables import floor_name
from pilotage.report.variants import variant_text

Facts = list[tuple[str, str]]
CONVENTION = "(1 + w) · conditional − w · unconditional; guidance_scale = 1 + w"
ZERO = {
    FREE: "So w = 0 is the conditional model alone.",
    BY_CLASSIFIER: "So w = 0 is the model without the classifier; the model is the conditional one "
    "at classifier_free_w = 0, the unconditional one at -1.",
}
BITS = "How many bits per dimension the models need to code held-out images."
MEAN = "A mean shift moves the mean of the ancestral step by w * variance * grad log p(c | z)."
SIGNS = "± is one standard error, ↑ and ↓ tell which way is better, bold is the best of a column."


def title(sources: list[Source]) -> str:
    """Which runs it is about."""
    return listed(source.label for source in sources)


def how_to_read(groups: list[Group], sources: list[Source]) -> str:
    """What w means and the signs, in a few sentences."""
    if not groups and all(source.classifies for source in sources):
        return "Noisy classifiers, which guide models: how well they tell the classes apart."
    if not groups and all(source.classifies or source.bounds for source in sources):
        return BITS
    said = [_typeset(sentence) for sentence in _meanings(groups)]
    if groups:
        said.append(SIGNS)
    if any(group.extractor["name"] != STANDARD for group in groups):
        said.append(
            "A distance or score named with its features compares only with others in these."
        )
    return " ".join(said)


def _meanings(groups: list[Group]) -> list[str]:
    """The convention of each kind of guidance that occurs."""
    found = _conventions(groups) or {FREE: [CONVENTION]}
    said = []
    for kind, texts in found.items():
        said.append(f"{kind.capitalize()} guidance: {'; '.join(texts)}.")
        said += [ZERO[kind]] if groups else []
    curves = [curve for group in groups for curve in group.curves]
    if any(curve.guidance.classifier_shift == "mean" for curve in curves):
        said.append(MEAN)
    return said


def _conventions(groups: list[Group]) -> dict[str, list[str]]:
    """What the rows say that w is, by kind of guidance; the usual text where they do not."""
    curves = [curve for group in groups for curve in group.curves]
    found = {k: [row for c in curves if c.kind == k for row in c.rows] for k in GUIDANCE_KINDS}
    usual = {FREE: CONVENTION, BY_CLASSIFIER: "not recorded"}
    return {k: _values(rows, "convention") or [usual[k]] for k, rows in found.items() if rows}


def _typeset(text: str) -> str:
    return text.replace(" * ", " · ").replace(" - ", " − ").replace(" -1", " −1")


def group_facts(group: Group) -> Facts:
    """The extractor, the reference images and the ways of sampling of a group."""
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
        *dict.fromkeys(("captions' hash", v.prompts.hash) for v in group.variants if v.prompts),
        *(("real against real", f"n = {row.n}") for row in group.floors),
        *(("enlarged without a model", floor_name(row)) for row in group.baselines),
        *(("other images", f"{row.name}, n = {row.n}") for row in group.images),
        *dict.fromkeys(_classifier_facts(group)),
        ("code version", ", ".join(_values(group.rows, "code"))),
        *((f"convention, {k}", "; ".join(texts)) for k, texts in _conventions([group]).items()),
        ("time of sampling and measuring", _duration(group)),
    ]
    return [(name, value) for name, value in facts if value]


def _classifier_facts(group: Group) -> Facts:
    """The classifiers that guided: where each was, and its weights."""
    facts = []
    for row in group.samples:
        if row.guidance.by_classifier:
            step = row.raw.get("classifier_step")
            parts = [row.raw.get("classifier"), step is not None and f"step {step}"]
            facts.append(("classifier", ", ".join(str(part) for part in parts if part)))
            facts.append(("hash of the classifier's weights", row.guidance.classifier.hash))
    return facts


def source_facts(source: Source, groups: list[Group]) -> Facts:
    """A run: its folder, weights and training so far."""
    models = dict.fromkeys(m for g in groups for m in g.models if m.run == source.label)
    last = source.training[-1] if source.training else {}
    facts = [
        ("run folder", str(source.folder)),
        ("trained as", f"noisy classifier of {source.classes} classes" * source.classifies),
        ("trained to step", _text(last.get("step"))),
        ("p_uncond", _text(source.p_uncond)),
        *((f"hash of the weights at step {m.step}", m.run_hash) for m in models),
    ]
    return [(name, value) for name, value in facts if value]


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


def _values(rows: Iterable[Row], name: str) -> list[str]:
    found = (row.raw.get(name) for row in rows)
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
