"""What is read off guided-diffusion's tensors, and its published checkpoints."""

import random

import pytest
import torch

from pilotage.errors import PilotageError
from pilotage.interop import (
    PUBLISHED,
    classifier_settings,
    export_classifier,
    export_config,
    export_unet,
    infer_config,
    load_classifier,
    load_unet,
    unet_settings,
)
from pilotage.networks import EncoderPlan, UNet, UNetEncoder, UNetPlan
from reference.same_network import effective, flags_of


def on_meta(kind, **settings):
    plan = EncoderPlan if kind is UNetEncoder else UNetPlan
    with torch.device("meta"):
        return kind(plan(**settings))


def built(config):
    """The settings and the tensors, on the meta device, of the network that a config describes."""
    if "pool" in config:
        settings = classifier_settings(config)
        return settings, export_classifier(on_meta(UNetEncoder, **settings))
    settings = unet_settings(config)
    return settings, export_unet(on_meta(UNet, **settings))


def inferred(config, tensors, **flags):
    """The settings read off the tensors of a config."""
    found = infer_config(tensors, **{**flags_of(config), **flags})
    return classifier_settings(found) if "pool" in config else unet_settings(found)


# published checkpoints

MILLIONS = {
    "64x64_diffusion": 295.9,
    "128x128_diffusion": 421.5,
    "256x256_diffusion": 553.8,
    "256x256_diffusion_uncond": 552.8,
    "512x512_diffusion": 559.0,
    "lsun_bedroom": 552.8,
    "lsun_cat": 552.8,
    "lsun_horse": 552.8,
    "64x64_classifier": 65.4,
    "128x128_classifier": 42.6,
    "256x256_classifier": 54.1,
    "512x512_classifier": 54.4,
}


@pytest.mark.parametrize("name", MILLIONS)
def test_published(name):
    published = PUBLISHED[name]
    settings, tensors = built(published.config)
    found = infer_config(tensors, **published.flags)
    read = classifier_settings if published.classifier else unet_settings
    assert read(found) == settings
    assert found["image_size"] == (256 if "lsun" in name else int(name.split("x")[0]))
    assert found["use_new_attention_order"] == (name == "64x64_diffusion")
    count = sum(tensor.numel() for tensor in tensors.values())
    assert count / 1e6 == pytest.approx(MILLIONS[name], abs=0.06)


def test_facts_of_the_published():
    assert PUBLISHED.keys() == MILLIONS.keys()
    assert {p.timesteps for p in PUBLISHED.values()} == {1000}
    cosine = {name for name, p in PUBLISHED.items() if p.schedule == "cosine"}
    assert cosine == {"64x64_diffusion", "64x64_classifier"}
    by_heads = {name: p.flags["heads"] for name, p in PUBLISHED.items() if "heads" in p.flags}
    assert by_heads == {"128x128_diffusion": 4}
    dropped = {name for name, p in PUBLISHED.items() if p.flags["dropout"]}
    assert dropped == {"64x64_diffusion", "lsun_bedroom", "lsun_cat", "lsun_horse"}


@pytest.mark.parametrize("name", [name for name in MILLIONS if "classifier" in name])
def test_the_size_of_a_published_classifier_is_read_off(name):
    published = PUBLISHED[name]
    tensors = built(published.config)[1]
    assert infer_config(tensors, head_channels=64)["image_size"] == published.config["image_size"]


# any network


def random_config(seed, pool=None):
    draw = random.Random(seed)
    config = {
        "image_size": 32,
        "in_channels": draw.choice([1, 3, 4]),
        "model_channels": draw.choice([64, 96, 128]),
        "out_channels": draw.choice([3, 6, 8]),
        "num_res_blocks": draw.randint(1, 3),
        "attention_resolutions": draw.sample([1, 2, 4, 8], draw.randint(0, 3)),
        "channel_mult": [draw.choice([0.5, 1, 1.5, 2]) for _ in range(draw.randint(1, 4))],
        "conv_resample": draw.random() < 0.5,
        "resblock_updown": draw.random() < 0.5,
        "use_scale_shift_norm": draw.random() < 0.5,
        "use_new_attention_order": draw.random() < 0.5,
        "num_head_channels": 16,
        "dropout": 0.1,
    }
    if pool is not None:
        return {**config, "pool": pool}
    by_heads = {"num_head_channels": -1, "num_heads": 4, "num_heads_upsample": 2}
    return {
        **config,
        "num_classes": draw.choice([None, 7]),
        **(by_heads if draw.random() < 0.5 else {}),
    }


@pytest.mark.parametrize("seed", range(24))
def test_the_settings_of_a_unet_are_read_off_its_tensors(seed):
    config = random_config(seed)
    settings, tensors = built(config)
    assert effective(inferred(config, tensors)) == effective(settings)


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("pool", ["attention", "spatial", "spatial_v2", "adaptive"])
def test_the_settings_of_a_classifier_are_read_off_its_tensors(seed, pool):
    config = random_config(seed, pool)
    settings, tensors = built(config)
    blocks = config["num_res_blocks"]
    assert effective(inferred(config, tensors, num_res_blocks=blocks)) == effective(settings)
    try:
        found = inferred(config, tensors)
    except PilotageError as error:
        assert "num_res_blocks is None: it must be given, as " in str(error)  # noqa: PT017
        assert str(blocks) in str(error)  # noqa: PT017
    else:
        assert effective(found) == effective(settings)


def test_attention_tells_which_blocks_resample():
    plain = {
        **random_config(0, "spatial"),
        **{"resblock_updown": True, "num_res_blocks": 1},
        **{"channel_mult": [1, 1], "attention_resolutions": []},
    }
    tensors = built(plain)[1]
    with pytest.raises(PilotageError, match="num_res_blocks is None: it must be given, as 1 or 3"):
        infer_config(tensors, head_channels=16)
    assert infer_config(tensors, head_channels=16, num_res_blocks=1)["channel_mult"] == [1, 1]
    assert infer_config(tensors, head_channels=16, num_res_blocks=3)["channel_mult"] == [1]
    with pytest.raises(PilotageError, match="num_res_blocks is 2: it must be 1 or 3"):
        infer_config(tensors, head_channels=16, num_res_blocks=2)
    for rates in ([1], [2], [1, 2]):
        tensors = built({**plain, "attention_resolutions": rates})[1]
        found = infer_config(tensors, head_channels=16)
        assert found["num_res_blocks"] == 1
        assert found["attention_resolutions"] == rates


def test_the_image_size_tells_which_blocks_resample():
    plain = {
        **random_config(0, "attention"),
        **{"resblock_updown": True, "num_res_blocks": 1, "image_size": 16},
        **{"channel_mult": [1, 1], "attention_resolutions": []},
    }
    tensors = built(plain)[1]
    with pytest.raises(PilotageError, match="num_res_blocks is None"):
        infer_config(tensors, head_channels=16)
    assert infer_config(tensors, head_channels=16, image_size=16)["num_res_blocks"] == 1
    assert infer_config(tensors, head_channels=16, image_size=8)["num_res_blocks"] == 3
    with pytest.raises(PilotageError, match="image_size is 40: it must have 64 pixels"):
        infer_config(tensors, head_channels=16, image_size=40)


# classifiers of ours

SMALL = {
    **{"size": (28, 20), "in_channels": 1, "classes": 5, "channels": 32, "channel_mult": (1, 2)},
    **{"num_res_blocks": 1, "attention_resolutions": (2,), "head_channels": 16},
}


@pytest.mark.parametrize("pool", ["attention", "spatial", "spatial_v2", "adaptive"])
@pytest.mark.parametrize("order", [False, True])
def test_export_and_load_are_inverse(pool, order):
    torch.manual_seed(0)
    first = UNetEncoder(EncoderPlan(**SMALL, pool=pool, zero_init=False)).eval()
    weights = export_classifier(first, new_attention_order=order)
    config = export_config(first, new_attention_order=order)
    flags = {"head_channels": 16, "attention_order": "new" if order else "legacy"}
    x, time = torch.randn(2, 1, 28, 20), torch.tensor([3.5, 800.0])
    for second in (
        load_classifier(weights, config=config),
        load_classifier(weights, image_size=(28, 20), **flags),
    ):
        assert torch.equal(second(x, time), first(x, time))
        assert {**second.settings, "zero_init": False} == first.settings


def test_the_size_of_an_oblong_must_be_given():
    weights = export_classifier(UNetEncoder(EncoderPlan(**SMALL)))
    with pytest.raises(PilotageError, match="image_size is None"):
        load_classifier(weights, head_channels=16)
    with pytest.raises(PilotageError, match="image_size is 28"):
        load_classifier(weights, head_channels=16, image_size=28)


def test_heads_of_an_attention_pool():
    by_heads = {**SMALL, "head_channels": None, "heads": 4}
    encoder = UNetEncoder(EncoderPlan(**by_heads))
    assert export_config(encoder)["num_head_channels"] == 16
    with pytest.raises(PilotageError, match="heads is 4: head_channels must be given instead"):
        load_classifier(export_classifier(encoder), heads=4)
    two_widths = UNetEncoder(EncoderPlan(**{**by_heads, "attention_resolutions": (1, 2)}))
    with pytest.raises(PilotageError, match="heads is 4"):
        export_config(two_widths)
    config = {**export_config(encoder), "num_head_channels": -1}
    with pytest.raises(PilotageError, match="num_head_channels is -1 but pool is 'attention'"):
        load_classifier(export_classifier(encoder), config=config)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_the_type_follows_the_tensors(dtype):
    exported = export_classifier(UNetEncoder(EncoderPlan(**SMALL)))
    weights = {name: t.to(dtype) for name, t in exported.items()}
    encoder = load_classifier(weights, head_channels=16, image_size=(28, 20))
    assert {parameter.dtype for parameter in encoder.parameters()} == {dtype}


# mistakes


def test_every_missing_tensor_of_a_classifier_is_named():
    weights = export_classifier(on_meta(UNetEncoder, **SMALL))
    for gone in weights:
        left = {name: tensor for name, tensor in weights.items() if name != gone}
        with pytest.raises(PilotageError) as caught:
            load_classifier(left, head_channels=16, image_size=(28, 20))
        assert gone in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({}, "heads and head_channels are both None: one must be given"),
        ({"heads": 2, "head_channels": 16}, "only one of the two"),
        ({"heads_up": 2, "head_channels": 16}, "heads_up is 2 but heads is None"),
        ({"heads": 0}, "heads is 0"),
        ({"head_channels": 24}, "head_channels is 24: it must divide 64"),
        ({"heads": 2, "attention_order": "q k v"}, "attention_order is 'q k v'"),
        ({"heads": 2, "image_size": "64"}, "image_size is '64'"),
        ({"heads": 2, "image_size": (64, 64, 3)}, r"image_size is \(64, 64, 3\)"),
        ({"heads": 2, "dropout": 2}, "dropout is 2"),
        ({"heads": 2, "num_res_blocks": 2}, "num_res_blocks is 2: it must be 1"),
        ({"heads": 2, "pool": "spatial"}, "flags have pool: allowed are heads, head_channels"),
    ],
)
def test_wrong_flags_are_refused(flags, words):
    settings = {**SMALL, "size": None, "pool": "adaptive"}
    with pytest.raises(PilotageError, match=words):
        load_classifier(export_classifier(UNetEncoder(EncoderPlan(**settings))), **flags)


def test_weights_of_another_kind_are_refused():
    unet = export_unet(UNet(UNetPlan(channels=32, channel_mult=(1, 2), num_res_blocks=1)))
    with pytest.raises(PilotageError, match="must be read by load_unet"):
        load_classifier(unet, head_channels=32)
    with pytest.raises(PilotageError, match="must be read by load_classifier"):
        load_unet(export_classifier(UNetEncoder(EncoderPlan(**SMALL))), head_channels=16)
    for stranger in ({}, {"output_blocks.0": torch.zeros(2)}, {"layer.weight": torch.zeros(2, 2)}):
        with pytest.raises(PilotageError, match="weights"):
            load_unet(stranger, head_channels=32)
        with pytest.raises(PilotageError, match="weights"):
            load_classifier(stranger, head_channels=32)
