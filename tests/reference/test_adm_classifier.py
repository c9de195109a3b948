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

from .reference import distance, every_folder, float32_room, float64_room, state_dict
from .same_network import assert_blind, effective, flags_of, gradient_sizes, with_wide_tables

# what is recorded, and where the JSON says what float32 can be asked for
OUTPUTS = {
    "logits": "logits_f32_vs_f64",
    "log_prob_y": "logits_f32_vs_f64",
    "grad_scale1": "grad_f32_vs_f64",
    "grad_scaled": "grad_f32_vs_f64",
}

recorded = every_folder("adm_classifier")


@pytest.fixture(scope="module")
def whole(recorded):
    facts, tensors = recorded
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


@pytest.mark.parametrize("output", OUTPUTS)
def test_float32(whole, output):
    facts, config, tensors, weights = whole
    reference = tensors[f"out/{output}"]
    ours = evaluate(load_classifier(weights, config=config), facts, tensors, torch.float32)
    scale = max(1.0, abs(facts.get("scale", 1.0))) if output == "grad_scaled" else 1.0
    measured = facts[OUTPUTS[output]]["max_abs"] * scale
    assert distance(ours[output], reference) <= float32_room(measured, reference)


@pytest.mark.parametrize("output", OUTPUTS)
def test_float64(whole, output):
    facts, config, tensors, weights = whole
    reference = tensors[f"out/{output}_f64"]
    encoder = load_classifier(weights, config=config).double()

    def found():
        return evaluate(encoder, facts, tensors, torch.float64)[output]

    ours = found()
    assert ours.dtype == torch.float64
    table = 10 * distance(ours, with_wide_tables(found))
    assert distance(ours, reference) <= float64_room(reference) + table


def test_the_logits_react_to_the_same_parameters(whole):
    facts, config, tensors, weights = whole
    encoder = load_classifier(weights, config=config).double()
    names = {pair.ours: pair.theirs for pair in pairs(encoder, False)}
    logits = encoder(tensors["in/x"].double(), tensors["in/timesteps"])
    sizes = gradient_sizes(logits, {names[n]: p for n, p in encoder.named_parameters()})
    assert_blind(sizes, facts["params_output_is_blind_to"], encoder)


def test_the_tensors_tell_the_settings(whole):
    _, config, _, weights = whole
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


def test_the_image_size_of_a_square_is_told(whole):
    _, config, _, weights = whole
    if config.get("pool") != "attention":
        pytest.skip("only an attention pool depends on the size")
    flags = {**flags_of(config), "image_size": None, "num_res_blocks": config["num_res_blocks"]}
    assert infer_config(weights, **flags)["image_size"] == config["image_size"]


def test_the_network_from_flags_is_the_one_from_the_config(whole):
    facts, config, tensors, weights = whole
    flags = {**flags_of(config), "num_res_blocks": config["num_res_blocks"]}
    first = evaluate(load_classifier(weights, config=config), facts, tensors, torch.float32)
    second = evaluate(load_classifier(weights, **flags), facts, tensors, torch.float32)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_export_gives_the_weights_back(whole):
    _, config, _, weights = whole
    order = config.get("use_new_attention_order", False)
    back = export_classifier(load_classifier(weights, config=config), new_attention_order=order)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_a_classifier_is_no_unet(whole):
    _, config, _, weights = whole
    with pytest.raises(PilotageError, match="load_classifier"):
        load_unet(weights, **flags_of(config))


def test_tensors_that_do_not_fit_are_listed(whole):
    _, config, _, weights = whole
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
