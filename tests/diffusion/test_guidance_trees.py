"""Conditions of any structure: their rows, and guidance that does not ask what they are."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from pilotage.diffusion import (
    Prediction,
    TruncatedCosine,
    batching,
    between,
    classifier,
    classifier_free,
    clip_x,
)
from pilotage.errors import PilotageError

from .helpers import STEPS, Counted, level, normal, plane, run


class Pair(NamedTuple):
    """A condition of two parts."""

    label: Tensor | None
    image: Tensor | None = None


LABELS = torch.tensor([0, 1, 2, 1, 0])
IMAGES = torch.arange(30.0, dtype=torch.float64).reshape(5, 1, 2, 3)
# every structure holds the same labels; a function gets them out again
TREES = {
    "tensor": (LABELS, 3, lambda c: c),
    "null of one row": (LABELS, torch.tensor([3]), lambda c: c),
    "null of every row": (LABELS, torch.full((5,), 3), lambda c: c),
    "tuple": ((LABELS, IMAGES), (3, 0), lambda c: c[0]),
    "NamedTuple": (Pair(LABELS, IMAGES), Pair(3, torch.zeros(1, 2, 3)), lambda c: c.label),
    "None inside": (Pair(LABELS), Pair(torch.tensor(3)), lambda c: c.label),
    "dict": (
        {"a": {"b": LABELS}, "c": (IMAGES,)},
        {"a": {"b": 3}, "c": (0,)},
        lambda c: c["a"]["b"],
    ),
}


def reading(mixture, label):
    """The mixture as a denoiser of conditions in which ``label`` finds the class."""
    return lambda z, lam, cond=None: mixture(z, lam, None if cond is None else label(cond))


@pytest.mark.parametrize(("cond", "null", "label"), TREES.values(), ids=TREES)
def test_guidance_by_any_structure_is_that_by_labels_bit_for_bit(cond, null, label):
    mixture, z, lam = plane(), normal(5, 2), torch.linspace(-3, 3, 5, dtype=torch.float64)
    denoise = Counted(reading(mixture, label))
    for w in (0.0, -1.0, 1.7, torch.linspace(-2, 2, 5, dtype=torch.float64)):
        denoise.calls.clear()
        expected = classifier_free(mixture, w, 3)(z, lam, LABELS)
        guided = classifier_free(denoise, w, null)(z, lam, cond)
        assert torch.equal(guided.x, expected.x)
        assert torch.equal(guided.eps, expected.eps)
        assert len(denoise.calls) == 1
        assert type(denoise.calls[0][2]) is type(cond)
    gated = between(classifier_free(denoise, 2.0, null), denoise, 0.0, 1.6)
    if not (isinstance(null, Tensor) and len(null) == 5):  # then the null would need its rows too
        by_labels = between(classifier_free(mixture, 2.0, 3), mixture, 0.0, 1.6)(z, lam, LABELS)
        assert torch.equal(gated(z, lam, cond).x, by_labels.x)


def test_a_run_by_a_tree_is_the_run_by_labels():
    mixture, lams = plane(), TruncatedCosine().grid(8)
    cond, null, label = TREES["dict"]
    denoise = reading(mixture, label)

    def log_prob(z, lam, cond):
        return mixture.class_log_prob(z, lam, label(cond))

    for by_tree, by_label in (
        (classifier_free(denoise, 2.0, null), classifier_free(mixture, 2.0, 3)),
        (classifier(denoise, log_prob, 2.0), classifier(mixture, mixture.class_log_prob, 2.0)),
    ):
        found = run(clip_x(by_tree, 3.0), lams, STEPS["ancestral v=0.3"], cond, 5)
        expected = run(clip_x(by_label, 3.0), lams, STEPS["ancestral v=0.3"], LABELS, 5)
        assert torch.equal(found, expected)


def test_a_null_without_a_part_keeps_it():
    denoise = Counted(lambda z, lam, cond: Prediction(z, z))
    guided = classifier_free(denoise, 1.0, Pair(label=3))
    guided(normal(5, 2), level(0.0, 5), Pair(LABELS, IMAGES))
    asked = denoise.calls[0][2]
    assert asked.label.tolist() == [*LABELS.tolist(), 3, 3, 3, 3, 3]
    assert torch.equal(asked.image, torch.cat([IMAGES, IMAGES]))


@pytest.mark.parametrize("w", [-2.5, -1.0, 0.0, 0.4, 7.0, torch.linspace(-3, 3, 5).double()])
def test_a_negative_that_is_the_condition_itself_guides_nowhere(w):
    mixture, z, t = plane(), normal(5, 2), level(0.5, 5)
    guided = classifier_free(mixture, w, null=LABELS)(z, t, LABELS)
    plain = mixture(z, t, LABELS)
    assert torch.equal(guided.x, plain.x)
    assert torch.equal(guided.eps, plain.eps)


def test_every_row_has_its_own_negative():
    mixture, z, t = plane(), normal(5, 2), level(0.5, 5)
    negative = torch.tensor([1, 3, 0, 2, 0])
    guided = classifier_free(mixture, 1.5, negative)(z, t, LABELS)
    for i in range(5):
        alone = classifier_free(mixture, 1.5, int(negative[i]))(
            z[i : i + 1], t[:1], LABELS[i : i + 1]
        )
        torch.testing.assert_close(guided.x[i], alone.x[0], rtol=1e-12, atol=1e-12)


# --- rows ----------------------------------------------------------------------------------------


def test_rows_are_counted_taken_and_joined():
    cond = {"a": Pair(LABELS), "b": (IMAGES, None)}
    assert batching.count(cond) == 5
    for which in (
        slice(1, 3),
        torch.tensor([1, 2]),
        torch.tensor([False, True, True, False, False]),
    ):
        part = batching.take(cond, which)
        assert part["a"] == Pair(part["a"].label, None)
        assert part["a"].label.tolist() == [1, 2]
        assert torch.equal(part["b"][0], IMAGES[1:3])
        assert part["b"][1] is None
    again = batching.joined([batching.take(cond, slice(0, 2)), batching.take(cond, slice(2, 5))])
    assert torch.equal(again["a"].label, LABELS)
    assert torch.equal(again["b"][0], IMAGES)
    assert batching.joined([None, None]) is None
    assert batching.take(None, slice(0, 1)) is None


def test_rows_are_chosen_by_a_mask():
    mask = torch.tensor([True, False, False, True, False])
    chosen = batching.where(mask, (LABELS + 10, IMAGES + 100), (LABELS, IMAGES))
    assert chosen[0].tolist() == [10, 1, 2, 11, 0]
    assert torch.equal(chosen[1], IMAGES + 100 * mask[:, None, None, None])


def test_one_row_is_repeated():
    repeated = batching.repeated(Pair(LABELS[:1], IMAGES[:1]), 3)
    assert repeated.label.tolist() == [0, 0, 0]
    assert repeated.image.shape == (3, 1, 2, 3)
    assert batching.count(batching.repeated(LABELS, 5)) == 5


def test_to_a_device():
    moved = batching.to({"a": Pair(LABELS)}, "meta")
    assert moved["a"].label.device.type == "meta"
    assert batching.expanded({"a": Pair(3)}, moved)["a"].label.device.type == "meta"
    assert batching.expanded({"a": Pair(LABELS)}, moved)["a"].label.device.type == "meta"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: batching.count(None), "cond is None"),
        (
            lambda: batching.count({"a": LABELS, "b": LABELS[:2]}),
            r"5 rows in cond\['a'\] and 2 rows in",
        ),
        (lambda: batching.joined([]), "conds is empty"),
        (lambda: batching.joined([LABELS, None]), "cond is a tensor and None"),
        (lambda: batching.joined([{"a": LABELS}, {"b": LABELS}]), "a dict of a and a dict of b"),
        (lambda: batching.joined([(LABELS,), Pair(LABELS)]), "a tuple and a Pair"),
        (
            lambda: batching.joined([Pair(LABELS), Pair(LABELS, IMAGES)]),
            r"cond\['image'\] is None and",
        ),
        (
            lambda: batching.joined([IMAGES, IMAGES[..., :2]]),
            r"shapes \(5, 1, 2, 3\) and \(5, 1, 2, 2",
        ),
        (lambda: batching.take([LABELS], slice(1)), "cond is a list"),
        (lambda: batching.take(torch.tensor(3), slice(1)), "cond is a single number"),
        (lambda: batching.where(LABELS > 0, LABELS, IMAGES), "cond has shapes"),
        (lambda: batching.repeated(LABELS[:2], 5), "cond has 2 rows: it must have 1, or 5"),
        (lambda: batching.expanded(None, LABELS), "null is None"),
        (lambda: batching.expanded(3, (LABELS,)), "null is a int and its conditions are a tuple"),
        (
            lambda: batching.expanded((3,), LABELS),
            "null is a tuple and its conditions are a tensor",
        ),
        (lambda: batching.expanded({"a": 3}, {"a": None}), r"null\['a'\] is a int and .* are None"),
        (lambda: batching.expanded(LABELS[:2], LABELS), r"null has shape \(2,\)"),
    ],
)
def test_mismatched_structures_are_refused(wrong, words):
    with pytest.raises(PilotageError, match=words):
        wrong()
