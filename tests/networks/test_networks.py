"""The networks, and the way to and from guided-diffusion's parameter names."""

import json
import math
import pickle
import random

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from pilotage.errors import PilotageError
from pilotage.interop import export_config, export_unet, load_unet, unet_settings
from pilotage.interop.adm.published import PUBLISHED
from pilotage.networks import MLP, MLPPlan, UNet, UNetPlan
from pilotage.networks.blocks import halve
from pilotage.networks.embedding import timestep_embedding

SMALL = {"channels": 32, "channel_mult": (1, 2), "num_res_blocks": 1, "attention_resolutions": (2,)}


def perturbed(network, seed=0, size=0.1):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(size * noise.to(parameter.dtype))
    return network.eval()


def small(**settings):
    torch.manual_seed(0)
    return UNet(UNetPlan(**{**SMALL, **settings}))


def batch(shape=(2, 3, 8, 8), dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=generator).to(dtype)
    return x, torch.linspace(3.5, 800, shape[0])


# what guided-diffusion computes, straight from tensors with its names


class Oracle:
    """A slow U-Net that finds its layers by guided-diffusion's names, in float64."""

    def __init__(self, weights, config):
        self.weights, self.config = weights, config
        self.period = config["num_res_blocks"] + 1
        self.last = len(config["channel_mult"]) - 1

    def __call__(self, x, time, cond):
        emb = self.embed(time, cond)
        h = self.conv(x, "input_blocks.0.0", padding=1)
        skips, index = [h], 1
        while any(name.startswith(f"input_blocks.{index}.") for name in self.weights) or (
            index % self.period == 0 and index // self.period <= self.last
        ):
            down = index % self.period == 0
            h = self.row(h, emb, f"input_blocks.{index}", "down" if down else None)
            skips.append(h)
            index += 1
        h = self.row(h, emb, "middle_block", None)
        for index in range(len(skips)):
            up = (index + 1) % self.period == 0 and index // self.period < self.last
            h = torch.cat([h, skips.pop()], 1)
            h = self.row(h, emb, f"output_blocks.{index}", "up" if up else None)
        return self.conv(functional.silu(self.norm(h, "out.0")), "out.2", padding=1)

    def embed(self, time, cond):
        half = self.config["model_channels"] // 2
        table = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        angle = time.double()[:, None] * table.double()
        emb = torch.cat([angle.cos(), angle.sin()], 1)
        emb = self.linear(functional.silu(self.linear(emb, "time_embed.0")), "time_embed.2")
        return emb if cond is None else emb + self.weights["label_emb.weight"][cond]

    def row(self, h, emb, block, resample):
        """All layers of a block; the last one resamples if anything does."""
        count = len({n.split(".")[len(block.split("."))] for n in self.names(block)})
        for layer in (f"{block}.{index}" for index in range(count)):
            final = resample if layer == f"{block}.{count - 1}" else None
            if self.names(f"{layer}.in_layers"):
                inside = final if self.config["resblock_updown"] else None
                h = self.residual(h, emb, layer, inside)
            elif self.names(f"{layer}.qkv"):
                h = self.attention(h, layer)
            elif self.names(f"{layer}.op"):
                return self.conv(h, f"{layer}.op", stride=2, padding=1)
            else:
                return self.conv(self.resample(h, "up"), f"{layer}.conv", padding=1)
        return h if self.config["resblock_updown"] else self.resample(h, resample)

    def residual(self, h, emb, name, resample):
        y = self.resample(functional.silu(self.norm(h, f"{name}.in_layers.0")), resample)
        y = self.conv(y, f"{name}.in_layers.2", padding=1)
        e = self.linear(functional.silu(emb), f"{name}.emb_layers.1")[:, :, None, None]
        if self.config["use_scale_shift_norm"]:
            scale, shift = e.chunk(2, 1)
            y = self.norm(y, f"{name}.out_layers.0") * (1 + scale) + shift
        else:
            y = self.norm(y + e, f"{name}.out_layers.0")
        y = self.conv(functional.silu(y), f"{name}.out_layers.3", padding=1)
        h = self.resample(h, resample)
        if self.names(f"{name}.skip_connection"):
            h = self.conv(h, f"{name}.skip_connection")
        return h + y

    def attention(self, h, name):
        size, width = h.shape[2:], h.shape[1]
        x = self.norm(h, f"{name}.norm").flatten(2)
        qkv = functional.conv1d(x, self.weights[f"{name}.qkv.weight"], self.bias(f"{name}.qkv"))
        head = width // self.heads(name, width)
        out = []
        for start in range(0, width, head):
            if self.config["use_new_attention_order"]:
                rows = [start, width + start, 2 * width + start]
            else:
                rows = [3 * start, 3 * start + head, 3 * start + 2 * head]
            q, k, v = (qkv[:, row : row + head] for row in rows)
            weight = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / math.sqrt(head), -1)
            out.append(torch.einsum("bts,bcs->bct", weight, v))
        out = functional.conv1d(
            torch.cat(out, 1),
            self.weights[f"{name}.proj_out.weight"],
            self.bias(f"{name}.proj_out"),
        )
        return h + out.unflatten(2, size)

    def heads(self, name, width):
        if self.config["num_head_channels"] != -1:
            return width // self.config["num_head_channels"]
        up = self.config["num_heads_upsample"]
        return up if name.startswith("output_blocks") and up != -1 else self.config["num_heads"]

    def resample(self, h, way):
        if way == "down":
            return (
                h[..., ::2, ::2] + h[..., 1::2, ::2] + h[..., ::2, 1::2] + h[..., 1::2, 1::2]
            ) / 4
        return h if way is None else h.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def names(self, start):
        return [name for name in self.weights if name.startswith(start + ".")]

    def bias(self, name):
        return self.weights[f"{name}.bias"]

    def norm(self, h, name):
        return functional.group_norm(h, 32, self.weights[f"{name}.weight"], self.bias(name))

    def linear(self, h, name):
        return functional.linear(h, self.weights[f"{name}.weight"], self.bias(name))

    def conv(self, h, name, **how):
        return functional.conv2d(h, self.weights[f"{name}.weight"], self.bias(name), **how)


def random_config(seed):
    draw = random.Random(seed)
    by_channels = draw.random() < 0.4
    # every number of levels, of blocks and both resampling kinds come up in 12 draws
    return {
        "in_channels": draw.choice([1, 3]),
        "model_channels": 32,
        "out_channels": draw.choice([3, 6]),
        "num_res_blocks": 1 + seed % 3,
        "attention_resolutions": draw.sample([1, 2, 4, 8, 16], draw.randint(0, 3)),
        "channel_mult": [draw.choice([1, 2]) for _ in range(1 + seed % 4)],
        "conv_resample": draw.random() < 0.5,
        "num_classes": draw.choice([None, 5]),
        "num_heads": draw.choice([1, 4]),
        "num_head_channels": 16 if by_channels else -1,
        "num_heads_upsample": draw.choice([-1, 2]),
        "use_scale_shift_norm": draw.random() < 0.5,
        "resblock_updown": seed % 2 == 0,
        "use_new_attention_order": draw.random() < 0.5,
    }


def random_weights(config, seed):
    torch.manual_seed(seed)
    unet = perturbed(UNet(UNetPlan(**unet_settings(config))).double(), seed, 0.05)
    return export_unet(unet, new_attention_order=config["use_new_attention_order"])


@pytest.mark.parametrize("seed", range(12))
def test_unet_computes_what_adm_does(seed):
    config = random_config(seed)
    weights = random_weights(config, seed)
    x, time = batch((2, config["in_channels"], 8, 16), torch.float64)
    cond = None if config["num_classes"] is None else torch.tensor([4, 1])
    with torch.inference_mode():
        ours = load_unet(weights, config=config)(x, time, cond)
        theirs = Oracle(weights, config)(x, time, cond)
    assert ours.shape == (2, config["out_channels"], 8, 16)
    assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()
    assert theirs.std() > 0.01


@pytest.mark.parametrize("seed", range(12))
def test_export_and_load_are_inverse(seed):
    config = random_config(seed)
    order = not config["use_new_attention_order"]
    first = load_unet(random_weights(config, seed), config=config)
    config = export_config(first, new_attention_order=order)
    second = load_unet(export_unet(first, new_attention_order=order), config=config)
    assert first.settings.keys() == second.settings.keys()
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, second.get_parameter(name)), name


# names and shapes of published checkpoints


def on_meta(**settings):
    with torch.device("meta"):
        return UNet(UNetPlan(**settings))


def test_published_names_and_shapes():
    names = export_unet(on_meta(**unet_settings(PUBLISHED["64x64_diffusion"].config)))
    shapes = {name: tuple(tensor.shape) for name, tensor in names.items()}
    assert shapes["label_emb.weight"] == (1000, 768)
    assert shapes["input_blocks.4.0.in_layers.2.weight"] == (192, 192, 3, 3)  # a down block
    assert shapes["input_blocks.5.1.qkv.weight"] == (1152, 384, 1)
    assert shapes["output_blocks.3.2.in_layers.2.weight"] == (768, 768, 3, 3)  # an up block
    assert shapes["output_blocks.15.0.skip_connection.weight"] == (192, 384, 1, 1)
    assert shapes["out.2.weight"] == (6, 192, 3, 3)
    assert not any(name.startswith(("output_blocks.16", "input_blocks.16")) for name in shapes)


def test_names_of_separate_resampling_layers():
    unet = on_meta(
        channels=32,
        channel_mult=(1, 2, 4, 4),
        attention_resolutions=(1, 2, 4),
        heads=8,
        resblock_updown=False,
    )
    names = export_unet(unet).keys()
    layers = {name.rsplit(".", 1)[0] for name in names if ".op." in name or ".conv." in name}
    assert layers == {
        "input_blocks.3.0.op",
        "input_blocks.6.0.op",
        "input_blocks.9.0.op",
        "output_blocks.2.1.conv",  # no attention at this level
        "output_blocks.5.2.conv",
        "output_blocks.8.2.conv",
    }


# files, types and mistakes

CONFIG = {
    "image_size": 8,
    "in_channels": 3,
    "model_channels": 32,
    "out_channels": 6,
    "num_res_blocks": 1,
    "attention_resolutions": [2],
    "channel_mult": [1, 2],
    "num_heads": 2,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
    "num_classes": 4,
}


@pytest.fixture(scope="module")
def weights():
    unet = perturbed(small(heads=2, num_classes=4, learned_variance=True))
    return export_unet(unet)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_load_from_a_file(tmp_path, weights, suffix):
    path = tmp_path / f"unet{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    from_file, from_dict = load_unet(path, config=CONFIG), load_unet(weights, config=CONFIG)
    x, time = batch()
    cond = torch.tensor([0, 3])
    assert torch.equal(from_file(x, time, cond), from_dict(x, time, cond))
    assert from_file.settings["learned_variance"]


def test_a_loaded_network_has_tensors_of_its_own(weights):
    before = {name: tensor.clone() for name, tensor in weights.items()}
    perturbed(load_unet(weights, config=CONFIG))
    assert all(torch.equal(weights[name], before[name]) for name in weights)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_type_follows_the_tensors(weights, dtype):
    cast = {name: tensor.to(dtype) for name, tensor in weights.items()}
    unet = load_unet(cast, config=CONFIG)
    assert {parameter.dtype for parameter in unet.parameters()} == {dtype}
    x, time = batch(dtype=dtype)
    assert unet(x, time, torch.tensor([0, 3])).dtype == dtype


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_chanels": 32}, "model_chanels"),
        ({"dims": 3}, "dims is 3"),
        ({"attention_resolutions": "16,8"}, "attention_resolutions is '16,8'"),
        ({"channel_mult": "1,2"}, "channel_mult is '1,2'"),
        ({"num_res_blocks": 0}, "num_res_blocks is 0"),
        ({"num_heads": 5}, "heads is 5"),
    ],
)
def test_a_wrong_config_is_refused(weights, change, words):
    with pytest.raises(PilotageError, match=words):
        load_unet(weights, config={**CONFIG, **change})


def test_an_incomplete_config_is_refused(weights):
    with pytest.raises(PilotageError, match="lacks in_channels, model_channels"):
        load_unet(weights, config={"num_res_blocks": 1, "out_channels": 3})


def test_tensors_that_do_not_fit_are_listed(weights):
    wrong = dict(weights, surplus=torch.zeros(1))
    del wrong["out.0.bias"]
    wrong["out.2.bias"] = torch.zeros(7)
    wrong["out.0.weight"] = torch.ones(32, dtype=torch.int64)
    with pytest.raises(PilotageError) as caught:
        load_unet(wrong, config=CONFIG)
    message = str(caught.value)
    assert "missing: out.0.bias;" in message
    assert "left over: surplus;" in message
    assert "out.2.bias ((7,), not (6,));" in message
    assert "floating type: out.0.weight." in message


class Unwelcome:
    """Prints when it is unpickled."""

    def __reduce__(self):
        return print, ("unpickled",)


def test_files_that_are_not_weights_are_refused(tmp_path, weights, capsys):
    pickled, broken = tmp_path / "evil.pt", tmp_path / "broken.safetensors"
    pickled.write_bytes(pickle.dumps(Unwelcome(), protocol=2))
    broken.write_bytes(b"nothing of the kind")
    held = tmp_path / "list.pt"
    torch.save(list(weights.values()), held)
    other = tmp_path / "unet.ckpt"
    for path in (pickled, broken, held, other, tmp_path / "absent.pt"):
        with pytest.raises(PilotageError, match="weights"):
            load_unet(path, config=CONFIG)
    with pytest.raises(PilotageError, match="other things than tensors, in step"):
        load_unet({**weights, "step": 3}, config=CONFIG)
    assert "unpickled" not in capsys.readouterr().out


# the U-Net


@pytest.mark.parametrize("size", [(27, 33), (8, 8), (5, 2), (1, 1)])
@pytest.mark.parametrize(("updown", "conv"), [(True, True), (False, True), (False, False)])
def test_any_size(size, updown, conv):
    how = {"resblock_updown": updown, "conv_resample": conv, "dropout": 0.1, "norm_groups": 8}
    unet = perturbed(small(channel_mult=(1, 1, 2), **how)).double()
    x, time = batch((2, 3, *size), torch.float64)
    x.requires_grad_()
    out = unet(x, time)
    assert out.shape == x.shape
    alone = torch.cat([unet(x[k : k + 1], time[k : k + 1]) for k in range(2)])
    torch.testing.assert_close(out, alone, msg="an example depends on its neighbours")
    (gradient,) = torch.autograd.grad(out.square().sum(), x)
    assert gradient.abs().min() > 0, "a pixel without effect"


def test_an_odd_edge_is_averaged_over_its_own_pixels():
    x, _ = batch((1, 1, 5, 4))
    expected = torch.stack([x[..., 4, :2].mean(-1), x[..., 4, 2:].mean(-1)], dim=-1)
    assert halve(x).shape == (1, 1, 3, 2)
    torch.testing.assert_close(halve(x)[..., 2, :], expected)
    torch.testing.assert_close(halve(x)[..., :2, :], functional.avg_pool2d(x[..., :4, :], 2))


def test_zero_init_starts_at_zero():
    x, time = batch()
    assert torch.equal(small()(x, time), torch.zeros_like(x))
    assert small(zero_init=False)(x, time).abs().max() > 0


@pytest.mark.parametrize("channels", [None, 5])
def test_learned_variance_doubles_the_channels_behind_the_mean(channels):
    x, time = batch()
    plain = perturbed(small(out_channels=channels))
    both = small(out_channels=channels, learned_variance=True)
    state = both.state_dict()
    for name, tensor in plain.state_dict().items():
        state[name][: len(tensor)] = tensor  # the last layer has more rows, all others as many
    both.load_state_dict(state)
    mean, variance = both(x, time).chunk(2, dim=1)
    torch.testing.assert_close(mean, plain(x, time))
    assert torch.equal(variance, torch.zeros_like(mean)), "its rows still have their zeros"


def test_the_settings_rebuild_the_network():
    unet = small(num_classes=3, null_class=True, learned_variance=True, dropout=0.1)
    twin = UNet(UNetPlan(**json.loads(json.dumps(unet.settings))))
    assert twin.settings == unet.settings
    twin.load_state_dict(unet.state_dict())


@pytest.mark.parametrize("kind", ["unet", "mlp"])
def test_dropping_the_class_changes_the_output_per_example(kind):
    classes = {"num_classes": 3, "null_class": True}
    network = perturbed(small(**classes) if kind == "unet" else MLP(MLPPlan(dim=2, **classes)))
    x, time = batch((2, 3, 8, 8) if kind == "unet" else (2, 2))
    with torch.inference_mode():
        cond = network(x, time, torch.tensor([0, 2]))
        null = network(x, time)
        mixed = network(x, time, torch.tensor([0, network.null]))
    assert network.null == 3
    assert ((cond - null).abs().flatten(1).amax(1) > 1e-3).all()
    torch.testing.assert_close(mixed[0], cond[0])
    torch.testing.assert_close(mixed[1], null[1])


@pytest.mark.parametrize("kind", ["unet", "mlp"])
def test_bfloat16_autocast(kind):
    network = small(num_classes=3) if kind == "unet" else MLP(MLPPlan(dim=2, num_classes=3))
    perturbed(network)
    x, time = batch((2, 3, 8, 8) if kind == "unet" else (2, 2))
    cond = torch.tensor([0, 2])
    with torch.autocast("cpu", torch.bfloat16):
        out = network(x, time, cond)
    assert out.isfinite().all()
    full = network(x, time, cond)
    assert (out - full).abs().max() < 0.1 * full.abs().max()
    out.float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_every_parameter_is_trained():
    network = perturbed(small(num_classes=3, null_class=True))
    x, time = batch()
    network(x, time, torch.tensor([0, 3])).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_timestep_embedding():
    time = torch.tensor([0.0, 250.5])
    emb = timestep_embedding(time, 7)
    assert emb.shape == (2, 7)
    assert emb[0].tolist() == [1, 1, 1, 0, 0, 0, 0]
    frequencies = [10_000 ** (-i / 3) for i in range(3)]
    expected = [math.cos(250.5 * f) for f in frequencies]
    expected += [math.sin(250.5 * f) for f in frequencies]
    torch.testing.assert_close(emb[1, :6], torch.tensor(expected), atol=1e-4, rtol=0)
    exact = timestep_embedding(time, 6, torch.float64)
    assert exact.dtype == torch.float64
    assert 0 < (exact[1] - torch.tensor(expected, dtype=torch.float64)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"channels": 0}, "channels is 0"),
        ({"channels": 32.0}, r"channels is 32.0"),
        ({"in_channels": True}, "in_channels is True"),
        ({"channel_mult": ()}, r"channel_mult is \(\)"),
        ({"channel_mult": (1, -2)}, "channel_mult has -2"),
        ({"channel_mult": (1, 0.3)}, "channel_mult has 0.3"),
        ({"num_res_blocks": 0}, "num_res_blocks is 0"),
        ({"attention_resolutions": 2}, "attention_resolutions is 2"),
        ({"attention_resolutions": (3,)}, "attention_resolutions has 3"),
        ({"head_channels": 24}, "head_channels is 24: it must divide 64"),
        ({"heads": 3}, "heads is 3: it must divide 64"),
        ({"heads": 2, "heads_up": 3}, "heads_up is 3: it must divide 64"),
        ({"heads": 2, "head_channels": 32}, "only one of the two"),
        ({"heads_up": 2}, "heads_up is 2 but heads is None"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"null_class": True}, "null_class is True but num_classes is None"),
        ({"dropout": 1.0}, r"dropout is 1.0"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(PilotageError, match=words):
        small(**settings)


def test_wrong_input_is_refused():
    x, time = batch()
    label = torch.tensor([0, 1])
    for network, call, words in [
        (small(), (x[:, :2], time), r"x has shape \(2, 2, 8, 8\)"),
        (small(), (x, time[:1]), r"time \(1,\)"),
        (small(), (x, time, label), "num_classes=None"),
        (small(num_classes=2), (x, time), "cond is None"),
        (small(num_classes=2), (x, time, label[:1]), r"cond has shape \(1,\)"),
        (MLP(MLPPlan(dim=2)), (x, time), r"must be \(B, 2\)"),
    ]:
        with pytest.raises(PilotageError, match=words):
            network(*call)


# the MLP


def test_mlp():
    x, time = batch((5, 2))
    mlp = perturbed(MLP(MLPPlan(dim=2, hidden=15, num_classes=4, null_class=True)))
    out = mlp(x, time, torch.arange(5))
    assert out.shape == (5, 2)
    alone = [mlp(x[k : k + 1], time[k : k + 1], torch.tensor([k])) for k in range(5)]
    torch.testing.assert_close(out, torch.cat(alone))
    torch.testing.assert_close(out[4:], mlp(x[4:], time[4:]), msg="4 is the null label")
    others = mlp(x + 0.1, time, torch.arange(5)), mlp(x, time + 9, torch.arange(5))
    assert all(((out - other).abs().amax(1) > 1e-4).all() for other in others)
    twin = MLP(MLPPlan(**json.loads(json.dumps(mlp.settings)))).eval()
    twin.load_state_dict(mlp.state_dict())
    assert torch.equal(twin(x, time, torch.arange(5)), out)


def test_an_mlp_with_learned_variance_has_twice_the_outputs():
    x, time = batch((5, 2))
    network = perturbed(MLP(MLPPlan(dim=2, hidden=16, layers=1, learned_variance=True)))
    mean, variance = network(x, time).chunk(2, dim=1)
    assert mean.shape == variance.shape == (5, 2)
    assert (mean - variance).abs().min() > 0


@pytest.mark.parametrize("setting", ["dim", "hidden", "layers"])
def test_mlp_settings(setting):
    with pytest.raises(PilotageError, match=f"{setting} is 0"):
        MLPPlan(**{"dim": 2, setting: 0})
