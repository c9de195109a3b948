"""The whole of a report in order, and what anyone needs to make its numbers again."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pilotage.report.best import ERRORS
from pilotage.report.content import Block, charts, section
from pilotage.report.grouping import Group, arrange
from pilotage.report.read import Source
from pilotage.report.sweeps import floor_name, summary, sweep_section
from pilotage.report.training import classifiers, health, likelihood, training_charts
from pilotage.report.words import BY_CLASSIFIER, FREE, STANDARD, capital, features_name, listed, way_text
from pilotage.sweep.rows import Row

CONVENTION = "(1 + w) * conditional - w * unconditional; guidance_scale = 1 + w"
ZERO = {
    FREE: "So w = 0 is the conditional model alone.",
    BY_CLASSIFIER: "So w = 0 is the model without the classifier; the model is the conditional one "
    "at classifier_free_w = 0, the unconditional one at -1.",
}
SIGNS = (
    "± is one standard error, ↑ and ↓ tell which way is better, bold is the best of a column. Two "
    f"numbers are told apart by more than {ERRORS} standard errors of their difference."
)
Part = Callable[[Sequence[Source], Sequence[Group]], Iterable[Block | None]]


def _sweeps(sources: Sequence[Source], groups: Sequence[Group]) -> Iterable[Block | None]:
    yield summary(groups)
    yield from (sweep_section(group, k) for k, group in enumerate(groups, 1))
    names = [source.label for source in sources if source.unswept]
    if names:
        said = f"{listed(names)} {'has' if len(names) == 1 else 'have'} no sweep yet: pilotage sweep"
        yield Block("note", f"{said} measures samples over w.")


def _manifest(sources: Sequence[Source], groups: Sequence[Group]) -> Iterable[Block | None]:
    parts = [section(capital(group.title), Block("facts", _of_group(group))) for group in groups]
    for source in sources:
        card = Block("folded", [Block("code", source.card)], "recipe.yaml")
        parts.append(section(source.label, Block("facts", _of_source(source, groups)), card))
    yield section("Manifest", *parts)


PARTS: list[Part] = [  # the sections of a report; each gives its blocks, if there are any
    _sweeps,
    lambda sources, _: [likelihood(sources)],
    lambda sources, _: [classifiers(sources)],
    lambda sources, _: [section("Training", charts("training", training_charts(sources), "training curves"))],
    lambda sources, _: [health(sources)],
    _manifest,
]


def gather(sources: Sequence[Source]) -> list[Block]:
    """All of a report: a title with a lead, then the sections."""
    groups = arrange(sources)
    lead = Block("text", _lead(groups, sources), "lead")
    blocks = [block for part in PARTS for block in part(sources, groups) if block]
    return [Block("section", [lead], listed(s.label for s in sources)), *blocks]


def _lead(groups: Sequence[Group], sources: Sequence[Source]) -> str:
    """What w means and the signs, in a few sentences."""
    if not groups and all(source.classifies for source in sources):
        return "Noisy classifiers, which guide models: how well they tell the classes apart."
    if not groups and all(source.classifies or source.bounds for source in sources):
        return "How many bits per dimension the models need to code held-out images."
    said = []
    curves = [curve for group in groups for curve in group.curves]
    for kind in dict.fromkeys([c.kind for c in curves] or [FREE]):
        rows = [row for curve in curves if curve.kind == kind for row in curve.rows]
        texts = _values(rows, "convention") or [CONVENTION if kind == FREE else "not recorded"]
        text = "; ".join(texts).replace(" * ", " · ").replace(" - ", " − ")
        said += [f"{capital(kind)} guidance: {text}.", *([ZERO[kind]] if groups else [])]
    if any(curve.rows[0].how.classifier_shift == "mean" for curve in curves):
        said.append("A mean shift moves the mean of the ancestral step by w · variance · grad log p(c | z).")
    said += [SIGNS] if groups else []
    if any(group.extractor["name"] != STANDARD for group in groups):
        said.append("A distance or score named with its features compares only with others in these.")
    return " ".join(said)


def _of_group(group: Group) -> list[tuple[str, str]]:
    """The extractor, the reference images and the ways of sampling of a group."""
    ext, ref = group.extractor, group.reference
    firsts = {curve.way: curve.rows[0] for curve in group.curves}.values()
    guides = [row for row in group.samples if row.how.by_classifier]
    names = {"real": "real against real", "bicubic": "enlarged without a model", "images": "other images"}
    seconds = sum(row.seconds or 0 for row in group.rows)
    facts: list[tuple[str, Any]] = [
        ("extractor", features_name(ext) if ext["name"] == STANDARD else ext["name"]),
        ("extractor hash", ext["hash"]),
        ("feature dimensions", ext.get("dimensions")),
        ("resize", ext.get("resize")),
        ("extractor's held-out accuracy", ext.get("accuracy")),
        ("reference set", " ".join(str(ref[k]) for k in ("data", "split") if ref.get(k))),
        ("reference images", ref.get("n")),
        ("reference hash", ref["hash"]),
        *(("sampling", way_text(row)) for row in firsts),
        ("steps T", ", ".join(map(str, sorted({curve.steps for curve in group.curves})))),
        *(("captions' hash", row.captions["hash"]) for row in firsts if row.captions),
        *((names[row.kind], f"{row.name}, {floor_name(row)}") for row in group.others),
        *(("classifier", f"{r.classifier}, step {r.classifier_step}") for r in guides),
        *(("hash of the classifier's weights", row.how.classifier.hash) for row in guides),
        ("code version", ", ".join(_values(group.rows, "code"))),
        *((f"convention, {kind}", "; ".join(_values(c.rows, "convention")))
          for kind, c in {c.kind: c for c in group.curves}.items()),
        ("time of sampling and measuring", _duration(seconds) if seconds else None),
    ]  # fmt: skip
    return _shown(facts)


def _of_source(source: Source, groups: Sequence[Group]) -> list[tuple[str, str]]:
    """A run: its folder, data, weights and training so far."""
    models = dict.fromkeys(m for g in groups for m in g.models if m.run == source.label)
    classes = source.data.classes
    return _shown(
        [
            ("run folder", source.folder),
            ("trained as", f"noisy classifier of {len(classes)} classes" * source.classifies),
            ("trained to step", source.training[-1]["step"] if source.training else None),
            ("p_uncond", source.p_uncond),
            ("classes", ", ".join(classes)),
            *((f"hash of the weights at step {m.step}", m.run_hash) for m in models),
        ]
    )


def _shown(facts: Sequence[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Those that are known, each once, as text."""
    texts = ((name, f"{x:g}" if isinstance(x, float) else str(x)) for name, x in facts if x is not None)
    return [(name, text) for name, text in dict.fromkeys(texts) if text]


def _values(rows: Iterable[Row], name: str) -> list[str]:
    return list(dict.fromkeys(value for row in rows if (value := getattr(row, name))))


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
