"""Rows sorted into what may be compared: groups of one reference, and curves over w in them."""

from collections.abc import Container, Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from pilotage.report.read import Source
from pilotage.report.words import GUIDANCE, facts_of, features_name, telling
from pilotage.sweep.rows import Measure, Row, SampleRow


class Model(NamedTuple):
    """The weights of a run at a step."""

    run: str
    step: int
    run_hash: str
    p_uncond: float | None


class Curve(NamedTuple):
    """One model, one way of sampling: a row per w, in order of w.

    Attributes:
        label: tells it from the other curves of its group.
        model: number of its model among those of the group.
        way: number of its way of sampling, but for w and steps, among those of the group.
        guidance: what its w is; that of two names is not comparable.
        kind: classifier-free, or a classifier's.
    """

    label: str
    model: int
    way: int
    steps: int
    guidance: str
    kind: str
    rows: tuple[SampleRow, ...]

    def rows_with(self, *metrics: str) -> list[SampleRow]:
        """The rows that have all of these metrics; "w" every row has."""
        return [row for row in self.rows if row.has(*(m for m in metrics if m != "w"))]

    def points(self, metric: str) -> list[tuple[float, Measure]]:
        """(w, measure) of the rows that have a metric."""
        return [(row.w, row.metrics[metric]) for row in self.rows_with(metric)]


class Group(NamedTuple):
    """All rows of one extractor and one reference set.

    Attributes:
        models: their labels; in the order of their numbers.
        others: rows that no model made: of real images, bicubic enlargement, images from elsewhere.
        sources: the run of each row, by id.
    """

    extractor: Any
    reference: Any
    models: dict[Model, str]
    curves: list[Curve]
    others: list[Row]
    sources: dict[str, Source]

    @property
    def title(self) -> str:
        """The extractor and the reference set, in words."""
        ref = self.reference
        name = f"the {ref.get('split') or 'reference'} images"
        if ref.get("data"):
            name = " ".join(str(ref[k]) for k in ("data", "split") if ref.get(k))
        count = f" (n = {ref['n']})" if ref.get("n") else ""
        return f"{features_name(self.extractor)} features, against {name}{count}"

    @property
    def samples(self) -> list[SampleRow]:
        """All rows of samples."""
        return [row for curve in self.curves for row in curve.rows]

    @property
    def rows(self) -> list[Row]:
        """Everything measured."""
        return [*self.samples, *self.others]

    @property
    def guidances(self) -> list[str]:
        """What w is, in order of appearance."""
        return list(dict.fromkeys(curve.guidance for curve in self.curves))

    @property
    def kinds(self) -> list[str]:
        """The kinds of guidance, classifier-free first."""
        return list(dict.fromkeys(curve.kind for curve in self.curves))

    def of_kind(self, *kinds: str) -> list[Row]:
        """Rows that no model made, of these kinds, in the order of the kinds."""
        return [row for kind in kinds for row in self.others if row.kind == kind]


def arrange(sources: Sequence[Source]) -> list[Group]:
    """Groups by (extractor hash, reference hash), in order of appearance; each id once."""
    every = [(source, row) for source in sources for row in source.rows]
    found = [(r.extractor["hash"], r.reference["hash"], r.id) for _, r in every]
    if not found:
        return []
    frame = pd.DataFrame(found).drop_duplicates()
    groups = frame.groupby([0, 1], sort=False).groups.values()
    return [_group([every[k] for k in places]) for places in groups]


def _group(rows: list[tuple[Source, Row]]) -> Group:
    samples = [(source, row) for source, row in rows if isinstance(row, SampleRow)]
    names = _name_models([_model(source, row) for source, row in samples])
    first = rows[0][1]
    return Group(
        extractor=first.extractor,
        reference=first.reference,
        models=names,
        curves=_curves(samples, names) if samples else [],
        others=[row for _, row in rows if row.kind != "sample"],
        sources={row.id: source for source, row in rows},
    )


def _model(source: Source, row: SampleRow) -> Model:
    rate = source.p_uncond if row.p_uncond is None else row.p_uncond
    return Model(source.label, row.step, row.run_hash, rate)


def _name_models(found: Iterable[Model]) -> dict[Model, str]:
    """By p_uncond where that tells them apart, else by run; by step where a run has several."""
    models = list(dict.fromkeys(found))
    rates = {m.p_uncond: m for m in models if m.p_uncond is not None}
    if len(rates) == len(models) > 1:
        return {rates[rate]: _rate_name(rate) for rate in sorted(rates)}
    runs = [model.run for model in models]
    labels = [m.run if runs.count(m.run) == 1 else f"{m.run}, step {m.step}" for m in models]
    return {
        m: name if labels.count(name) == 1 else f"{name}, {m.run_hash[:6]}"
        for name, m in zip(labels, models, strict=True)
    }


def _rate_name(p_uncond: float) -> str:
    """A model that never or always saw its labels is called by what it is."""
    return {0.0: "conditional", 1.0: "unconditional"}.get(p_uncond, f"p_uncond = {p_uncond:g}")


def _curves(samples: list[tuple[Source, SampleRow]], models: dict[Model, str]) -> list[Curve]:
    """By kind of guidance, way of sampling, steps and model, in this order."""
    order = list(models)
    ways = [facts_of(row) for _, row in samples]
    known = list({tuple(way.items()): way for way in ways}.values())
    frame = pd.DataFrame(
        {
            "classifier": [row.how.by_classifier for _, row in samples],
            "way": [known.index(way) for way in ways],
            "steps": [row.steps for _, row in samples],
            "model": [order.index(_model(*pair)) for pair in samples],
            "w": [row.w for _, row in samples],
        }
    )
    keys = list(frame.columns[:-1])
    # rows of one w differ in no number, so the last one counts
    frame = frame.drop_duplicates([*keys, "w"], keep="last").sort_values("w")
    without = () if _free_w_tells([row for _, row in samples], order) else ("free_w",)
    names = telling(known, without)
    own = [{key: way[key] for key in GUIDANCE[1:] if key in way} for way in known]
    guides = [
        ", ".join(filter(None, (way["kind"], name)))
        for way, name in zip(known, telling(own, without), strict=True)
    ]
    several_steps = frame["steps"].nunique() > 1
    curves = []
    for (_, way, steps, model), part in frame.groupby(keys):
        parts = [models[order[model]]] if len(models) > 1 else []
        parts += [f"T = {steps}"] if several_steps or not parts else []
        parts += [names[way]] if names[way] else []
        rows = tuple(samples[k][1] for k in part.index)
        kind = known[way]["kind"]
        curves.append(Curve(", ".join(parts), model, way, steps, guides[way], kind, rows))
    return curves


def _free_w_tells(rows: list[SampleRow], models: list[Model]) -> bool:
    """Whether the strength beside a classifier differs otherwise than models decide it."""
    rates = {model.run_hash: model.p_uncond for model in models}
    guided = {(r.run_hash, r.how.classifier_free_w) for r in rows if r.how.by_classifier}
    chosen = [w for run, w in guided if w not in ((-1, 0) if rates[run] == 1 else (0,))]
    several = len({w for _, w in guided}) > 1
    return several and (bool(chosen) or len(guided) > len({run for run, _ in guided}))
