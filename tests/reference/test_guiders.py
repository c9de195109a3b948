"""Our guidance against diffusers' guiders, step by step, for those whose rule we have.

Which there are is read off the JSON's ``configs``. Their ``guidance_scale`` is 1 + w, or w in the
original formulation, which starts from the conditional prediction. Their interval is one of steps:
the steps are put on rising λ here, and the interval between those of its first and last step.
"""

import pytest
import torch

from pilotage.diffusion import NetworkDenoiser, classifier_free
from pilotage.diffusion.guidance import between

from .reference import absent, distance, each, every_folder, float32_room, largest

# keyword arguments that our guidance has, and the value at which theirs does nothing
KNOWN = ("guidance_scale", "use_original_formulation", "start", "stop")
IDLE = {"guidance_rescale": 0.0}
CONDITIONAL, EMPTY = 1, 0

recorded = every_folder("guiders")


def beyond(config):
    """What of a guider's settings our guidance has no rule for."""
    if config["cls"] != "ClassifierFreeGuidance":
        return [config["cls"]]
    given = {name: value for name, value in config.items() if name not in ("cls", *KNOWN)}
    return [name for name, value in given.items() if value != IDLE.get(name)]


def listed(found):
    """Every output; those of rules that we do not have are skipped."""
    facts, tensors = found
    for name, config in facts["configs"].items():
        missing = beyond(config)
        for output in (f"out/{name}", f"out/{name}_f64"):
            if output not in tensors:
                yield absent(f"{tensors.where} has no {output}", output)
            elif missing:
                yield absent(f"{name}: no rule of ours for {', '.join(missing)}", output)
            else:
                yield output


@each("guiders", listed, "name", what="configs")
def test_guider(recorded, name):
    facts, tensors = recorded
    expected, short = tensors[name], name.removeprefix("out/").removesuffix("_f64")
    asked = {
        CONDITIONAL: tensors["in/pred_cond"].to(expected.dtype),
        EMPTY: tensors["in/pred_uncond"].to(expected.dtype),
    }
    ours = guided(asked, facts["configs"][short], facts["steps"])
    assert ours.dtype == expected.dtype
    if expected.dtype == torch.float64:
        allowed = 1e-12 * largest(expected)
    else:
        allowed = float32_room(facts["f32_vs_f64"][short]["max_abs"], expected)
    assert distance(ours, expected) <= allowed


def guided(asked, config, steps):
    """The ε of every step, (steps, B, C, H, W), step i at λ = i / steps."""
    first, stop = (int(config.get(k, d) * steps) for k, d in (("start", 0.0), ("stop", 1.0)))
    w = config["guidance_scale"] - (not config.get("use_original_formulation", False))
    found = []
    for step in range(steps):
        given, empty = (asked[cond][step] for cond in (CONDITIONAL, EMPTY))

        def network(z, time, cond, given=given, empty=empty):
            rows = torch.arange(len(z)) % len(given)
            chosen = (cond == CONDITIONAL).reshape(-1, *(1,) * (z.ndim - 1))
            return torch.where(chosen, given[rows], empty[rows])

        plain = NetworkDenoiser(network, "eps")
        guide = classifier_free(plain, w, null=torch.tensor(EMPTY))
        if (first, stop) != (0, steps):
            guide = between(guide, plain, (first - 0.5) / steps, (stop - 0.5) / steps)
        lam = torch.tensor(step / steps, dtype=given.dtype)
        conds = torch.full((len(given),), CONDITIONAL)
        found.append(guide(torch.zeros_like(given), lam, conds).eps)
    return torch.stack(found)


def test_the_interval_ends_where_theirs_does(recorded):
    """Outside it, theirs is the conditional prediction, bit for bit; so is ours."""
    facts, tensors = recorded
    intervals = {n: c for n, c in facts["configs"].items() if "start" in c and not beyond(c)}
    for name, config in intervals.items() or pytest.skip(f"{facts.where} has no interval"):
        given = tensors["in/pred_cond"]
        asked = {CONDITIONAL: given, EMPTY: tensors["in/pred_uncond"]}
        ours = guided(asked, config, facts["steps"])
        theirs = [torch.equal(a, b) for a, b in zip(tensors[f"out/{name}"], given, strict=True)]
        assert [torch.equal(a, b) for a, b in zip(ours, given, strict=True)] == theirs
        assert any(theirs)
