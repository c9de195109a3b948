"""Our classifier against recorded outputs of guided-diffusion's, whatever its settings were."""

import pytest
import torch

from pilotage.errors import PilotageError
from pilotage.interop import (
    classifier_settings,
    export_classifier,
    infer_config,
    load_classifier,
    load_unet,
)
from pilotage.interop.adm.tensors import pairs

from .reference import case, state_dict
from .same_network import effective, flags_of

# what is recorded, and where the JSON says what float32 can be asked for
OUTPUTS = {
    "logits": "logits_f32_vs_f64",
    "log_prob_y": "logits_f32_vs_f64",
    "grad_scale1": "grad_f32_vs_f64",
    "grad_scaled": "grad_f32_vs_f64",
}


@pytest.fixture(scope="module")
def recorded():
    facts, tensors = case("adm_classifier")
    # "pool" is the only EncoderUNetModel keyword that takes text: other text describes the others
    config = {k: v for k, v in facts["config"].items() if k == "pool" or not isinstance(v, str)}
    return facts, config, tensors, state_dict(tensors, "model")


def evaluate(encoder, facts, tensors, dtype):
    """What ``cond_fn`` of guided-diffusion's classifier_sample.py computes, and the logits."""
    x = tensors["in/x"].to(dtype).requires_grad_()
    logits = encoder(x, tensors["in/timesteps"])
    log_prob = logits.log_softmax(1).gather(1, tensors["in/y"][:, None]).squeeze(1)
    (gradient,) = torch.autograd.grad(log_prob.sum(), x)
    return {
        "logits": logits.detach(),
        "log_prob_y": log_prob.detach(),
        "grad_scale1": gradient,
        "grad_scaled": gradient * facts.get("scale", 1.0),
    }


def distance(a, b):
    assert a.shape == b.shape
    return (a - b).abs().max().item()


def float32_tolerance(facts, output, reference):
    scale = facts.get("scale", 1.0) if output == "grad_scaled" else 1.0
    measured = facts[OUTPUTS[output]]["max_abs"] * max(1.0, abs(scale))
    return 10 * measured + 1e-6 * reference.abs().max().item()


def test_something_is_recorded(recorded):
    tensors = recorded[2]
    assert {"in/x", "in/timesteps", "in/y", "out/logits"} <= tensors.keys()
    assert {"out/logits_f64", "out/grad_scale1_f64"} <= tensors.keys()


@pytest.mark.parametrize("output", OUTPUTS)
def test_float32(recorded, output):
    facts, config, tensors, weights = recorded
    if f"out/{output}" not in tensors:
        pytest.skip(f"out/{output} is not recorded")
    reference = tensors[f"out/{output}"]
    ours = evaluate(load_classifier(weights, config=config), facts, tensors, torch.float32)
    assert distance(ours[output], reference) <= float32_tolerance(facts, output, reference)


def test_float64(recorded):
    facts, config, tensors, weights = recorded
    encoder = load_classifier(weights, config=config).double()
    ours = evaluate(encoder, facts, tensors, torch.float64)
    for output in (output for output in OUTPUTS if f"out/{output}_f64" in tensors):
        reference = tensors[f"out/{output}_f64"]
        assert ours[output].dtype == torch.float64
        assert distance(ours[output], reference) <= 1e-9 * reference.abs().max().item(), output


def test_the_logits_react_to_the_same_parameters(recorded):
    facts, config, tensors, weights = recorded
    if "params_output_is_blind_to" not in facts:
        pytest.skip("params_output_is_blind_to is not recorded")
    encoder = load_classifier(weights, config=config).double()
    names = {pair.ours: pair.theirs for pair in pairs(encoder, False)}
    logits = encoder(tensors["in/x"].double(), tensors["in/timesteps"])
    direction = torch.linspace(-1, 1.3, logits.numel(), dtype=logits.dtype).view_as(logits)
    named = dict(encoder.named_parameters())
    gradients = torch.autograd.grad((logits * direction).sum(), list(named.values()))
    sizes = {names[n]: g.abs().max().item() for n, g in zip(named, gradients, strict=True)}
    blind = {name for name, size in sizes.items() if size <= 1e-10 * max(sizes.values())}
    assert blind == set(facts["params_output_is_blind_to"])


def test_the_tensors_tell_the_settings(recorded):
    _, config, _, weights = recorded
    blocks = config["num_res_blocks"]
    asked = infer_config(weights, **flags_of(config), num_res_blocks=blocks)
    expected = effective(classifier_settings(config))
    assert effective(classifier_settings(asked)) == expected
    try:
        told, refusal = infer_config(weights, **flags_of(config)), ""
    except PilotageError as error:
        told, refusal = asked, str(error)
    assert effective(classifier_settings(told)) == expected
    if refusal:  # equal widths without attention leave it open which blocks resample
        assert "num_res_blocks is None" in refusal
        assert str(blocks) in refusal


def test_the_image_size_of_a_square_is_told(recorded):
    _, config, _, weights = recorded
    if config.get("pool") != "attention":
        pytest.skip("only an attention pool depends on the size")
    flags = {**flags_of(config), "image_size": None, "num_res_blocks": config["num_res_blocks"]}
    assert infer_config(weights, **flags)["image_size"] == config["image_size"]


def test_the_network_from_flags_is_the_one_from_the_config(recorded):
    facts, config, tensors, weights = recorded
    flags = {**flags_of(config), "num_res_blocks": config["num_res_blocks"]}
    first = evaluate(load_classifier(weights, config=config), facts, tensors, torch.float32)
    second = evaluate(load_classifier(weights, **flags), facts, tensors, torch.float32)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_export_gives_the_weights_back(recorded):
    _, config, _, weights = recorded
    order = config.get("use_new_attention_order", False)
    back = export_classifier(load_classifier(weights, config=config), new_attention_order=order)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_a_classifier_is_no_unet(recorded):
    _, config, _, weights = recorded
    with pytest.raises(PilotageError, match="load_classifier"):
        load_unet(weights, **flags_of(config))


def test_tensors_that_do_not_fit_are_listed(recorded):
    _, config, _, weights = recorded
    flags = {**flags_of(config), "num_res_blocks": config["num_res_blocks"]}
    gone = "input_blocks.1.0.in_layers.2.weight"
    wrong = {name: tensor for name, tensor in weights.items() if name != gone}
    wrong["surplus.weight"] = torch.zeros(1)
    wrong["middle_block.1.norm.bias"] = torch.zeros(1)
    for how in ({"config": config}, flags):
        with pytest.raises(PilotageError) as caught:
            load_classifier(wrong, **how)
        message = str(caught.value)
        assert f"missing: {gone};" in message
        assert "left over: surplus.weight;" in message
        assert "middle_block.1.norm.bias ((1,)," in message
