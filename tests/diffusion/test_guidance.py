"""Guidance: three ways to the same model, exactly on a mixture; and the order of operations."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from pilotage.diffusion import (
    NetworkDenoiser,
    Prediction,
    TruncatedCosine,
    between,
    classifier,
    classifier_free,
    clip_x,
)
from pilotage.errors import PilotageError

from .helpers import LEVELS, STEPS, Counted, level, line, noisy, normal, plane, run

LAMS = TruncatedCosine().grid(24)


def labels(count):
    """Labels 0, 1, 2, 0, ..."""
    return torch.arange(count) % 3


def unconditional(mixture):
    """The mixture as a model that has never heard of classes."""
    return lambda z, lam, cond=None: mixture(z, lam)


def three_ways(mixture, w):
    """Classifier-free w; classifier w on the conditional model; w + 1 on the unconditional one."""
    return {
        "classifier-free": classifier_free(mixture, w, mixture.null),
        "classifier on conditional": classifier(mixture, mixture.class_log_prob, w),
        "classifier on unconditional": classifier(
            unconditional(mixture), mixture.class_log_prob, w + 1
        ),
    }


@pytest.mark.parametrize("w", [-1.0, -0.5, 0.0, 0.3, 2.0, 7.0])
@pytest.mark.parametrize("lam", LEVELS)
def test_three_ways_to_one_prediction(lam, w):
    mixture, count = plane(), 30
    z, cond = noisy(mixture, lam, count), labels(count)
    free, *others = (
        guided(z, level(lam, count), cond) for guided in three_ways(mixture, w).values()
    )
    for other in others:
        torch.testing.assert_close(other.x, free.x, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(other.eps, free.eps, rtol=1e-10, atol=1e-10)
    if w != 0 and abs(lam) < 6:  # near the ends x or ε is as good as known
        plain = mixture(z, level(lam, count), cond)
        assert not torch.allclose(free.x, plain.x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("w", [-0.5, 1.5])
def test_three_ways_through_every_sampler(step, w):
    mixture, cond = plane(), labels(12)
    free, *others = (
        run(guided, LAMS, step, cond, 12) for guided in three_ways(mixture, w).values()
    )
    for other in others:
        torch.testing.assert_close(other, free, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(free[-1], run(mixture, LAMS, step, cond, 12)[-1], atol=1e-2)


@pytest.mark.parametrize("lam", LEVELS)
def test_the_formula(lam):
    """(1 + w) cond − w uncond, and ε̃ = ε − w σ ∇ log p(c|z) with the gradient from the scores."""
    mixture, w = plane(), 1.7
    z, cond, t = noisy(mixture, lam, 20), labels(20), level(lam, 20)
    given, free = mixture(z, t, cond), mixture(z, t)
    guided = classifier_free(mixture, w, mixture.null)(z, t, cond)
    torch.testing.assert_close(guided.x, given.x + w * (given.x - free.x), rtol=1e-12, atol=1e-12)
    eps = given.eps + w * (given.eps - free.eps)
    torch.testing.assert_close(guided.eps, eps, rtol=1e-12, atol=1e-12)
    s = (1 + math.exp(lam)) ** -0.5
    gradient = mixture.score(z, t, cond) - mixture.score(z, t)
    steered = classifier(mixture, mixture.class_log_prob, w)(z, t, cond)
    torch.testing.assert_close(steered.eps, given.eps - w * s * gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_no_guidance_is_exactly_the_model(step):
    """w = 0 the conditional and w = −1 the unconditional model, to the last bit of a whole run."""
    mixture, cond = plane(), labels(8)
    for w in (0, 0.0, torch.zeros(8, dtype=torch.float64)):
        guided = run(classifier_free(mixture, w, mixture.null), LAMS, step, cond, 8)
        assert torch.equal(guided, run(mixture, LAMS, step, cond, 8))
    for w in (-1, -1.0):
        guided = run(classifier_free(mixture, w, mixture.null), LAMS, step, cond, 8)
        assert torch.equal(guided, run(mixture, LAMS, step, None, 8))
    guided = run(classifier(mixture, mixture.class_log_prob, 0.0), LAMS, step, cond, 8)
    assert torch.equal(guided, run(mixture, LAMS, step, cond, 8))


@pytest.mark.parametrize("make", ["classifier", "classifier_free"])
def test_each_example_has_its_own_strength(make):
    mixture = plane()
    w = torch.tensor([-1.0, 0.0, 0.5, 4.0], dtype=torch.float64)
    z, cond, t = normal(4, 2), torch.tensor([0, 1, 2, 1]), torch.tensor([-3.0, 0.0, 1.0, 4.0])
    t = t.double()

    def guide(strength):
        if make == "classifier":
            return classifier(mixture, mixture.class_log_prob, strength)
        return classifier_free(mixture, strength, mixture.null)

    together = guide(w)(z, t, cond)
    for i in range(4):
        alone = guide(float(w[i]))(z[i : i + 1], t[i : i + 1], cond[i : i + 1])
        torch.testing.assert_close(together.x[i], alone.x[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(together.eps[i], alone.eps[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("w", "rows"), [(2.0, 10), (0.0, 5), (-1.0, 5), (torch.ones(5), 10)])
def test_a_guided_call_is_one_call(w, rows):
    counted = Counted(plane())
    guided = classifier_free(counted, w, null=3)
    guided(normal(5, 2), level(0.0, 5), labels(5))
    assert [len(z) for z, _, _ in counted.calls] == [rows]
    guided(normal(5, 2), torch.tensor(0.0), labels(5))  # one level for all
    assert [len(z) for z, _, _ in counted.calls] == [rows, rows]


def test_the_null_condition_may_be_any_value():
    """For instance a token sequence: it is expanded to the batch."""
    counted = Counted(lambda z, lam, cond: Prediction(z, cond.double()[:, :2]))
    cond, null = torch.tensor([[5, 6, 7], [1, 2, 3]]), torch.tensor([9, 8, 0])
    guided = classifier_free(counted, 1.0, null)(normal(2, 2), level(0.0, 2), cond)
    assert counted.calls[0][2].tolist() == [[5, 6, 7], [1, 2, 3], [9, 8, 0], [9, 8, 0]]
    assert guided.eps.tolist() == [[1, 4], [-7, -4]]


def test_learned_variance_comes_from_the_conditional_branch():
    def network(z, lam, cond):
        variance = torch.where(cond == 3, -1.0, cond / 2.0).to(z)[:, None].expand_as(z)
        return torch.cat([z, variance], dim=1)

    guided = classifier_free(NetworkDenoiser(network, "x"), 3.0, null=3)
    prediction = guided(normal(3, 2), level(0.0, 3), labels(3))
    assert prediction.v.tolist() == [[0.5, 0.5], [0.75, 0.75], [1, 1]]
    steered = classifier(NetworkDenoiser(network, "x"), plane().class_log_prob, 3.0)
    kept = steered(normal(3, 2), level(0.0, 3), labels(3))
    assert torch.equal(kept.v, prediction.v)


@pytest.mark.parametrize("lam", LEVELS)
def test_classifier_guidance_is_consistent_with_z(lam):
    mixture = plane()
    z = noisy(mixture, lam, 20)
    guided = classifier(mixture, mixture.class_log_prob, 2.5)(z, level(lam, 20), labels(20))
    a, s = (1 + math.exp(-lam)) ** -0.5, (1 + math.exp(lam)) ** -0.5
    torch.testing.assert_close(a * guided.x + s * guided.eps, z, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_classifier_guidance_with_and_without_gradients(mode):
    mixture, z = plane(), normal(5, 2)
    guided = classifier(mixture, mixture.class_log_prob, 2.0)
    with mode():
        prediction = guided(z, level(0.0, 5), labels(5))
    expected = classifier_free(mixture, 2.0, mixture.null)(z, level(0.0, 5), labels(5))
    torch.testing.assert_close(prediction.x, expected.x, rtol=1e-10, atol=1e-10)
    assert not z.requires_grad


def test_neighbours_do_not_matter():
    mixture, z = plane(), normal(16, 2)
    guided = classifier(mixture, mixture.class_log_prob, 2.0)
    together = guided(z, level(0.0, 16), labels(16))
    for i in range(16):
        alone = guided(z[i : i + 1], level(0.0, 1), labels(16)[i : i + 1])
        torch.testing.assert_close(alone.x[0], together.x[i], rtol=1e-13, atol=1e-13)


def test_a_frozen_classifier_stays_as_it_is():
    torch.manual_seed(0)
    net = torch.nn.Linear(2, 3).double().requires_grad_(False)

    def log_prob(z, lam, cond):
        return net(z).log_softmax(1).gather(1, cond[:, None]).squeeze(1)

    z = normal(4, 2)
    guided = classifier(plane(), log_prob, 2.0)
    frozen = guided(z, level(0.0, 4), labels(4))
    plain = plane()(z, level(0.0, 4), labels(4))
    gradient = net.weight[labels(4)] - net(z).softmax(1) @ net.weight
    torch.testing.assert_close(frozen.eps, plain.eps - 2 * math.sqrt(0.5) * gradient)
    net.requires_grad_(True)
    learning = guided(z, level(0.0, 4), labels(4))
    assert torch.equal(learning.x, frozen.x)
    assert net.weight.grad is None


def marked(value, v=None):
    """A denoiser whose answers carry the place of each example and who gave them."""

    def denoise(z, lam, cond=None):
        x = z + value + lam.reshape(-1, 1)
        if cond is not None:
            x = x + 100 * cond[:, None]
        return Prediction(x, -x, None if v is None else torch.full_like(x, v))

    return denoise


def test_between_sends_each_example_to_one_denoiser():
    inner, outer = Counted(marked(1000.0)), Counted(marked(0.0))
    gated = between(inner, outer, -1.0, 2.0)
    lam = torch.tensor([3.0, -1.0, -1.01, 0.0, 2.0, 2.01, -20.0], dtype=torch.float64)
    z, cond = normal(7, 2), torch.arange(7)
    prediction = gated(z, lam, cond)
    inside = torch.tensor([0, 1, 0, 1, 1, 0, 0])
    expected = z + 1000 * inside[:, None] + lam[:, None] + 100 * cond[:, None]
    torch.testing.assert_close(prediction.x, expected)
    assert torch.equal(prediction.eps, -prediction.x)
    assert [c.tolist() for _, _, c in inner.calls] == [[1, 3, 4]]
    assert [c.tolist() for _, _, c in outer.calls] == [[0, 2, 5, 6]]
    assert prediction.v is None
    torch.testing.assert_close(gated(z, lam).x, expected - 100 * cond[:, None])


def test_between_asks_nobody_in_vain():
    inner, outer = Counted(marked(1.0)), Counted(marked(0.0))
    gated = between(inner, outer, -1.0, 2.0)
    gated(normal(3, 2), torch.tensor(0.5))
    assert (len(inner.calls), len(outer.calls)) == (1, 0)
    gated(normal(3, 2), level(5.0, 3))
    assert (len(inner.calls), len(outer.calls)) == (1, 1)


@pytest.mark.parametrize(("inner", "outer", "joined"), [(0.2, 0.7, True), (0.2, None, False)])
def test_between_and_the_learned_variance(inner, outer, joined):
    gated = between(marked(1.0, inner), marked(0.0, outer), 0.0, 1.0)
    v = gated(normal(3, 2), torch.tensor([0.5, -1.0, 1.0], dtype=torch.float64)).v
    assert (v is not None) == joined
    if joined:
        assert v.tolist() == [[0.2, 0.2], [0.7, 0.7], [0.2, 0.2]]


def test_between_is_guidance_at_the_same_levels_for_any_number_of_steps():
    mixture = plane()
    guided = Counted(classifier_free(mixture, 2.0, mixture.null))
    gated = between(guided, mixture, -2.0, 3.0)
    for steps in (16, 50):
        guided.calls.clear()
        lams = TruncatedCosine().grid(steps)
        run(gated, lams, STEPS["ddim eta=0"], labels(4), 4)
        asked = [lam[0].item() for _, lam, _ in guided.calls]
        assert asked == [lam for lam in lams.tolist() if -2 <= lam <= 3]


@pytest.mark.parametrize("lam", LEVELS)
def test_guide_then_clip_then_eps_again(lam):
    mixture = plane()
    z, t, cond = noisy(mixture, lam, 60), level(lam, 60), labels(60)
    guided = classifier_free(mixture, 3.0, mixture.null)
    before = guided(z, t, cond)
    bound = before.x.abs().quantile(0.6).item()  # some are outside, some are not, at every level
    after = clip_x(guided, bound)(z, t, cond)
    outside = before.x.abs() > bound
    assert outside.any()
    assert not outside.all()
    assert torch.equal(after.x, before.x.clamp(-bound, bound))
    a, s = (1 + math.exp(-lam)) ** -0.5, (1 + math.exp(lam)) ** -0.5
    torch.testing.assert_close(a * after.x + s * after.eps, z, rtol=0, atol=1e-12)
    assert torch.equal(after.eps[~outside], before.eps[~outside])


def test_the_other_order_is_another_model():
    mixture = plane()
    z, t, cond = noisy(mixture, 0.0, 60), level(0.0, 60), labels(60)
    ours = clip_x(classifier_free(mixture, 3.0, mixture.null))(z, t, cond)
    swapped = classifier_free(clip_x(mixture), 3.0, mixture.null)(z, t, cond)
    assert not torch.allclose(swapped.x, ours.x, atol=0.1)


def test_clipping_in_float32_at_high_snr_keeps_eps():
    mixture = plane()
    z = noisy(mixture, 20.0, 60).float()
    plain = mixture(z, level(20.0, 60, torch.float32))
    clipped = clip_x(mixture, 1.0)(z, level(20.0, 60, torch.float32))
    kept = plain.x.abs() <= 1
    assert kept.any()
    assert torch.equal(clipped.eps[kept], plain.eps[kept])


def test_clip_keeps_the_learned_variance():
    clipped = clip_x(marked(5.0, 0.4), 1.0)(normal(3, 2), level(0.0, 3))
    assert clipped.v.unique().tolist() == [0.4]
    assert clipped.x.unique().tolist() == [1.0]


@pytest.mark.parametrize("w", [math.nan, math.inf, -math.inf, torch.tensor([1.0, math.nan])])
def test_a_strength_that_is_no_number(w):
    with pytest.raises(PilotageError, match=r"w is .*finite"):
        classifier_free(plane(), w, null=3)
    with pytest.raises(PilotageError, match=r"w is .*finite"):
        classifier(plane(), plane().class_log_prob, w)


@pytest.mark.parametrize("w", [0.0, 2.0])
def test_classifier_free_guidance_needs_a_condition(w):
    with pytest.raises(PilotageError, match="cond is None"):
        classifier_free(plane(), w, null=3)(normal(2, 2), level(0.0, 2))


@pytest.mark.parametrize("ends", [(1.0, 0.0), (math.nan, 1.0), (0.0, math.nan)])
def test_an_empty_interval(ends):
    with pytest.raises(PilotageError, match=r"lam_lo is .* and lam_hi is"):
        between(plane(), plane(), *ends)


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan])
def test_an_impossible_bound(bound):
    with pytest.raises(PilotageError, match="bound is"):
        clip_x(plane(), bound)


def test_at_strength_zero_both_kinds_sample_the_class():
    """w = 0: by quadrature p(x | c) at λ_max, and both kinds of guidance draw from it."""
    mixture, count = line(), 3000
    ends = torch.linspace(-6, 6, 6001, dtype=torch.float64)
    density = mixture.guided_density(ends[:, None], 1, 0.0, LAMS[-1])
    cumulative = torch.cat([torch.zeros(1), torch.cumulative_trapezoid(density, ends)])
    cond, step = torch.ones(count, dtype=torch.int64), STEPS["ancestral v=0.3"]
    for guided in three_ways(mixture, 0.0).values():
        x = run(guided, TruncatedCosine().grid(100), step, cond, count, 1)[-1]
        found = stats.kstest(x[:, 0].numpy(), lambda at: np.interp(at, ends, cumulative))
        assert found.pvalue > 1e-3
