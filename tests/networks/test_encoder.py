"""The classifier network: the way down of the U-Net, pooled to logits in four ways."""

import json

import pytest
import torch
from torch.nn import functional

from pilotage.errors import PilotageError
from pilotage.networks import EncoderPlan, UNet, UNetEncoder, UNetPlan
from pilotage.networks.encoder import POOLS, AdaptivePool, AttentionPool, SpatialPool, halved

SMALL = {
    "size": (8, 8),
    "classes": 5,
    "channels": 32,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
}


def perturbed(network, size=0.1):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def small(**settings):
    torch.manual_seed(0)
    return UNetEncoder(EncoderPlan(**{**SMALL, **settings}))


def batch(shape=(2, 3, 8, 8)):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator), torch.linspace(3.5, 800, shape[0])


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("size", [(28, 20), (27, 33), (8, 8), (5, 2), (1, 1)])
def test_any_size(pool, size):
    for updown, conv in [(True, True), (False, True), (False, False)]:
        encoder = small(
            **{"size": size, "pool": pool, "channel_mult": (1, 1, 2), "in_channels": 1},
            **{"resblock_updown": updown, "conv_resample": conv, "dropout": 0.1, "norm_groups": 8},
        )
        x, time = batch((2, 1, *size))
        x = x.double().requires_grad_()
        encoder = perturbed(encoder).double()
        logits = encoder(x, time)
        alone = torch.cat([encoder(x[k : k + 1], time[k : k + 1]) for k in range(2)])
        torch.testing.assert_close(logits, alone, msg="an example depends on its neighbours")
        (gradient,) = torch.autograd.grad(logits.square().sum(), x)
        assert logits.shape == (2, 5)
        assert gradient.abs().min() > 0, "a pixel without effect"
        assert (logits - encoder(x, time + 50)).abs().max() > 1e-4, "the time has no effect"


@pytest.mark.parametrize("pool", POOLS)
def test_every_parameter_is_trained_and_gradients_reach_the_image(pool):
    encoder = perturbed(small(pool=pool, size=(7, 6), norm_groups=8)).train()
    x, time = batch((2, 3, 7, 6))
    x.requires_grad_()
    log_prob = encoder(x, time).log_softmax(1)[:, 2]
    log_prob.sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad.abs().amax((1, 2, 3)) > 0).all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("pool", POOLS)
def test_an_example_does_not_depend_on_its_neighbours(pool):
    encoder = perturbed(small(pool=pool))
    x, time = batch((3, 3, 8, 8))
    together = encoder(x, time)
    alone = torch.cat([encoder(x[i : i + 1], time[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("pool", POOLS)
def test_the_settings_rebuild_the_network(pool):
    encoder = small(pool=pool, dropout=0.1, heads=2, attention_resolutions=[1])
    twin = UNetEncoder(EncoderPlan(**json.loads(json.dumps(encoder.settings))))
    assert twin.settings == encoder.settings
    twin.load_state_dict(encoder.state_dict())


def test_the_way_down_is_that_of_the_unet():
    settings = {name: SMALL[name] for name in SMALL if name not in ("size", "classes")}
    unet, encoder = UNet(UNetPlan(**settings)), small()
    parts = ("condition.", "stem.", "encoder.", "middle.")
    shapes = [
        {name: p.shape for name, p in network.named_parameters() if name.startswith(parts)}
        for network in (unet, encoder)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("pool", POOLS)
def test_bfloat16_autocast(pool):
    encoder = perturbed(small(pool=pool))
    x, time = batch()
    with torch.autocast("cpu", torch.bfloat16):
        logits = encoder(x, time)
    full = encoder(x, time)
    assert (logits - full).abs().max() < 0.1 * full.abs().max()
    assert encoder.bfloat16()(x.bfloat16(), time).dtype == torch.bfloat16


def test_zero_init():
    x, time = batch()
    assert torch.equal(small(pool="adaptive")(x, time), torch.zeros(2, 5))
    assert small(pool="adaptive", zero_init=False)(x, time).abs().max() > 0
    assert small(pool="attention")(x, time).abs().max() > 0


# what each pool computes


def test_attention_pool():
    pool = perturbed(AttentionPool(channels=8, classes=3, heads=2, groups=4, pixels=6)).double()
    h = batch((2, 8, 2, 3))[0].double()
    normed = functional.silu(
        functional.group_norm(h, 4, pool.norm.weight, pool.norm.bias, pool.norm.eps)
    )
    rows = [normed.mean((2, 3)), *normed.flatten(2).unbind(2)]
    tokens = torch.stack(rows, 1) + pool.positional_embedding.T
    q, k, v = (tokens @ part.T for part in pool.qkv.weight.chunk(3))
    q, k, v = (part + bias for part, bias in zip((q, k, v), pool.qkv.bias.chunk(3), strict=True))
    heads = []
    for rows in (slice(0, 4), slice(4, 8)):
        weight = (q[:, 0, None, rows] * k[:, :, rows]).sum(2).div(2).softmax(1)
        heads.append((weight[:, :, None] * v[:, :, rows]).sum(1))
    expected = torch.cat(heads, 1) @ pool.proj.weight.T + pool.proj.bias
    torch.testing.assert_close(pool([h[:, :1], h]), expected)


def test_attention_pool_starts_with_small_positions():
    torch.manual_seed(0)
    pool = AttentionPool(channels=64, classes=3, heads=2, groups=4, pixels=99)
    assert pool.positional_embedding.shape == (64, 100)
    assert pool.positional_embedding.std().item() == pytest.approx(1 / 8, rel=0.05)


@pytest.mark.parametrize("groups", [None, 32])
def test_spatial_pool(groups):
    pool = perturbed(SpatialPool(features=7, classes=3, groups=groups))
    maps = [batch((2, 3, 4, 4))[0], batch((2, 4, 2, 1))[0]]
    means = torch.cat([maps[0].mean((2, 3)), maps[1].mean((2, 3))], 1)
    hidden = means @ pool.hidden.weight.T + pool.hidden.bias
    if groups is None:
        hidden = hidden.clamp(min=0)
    else:
        norm = functional.group_norm(hidden, 32, pool.norm.weight, pool.norm.bias)
        hidden = norm * norm.sigmoid()
    torch.testing.assert_close(pool(maps), hidden @ pool.out.weight.T + pool.out.bias)


def test_the_spatial_pool_reads_every_map():
    encoder = small(pool="spatial")
    # stem 32, block 32, down 32, block 64, middle 64
    assert encoder.pool.hidden.in_features == 32 + 32 + 32 + 64 + 64


def test_adaptive_pool():
    pool = perturbed(AdaptivePool(channels=8, classes=3, groups=4))
    h = batch((2, 8, 2, 3))[0]
    mean = functional.silu(pool.norm(h)).mean((2, 3))
    torch.testing.assert_close(pool([h]), mean @ pool.out.weight[:, :, 0, 0].T + pool.out.bias)


# mistakes


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": None}, "size is None but pool is 'attention'"),
        ({"size": 8}, "size is 8"),
        ({"size": (8,)}, r"size is \(8,\)"),
        ({"size": (8, 0)}, "size is 0"),
        ({"classes": 0}, "classes is 0"),
        ({"pool": "mean"}, "pool is 'mean': it must be one of attention, spatial, spatial_v2"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"channels": 2.5}, "channels is 2.5"),
        ({"channel_mult": (1, 0.3)}, "channel_mult has 0.3"),
        ({"attention_resolutions": (3,)}, "attention_resolutions has 3"),
        ({"heads": 3}, "heads is 3: it must divide 64"),
        ({"head_channels": 24}, "head_channels is 24: it must divide 64"),
        ({"heads": 2, "head_channels": 32}, "only one of the two"),
        ({"dropout": -0.1}, r"dropout is -0.1"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(PilotageError, match=words):
        small(**settings)


def test_wrong_input_is_refused():
    x, time = batch()
    for encoder, call, words in [
        (small(), (x[:, :2], time), r"x has shape \(2, 2, 8, 8\)"),
        (small(), (x, time[:1]), r"time \(1,\)"),
        (small(), (x[..., :6], time), "x is 8 x 6: it must be 8 x 8"),
    ]:
        with pytest.raises(PilotageError, match=words):
            encoder(*call)


def test_only_the_attention_pool_has_a_size():
    x, time = batch((2, 3, 5, 9))
    for pool in set(POOLS) - {"attention"}:
        assert small(pool=pool)(x, time).shape == (2, 5)
        assert small(pool=pool, size=None)(x, time).shape == (2, 5)
    assert small()(batch((2, 3, 7, 8))[0], time).shape == (2, 5)  # the lowest level is the same


def test_halved():
    assert halved((28, 20), 3) == (4, 3)
    assert halved((1, 9), 2) == (1, 3)
