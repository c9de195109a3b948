"""Ways of sampling: what a curve over w keeps fixed, and how that is called."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pilotage.report.rows import BY_CLASSIFIER, FREE, EvalPrompts, SampleRow
from pilotage.settings.samplers import Sampler

if TYPE_CHECKING:
    from pilotage.models.guidance_spec import Guidance

SYMBOLS = {"v": "v", "eta": "η"}


class Variant(NamedTuple):
    """All of sampling but w and the number of steps: rows of two variants share no table.

    Attributes:
        guidance: at w = 0.
        seeds: the first, and that after the last.
        code: the version of Pilotage.
        prompts: of a run on captions.
    """

    guidance: "Guidance"
    sampler: Sampler
    n: int
    seeds: tuple[int, ...]
    code: str
    prompts: EvalPrompts | None


def variant_of(row: SampleRow) -> Variant:
    """How a row was sampled."""
    seeds = tuple(row.raw.get("seeds") or ())
    code = str(row.raw.get("code", ""))
    return Variant(row.guidance.at(0.0), row.sampler, row.n, seeds, code, row.prompts)


def variant_names(variants: Sequence[Variant], free_w: bool | None = None) -> dict[Variant, str]:
    """Short names that tell the variants apart; ``free_w`` as in :func:`guidance_names`."""
    guides = guidance_names((variant.guidance for variant in variants), free_w)
    several = len(set(guides.values())) > 1
    prompts, names = _prompts_names(variants), {}
    for variant in variants:
        parts = [guides[variant.guidance]] if several else []
        parts += [prompts[variant], _way(variant, variants)]
        names[variant] = ", ".join(filter(None, parts))
    return names


def variant_text(variant: Variant) -> str:
    """Everything that the variant fixes, and what w is in it."""
    sampler, *details = sampler_words(variant.sampler)
    way = f"{sampler} ({', '.join(details)})" if details else sampler
    fixed = [way, f"n = {variant.n}", seeds_text(variant.seeds)]
    fixed += [_prompts_text(variant.prompts, variant.guidance)] if variant.prompts else []
    return f"{', '.join(fixed)}; {guidance_text(variant.guidance)}"


def sampler_words(sampler: Sampler) -> list[str]:
    """The sampler, and the parameters that have short forms: ``ancestral``, ``v = 0.3``."""
    record = sampler.record()
    known = [(sign, record[key]) for key, sign in SYMBOLS.items() if record.get(key) is not None]
    details = [f"{sign} = {x}" if isinstance(x, str) else f"{sign} = {x:g}" for sign, x in known]
    return [record["sampler"], *details]


def seeds_text(seeds: Iterable[int]) -> str:
    """``seeds 0 to 1999`` of the half-open range (0, 2000)."""
    seeds = tuple(seeds)
    return f"seeds {seeds[0]} to {seeds[1] - 1}" if len(seeds) == 2 else "seeds not recorded"


def _way(variant: Variant, variants: Iterable[Variant]) -> str:
    """The sampler, and what of it differs; nothing if all have the same."""
    own, others = _facts(variant), [_facts(other) for other in variants]
    alike = [facts for facts in others if facts["sampler"] == own["sampler"]]
    parts = [f"{key} {x}" for key, x in own.items() if any(facts[key] != x for facts in alike)]
    if len({other.seeds for other in variants}) > 1:
        parts.append(seeds_text(variant.seeds))
    return " ".join([own["sampler"], *parts]) if parts or len(alike) < len(others) else ""


def _facts(variant: Variant) -> dict[str, Any]:
    return variant.sampler.record() | {"n": variant.n, "code": variant.code}


def kind_of(guidance: "Guidance") -> str:
    """Classifier-free, or a classifier's: strengths of the two share no axis."""
    return BY_CLASSIFIER if guidance.by_classifier else FREE


def guidance_names(
    found: Iterable["Guidance"], free_w: bool | None = None
) -> dict["Guidance", str]:
    """Short names: the kind, of classifiers what tells them apart, a rule and an interval.

    Strengths of two names are not comparable. Negative prompts and strengths of images are named
    with the prompts.

    Args:
        found: what is to be named.
        free_w: whether to tell the classifier-free strength; if several occur unless given.
    """
    found = list(dict.fromkeys(found))
    guided = [g for g in found if g.by_classifier]
    several_hashes = len({g.classifier.hash for g in guided}) > 1
    several_shifts = len({g.classifier_shift for g in guided}) > 1
    if free_w is None:
        free_w = len({g.classifier_free_w for g in guided}) > 1
    names = {}
    for g in found:
        parts = [kind_of(g)]
        if g.by_classifier:
            parts = [f"{parts[0]} {g.classifier.hash[:6]}"] if several_hashes else parts
            parts += [f"classifier_free_w {g.classifier_free_w:g}"] if free_w else []
            parts += [f"{g.classifier_shift} shift"] if several_shifts else []
        names[g] = ", ".join([*parts, *g.modifiers()])
    return names


def guidance_text(guidance: "Guidance") -> str:
    """What w is, in full."""
    rule = guidance.row().get("rule")
    of, where = f" of {rule}" if rule else "", ""
    if guidance.interval is not None:
        where = ", from λ = {:g} to {:g} only".format(*guidance.interval)
    if not guidance.by_classifier:
        return f"w is the classifier-free strength{of}{where}"
    return (
        f"w is the strength of classifier {guidance.classifier.hash[:6]} "
        f"({guidance.classifier_shift} shift, "
        f"classifier_free_w = {guidance.classifier_free_w:g}{of}){where}"
    )


def w_text(guidance: "Guidance") -> str:
    """The strength as the head of a row: a classifier's 0 in words, as 2105.05233 has it."""
    if guidance.w or not guidance.by_classifier:
        return f"{guidance.w:g}"
    return "no guidance" if guidance.classifier_free_w in (0, -1) else "no classifier"


def size_text(size: Iterable[int]) -> str:
    """``16x16``."""
    return "x".join(map(str, size))


def _prompts_text(prompts: EvalPrompts, guidance: "Guidance") -> str:
    """All of them, as a sentence would have it."""
    split = {"train": "training"}.get(prompts.split, prompts.split)
    said = f"asked for by the {prompts.n} {split} captions of {prompts.data} in turn"
    if prompts.each > 1:
        said += f", {prompts.each} images each"
    if prompts.low_res:
        said += f", enlarging their images from {size_text(prompts.low_res)}"
    if prompts.known:
        said += ", completing their images where boxes were erased"
    if guidance.image_w is not None:
        said += f", the image's own strength {guidance.image_w:g}"
    return said + (f", away from {guidance.negative!r}" if guidance.negative else "")


def _prompts_names(variants: Sequence[Variant]) -> dict[Variant, str]:
    """Short names of the prompts; empty if there is but one."""
    several = len({v.prompts.hash for v in variants if v.prompts}) > 1
    names = {v: _prompts_name(v.prompts, v.guidance, several) for v in variants}
    return names if len(set(names.values())) > 1 else dict.fromkeys(variants, "")


def _prompts_name(prompts: EvalPrompts | None, guidance: "Guidance", several: bool) -> str:
    if prompts is None:
        return "labels"
    parts = [f"captions {prompts.hash[:6]}" if several else "captions"]
    parts += [f"from {size_text(prompts.low_res)}"] if prompts.low_res else []
    parts += ["completing"] if prompts.known else []
    parts += [f"{prompts.each} images each"] if prompts.each > 1 else []
    parts += [f"image w {guidance.image_w:g}"] if guidance.image_w is not None else []
    parts += [f"away from {guidance.negative!r}"] if guidance.negative else []
    return " ".join(parts)
