"""Several conditions at once: the formulas, exactly on a mixture whose classes are pairs."""

import itertools

import pytest
import torch

from pilotage.diffusion import (
    GaussianMixture,
    NetworkDenoiser,
    Prediction,
    alpha,
    between,
    classifier_free,
    composed,
    several,
    sigma,
)
from pilotage.errors import PilotageError

from .helpers import Counted, level, normal

A, B = 2, 3  # how many values the attributes have, and their null
NULL = {"a": A, "b": B}
COND = {"a": torch.tensor([0, 1, 0, 1, 1]), "b": torch.tensor([2, 0, 1, 1, 2])}
WITHOUT_B = {**COND, "b": torch.full((5,), B)}
WITHOUT_A = {**COND, "a": torch.full((5,), A)}
NOTHING = {name: torch.full((5,), null) for name, null in NULL.items()}
LEVELS = [-6.0, -1.0, 0.5, 4.0]
STRENGTHS = [-1.5, -1.0, -0.4, 0.0, 2.0]


class Pairs:
    """A mixture whose components are the pairs (a, b); each attribute may be told or not."""

    def __init__(self, mixture):
        self.whole = mixture

    def __call__(self, z, lam, cond):
        """The classes' predictions, weighed by the posterior of those that cond allows."""
        a, b = (torch.where(cond[n] == null, -1, cond[n])[:, None] for n, null in NULL.items())
        k = torch.arange(A * B)
        allowed = ((a < 0) | (a == k // B)) & ((b < 0) | (b == k % B))
        share = self.whole.log_posterior(z, lam).masked_fill(~allowed, -torch.inf).softmax(1)
        each = self.whole(
            z.repeat_interleave(A * B, 0), lam.repeat_interleave(A * B), k.repeat(len(z))
        )
        return Prediction(
            *((share[..., None] * told.reshape(len(z), A * B, -1)).sum(1) for told in each[:2])
        )

    def log_prob(self, z, lam, cond):
        """log p(z), log p(a | z), log p(b | z) and log p(b | z, a), each (N,), by Bayes' rule."""
        joint = self.whole.log_posterior(z, lam).reshape(-1, A, B)
        row = torch.arange(len(z))
        of_a, of_b = joint.logsumexp(2)[row, cond["a"]], joint.logsumexp(1)[row, cond["b"]]
        both = joint[row, cond["a"], cond["b"]]
        return self.whole.log_density(z, lam), of_a, of_b, both - of_a

    def weighed(self, z, lam, cond, weights):
        """ε of the density whose logarithm is the weighted sum of those four."""
        z = z.clone().requires_grad_()
        parts = self.log_prob(z, lam, cond)
        total = sum(weight * part for weight, part in zip(weights, parts, strict=True))
        (score,) = torch.autograd.grad(total.sum(), z)
        return -sigma(lam)[:, None] * score


def entangled():
    """Attributes that tell of each other: no b is like another's."""
    return Pairs(
        GaussianMixture(
            normal(A * B, 2, seed=3) * 1.5,
            [0.3, 0.5, 0.2, 0.4, 0.3, 0.6],
            [1.0, 2.0, 0.5, 1.5, 1.0, 3.0],
        )
    )


def apart():
    """Attributes that tell nothing of each other: a moves one coordinate, b the other."""
    means = list(itertools.product([-1.0, 1.5], [-2.0, 0.3, 1.0]))
    weights = [p * q for p, q in itertools.product([0.4, 0.6], [0.2, 0.5, 0.3])]
    return Pairs(GaussianMixture(means, [0.4] * 6, weights))


def same(found, expected, tolerance=1e-9):
    torch.testing.assert_close(found.x, expected.x, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found.eps, expected.eps, rtol=tolerance, atol=tolerance)


def identical(found, expected):
    assert torch.equal(found.x, expected.x)
    assert torch.equal(found.eps, expected.eps)


@pytest.mark.parametrize("lam", LEVELS)
def test_one_strength_for_each_part(lam):
    """The guided ε is that of p(z) p(a | z)^{1 + w_a} p(b | z, a)^{1 + w_b}."""
    pairs, z, t = entangled(), normal(5, 2), level(lam, 5)
    for w_a, w_b in itertools.product(STRENGTHS, STRENGTHS):
        found = several(pairs, {"a": w_a, "b": w_b}, NULL)(z, t, COND)
        expected = pairs.weighed(z, t, COND, (1, 1 + w_a, 0, 1 + w_b))
        torch.testing.assert_close(found.eps, expected, rtol=1e-8, atol=1e-8)
        mixed = alpha(t)[:, None] * found.x + sigma(t)[:, None] * found.eps
        torch.testing.assert_close(mixed, z, rtol=1e-9, atol=1e-9)


def test_the_order_of_the_strengths_is_the_order_of_the_nest():
    pairs, z, t = entangled(), normal(5, 2), level(0.5, 5)
    found = several(pairs, {"b": 2.0, "a": 0.5}, NULL)(z, t, COND)
    free, of_b, both = pairs(z, t, NOTHING), pairs(z, t, WITHOUT_A), pairs(z, t, COND)
    expected = free.eps + 3 * (of_b.eps - free.eps) + 1.5 * (both.eps - of_b.eps)
    torch.testing.assert_close(found.eps, expected, rtol=1e-12, atol=1e-12)
    other = several(pairs, {"a": 0.5, "b": 2.0}, NULL)(z, t, COND)
    assert not torch.allclose(found.eps, other.eps, atol=1e-2)
    backwards = {"b": COND["b"], "a": COND["a"]}
    identical(several(pairs, {"b": 2.0, "a": 0.5}, NULL)(z, t, backwards), found)


@pytest.mark.parametrize(
    ("strengths", "expected", "rows"),
    [
        ({"a": 0.0, "b": 0.0}, COND, 5),
        ({"a": 0, "b": -1}, WITHOUT_B, 5),
        ({"b": 0.0, "a": -1.0}, WITHOUT_A, 5),
        ({"a": -1.0, "b": -1.0}, NOTHING, 5),
        (0.0, COND, 5),
        (-1.0, NOTHING, 5),
        ({"b": 0.0}, COND, 5),
        ({"b": -1.0}, WITHOUT_B, 5),
    ],
)
def test_no_guidance_is_exactly_a_model(strengths, expected, rows):
    counted, z, t = Counted(entangled()), normal(5, 2), level(0.5, 5)
    identical(several(counted, strengths, NULL)(z, t, COND), entangled()(z, t, expected))
    assert [len(z) for z, _, _ in counted.calls] == [rows]


@pytest.mark.parametrize(
    ("strengths", "rows"),
    [
        ({"a": 1.0, "b": 3.0}, 15),
        ({"a": 2.0, "b": 2.0}, 10),
        ({"a": 0.0, "b": 2.0}, 10),
        ({"a": 2.0, "b": -1.0}, 10),
        ({"a": -1.0, "b": 2.0}, 15),
        ({"b": 2.0}, 10),
        (2.0, 10),
        ({"a": 2.0, "b": torch.full((5,), 2.0)}, 15),
    ],
)
def test_a_guided_call_is_one_call_of_the_branches_that_count(strengths, rows):
    counted = Counted(entangled())
    several(counted, strengths, NULL)(normal(5, 2), level(0.5, 5), COND)
    assert [len(z) for z, _, _ in counted.calls] == [rows]


@pytest.mark.parametrize("w", [-1.4, 0.6, 3.0])
def test_equal_strengths_are_one_strength(w):
    pairs, z, t = entangled(), normal(5, 2), level(0.5, 5)
    whole = classifier_free(pairs, w, NULL)(z, t, COND)
    identical(several(pairs, w, NULL)(z, t, COND), whole)
    identical(several(pairs, {"a": w, "b": w}, NULL)(z, t, COND), whole)
    by_row = {"a": w, "b": torch.full((5,), w, dtype=torch.float64)}
    same(several(pairs, by_row, NULL)(z, t, COND), whole, 1e-12)


@pytest.mark.parametrize("w", [-0.5, 0.0, 2.0])
def test_dropping_one_condition_leaves_the_effect_of_the_other(w):
    pairs, z, t = entangled(), normal(5, 2), level(0.5, 5)
    by_b = classifier_free(lambda z, lam, b: pairs(z, lam, {**_no_a(z), "b": b}), w, B)
    same(several(pairs, {"a": 1.3, "b": w}, NULL)(z, t, WITHOUT_A), by_b(z, t, COND["b"]), 1e-12)
    same(several(pairs, {"a": w, "b": -1.0}, NULL)(z, t, COND), _by_a_alone(pairs, w, z, t), 1e-12)


def _no_a(z):
    return {"a": torch.full((len(z),), A)}


def _by_a_alone(pairs, w, z, t):
    given, free = pairs(z, t, WITHOUT_B), pairs(z, t, NOTHING)
    return Prediction(*(f + (1 + w) * (g - f) for g, f in zip(given[:2], free[:2], strict=True)))


@pytest.mark.parametrize("lam", LEVELS)
def test_without_an_earlier_part_a_later_one_still_tells_of_it(lam):
    """w = −1 for a is the model without a where b tells nothing of a, and only there."""
    z, t = normal(5, 2), level(lam, 5)
    same(several(apart(), {"a": -1.0, "b": 0.0}, NULL)(z, t, COND), apart()(z, t, WITHOUT_A))
    found = several(entangled(), {"a": -1.0, "b": 0.0}, NULL)(z, t, COND)
    assert not torch.allclose(found.eps, entangled()(z, t, WITHOUT_A).eps, rtol=0, atol=1e-3)


def test_a_part_without_a_strength_is_never_dropped():
    pairs, z, t = entangled(), normal(5, 2), level(0.5, 5)
    found = several(pairs, {"b": 2.0}, {"b": B})(z, t, COND)
    same(found, several(pairs, {"a": 0.0, "b": 2.0}, NULL)(z, t, COND), 1e-12)
    same(found, classifier_free(pairs, 2.0, {"a": None, "b": B})(z, t, COND), 1e-12)


def test_each_example_has_its_own_strengths():
    pairs, z, t = entangled(), normal(5, 2), level(0.5, 5)
    w_a, w_b = torch.linspace(-1, 2, 5).double(), torch.linspace(3, 0, 5).double()
    together = several(pairs, {"a": w_a, "b": w_b}, NULL)(z, t, COND)
    summed = composed(pairs, [(WITHOUT_B, w_a), (WITHOUT_A, w_b)], NULL)(z, t)
    for i in range(5):
        row = slice(i, i + 1)
        one = {name: values[row] for name, values in COND.items()}
        alone = several(pairs, {"a": float(w_a[i]), "b": float(w_b[i])}, NULL)(z[row], t[row], one)
        torch.testing.assert_close(together.x[i], alone.x[0], rtol=1e-11, atol=1e-11)
        parts = [
            ({**one, "b": NOTHING["b"][row]}, float(w_a[i])),
            ({**one, "a": NOTHING["a"][row]}, float(w_b[i])),
        ]
        alone = composed(pairs, parts, NULL)(z[row], t[row])
        torch.testing.assert_close(summed.x[i], alone.x[0], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("lam", LEVELS)
@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 0.5), (2.0, -1.0), (0.0, 2.0), (1, 0)])
def test_composed_is_a_product_of_posteriors(lam, weights):
    """The ε of p(z) p(a | z)^weight_a p(b | z)^weight_b."""
    pairs, z, t = entangled(), normal(5, 2), level(lam, 5)
    parts = [(WITHOUT_B, weights[0]), (WITHOUT_A, weights[1])]
    found = composed(pairs, parts, NULL)(z, t)
    expected = pairs.weighed(z, t, COND, (1, *weights, 0))
    torch.testing.assert_close(found.eps, expected, rtol=1e-8, atol=1e-8)
    same(composed(pairs, parts[::-1], NULL)(z, t), found, 1e-12)


def test_conditions_that_tell_nothing_of_each_other_compose_to_both():
    z, t = normal(5, 2), level(0.5, 5)
    parts = [(WITHOUT_B, 1.0), (WITHOUT_A, 1.0)]
    same(composed(apart(), parts, NULL)(z, t), apart()(z, t, COND))


@pytest.mark.parametrize("w", [-1.0, -0.3, 0.0, 0.7, 5.0, torch.linspace(-2, 2, 5).double()])
def test_one_part_is_classifier_free_guidance(w):
    pairs, z, t = entangled(), normal(5, 2), level(0.5, 5)
    found = composed(pairs, [(COND, 1 + w)], NULL)(z, t)
    identical(found, classifier_free(pairs, w, NULL)(z, t, COND))


@pytest.mark.parametrize(
    ("weights", "rows"), [((2.0, 3.0), 15), ((2.0, 0.0), 10), ((0, 1), 5), ((0.0, 0.0), 5)]
)
def test_parts_without_weight_cost_no_rows(weights, rows):
    counted = Counted(entangled())
    parts = [(WITHOUT_B, weights[0]), (WITHOUT_A, weights[1])]
    composed(counted, parts, NULL)(normal(5, 2), level(0.5, 5))
    assert [len(z) for z, _, _ in counted.calls] == [rows]


def test_one_condition_for_all():
    pairs, z, t = entangled(), normal(5, 2), level(0.5, 5)
    one = {"a": torch.tensor([1]), "b": torch.tensor([B])}
    every = {"a": torch.ones(5, dtype=torch.int64), "b": NOTHING["b"]}
    parts = [(one, 2.0), (WITHOUT_A, 1.0)]
    expected = composed(pairs, [(every, 2.0), (WITHOUT_A, 1.0)], NULL)(z, t)
    identical(composed(pairs, parts, NULL)(z, t), expected)


def test_they_go_on_into_other_guidance():
    pairs, z = entangled(), normal(5, 2)
    lam = torch.tensor([-4.0, 0.0, 1.0, 0.5, 6.0], dtype=torch.float64)
    guided = several(pairs, {"a": 1.0, "b": 3.0}, NULL)
    gated = between(guided, pairs, -1.0, 2.0)(z, lam, COND)
    inside = torch.tensor([1, 2, 3])
    torch.testing.assert_close(gated.x[inside], guided(z, lam, COND).x[inside])
    torch.testing.assert_close(gated.x[[0, 4]], pairs(z, lam, COND).x[[0, 4]])


def test_a_learned_variance_is_of_one_branch():
    def network(z, lam, cond):
        variance = (cond["a"] / A + cond["b"] / B - 1).to(z)[:, None].expand_as(z)
        return torch.cat([z, variance], dim=1)

    denoise, z, t = NetworkDenoiser(network, "x"), normal(5, 2), level(0.0, 5)
    for strengths, cond in (({"a": 1.0, "b": 3.0}, COND), ({"a": 1.0, "b": -1.0}, WITHOUT_B)):
        found = several(denoise, strengths, NULL)(z, t, COND)
        assert torch.equal(found.v, denoise(z, t, cond).v)
    found = composed(denoise, [(WITHOUT_A, 0.0), (WITHOUT_B, 2.0), (COND, 1.5)], NULL)(z, t)
    assert torch.equal(found.v, denoise(z, t, WITHOUT_B).v)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: several(d, {}, NULL), "strengths has"),
        (lambda d: several(d, {"c": 1.0}, NULL), r"strengths has \['c'\].*\['a', 'b'\]"),
        (lambda d: several(d, {"a": float("nan")}, NULL), r"strengths\['a'\] is nan"),
        (lambda d: composed(d, [], NULL), "parts is empty"),
        (lambda d: composed(d, [(COND, 1.0), (COND, float("inf"))], NULL), r"parts\[1\] weight is"),
    ],
)
def test_wrong_strengths(make, words):
    with pytest.raises(PilotageError, match=words):
        make(entangled())


@pytest.mark.parametrize(
    ("guided", "cond", "words"),
    [
        (several(entangled(), {"a": 1.0}, NULL), COND["a"], "cond is Tensor.*dict with the parts"),
        (several(entangled(), {"a": 1.0}, NULL), {"b": COND["b"]}, r"cond is \['b'\]"),
        (several(entangled(), 1.0, NULL), None, "cond is None"),
        (composed(entangled(), [(COND, 2.0)], NULL), COND, "cond is given"),
        (composed(entangled(), [({"a": COND["a"][:2]}, 2.0)], NULL), None, "cond has 2 rows"),
        (composed(entangled(), [(COND, 2.0)], {"a": A}), None, "null is a dict of a"),
    ],
)
def test_conditions_that_do_not_fit(guided, cond, words):
    with pytest.raises(PilotageError, match=words):
        guided(normal(5, 2), level(0.0, 5), cond)
