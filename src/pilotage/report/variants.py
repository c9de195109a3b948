"""Ways of sampling: what a curve over w keeps fixed, and how that is called."""

from collections.abc import Iterable
from typing import NamedTuple

from pilotage.report.eval_prompts import Asked, asked_names, asked_text
from pilotage.report.guidance import Guidance, guidance_names, guidance_text
from pilotage.report.rows import Row


class Variant(NamedTuple):
    """All of sampling but w and the number of steps: rows of two variants share no table."""

    guidance: Guidance
    sampler: str
    v: float | str | None
    eta: float | None
    n: int
    seeds: tuple[int, ...]
    code: str
    asked: Asked | None = None


def variant_of(row: Row) -> Variant:
    """How a row was sampled."""
    seeds = tuple(row.raw.get("seeds") or ())
    code = str(row.raw.get("code", ""))
    return Variant(row.guidance, row.sampler, row.v, row.eta, row.n, seeds, code, row.asked)


def variant_names(variants: list[Variant], free_w: bool | None = None) -> dict[Variant, str]:
    """Short names that tell the variants apart; ``free_w`` as in :func:`guidance_names`."""
    guides = guidance_names((variant.guidance for variant in variants), free_w)
    several = len(set(guides.values())) > 1
    asked, names = asked_names(variant.asked for variant in variants), {}
    for variant in variants:
        parts = [guides[variant.guidance]] if several else []
        parts += [asked[variant.asked], _way(variant, variants)]
        names[variant] = ", ".join(filter(None, parts))
    return names


def _way(variant: Variant, variants: list[Variant]) -> str:
    """The sampler, and what of it differs; nothing if all have the same."""
    parts = []
    for field in ("v", "eta", "n", "code"):
        same = [getattr(o, field) for o in variants if o.sampler == variant.sampler]
        if len(set(same)) > 1:
            parts.append(f"{field} {getattr(variant, field)}")
    if len({o.seeds for o in variants}) > 1:
        parts.append(seeds_text(variant.seeds))
    if not parts and len({o.sampler for o in variants}) == 1:
        return ""
    return " ".join([variant.sampler, *parts])


def seeds_text(seeds: Iterable[int]) -> str:
    """``seeds 0 to 1999`` of the half-open range (0, 2000)."""
    seeds = tuple(seeds)
    return f"seeds {seeds[0]} to {seeds[1] - 1}" if len(seeds) == 2 else "seeds not recorded"


def variant_text(variant: Variant) -> str:
    """Everything that the variant fixes, and what w is in it."""
    known = [(k, x) for k, x in (("v", variant.v), ("η", variant.eta)) if x is not None]
    details = ", ".join(f"{k} = {x}" if isinstance(x, str) else f"{k} = {x:g}" for k, x in known)
    way = f"{variant.sampler} ({details})" if details else variant.sampler
    fixed = f"{way}, n = {variant.n}, {seeds_text(variant.seeds)}"
    fixed += f", {asked_text(variant.asked)}" if variant.asked else ""
    return f"{fixed}; {guidance_text(variant.guidance)}"
