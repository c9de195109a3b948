"""Our U-Net against recorded outputs of guided-diffusion's, whatever its settings were."""

import pytest
import torch

from pilotage.errors import PilotageError
from pilotage.interop import export_unet, infer_config, load_unet, unet_settings
from pilotage.interop.adm.tensors import pairs
from pilotage.networks.blocks import Attention
from pilotage.networks.embedding import timestep_embedding

from .reference import distance, every_folder, float32_room, float64_room, largest, state_dict
from .same_network import (
    assert_blind,
    effective,
    flags_of,
    gradient_sizes,
    unfilled,
    with_wide_tables,
)

# which times go with which output, and where the JSON says what float32 can be asked for
OUTPUTS = {
    "output": ("timesteps", "f32_vs_f64"),
    "output_int_t": ("timesteps_int", "f32_int_vs_f64"),
}

recorded = every_folder("adm_unet")


@pytest.fixture(scope="module")
def whole(recorded):
    facts, tensors = recorded
    # no UNetModel keyword takes text: text describes the others
    config = {name: v for name, v in facts["config"].items() if not isinstance(v, str)}
    return facts, config, tensors, state_dict(tensors, "model")


def predict(unet, tensors, time, dtype=torch.float32):
    with torch.inference_mode():
        return unet(tensors["in/x"].to(dtype), tensors[f"in/{time}"], tensors.get("in/y"))


def float32_tolerance(facts, figure, reference):
    return float32_room(facts.get(figure, facts["f32_vs_f64"])["max_abs"], reference)


@pytest.mark.parametrize("output", OUTPUTS)
def test_float32(whole, output):
    facts, config, tensors, weights = whole
    time, figure = OUTPUTS[output]
    reference = tensors[f"out/{output}"]
    ours = predict(load_unet(weights, config=config), tensors, time)
    assert distance(ours, reference) <= float32_tolerance(facts, figure, reference)


@pytest.mark.parametrize("output", OUTPUTS)
def test_float64(whole, output):
    _, config, tensors, weights = whole
    reference = tensors[f"out/{output}_f64"]
    unet = load_unet(weights, config=config).double()

    def evaluate():
        return predict(unet, tensors, OUTPUTS[output][0], torch.float64)

    ours, allowed = evaluate(), float64_room(reference)
    assert ours.dtype == torch.float64
    if not same_table(tensors):
        allowed += 10 * distance(ours, with_wide_tables(evaluate))
    assert distance(ours, reference) <= allowed


def same_table(tensors):
    """Whether their float32 frequencies are ours, to the last bit."""
    theirs = tensors.get("out/timestep_embedding")
    if theirs is None:
        return False
    return torch.equal(timestep_embedding(tensors["in/timesteps"], theirs.shape[1]), theirs)


def test_timestep_embedding(recorded):
    tensors = recorded[1]
    reference, time = tensors["out/timestep_embedding"], tensors["in/timesteps"]
    ours = timestep_embedding(time, reference.shape[1])
    # a float32 rounding of the frequency and one of the angle
    assert distance(ours, reference) <= 1e-6 + 2 * torch.finfo(torch.float32).eps * largest(time)


def test_the_output_reacts_to_the_same_parameters(whole):
    facts, config, tensors, weights = whole
    unet = load_unet(weights, config=config).double()
    names = {pair.ours: pair.theirs for pair in pairs(unet, False)}
    output = unet(tensors["in/x"].double(), tensors["in/timesteps"], tensors.get("in/y"))
    sizes = gradient_sizes(output, {names[n]: p for n, p in unet.named_parameters()})
    assert_blind(sizes, facts["params_output_is_blind_to"], unet)


def test_the_number_of_parameters(whole):
    facts, config, _, weights = whole
    unet = load_unet(weights, config=config)
    count = sum(parameter.numel() for parameter in unet.parameters())
    assert count == sum(tensor.numel() for tensor in weights.values())
    assert count == facts.get("num_params", count)


def test_the_other_attention_order_is_wrong(whole):
    """The orders differ with several heads in a layer, and are the same with one."""
    facts, config, tensors, weights = whole
    other = not config.get("use_new_attention_order", False)
    right = load_unet(weights, config=config)
    wrong = load_unet(weights, config={**config, "use_new_attention_order": other})
    expected = predict(right, tensors, "timesteps")
    apart = distance(expected, predict(wrong, tensors, "timesteps"))
    if max(m.heads for m in right.modules() if isinstance(m, Attention)) > 1:
        assert apart > 10 * float32_tolerance(facts, "f32_vs_f64", expected)
    else:
        assert apart == 0


def test_export_gives_the_weights_back(whole):
    _, config, _, weights = whole
    order = config.get("use_new_attention_order", False)
    back = export_unet(load_unet(weights, config=config), new_attention_order=order)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_the_tensors_tell_the_settings(whole):
    _, config, _, weights = whole
    told = infer_config(weights, **flags_of(config))
    assert effective(unet_settings(told)) == effective(unet_settings(config))
    half = {name: tensor.half().to("meta") for name, tensor in weights.items()}
    assert infer_config(half, **flags_of(config)) == told


def test_the_network_from_flags_is_the_one_from_the_config(whole):
    _, config, tensors, weights = whole
    expected = predict(load_unet(weights, config=config), tensors, "timesteps")
    told = load_unet(weights, **flags_of(config))
    assert torch.equal(predict(told, tensors, "timesteps"), expected)


def test_tensors_that_do_not_fit_are_listed(whole):
    _, config, _, weights = whole
    gone = "output_blocks.1.0.out_layers.3.bias"
    wrong = {name: tensor for name, tensor in weights.items() if name != gone}
    wrong["surplus.weight"] = torch.zeros(1)
    for how in ({"config": config}, flags_of(config)):
        with pytest.raises(PilotageError) as caught:
            load_unet(wrong, **how)
        assert f"missing: {gone};" in str(caught.value)
        assert "left over: surplus.weight." in str(caught.value)


def test_a_missing_tensor_is_listed_whichever_it_is(whole):
    _, config, _, weights = whole
    for gone in weights:
        if gone == "label_emb.weight":  # what is left is a network without classes
            continue
        left = {name: tensor for name, tensor in weights.items() if name != gone}
        with pytest.raises(PilotageError) as caught, unfilled():
            load_unet(left, **flags_of(config))
        assert gone in str(caught.value)


def test_wrong_options_are_named(whole):
    _, config, _, weights = whole
    flags = flags_of(config)
    blocks = config["num_res_blocks"] + 1
    heads = dict.fromkeys(("heads", "head_channels", "heads_up"))
    many = config["model_channels"] * max(config["channel_mult"]) + 1  # divides no layer's width
    for change, words in [
        ({"num_res_blocks": blocks}, f"num_res_blocks is {blocks}"),
        ({**heads, "heads": many}, f"heads is {many}: it must divide"),
        ({**heads, "head_channels": many}, f"head_channels is {many}: it must divide"),
        (heads, "heads and head_channels are both None"),
        ({"attention_order": "old"}, "attention_order is 'old'"),
        ({"head_chanels": 16}, "head_chanels"),
    ]:
        with pytest.raises(PilotageError, match=words):
            load_unet(weights, **{**flags, **change})
    with pytest.raises(PilotageError, match="dropout given together with config"):
        load_unet(weights, config=config, dropout=0.1)
