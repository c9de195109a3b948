"""Noise by seed: a row depends on its seed alone."""

import pytest
import torch
from scipy import stats

from pilotage.diffusion import SeededNoise
from pilotage.errors import PilotageError

SHAPES = [(), (2,), (1, 8, 8), (3, 17, 17), (3, 64, 64)]  # one is no multiple of 16


def rows(seeds, shape=(2, 3), draws=5, dtype=torch.float32):
    """(draws, B, *shape)."""
    noise = SeededNoise(seeds, shape, dtype=dtype)
    return torch.stack([next(noise) for _ in range(draws)])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [16, 64])
def test_batch_size_does_not_matter(shape, count):
    alone = rows([7], shape)
    batch = rows([*range(100, 100 + count - 1), 7], shape)
    assert torch.equal(batch[:, -1], alone[:, 0])
    assert batch.shape == (5, count, *shape)


def test_order_does_not_matter():
    seeds = [3, 1, 4, 15, 9, 2, 6]
    order = [6, 2, 0, 1, 5, 4, 3]
    assert torch.equal(rows([seeds[i] for i in order]), rows(seeds)[:, order])


def test_a_repeated_seed_repeats_its_row_and_no_other():
    drawn = rows([5, 8, 5])
    assert torch.equal(drawn[:, 0], drawn[:, 2])
    assert not torch.isclose(drawn[:, 0], drawn[:, 1]).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_splitting_a_batch_over_processes(shape):
    whole = rows(range(8), shape, draws=3)
    parts = [rows(range(8)[i::2], shape, draws=3) for i in range(2)]
    assert torch.equal(whole[:, ::2], parts[0])
    assert torch.equal(whole[:, 1::2], parts[1])


@pytest.mark.parametrize(("shape", "draws"), [((2,), 300), ((1, 64, 64), 40), ((3, 160, 160), 3)])
def test_draws_never_repeat(shape, draws):
    """Past the internal block, too."""
    drawn = rows([0], shape, draws).flatten(1)
    assert len(drawn.unique(dim=0)) == draws


def test_how_many_are_drawn_does_not_change_them():
    long = rows([1, 2], draws=200)
    for draws in (1, 63, 64, 65, 128):
        assert torch.equal(rows([1, 2], draws=draws), long[:draws])


def test_draws_do_not_touch_the_global_generator():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    drawn = rows([0])
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(1)
    assert torch.equal(rows([0]), drawn)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_standard_normal(dtype):
    drawn = rows(range(64), (4, 4), draws=100, dtype=dtype)
    assert drawn.dtype == dtype
    assert stats.kstest(drawn.flatten().double(), "norm").pvalue > 1e-3


def test_rows_draws_and_pixels_are_independent():
    """All correlations lie within 5 standard errors of none."""
    drawn = rows(range(8), (4,), draws=4000, dtype=torch.float64)  # (draws, B, 4)
    both = torch.cat([drawn[:-1].flatten(1), drawn[1:].flatten(1)], dim=1)
    between = torch.corrcoef(both.T) - torch.eye(64)
    assert between.abs().max() < 5 / 4000**0.5


def test_neighbouring_seeds_share_nothing():
    drawn = rows(range(500), (4,), draws=1)[0]
    assert len(drawn.flatten().unique()) > 1990
    correlation = torch.corrcoef(torch.stack([drawn[:-1].flatten(), drawn[1:].flatten()]))[0, 1]
    assert correlation.abs() < 5 / 2000**0.5


def test_seeds_that_differ_in_one_bit_differ():
    """Over the whole range that is accepted."""
    seeds = [0, *(2**bit for bit in range(32)), 2**32 - 1]
    assert len(rows(seeds)[0].flatten(1).unique(dim=0)) == len(seeds)


def test_iteration_resumes_after_the_last_draw():
    noise = SeededNoise([0], (2,))
    assert iter(noise) is noise
    first = [draw for _, draw in zip(range(3), noise, strict=False)]
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("seeds", [[-1], [0, 2**32], [2**64]])
def test_a_seed_out_of_range(seeds):
    with pytest.raises(PilotageError, match=f"seeds has {seeds[-1]}"):
        SeededNoise(seeds, (2,))


def test_no_seeds():
    with pytest.raises(PilotageError, match="seeds is empty"):
        SeededNoise([], (2,))
