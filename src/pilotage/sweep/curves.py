"""Rows sorted into what may be compared: groups of one reference, and curves over w in them."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import pandas as pd

from pilotage.metrics.naming import features_name
from pilotage.sweep.rows import GUIDANCE, Bound, Measure, Row, SampleRow

HARDLY = 0.6  # of two classes, where twice by chance would be all


def hardly_better(accuracy: float | None, chance: float) -> bool:
    """Whether an extractor's accuracy, if it is known, says that its distances mean little."""
    return accuracy is not None and accuracy < min(2 * chance, HARDLY)


class Model(NamedTuple):
    """The weights of a run at a step."""

    run: str
    step: int
    run_hash: str
    p_uncond: float | None


class Curve(NamedTuple):
    """One model, one way of sampling (all but w and steps): a row per w, in order of w.

    Attributes:
        label: tells it from the other curves of its group.
        model: number of its model, and ``way`` of its way of sampling, among those of the group.
        guidance: what its w is; that of two names is not comparable.
    """

    label: str
    model: int
    way: int
    guidance: str
    rows: tuple[SampleRow, ...]

    @property
    def steps(self) -> int:
        """T."""
        return self.rows[0].steps

    @property
    def kind(self) -> str:
        """Classifier-free, or a classifier's: strengths of the two share no axis."""
        return self.rows[0].facts["kind"]

    def rows_with(self, *metrics: str) -> list[SampleRow]:
        """The rows that have all of these metrics; "w" every row has."""
        return [row for row in self.rows if row.has(*(m for m in metrics if m != "w"))]

    def points(self, metric: str) -> list[tuple[float, Measure]]:
        """(w, measure) of the rows that have a metric."""
        return [(row.w, row.metrics[metric]) for row in self.rows_with(metric)]


class Group(NamedTuple):
    """All rows of one extractor and one reference set.

    Attributes:
        models: their labels, in the order of their numbers.
        others: rows that no model made: of real images, bicubic enlargement, images from elsewhere.
        runs: the run of each row, by the row's id.
    """

    extractor: Any
    reference: Any
    models: dict[Model, str]
    curves: list[Curve]
    others: list[Row]
    runs: dict[str, Any]

    @property
    def chance(self) -> float:
        """The accuracy of an extractor that guesses: of the runs' classes, or of four rotations."""
        classes = max((len(run.data.classes) for run in self.runs.values()), default=0)
        return 1 / (4 if "rotation" in str(self.extractor.get("name")) else max(classes, 1))

    @property
    def title(self) -> str:
        """The extractor and the reference set, in words."""
        ref, features = self.reference, features_name(self.extractor)
        name = " ".join(str(ref[k]) for k in ("data", "split") if ref.get(k))
        name = name if ref.get("data") else f"the {ref.get('split') or 'reference'} images"
        count = f" (n = {ref['n']})" if ref.get("n") else ""
        return f"{features[:1].upper()}{features[1:]} features, against {name}{count}"

    @property
    def samples(self) -> list[SampleRow]:
        """All rows of samples."""
        return [row for curve in self.curves for row in curve.rows]

    @property
    def rows(self) -> list[Row]:
        """Everything measured."""
        return [*self.samples, *self.others]

    def each(self, name: str) -> list[Any]:
        """What curves are (``kind``, ``guidance``, ``way``), each once; classifier-free first."""
        return list(dict.fromkeys(getattr(curve, name) for curve in self.curves))

    def of_kind(self, *kinds: str) -> list[Row]:
        """Rows that no model made, of these kinds, in the order of the kinds."""
        return [row for kind in kinds for row in self.others if row.kind == kind]


class Table(Protocol):
    """A run with its rows."""

    @property
    def label(self) -> str:
        """The name of the run."""
        ...

    @property
    def rows(self) -> list[Row]:
        """Its rows."""
        ...


def arrange(runs: Iterable[Table]) -> list[Group]:
    """Groups by (extractor hash, reference hash), in order of appearance; each id once."""
    every = [(run, row) for run in runs for row in run.rows]
    found = [(row.extractor["hash"], row.reference["hash"], row.id) for _, row in every]
    if not found:
        return []
    groups = pd.DataFrame(found).drop_duplicates().groupby([0, 1], sort=False).groups
    return [_group([every[k] for k in places]) for places in groups.values()]


def _group(rows: list[tuple[Table, Row]]) -> Group:
    samples = [
        (row, Model(run.label, row.step, row.run_hash, row.p_uncond))
        for run, row in rows
        if isinstance(row, SampleRow)
    ]
    models = _name_models(model for _, model in samples)
    return Group(
        extractor=rows[0][1].extractor,
        reference=rows[0][1].reference,
        models=models,
        curves=_curves(samples, models) if samples else [],
        others=[row for _, row in rows if row.kind != "sample"],
        runs={row.id: run for run, row in rows},
    )


def _name_models(found: Iterable[Model]) -> dict[Model, str]:
    """By p_uncond where that tells them apart, else by run; by step where a run has several."""
    models = list(dict.fromkeys(found))
    rates = {m.p_uncond: m for m in models if m.p_uncond is not None}
    if len(rates) == len(models) > 1:
        words = {0.0: "conditional", 1.0: "unconditional"}
        return {rates[rate]: words.get(rate, f"p_uncond = {rate:g}") for rate in sorted(rates)}
    runs = [model.run for model in models]
    labels = [m.run if runs.count(m.run) == 1 else f"{m.run}, step {m.step}" for m in models]
    names = zip(models, labels, strict=True)
    return {m: k if labels.count(k) == 1 else f"{k}, {m.run_hash[:6]}" for m, k in names}


def _curves(samples: list[tuple[SampleRow, Model]], models: dict[Model, str]) -> list[Curve]:
    """By kind of guidance, way of sampling, steps and model, in this order."""
    order, rows = list(models), [row for row, _ in samples]
    ways = list({tuple(row.facts.items()): row.facts for row in rows}.values())
    frame = pd.DataFrame(
        {
            "classifier": [row.how.by_classifier for row in rows],
            "way": [ways.index(row.facts) for row in rows],
            "steps": [row.steps for row in rows],
            "model": [order.index(model) for _, model in samples],
            "w": [row.w for row in rows],
        }
    )
    keys, several_steps = list(frame.columns[:-1]), frame["steps"].nunique() > 1
    # rows of one w differ in no number, so the last one counts
    frame = frame.drop_duplicates([*keys, "w"], keep="last").sort_values("w")
    without = () if _free_w_tells(samples) else ("free_w",)
    names = telling(ways, without)
    guides = telling([{k: way[k] for k in GUIDANCE[1:] if k in way} for way in ways], without)
    curves = []
    for (_, way, steps, model), part in frame.groupby(keys):
        parts = [models[order[model]]] if len(models) > 1 else []
        parts += [f"T = {steps}"] if several_steps or not parts else []
        label = ", ".join([*parts, *filter(None, [names[way]])])
        guidance = ", ".join(filter(None, [ways[way]["kind"], guides[way]]))
        curves.append(Curve(label, model, way, guidance, tuple(rows[k] for k in part.index)))
    return curves


def _free_w_tells(samples: list[tuple[SampleRow, Model]]) -> bool:
    """Whether classifier_free_w differs otherwise than models decide it."""
    guided = {(m, r.how.classifier_free_w) for r, m in samples if r.how.by_classifier}
    chosen = [w for m, w in guided if w not in ((-1, 0) if m.p_uncond == 1 else (0,))]
    several = len({w for _, w in guided}) > 1
    return several and (bool(chosen) or len(guided) > len({m for m, _ in guided}))


def telling(found: Sequence[Mapping[str, str]], without: Container[str] = ()) -> list[str]:
    """A name for each of several facts: those in which they differ."""
    keys = dict.fromkeys(key for facts in found for key in facts if key not in without)
    several = [key for key in keys if len({f[key] for f in found if key in f}) > 1]
    return [", ".join(filter(None, (f.get(key, "") for key in several))) for f in found]


Bounds = list[tuple[str, Bound]]  # and the run of each


def coded(runs: Mapping[str, Sequence[Bound]]) -> list[tuple[Bounds, dict[str, float]]]:
    """Bounds that compare, and codecs: those of each data and number of images.

    Of bounds that agree in all that decides them the newest counts, of a codec as well.

    Args:
        runs: the bounds of each, by its name.
    """
    found: dict[Any, tuple[dict[Any, tuple[str, Bound]], dict[str, float]]] = {}
    for run, own in runs.items():
        for bound in own:
            bounds, codecs = found.setdefault((bound.data["hash"], bound.n), ({}, {}))
            key = (run, *bound.facts.values(), bound.T, bound.calls, bound.seed)
            bounds[key] = run, bound
            codecs |= bound.codecs
    return [(list(bounds.values()), codecs) for bounds, codecs in found.values()]
