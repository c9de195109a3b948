"""Halving and doubling with a filter, against the definition."""

import itertools

import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

from pilotage.networks.resampling import Resampling, upfirdn2d


def slow_upfirdn2d(x, kernel, up, down, padding):
    """Its definition, for one channel, without a convolution."""
    wide = torch.zeros(x.shape[0] * up, x.shape[1] * up).double()
    wide[::up, ::up] = x
    padded = pad(wide, (*padding, *padding))
    size = len(kernel)
    patches = padded.unfold(0, size, down).unfold(1, size, down)
    return (patches * kernel.flip(0, 1)).sum((-2, -1))


@pytest.mark.parametrize("up", [1, 2, 3])
@pytest.mark.parametrize("down", [1, 2])
@pytest.mark.parametrize("padding", [(0, 0), (2, 1), (3, 4), (1, -1)])
def test_upfirdn2d(up, down, padding):
    x, kernel = torch.randn(2, 3, 6, 5).double(), torch.randn(3, 3).double()
    found = upfirdn2d(x, kernel, up, down, padding)
    for image, channel in itertools.product(range(2), range(3)):
        expected = slow_upfirdn2d(x[image, channel], kernel, up, down, padding)
        torch.testing.assert_close(found[image, channel], expected)


def test_two_taps_are_means_and_nearest_neighbours():
    x = torch.randn(2, 3, 6, 4).double()
    filter = Resampling((1.0, 1.0))
    torch.testing.assert_close(filter.down(x), avg_pool2d(x, 2))
    torch.testing.assert_close(filter.up(x), interpolate(x, scale_factor=2, mode="nearest"))


@pytest.mark.parametrize("taps", [(1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 1.0), (1.0, 4.0, 6.0, 4.0, 1.0)])
def test_convolutions_that_resample(taps):
    """Far from the edges they are the filter and the convolution, one after the other."""
    x, weight, bias = torch.randn(1, 2, 12, 12), torch.randn(4, 2, 3, 3), torch.randn(4)
    x, weight, bias = (tensor.double() for tensor in (x, weight, bias))
    filter, inner = Resampling(taps), (..., slice(6, -6), slice(6, -6))
    zeros = upfirdn2d(x, torch.ones(1, 1).double(), up=2)
    once = conv2d(zeros, weight, padding=1)
    kernel = torch.outer(torch.tensor(taps), torch.tensor(taps)).double()
    spare = len(taps) - 2
    padding = ((spare + 1) // 2 + 1, spare // 2)
    filtered = upfirdn2d(once, 4 * kernel / kernel.sum(), padding=padding)
    found = filter.conv_up(x, weight, bias)
    assert found.shape == (1, 4, 24, 24)
    torch.testing.assert_close(found[inner], (filtered + bias[:, None, None])[inner])
    assert filter.conv_down(x, weight, bias).shape == (1, 4, 6, 6)


def test_a_filter_first_used_without_gradients_can_be_trained_through():
    filter = Resampling((1.0, 7.0, 1.0))
    with torch.inference_mode():
        filter.down(torch.ones(1, 1, 4, 4))
    x = torch.ones(1, 1, 4, 4, requires_grad=True)
    (filter.down(x) ** 2).sum().backward()
    assert x.grad.abs().sum() > 0
