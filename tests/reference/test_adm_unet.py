"""Our U-Net against recorded outputs of guided-diffusion's, whatever its settings were."""

import pytest
import torch

from pilotage.errors import PilotageError
from pilotage.interop import export_unet, infer_config, load_unet, unet_settings
from pilotage.networks.attention import Attention
from pilotage.networks.embedding import timestep_embedding

from .reference import case, state_dict
from .same_network import effective, flags_of

# which times go with which output, and where the JSON says what float32 can be asked for
OUTPUTS = {
    "output": ("timesteps", "f32_vs_f64"),
    "output_int_t": ("timesteps_int", "f32_int_vs_f64"),
}


@pytest.fixture(scope="module")
def recorded():
    facts, tensors = case("adm_unet")
    # no UNetModel keyword takes text: text describes the others
    config = {name: v for name, v in facts["config"].items() if not isinstance(v, str)}
    return facts, config, tensors, state_dict(tensors, "model")


def predict(unet, tensors, time, dtype=torch.float32):
    with torch.inference_mode():
        return unet(tensors["in/x"].to(dtype), tensors[f"in/{time}"], tensors.get("in/y"))


def float32_tolerance(facts, figure, reference):
    measured = facts.get(figure, facts["f32_vs_f64"])["max_abs"]
    return 10 * measured + 1e-6 * reference.abs().max().item()


def distance(a, b):
    assert a.shape == b.shape
    return (a - b).abs().max().item()


def test_something_is_recorded(recorded):
    tensors = recorded[2]
    assert {"in/x", "in/timesteps"} <= tensors.keys()
    assert any(f"out/{name}" in tensors for name in OUTPUTS)
    assert any(f"out/{name}_f64" in tensors for name in OUTPUTS)


@pytest.mark.parametrize("output", OUTPUTS)
def test_float32(recorded, output):
    facts, config, tensors, weights = recorded
    time, figure = OUTPUTS[output]
    if f"out/{output}" not in tensors:
        pytest.skip(f"out/{output} is not recorded")
    reference = tensors[f"out/{output}"]
    ours = predict(load_unet(weights, config=config), tensors, time)
    assert distance(ours, reference) <= float32_tolerance(facts, figure, reference)


@pytest.mark.parametrize("output", OUTPUTS)
def test_float64(recorded, output):
    _, config, tensors, weights = recorded
    if f"out/{output}_f64" not in tensors:
        pytest.skip(f"out/{output}_f64 is not recorded")
    reference = tensors[f"out/{output}_f64"]
    unet = load_unet(weights, config=config).double()
    ours = predict(unet, tensors, OUTPUTS[output][0], torch.float64)
    assert ours.dtype == torch.float64
    assert distance(ours, reference) <= 1e-9 * reference.abs().max().item()


def test_timestep_embedding(recorded):
    tensors = recorded[2]
    if "out/timestep_embedding" not in tensors:
        pytest.skip("out/timestep_embedding is not recorded")
    reference, time = tensors["out/timestep_embedding"], tensors["in/timesteps"]
    ours = timestep_embedding(time, reference.shape[1])
    # one float32 rounding of the angle
    assert distance(ours, reference) <= 1e-6 + 1e-7 * time.abs().max().item()


def test_the_number_of_parameters(recorded):
    facts, config, _, weights = recorded
    unet = load_unet(weights, config=config)
    count = sum(parameter.numel() for parameter in unet.parameters())
    assert count == sum(tensor.numel() for tensor in weights.values())
    assert count == facts.get("num_params", count)


def test_the_other_attention_order_is_wrong(recorded):
    """The orders differ with several heads in a layer, and are the same with one."""
    facts, config, tensors, weights = recorded
    other = not config.get("use_new_attention_order", False)
    right = load_unet(weights, config=config)
    wrong = load_unet(weights, config={**config, "use_new_attention_order": other})
    expected = predict(right, tensors, "timesteps")
    apart = distance(expected, predict(wrong, tensors, "timesteps"))
    if max(m.heads for m in right.modules() if isinstance(m, Attention)) > 1:
        assert apart > 100 * float32_tolerance(facts, "f32_vs_f64", expected)
    else:
        assert apart == 0


def test_export_gives_the_weights_back(recorded):
    _, config, _, weights = recorded
    order = config.get("use_new_attention_order", False)
    back = export_unet(load_unet(weights, config=config), new_attention_order=order)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_the_tensors_tell_the_settings(recorded):
    _, config, _, weights = recorded
    told = infer_config(weights, **flags_of(config))
    assert effective(unet_settings(told)) == effective(unet_settings(config))
    half = {name: tensor.half().to("meta") for name, tensor in weights.items()}
    assert infer_config(half, **flags_of(config)) == told


def test_the_network_from_flags_is_the_one_from_the_config(recorded):
    _, config, tensors, weights = recorded
    expected = predict(load_unet(weights, config=config), tensors, "timesteps")
    told = load_unet(weights, **flags_of(config))
    assert torch.equal(predict(told, tensors, "timesteps"), expected)


def test_tensors_that_do_not_fit_are_listed(recorded):
    _, config, _, weights = recorded
    gone = "output_blocks.1.0.out_layers.3.bias"
    wrong = {name: tensor for name, tensor in weights.items() if name != gone}
    wrong["surplus.weight"] = torch.zeros(1)
    for how in ({"config": config}, flags_of(config)):
        with pytest.raises(PilotageError) as caught:
            load_unet(wrong, **how)
        assert f"missing: {gone};" in str(caught.value)
        assert "left over: surplus.weight." in str(caught.value)


def test_a_missing_tensor_is_listed_whichever_it_is(recorded):
    _, config, _, weights = recorded
    for gone in weights:
        if gone == "label_emb.weight":  # what is left is a network without classes
            continue
        left = {name: tensor for name, tensor in weights.items() if name != gone}
        with pytest.raises(PilotageError) as caught:
            load_unet(left, **flags_of(config))
        assert gone in str(caught.value)


def test_wrong_options_are_named(recorded):
    _, config, _, weights = recorded
    flags = flags_of(config)
    blocks = config["num_res_blocks"] + 1
    heads = dict.fromkeys(("heads", "head_channels", "heads_up"))
    for change, words in [
        ({"num_res_blocks": blocks}, f"num_res_blocks is {blocks}"),
        ({**heads, "heads": 7}, "heads is 7: it must divide"),
        ({**heads, "head_channels": 7}, "head_channels is 7: it must divide"),
        (heads, "heads and head_channels are both None"),
        ({"attention_order": "old"}, "attention_order is 'old'"),
        ({"head_chanels": 16}, "head_chanels"),
    ]:
        with pytest.raises(PilotageError, match=words):
            load_unet(weights, **{**flags, **change})
    with pytest.raises(PilotageError, match="dropout given together with config"):
        load_unet(weights, config=config, dropout=0.1)
