"""Rows sorted into what may be compared: groups of one reference, and curves over w in them."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from pilotage.report.names import features_name, listed
from pilotage.report.read import Source
from pilotage.report.rows import Measure, Row, SampleRow
from pilotage.report.variants import Variant, guidance_names, kind_of, variant_names, variant_of

if TYPE_CHECKING:
    from pilotage.models.guidance_spec import Guidance


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
        guidance_name: what its w is; that of two names is not comparable.
    """

    model: Model
    variant: Variant
    steps: int
    label: str
    guidance_name: str
    rows: tuple[SampleRow, ...]

    def rows_with(self, *metrics: str) -> list[SampleRow]:
        """The rows that have all of these metrics."""
        return [r for r in self.rows if all(math.isfinite(r.measure(m).value) for m in metrics)]

    def points(self, metric: str) -> list[tuple[float, Measure]]:
        """(w, measure) of the rows that have a metric."""
        return [(row.w, row.metrics[metric]) for row in self.rows_with(metric)]

    @property
    def guidance(self) -> "Guidance":
        """What its w is."""
        return self.variant.guidance

    @property
    def kind(self) -> str:
        """Classifier-free, or a classifier's."""
        return kind_of(self.guidance)


class Group(NamedTuple):
    """All rows of one extractor and one reference set.

    Attributes:
        models: by their label, in the order of the report's runs.
        floors: rows of real images against real images.
        baselines: rows of images that bicubic interpolation has enlarged.
        images: rows of images from elsewhere.
    """

    extractor: dict[str, Any]
    reference: dict[str, Any]
    models: dict[Model, str]
    curves: tuple[Curve, ...]
    floors: tuple[Row, ...]
    baselines: tuple[Row, ...]
    images: tuple[Row, ...]

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
    def variants(self) -> list[Variant]:
        """Ways of sampling, in order of appearance."""
        return list(dict.fromkeys(curve.variant for curve in self.curves))

    @property
    def guidances(self) -> list[str]:
        """What w is, in order of appearance."""
        return list(dict.fromkeys(curve.guidance_name for curve in self.curves))

    @property
    def rows(self) -> list[Row]:
        """Everything measured."""
        return [*self.samples, *self.baselines, *self.floors, *self.images]

    @property
    def samples(self) -> list[SampleRow]:
        """All rows of samples."""
        return [row for curve in self.curves for row in curve.rows]


def arrange(sources: list[Source]) -> list[Group]:
    """Groups by (extractor hash, reference hash), in order of appearance."""
    found: dict[tuple[str, str], dict[str, tuple[Source, Row]]] = {}
    for source in sources:
        for row in source.rows:
            key = row.extractor["hash"], row.reference["hash"]
            found.setdefault(key, {}).setdefault(row.id, (source, row))
    return [_group(list(rows.values())) for rows in found.values()]


def _group(rows: list[tuple[Source, Row]]) -> Group:
    samples = [(s, row) for s, row in rows if isinstance(row, SampleRow)]
    models = _name_models([_model(source, row) for source, row in samples])
    first = rows[0][1]
    return Group(
        extractor=first.extractor,
        reference=first.reference,
        models=models,
        curves=tuple(_curves(samples, models)),
        floors=_of_kind(rows, "real"),
        baselines=_of_kind(rows, "bicubic"),
        images=_of_kind(rows, "images"),
    )


def _of_kind(rows: list[tuple[Source, Row]], kind: str) -> tuple[Row, ...]:
    return tuple(row for _, row in rows if row.kind == kind)


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
    found: dict[tuple[Variant, int, Model], dict[float, SampleRow]] = {}
    for source, row in samples:
        key = variant_of(row), row.steps, _model(source, row)
        found.setdefault(key, {})[row.w] = row  # rows of one w differ in no number: the last one
    variants = list(dict.fromkeys(variant for variant, _, _ in found))
    variants.sort(key=lambda variant: variant.guidance.by_classifier)
    order = list(models)
    keys = sorted(found, key=lambda k: (variants.index(k[0]), k[1], order.index(k[2])))
    several_steps = len({steps for _, steps, _ in keys}) > 1
    names = variant_names(variants, _free_w_tells(keys))
    guides = guidance_names(variant.guidance for variant in variants)
    curves = []
    for variant, steps, model in keys:
        parts = [models[model]] if len(models) > 1 else []
        parts += [f"T = {steps}"] if several_steps or not parts else []
        parts += [names[variant]] if names[variant] else []
        guide, rows = guides[variant.guidance], found[variant, steps, model]
        by_w = tuple(rows[w] for w in sorted(rows))
        curves.append(Curve(model, variant, steps, ", ".join(parts), guide, by_w))
    return curves


def _free_w_tells(keys: Iterable[tuple[Variant, int, Model]]) -> bool:
    """Whether the strength with a classifier differs otherwise than models decide it."""
    guided = {(m, v.guidance.classifier_free_w) for v, _, m in keys if v.guidance.by_classifier}
    chosen = [w for m, w in guided if w not in ((-1, 0) if m.p_uncond == 1 else (0,))]
    several = len({w for _, w in guided}) > 1
    return several and (bool(chosen) or len(guided) > len({m for m, _ in guided}))


def notes(group: Group) -> list[str]:
    """What a reader has to know before comparing numbers of this group."""
    said = []
    least = group.extractor.get("dimensions")
    few = sorted({r.n for r in group.rows if isinstance(least, int) and r.n < least})
    if few:
        said.append(
            f"With n = {listed(map(str, few))}, fewer than the {least} feature dimensions, "
            "distances are not reliable."
        )
    floors, counts = {r.n for r in group.floors}, {c.variant.n for c in group.curves}
    if floors and counts and floors != counts:
        said.append(
            f"The floor is measured on n = {listed(map(str, sorted(floors)))} real images, samples "
            f"on n = {listed(map(str, sorted(counts)))}: fewer images give larger distances."
        )
    return said
