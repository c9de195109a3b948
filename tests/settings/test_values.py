"""Samplers and rules as values: their text form, their parameters, and what is refused."""

from typing import get_type_hints

import pytest
import torch

from pilotage.diffusion import (
    GaussianMixture,
    TruncatedCosine,
    ancestral,
    classifier_free,
    ddim,
    sample,
)
from pilotage.errors import PilotageError
from pilotage.models.sampling_spec import SampleOptions
from pilotage.settings import GridSettings, SamplingOptions, SamplingSpec
from pilotage.settings.rules import CFG, Rule
from pilotage.settings.samplers import DDIM, Ancestral, Sampler, with_short_forms

MIXTURE = GaussianMixture(means=[[0.0], [1.0]], variances=[0.1, 0.2], weights=[1, 2])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ancestral", Ancestral()),
        ("ancestral(v=0.25)", Ancestral(v=0.25)),
        ("ancestral(v=learned)", Ancestral(v="learned")),
        ("ddim", DDIM()),
        ("ddim(eta=0.5)", DDIM(eta=0.5)),
    ],
)
def test_text_form_and_back(text, value):
    assert Sampler.parse(text) == value
    assert str(value) == text
    assert Sampler.parse(value) is value
    assert SamplingSpec(sampler=text).model_dump(mode="json")["sampler"] == text


@pytest.mark.parametrize("text", ["ddim(0.5)", " ddim( eta = 0.5 ) ", "ddim(eta=.5)"])
def test_looser_forms_are_read(text):
    assert Sampler.parse(text) == DDIM(eta=0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("euler", "sampler is 'euler': it must be one of ancestral, ddim"),
        ("", "sampler is ''"),
        (3, "sampler is 3"),
        ("ddim(", "must be one of"),
        ("ddim(eta=2)", "eta is 2: it must be less than or equal to 1"),
        ("ddim(zeta=1)", "zeta is not a setting"),
        ("ddim(1, 2)", "the parameters are eta=..."),
        ("ddim(eta=)", "the parameters are eta=..."),
        ("ancestral(v=most)", "v is 'most'"),
        ("ddim(__import__('os'))", "the parameters are eta=..."),
        ("ddim(" + "(" * 500 + ")" * 500 + ")", "the parameters are"),
    ],
)
def test_wrong_samplers_are_refused_in_a_sentence(given, message):
    with pytest.raises(PilotageError) as error:
        SamplingSpec(sampler=given)
    assert message in str(error.value)


@pytest.mark.parametrize("value", [Ancestral(), Ancestral(v=0.5), DDIM(), DDIM(eta=0.25)])
def test_records_are_read_back(value):
    record = {"v": None, "eta": None} | value.record()
    assert Sampler.from_record(record) == value
    assert record["sampler"] == value.name  # short forms stand beside the name


def test_short_forms():
    assert SamplingSpec(sampler="ddim", eta=0.5).step_sampler == DDIM(eta=0.5)
    assert SamplingSpec(v=0.1).step_sampler == Ancestral(v=0.1)
    assert SamplingSpec(eta=0.0).step_sampler == Ancestral(), "what changes nothing is not refused"
    both = GridSettings(sampler=("ancestral", "ddim"), eta=0.5, v="learned")
    assert both.samplers == [Ancestral(v="learned"), DDIM(eta=0.5)]
    with pytest.raises(PilotageError, match=r"eta is 0\.5: it must go with the ddim sampler"):
        SamplingSpec(eta=0.5)
    with pytest.raises(PilotageError, match=r"the sampler is ddim\(eta=0\.3\), so it must not"):
        SamplingSpec(sampler="ddim(eta=0.3)", eta=0.5)
    assert with_short_forms([DDIM(eta=0.5)], {"eta": 0.5}) == [DDIM(eta=0.5)]


def test_steps_are_those_of_the_formalism():
    lams, z = TruncatedCosine(-8, 8).grid(6), torch.randn(4, 1, dtype=torch.float64)
    noise = torch.randn(5, 4, 1, dtype=torch.float64)
    for value, step in ((Ancestral(v=0.2), ancestral(0.2)), (DDIM(eta=0.5), ddim(0.5))):
        assert value.uses_noise
        ours = [s.z for s in sample(MIXTURE, z, lams, value.step(), noise=noise)]
        theirs = [s.z for s in sample(MIXTURE, z, lams, step, noise=noise)]
        assert torch.equal(torch.stack(ours), torch.stack(theirs))
    assert not DDIM().uses_noise


def test_an_open_variance_is_the_network_s_or_small():
    assert Ancestral().fitted(learned_variance=True).v == "learned"
    assert Ancestral().fitted(learned_variance=False).v == 0.3
    assert Ancestral(v=0.0).fitted(learned_variance=True).v == 0.0


def test_the_usual_rule_is_classifier_free_guidance():
    z, lam, cond = (
        torch.randn(5, 1, dtype=torch.float64),
        torch.zeros(5),
        torch.tensor([0, 1] * 2 + [1]),
    )
    guided = Rule.parse("cfg").apply(MIXTURE, 1.5, 2)(z, lam, cond)
    assert torch.equal(guided.x, classifier_free(MIXTURE, 1.5, 2)(z, lam, cond).x)
    assert str(CFG()) == "cfg"


def test_keywords_of_sampling_are_those_of_the_spec():
    # a type checker needs them once more: this is what keeps both lists one
    assert set(get_type_hints(SamplingOptions)) == set(SamplingSpec.model_fields)
    assert set(SamplingOptions.__annotations__) < set(get_type_hints(SampleOptions))
