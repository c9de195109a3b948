"""The whole of a report in order, and what anyone needs to make its numbers again."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pilotage.metrics import naming
from pilotage.report import words
from pilotage.report.content import Block, charts, section
from pilotage.report.read import Source
from pilotage.report.sweeps import summary, sweep_section
from pilotage.report.training import classifiers, health, likelihood, training_charts
from pilotage.sweep.best import ERRORS
from pilotage.sweep.curves import Group, arrange
from pilotage.sweep.rows import FREE, Row

Part = Callable[[Sequence[Source], Sequence[Group]], Iterable[Block | None]]
PARTS: list[Part] = []  # the sections of a report, in order: blocks, where there are any


def gather(sources: Sequence[Source]) -> list[Block]:
    """All of a report: a title over the best w and how to read it, then the sections."""
    groups = arrange(sources)
    title = words.listed(source.label for source in sources)
    top = section(title, summary(groups), Block("text", _lead(groups, sources), "lead"))
    found = (block for part in PARTS for block in part(sources, groups))
    return [block for block in (top, *found) if block]


@PARTS.append
def _sweeps(sources: Sequence[Source], groups: Sequence[Group]) -> Iterable[Block | None]:
    yield from (sweep_section(group, k) for k, group in enumerate(groups, 1))
    swept = {run.label for group in groups if group.curves for run in group.runs.values()}
    left = [s for s in sources if not (s.classifies or s.bounds or s.label in swept)]
    names = [source.label for source in left]
    verb = "has" if len(names) == 1 else "have"
    said = f"{words.listed(names)} {verb} no sweep yet: pilotage sweep measures samples over w."
    yield Block("note", said) if names else None


@PARTS.append
def _training(sources: Sequence[Source], _: Sequence[Group]) -> Iterable[Block | None]:
    yield likelihood(sources)
    yield classifiers(sources)
    drawn = charts("training", training_charts(sources), "training curves")
    yield section("Training", drawn)
    yield health(sources)


@PARTS.append
def _manifest(sources: Sequence[Source], groups: Sequence[Group]) -> Iterable[Block | None]:
    parts = [section(group.title, Block("facts", _of_group(group))) for group in groups]
    for source in sources:
        models = dict.fromkeys(m for g in groups for m in g.models if m.run == source.label)
        classes = source.data.classes
        facts = [
            ("run folder", source.folder),
            ("trained as", f"noisy classifier of {len(classes)} classes" * source.classifies),
            ("trained to step", source.training[-1]["step"] if source.training else None),
            ("p_uncond", getattr(source.recipe, "p_uncond", None)),
            ("classes", ", ".join(classes)),
            *((f"hash of the weights at step {m.step}", m.run_hash) for m in models),
        ]
        card = Block("folded", [Block("code", source.card)], "recipe.yaml")
        parts.append(section(source.label, Block("facts", _shown(facts)), card))
    yield section("Manifest", *parts)


def _lead(groups: Sequence[Group], sources: Sequence[Source]) -> str:
    """What w means and the signs, in a few sentences."""
    if not groups and all(source.classifies or source.bounds for source in sources):
        return words.sentences(
            only_likelihood=any(source.bounds for source in sources),
            only_classifiers=not any(source.bounds for source in sources),
        )
    said, curves = [], [curve for group in groups for curve in group.curves]
    for kind in dict.fromkeys([curve.kind for curve in curves] or [FREE]):
        rows = [row for curve in curves if curve.kind == kind for row in curve.rows]
        usual = words.sentences(convention=True) if kind == FREE else "not recorded"
        text = "; ".join(_values(rows, "convention") or [usual])
        text = text.replace(" * ", " · ").replace(" - ", " − ")
        said += [f"{words.capital(kind)} guidance: {text}."]
        said += [words.sentences(**{f"zero_{kind}": bool(groups)})]
    more = words.sentences(
        mean_shift=any(curve.rows[0].classifier_shift == "mean" for curve in curves),
        signs=groups and {"errors": ERRORS},
        features=any(group.extractor["name"] != naming.STANDARD for group in groups),
    )
    return " ".join(filter(None, [*said, more]))


def _of_group(group: Group) -> list[tuple[str, str]]:
    """The extractor, the reference images and the ways of sampling of a group."""
    firsts = {curve.way: curve.rows[0] for curve in group.curves}.values()
    guides = [row for row in group.samples if row.how.by_classifier]
    seconds = sum(row.seconds or 0 for row in group.rows)
    minutes = round(seconds / 60)
    took = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    facts = [
        *((f"extractor's {key}", value) for key, value in group.extractor.items()),
        *((f"reference's {key}", value) for key, value in group.reference.items()),
        *(("sampling", row.way) for row in firsts),
        ("steps T", ", ".join(map(str, sorted({curve.steps for curve in group.curves})))),
        *(("captions' hash", row.captions["hash"]) for row in firsts if row.captions),
        *((row.kind, f"{row.name}, {row.title}") for row in group.others),
        *(("classifier", f"{r.classifier}, step {r.classifier_step}") for r in guides),
        *(("classifier's hash", row.how.classifier.hash) for row in guides),
        ("code version", ", ".join(_values(group.rows, "code"))),
        *((f"convention, {row.facts['kind']}", row.convention) for row in firsts),
        ("time of sampling and measuring", took if minutes > 1 else f"{seconds:.0f} s"),
    ]
    return _shown(facts)


def _shown(facts: Sequence[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Those that are known, each once, as text."""
    texts = [(name, f"{x:g}" if isinstance(x, float) else x) for name, x in facts if x is not None]
    return list(dict.fromkeys((name, str(x)) for name, x in texts if x != ""))


def _values(rows: Iterable[Row], name: str) -> list[str]:
    return list(dict.fromkeys(value for row in rows if (value := getattr(row, name))))
