"""The test run enforces the shapes in annotations."""

import pytest
import torch
from jaxtyping import TypeCheckError

from pilotage.diffusion import TruncatedCosine, ancestral, sample
from pilotage.diffusion.logsnr import diffuse
from pilotage.diffusion.prediction import from_x

from .helpers import level, normal, plane


def test_two_arguments_that_should_agree():
    with pytest.raises(TypeCheckError, match="parameter 'eps'"):
        diffuse(normal(4, 2), normal(4, 3), torch.zeros(4))
    with pytest.raises(TypeCheckError):
        from_x(normal(4, 2), level(0.0, 4), normal(1, 2))  # would broadcast


def test_a_rank_and_a_dtype():
    with pytest.raises(TypeCheckError):
        plane().density(normal(4))
    with pytest.raises(TypeCheckError):
        plane().density(torch.zeros(4, 2, dtype=torch.int64))
    with pytest.raises(TypeCheckError):
        sample(plane(), normal(4, 2), torch.zeros(3, 3), ancestral())


def test_a_batch_of_labels():
    with pytest.raises(TypeCheckError):
        plane()(normal(4, 2), level(0.0, 4), torch.zeros(3, dtype=torch.int64))


def test_an_int_is_accepted_as_a_float():
    density = plane().guided_density(normal(4, 2), cond=0, w=1)
    assert density.shape == (4,)


def test_right_shapes_pass():
    assert TruncatedCosine()(torch.rand(2, 3, 4)).shape == (2, 3, 4)
