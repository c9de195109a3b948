"""Generators of the published denoising diffusion GANs as runs."""

import argparse
import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

import pilotage
from helpers import contents
from interop.foreign import import_refused, perturbed, refused, run_import
from pilotage.cli.main import main
from pilotage.diffusion import SeededNoise, ancestral, sample
from pilotage.diffusion.ddgan_levels import FewSteps
from pilotage.diffusion.latent import NetworkGenerator, latent
from pilotage.interop.ddgan.infer import infer_levels
from pilotage.interop.ddgan.published import PUBLISHED_GANS
from pilotage.interop.ddgan.tensors import (
    discriminator_pairs,
    generator_pairs,
    load_discriminator,
    load_generator,
)
from pilotage.interop.imported_run import built_network, imported_data
from pilotage.models.run_folder import IMPORTED, Card
from pilotage.networks.discriminator import Discriminator, DiscriminatorPlan
from pilotage.networks.ncsnpp import NCSNpp
from pilotage.networks.ncsnpp_plan import NCSNppPlan
from pilotage.utils.seeding import derived_seed
from reference.reference import case, state_dict

SMALL = {
    "in_channels": 1,
    "channels": 8,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
    "latent_dim": 6,
    "latent_width": 12,
    "latent_layers": 2,
}
LEFT_OPEN = ["--size", "8", "8", "--steps-T", "4"]


def generator(**settings):
    torch.manual_seed(0)
    return perturbed(NCSNpp(NCSNppPlan(**{**SMALL, **settings})))


def discriminator(**settings):
    torch.manual_seed(1)
    small = {"in_channels": 1, "channels": 4, "time_width": 8}
    return perturbed(Discriminator(DiscriminatorPlan(**{**small, **settings})))


def published(network, pairs):
    """The network's tensors as the published script saves them."""
    parameters = dict(network.named_parameters())
    return {
        f"module.{pair.theirs}": pair.export(parameters[pair.ours]).detach().clone().contiguous()
        for pair in pairs(network)
    }


def saved(path, network, pairs=generator_pairs):
    torch.save(published(network, pairs), path)
    return path


@pytest.fixture
def foreign(tmp_path):
    return saved(tmp_path / "netG_1200.pth", generator())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An imported run with its discriminator; tests must not change it."""
    where = tmp_path_factory.mktemp("foreign")
    files = (
        saved(where / "g.pth", generator()),
        saved(where / "d.pth", discriminator(), discriminator_pairs),
    )
    assert (
        run_import("ddgan", files[0], where / "run", *LEFT_OPEN, "--discriminator", files[1]) == 0
    )
    return where / "run"


OTHERS = {
    "one level": ({"channel_mult": (2,), "attention_resolutions": (1,)}, ()),
    "no attention": ({"attention_resolutions": (), "channel_mult": (1, 3, 1)}, ()),
    "deep": ({"num_res_blocks": 3, "attention_resolutions": (1, 4), "channel_mult": (1, 1, 2)}, ()),
    "no tanh": ({"tanh": False}, ("--network.no-tanh",)),
    "no time": ({"time_features": "none"}, ()),
    "bare": (
        {"fir": False, "skip_rescale": False, "progressive_input": "none", "centered": False},
        ("fir", "skip-rescale", "centered"),
    ),
    "one adaptive norm": (
        {"block": "biggan_one", "progressive_input": "input_skip", "progressive_combine": "cat"},
        ("--network.progressive-combine", "cat"),
    ),
    "ddpm": ({"block": "ddpm", "fir": False, "progressive": "output_skip"}, ("fir",)),
    "ddpm without": (
        {"block": "ddpm", "resample_conv": False, "progressive": "residual"},
        ("resample-conv",),
    ),
}


def flags_of(settings, extra):
    """Options for what the tensors leave open."""
    named = ("block", "progressive", "progressive_input")
    pairs = [(f"--network.{n.replace('_', '-')}", settings[n]) for n in named if n in settings]
    off = [word if word[0] == "-" or word == "cat" else f"--network.no-{word}" for word in extra]
    return [*[word for pair in pairs for word in pair], *off]


@pytest.mark.parametrize("name", OTHERS)
def test_the_card_rebuilds_exactly_the_network(tmp_path, name):
    settings, extra = OTHERS[name]
    theirs = generator(**settings)
    path = saved(tmp_path / "netG_5.pth", theirs)
    assert run_import("ddgan", path, tmp_path / "run", *LEFT_OPEN, *flags_of(settings, extra)) == 0
    run = pilotage.load_run(tmp_path / "run")
    assert run.network.settings == built_network(run.card).settings == theirs.settings
    ours = run.network.state_dict()
    assert ours.keys() == theirs.state_dict().keys()
    assert all(torch.equal(ours[key], tensor) for key, tensor in theirs.state_dict().items())
    z, time, n = torch.randn(3, 1, 8, 8), torch.arange(3), torch.randn(3, 6)
    assert torch.equal(run.network(z, time, n), theirs(z, time, n))


def test_the_folder(folder):
    assert set(contents(folder)) == {
        "recipe.yaml",
        *(f"{name}.safetensors" for name in ("model", "ema", "discriminator")),
    }
    model, ema = (load_file(folder / f"{name}.safetensors") for name in ("model", "ema"))
    assert all(torch.equal(model[name], ema[name]) for name in model.keys() | ema.keys())
    content = yaml.safe_load((folder / "recipe.yaml").read_text())
    assert content["recipe"]["data"] == content["data"]["fingerprint"] == IMPORTED
    assert content["data"]["shape"] == [1, 8, 8]
    assert content["recipe"]["discriminator"]["channels"] == 4


@pytest.mark.parametrize("rates", [(0.1, 20.0, False), (0.02, 0.9, True)])
def test_sampling_is_the_published_loop(foreign, tmp_path, rates):
    low, high, geometric = rates
    flags = ["--size", "8", "12", "--steps-T", "3", "--beta-min", low, "--beta-max", high]
    assert run_import("ddgan", foreign, tmp_path / "run", *flags, *["--geometric"] * geometric) == 0
    found = pilotage.load_run(tmp_path / "run").sample(seeds=range(4))

    steps, seeds = FewSteps(3, low, high, geometric), range(4)
    noise = SeededNoise(seeds, (1, 8, 12))
    own = SeededNoise([derived_seed(seed, "latent") % 2**32 for seed in seeds], (6,))
    config = infer_levels(state_dict_of(foreign), resampling_blocks=True)
    network = load_generator(foreign, config).requires_grad_(False)
    draw = latent(NetworkGenerator(network, "x", steps.time), own)
    *_, last = sample(draw, next(noise), steps.lams, ancestral(v=0), None, noise)
    assert found.shape == (4, 1, 8, 12)
    assert torch.equal(found, last.z)


def state_dict_of(path):
    tensors = torch.load(path, weights_only=True)
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def test_the_command_samples_it(folder, tmp_path):
    out = tmp_path / "s.npz"
    assert main(["sample", str(folder), "--seeds", "0:4", "--out", str(out)]) == 0
    record = json.loads((tmp_path / "s.npz.json").read_text())
    assert record["steps"] == 4


def test_recorded_tensors_become_a_run_that_draws_what_was_recorded(tmp_path):
    facts, tensors = case("ddgan")
    save_file(state_dict(tensors, "netG"), tmp_path / "netG.safetensors")
    save_file(state_dict(tensors, "netD"), tmp_path / "netD.safetensors")
    flags = ["--size", "16", "16", "--steps-T", facts["num_timesteps"]]
    flags += ["--discriminator", tmp_path / "netD.safetensors"]
    assert run_import("ddgan", tmp_path / "netG.safetensors", tmp_path / "run", *flags) == 0
    run = pilotage.load_run(tmp_path / "run")
    x, z = tensors["out/f32/q_pairs_x_tp1"], tensors["in/z_D"]
    drawn = run.network(x, tensors["in/t"], z)
    torch.testing.assert_close(drawn, tensors["out/f32/generator"], rtol=1e-5, atol=1e-5)
    config = facts["config_D"]
    theirs = load_discriminator(state_dict(tensors, "netD"), config).state_dict()
    kept = load_file(tmp_path / "run" / "discriminator.safetensors")
    assert theirs.keys() == kept.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in theirs.items())


def test_training_continues_with_labelled_images_and_the_given_discriminator(folder, tmp_path):
    for k, name in enumerate(("ant", "bee")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(8):
            pixels = np.random.default_rng(8 * k + i).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    out = tmp_path / "on"
    start = ["train", "--from", folder, "--data", tmp_path / "data", "--out", out]
    how = ["--batch-size", 4, "--steps", 2, "--log-every", 1]
    small = ["--learning-rate", 1e-6, "--warmup-steps", 0]
    assert main([str(word) for word in (*start, *how, *small)]) == 0
    run = pilotage.load_run(out)
    assert run.card.recipe.p_uncond == 1
    assert run.classes == ()
    assert run.card.data.classes == ("ant", "bee")
    assert run.step == 2
    for name in ("model", "discriminator"):
        before, after = (load_file(where / f"{name}.safetensors") for where in (folder, out))
        assert before.keys() == after.keys()
        moved = [(after[key] - before[key]).abs().max().item() for key in before]
        assert 0 < max(moved) < 1e-5, name  # from the given weights, by two small steps
    assert run.sample(seeds=range(2)).shape == (2, 1, 8, 8)


def test_no_images_no_training(folder, tmp_path, capsys):
    said = refused(capsys, "train", "--from", folder, "--out", tmp_path / "x")
    assert "imported without any images" in said


@pytest.mark.parametrize(
    ("name", "millions"), [("cifar10", 48.4), ("celeba_256", 39.7), ("lsun", 39.7)]
)
def test_presets(name, millions):
    recipe = PUBLISHED_GANS[name]
    with torch.device("meta"):
        network = built_network(Card(recipe, imported_data((3, *recipe.size))))
        tensors = published(network, generator_pairs)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(millions * 1e6, rel=2e-3)
    bare = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    levels = infer_levels(bare, resampling_blocks=True)
    assert levels["ch_mult"] == list(recipe.network.channel_mult)
    assert levels["num_res_blocks"] == 2
    rates = [levels["image_size"] // size for size in levels["attn_resolutions"]]
    assert rates == list(recipe.network.attention_resolutions) == [recipe.size[0] // 16]


def test_a_preset_decides_all(tmp_path, monkeypatch):
    tiny = PUBLISHED_GANS["celeba_256"].network.replace(
        channels=8, latent_dim=6, latent_width=12, num_res_blocks=1
    )
    recipe = PUBLISHED_GANS["celeba_256"].replace(network=tiny)
    monkeypatch.setitem(PUBLISHED_GANS, "celeba_256", recipe)
    mult = {"channel_mult": (1, 1, 2, 2, 4, 4), "attention_resolutions": (16,), "in_channels": 3}
    path = saved(tmp_path / "netG_550.pth", generator(**mult, latent_layers=3))
    assert run_import("ddgan", path, tmp_path / "run", "--preset", "celeba_256") == 0
    run = pilotage.load_run(tmp_path / "run")
    assert run.card.recipe == recipe
    assert run.resolve().steps == 2
    assert run.shape == (3, 256, 256)


def content(path):
    torch.save({"args": argparse.Namespace(nz=100), "netG_dict": {}, "epoch": 3}, path)
    return path


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (LEFT_OPEN[:3], "steps_T is missing"),
        (LEFT_OPEN[3:], "size is missing"),
        (["--size", "8", "9", "--steps-T", "4"], "must be multiples of 2"),
        ([*LEFT_OPEN, "--geometric"], "beta_max is 20.0"),
        ([*LEFT_OPEN, "--preset", "imagenet"], "preset is 'imagenet'"),
        (["--preset", "cifar10", "--steps-T", "2"], "steps_T is 2: it must be left out or 4"),
        (["--preset", "cifar10"], "preset is cifar10: channels must be 128"),
        ([*LEFT_OPEN, "--network.block", "ddpm"], "residual blocks"),
        ([*LEFT_OPEN, "--network.no-fir"], "weights do not fit"),
    ],
)
def test_options_that_are_missing_or_wrong(foreign, tmp_path, capsys, flags, words):
    out = tmp_path / "x"
    assert words in import_refused(capsys, "ddgan", foreign, out, *flags)
    assert [path.name for path in tmp_path.iterdir()] == [foreign.name]


def test_files_that_are_no_generator(tmp_path, capsys, foreign):
    def said_of(checkpoint, *flags):
        return import_refused(capsys, "ddgan", checkpoint, tmp_path / "x", *LEFT_OPEN, *flags)

    said = said_of(content(tmp_path / "content.pth"))
    assert "not unpickled; give netG_*.pth" in said
    said = said_of(foreign, "--discriminator", tmp_path / "content.pth")
    assert "discriminator is" in said
    assert "netD_dict" in said
    assert "no such file" in said_of(tmp_path / "none.pth")
    other = saved(tmp_path / "netD.pth", discriminator(in_channels=3), discriminator_pairs)
    assert "no first convolution" in said_of(other)
    said = said_of(foreign, "--discriminator", other)
    assert "it must be of images of 1 channels, as the generator, and is of 3" in said
    fourier = saved(tmp_path / "f.pth", generator(time_features="fourier"))
    assert "logarithm of the time" in said_of(fourier)
    tensors = torch.load(foreign, weights_only=True)
    del tensors["module.z_transform.3.bias"]
    torch.save(tensors | {"module.surplus": torch.zeros(1)}, tmp_path / "t.pth")
    said = said_of(tmp_path / "t.pth")
    assert "missing: z_transform.3.bias; left over: surplus." in said
    assert not (tmp_path / "x").exists()


def test_nothing_is_overwritten(foreign, folder, capsys):
    before = contents(folder)
    said = import_refused(capsys, "ddgan", foreign, folder, *LEFT_OPEN)
    assert "nothing is overwritten" in said
    assert contents(folder) == before


def test_a_generator_has_no_place_in_another_layout(folder, tmp_path, capsys):
    said = refused(capsys, "export", "adm", folder, tmp_path / "x.safetensors")
    assert "its network is a NCSNpp" in said
    assert not (tmp_path / "x.safetensors").exists()
