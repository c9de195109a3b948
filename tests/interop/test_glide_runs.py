"""GLIDE's networks as runs on captions."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import pre_tokenizers

from helpers import contents
from interop.foreign import import_refused, perturbed, refused, run_import
from pilotage import load_run
from pilotage.cli.main import main
from pilotage.conditions import Tokens, load_space
from pilotage.diffusion import (
    NetworkDenoiser,
    SeededNoise,
    Timesteps,
    ancestral,
    classifier_free,
    clip_x,
    sample,
)
from pilotage.interop.adm.diffusion import network_time
from pilotage.interop.glide.infer import text_unet_settings
from pilotage.interop.glide.published import PUBLISHED_FLAGS, PUBLISHED_GLIDE
from pilotage.interop.glide.tensors import export_text_unet, load_text_unet, text_unet_pairs
from pilotage.interop.glide.tokenizer import glide_tokenizer
from pilotage.interop.imported_run import built_network, imported_data
from pilotage.models.run_folder import IMPORTED, Card
from pilotage.networks.text_unet import TextUNet, TextUNetPlan
from reference.reference import case
from reference.reference import folder as reference_folder

WORDS = {"re": 256, "red": 257, "<|endoftext|>": 258}
SMALL = {
    "vocabulary": 259,
    "context": 6,
    "text_width": 8,
    "text_layers": 1,
    "text_heads": 2,
    "learned_variance": True,
    "channels": 8,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
    "head_channels": 8,
    "dropout": 0.1,
}
FLAGS = ["--head-channels", 8, "--text-heads", 2, "--dropout", 0.1]
KINDS = {
    "base": ({}, ["--size", 8, 8]),
    "upsample": ({"low_res": True}, ["--size", 16, 16, "--low-res", 8, 8]),
    "base-inpaint": ({"inpaint": True}, ["--size", 8, 8]),
    "upsample-inpaint": (
        {"low_res": True, "inpaint": True},
        ["--size", 16, 16, "--low-res", 8, 8],
    ),
}


def network(**settings):
    torch.manual_seed(0)
    return perturbed(TextUNet(TextUNetPlan(**{**SMALL, **settings})))


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    """A folder with the two files of a tokenizer."""
    folder = tmp_path_factory.mktemp("glide")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {token: number for number, token in enumerate(alphabet)} | WORDS
    (folder / "encoder.json").write_text(json.dumps(ids), encoding="utf-8")
    (folder / "vocab.bpe").write_text("#version: 0.2\nr e\nre d\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tokens(where):
    return ["--vocabulary", where / "encoder.json", "--merges", where / "vocab.bpe"]


@pytest.fixture(scope="module")
def runs(where, tokens):
    """An imported run of each kind, and what it was made of; tests must not change them."""
    found = {}
    for kind, (settings, flags) in KINDS.items():
        path = where / f"{kind}.safetensors"
        save_file(export_text_unet(network(**settings)), path)
        assert run_import("glide", path, where / "runs" / kind, *tokens, *flags, *FLAGS) == 0
        found[kind] = where / "runs" / kind
    return found


# --- the folder ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_card_rebuilds_exactly_the_network(runs, where, kind):
    theirs = load_text_unet(
        where / f"{kind}.safetensors", head_channels=8, text_heads=2, dropout=0.1
    )
    run = load_run(runs[kind])
    assert run.network.settings == theirs.settings
    ours = run.network.state_dict()
    assert ours.keys() == theirs.state_dict().keys()
    assert all(torch.equal(ours[key], tensor) for key, tensor in theirs.state_dict().items())
    side = 16 if "upsample" in kind else 8
    cond = run.space.collate(["a red", ""])
    if "upsample" in kind:
        cond = cond._replace(low_res=torch.randn(2, 3, 8, 8))
    if "inpaint" in kind:
        mask = torch.rand(2, 1, side, side).round()
        cond = cond._replace(known=torch.randn(2, 3, side, side), known_mask=mask)
    x, time = torch.randn(2, 3, side, side), torch.tensor([3.0, 999.0])
    theirs.requires_grad_(False)
    assert torch.equal(run.network(x, time, cond), theirs(x, time, cond))


def test_what_the_card_says(runs):
    cards = {kind: load_run(folder).card for kind, folder in runs.items()}
    for kind, card in cards.items():
        enlarges = "upsample" in kind
        recipe = card.recipe
        assert recipe.data == recipe.tokenizer == card.data.fingerprint == IMPORTED
        assert (recipe.schedule, recipe.timesteps) == ("linear" if enlarges else "cosine", 1000)
        assert (recipe.predicts, recipe.objective) == ("eps", "hybrid")
        assert (recipe.low_res, recipe.p_uncond) == ((8, 8), 0) if enlarges else (None, 0.2)
        assert recipe.inpaint == ("inpaint" in kind)
        assert card.data.shape == ((3, 16, 16) if enlarges else (3, 8, 8))
        assert (card.data.vocabulary, recipe.context) == (259, 6)
    assert len({card.data.tokenizer for card in cards.values()}) == 1


def test_the_folder(runs):
    assert set(contents(runs["base"])) == {
        "recipe.yaml",
        *(f"{name}.safetensors" for name in ("model", "ema")),
        *(f"conditions/{name}.json" for name in ("condition", "tokenizer")),
    }
    model, ema = (load_file(runs["base"] / f"{name}.safetensors") for name in ("model", "ema"))
    assert all(torch.equal(model[name], ema[name]) for name in model.keys() | ema.keys())


def test_other_weights_and_options(where, tokens, tmp_path):
    """Half precision, no learned variance, heads by count, one channel, another schedule."""
    torch.manual_seed(1)
    settings = {"in_channels": 1, "learned_variance": False, "head_channels": None, "heads": 2}
    theirs = network(**settings, heads_up=4, final_norm=False, resblock_updown=False)
    tensors = {name: tensor.half() for name, tensor in export_text_unet(theirs).items()}
    torch.save(tensors, tmp_path / "w.pt")
    flags = ["--size", 8, 12, "--heads", 2, "--heads-up", 4, "--text-heads", 2]
    more = ["--schedule", "linear", "--timesteps", 50, "--p-uncond", 0.5]
    assert run_import("glide", tmp_path / "w.pt", tmp_path / "run", *tokens, *flags, *more) == 0
    run = load_run(tmp_path / "run")
    assert run.shape == (1, 8, 12)
    assert (run.card.recipe.objective, run.card.recipe.p_uncond) == ("simple", 0.5)
    assert run.schedule == Timesteps("linear", 50)
    assert run.network.settings == {**theirs.settings, "dropout": 0.0}
    assert {p.dtype for p in run.network.parameters()} == {torch.float32}


# --- captions ------------------------------------------------------------------------------------


def test_captions_become_the_tokens_of_glide(tmp_path):
    files = [
        reference_folder() / "glide_tokenizer" / n for n in ("encoder.json.gz", "vocab.bpe.gz")
    ]
    facts, tensors = case("glide_text2im")
    if not all(path.is_file() for path in files):
        pytest.skip(f"no vocabulary {files[0].parent}")
    Tokens(glide_tokenizer(*files)).save(tmp_path)
    space = load_space(tmp_path)
    captions = facts["tokenizer"]["captions"]
    for entry in captions:
        ours = space.tokenizer.ids(entry["caption"])
        assert (len(ours), ours[: len(entry["tokens"])]) == (entry["n_tokens"], entry["tokens"])
    with pytest.warns(UserWarning, match="2 of 12 captions are longer than 128 tokens"):
        batch = space.collate([entry["caption"] for entry in captions])
    assert torch.equal(batch.tokens, tensors["tokenizer/padded_tokens"])
    assert torch.equal(batch.mask, tensors["tokenizer/mask"].bool())
    assert (space.tokenizer.end, space.tokenizer.size) == (50256, 50257)


def test_small_letters_are_those_of_unicode(where):
    ids = glide_tokenizer(where / "encoder.json", where / "vocab.bpe").ids
    for caption in ("ΟΔΟΣ ΣΑΣ. Σ", "A.Σ'", "ΌΣ\u0301Σ", "İ É", "<|ENDOFTEXT|>"):
        assert ids(caption) == ids(caption.lower())
        assert WORDS["<|endoftext|>"] not in ids(caption)
    assert ids("Σ") != ids("Σ.Α ΑΣ")[-2:] == ids("ς")


# --- what the runs can do ------------------------------------------------------------------------


def test_the_network_takes_timesteps(runs):
    for kind in ("base", "upsample"):
        run = load_run(runs[kind])
        for lams in (run.schedule.lams, run.schedule.lams.float()):
            assert torch.equal(run.denoiser.time(lams), torch.arange(1000).to(lams))


def test_sampling_is_the_published_loop(runs, where):
    run = load_run(runs["base"])
    found = run.sample(["a red", "Ants"], seeds=range(3), guidance_scale=3, steps="3,2,2")
    schedule = Timesteps("cosine", 1000)
    theirs = load_text_unet(where / "base.safetensors", head_channels=8, text_heads=2)
    theirs.requires_grad_(False)
    cond = run.space.collate(["a red", "Ants", "a red"])
    denoise = NetworkDenoiser(theirs, "eps", network_time(schedule))
    guide = clip_x(classifier_free(denoise, 2.0, null=theirs.empty(1)))
    noise = SeededNoise(range(3), (3, 8, 8))
    lams = schedule.grid("3,2,2")
    *_, last = sample(guide, next(noise), lams, ancestral("learned"), cond, noise)
    torch.testing.assert_close(found, last.z, rtol=1e-5, atol=1e-5)
    assert found.std() > 0.1


def test_the_published_spacing_has_a_name(runs):
    run = load_run(runs["upsample"])
    plain, published = run.levels("10,10,3,2,2"), run.levels("fast27")
    assert torch.equal(published[1:], plain[1:])
    assert plain[0] < published[0] == run.schedule.lams[997]


def test_the_commands_sample_and_complete(runs, tmp_path):
    how = ["--steps", "2", "--seeds", "0:2"]
    prompt = ["--prompt", "a red", "--guidance-scale", "3"]
    out = tmp_path / "a.npz"
    assert main(["sample", str(runs["base"]), *prompt, *how, "--out", str(out)]) == 0
    assert np.load(out)["images"].shape == (2, 8, 8, 3)

    cascade = ["--cascade", str(runs["base"]), str(runs["upsample"])]
    out = tmp_path / "b.npz"
    up = ["--up-sampler", "ddim", "--up-steps", "fast27"]
    assert main(["sample", *cascade, *prompt, *how, *up, "--out", str(out)]) == 0
    assert np.load(out)["images"].shape == (2, 16, 16, 3)

    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    given = ["--image", str(tmp_path / "image.png"), "--mask", str(tmp_path / "mask.png")]
    out = tmp_path / "c.npz"
    command = ["inpaint", str(runs["base-inpaint"]), *given, *prompt, *how, "--out", str(out)]
    assert main(command) == 0
    assert np.load(out)["images"].shape == (2, 8, 8, 3)


def test_enlarging_reacts_to_all_that_it_is_given(runs):
    run = load_run(runs["upsample-inpaint"])
    torch.manual_seed(0)
    low, known = torch.rand(1, 3, 8, 8) * 2 - 1, torch.rand(1, 3, 16, 16) * 2 - 1
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1
    how = {"seeds": [1], "steps": 3}
    given = {"low_res": low, "known": known, "known_mask": mask}
    whole = run.sample("red", **given, **how)
    others = ({"low_res": -low}, {"known": -known}, {"known_mask": 1 - mask})
    for other in others:
        assert not torch.allclose(run.sample("red", **{**given, **other}, **how), whole)
    assert not torch.allclose(run.sample("ant", **given, **how), whole)


# --- training on ---------------------------------------------------------------------------------


@pytest.fixture
def nothing_shown(monkeypatch):
    """The grids of a run that trains take most of the time of these short trainings."""
    from pilotage.training.callbacks import CaptionGrids

    monkeypatch.setattr(CaptionGrids, "measure", lambda self, training: None)


def captioned(folder, texts):
    folder.mkdir()
    for k, text in enumerate(texts):
        pixels = np.random.default_rng(k).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
        (folder / f"{k}.txt").write_text(text, encoding="utf-8")
    return folder


def train_on(source, out, *flags):
    how = ["--batch-size", 2, "--steps", 1, "--warmup-steps", 0, "--learning-rate", 1e-6]
    command = ["train", "--from", source, "--out", out, *how, "--held-out", 0, *flags]
    return main([str(word) for word in command])


def test_training_continues_with_its_own_tokenizer(runs, tmp_path, nothing_shown):
    kind = "upsample-inpaint"
    data = captioned(tmp_path / "data", ["a cat", "Red", ""])
    out = tmp_path / "on"
    assert train_on(runs[kind], out, "--data", data) == 0
    before, after = contents(runs[kind]), contents(out)
    for name in ("condition", "tokenizer"):
        assert after[f"conditions/{name}.json"] == before[f"conditions/{name}.json"]
    run, source = load_run(out), load_run(runs[kind])
    assert run.step == 1
    assert run.card.data.tokenizer == source.card.data.tokenizer
    old, new = source.network.state_dict(), run.network.state_dict()
    moved = [(new[name] - old[name]).abs().max().item() for name in old]
    assert 0 < max(moved) < 1e-5  # from the given weights, by a small step


def test_an_ordinary_run_keeps_its_tokenizer_too(tmp_path, nothing_shown, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    flags = ["--network.channels", 8, "--network.channel-mult", 1, "--network.text-width", 8]
    flags += ["--network.text-layers", 1, "--network.num-res-blocks", 1, "--context", 5]
    flags += ["--network.attention-resolutions", 1, "--network.head-channels", 8]
    flags += ["--batch-size", 2, "--steps", 1, "--held-out", 0, "--size", 8, 8, "--precision", "no"]
    data = captioned(tmp_path / "data", ["an owl an owl", "an owl"])
    command = ["train", "captioned", "--data", data, "--out", first, *flags]
    assert main([str(word) for word in command]) == 0
    # as many tokens, of other captions
    other = captioned(tmp_path / "other", ["a cat a cat a cat", "a cat"])
    assert train_on(first, second, "--data", other) == 0
    tokenizers = [contents(out)["conditions/tokenizer.json"] for out in (first, second)]
    assert tokenizers[0] == tokenizers[1]
    assert load_run(second).card.data.fingerprint != load_run(first).card.data.fingerprint

    third = tmp_path / "third"
    for flag, value, known in (("context", 6, 5), ("tokenizer", "t.json", "'bpe'")):
        flags = ["--data", other, "--out", third, f"--{flag}", value]
        said = refused(capsys, "train", "--from", first, *flags)
        assert f"{flag} is {value!r}: it must be {known}, as in {first}" in said
    assert not third.exists()


def test_what_cannot_be_trained_from(runs, tmp_path, capsys):
    out = tmp_path / "x"
    said = refused(capsys, "train", "--from", runs["base"], "--out", out)
    assert "imported without any images" in said
    data = captioned(tmp_path / "data", ["a"])
    command = ["train", "captioned", "--data", data, "--out", out, "--precision", "no"]
    assert "there is no such folder" in refused(capsys, *command, "--start-from", tmp_path / "none")
    said = refused(capsys, *command, "--start-from", runs["base"])
    assert "tokenizer is 'bpe': it must be 'imported'" in said
    said = refused(capsys, *command, "--tokenizer", "imported")
    assert "must be bpe, or an existing tokenizer.json" in said
    assert not out.exists()


# --- presets -------------------------------------------------------------------------------------


# the first two are what the published notebooks print; what is known has 4 channels of 3 x 3 more
SIZES = {
    "base": 385_030_726,
    "upsample": 398_361_286,
    "base-inpaint": 385_030_726 + 4 * 9 * 192,
    "upsample-inpaint": 398_361_286 + 4 * 9 * 192,
}


@pytest.mark.parametrize("name", SIZES)
def test_presets(name):
    recipe = PUBLISHED_GLIDE[name]
    data = imported_data((3, *recipe.size), vocabulary=recipe.vocabulary)
    with torch.device("meta"):
        made = built_network(Card(recipe, data))
        own = dict(made.named_parameters())
        tensors = {pair.theirs: pair.export(own[pair.ours]) for pair in text_unet_pairs(made)}
    assert sum(p.numel() for p in made.parameters()) == SIZES[name]
    found = text_unet_settings(tensors, **PUBLISHED_FLAGS)
    assert {**made.settings, **found} == made.settings


@pytest.fixture
def tiny_preset(monkeypatch):
    recipe = PUBLISHED_GLIDE["base"]
    network = recipe.network.replace(
        channels=8,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(2,),
        head_channels=8,
        text_width=8,
        text_layers=1,
        text_heads=2,
    )
    recipe = recipe.replace(network=network, vocabulary=259, context=6)
    monkeypatch.setitem(PUBLISHED_GLIDE, "base", recipe)
    return recipe


def test_a_preset_decides_all(runs, where, tokens, tmp_path, tiny_preset, capsys):
    flags = [*tokens, "--preset", "base"]
    assert run_import("glide", where / "base.safetensors", tmp_path / "run", *flags) == 0
    assert "a denoiser, on captions, (3, 64, 64)" in capsys.readouterr().out
    run = load_run(tmp_path / "run")
    assert run.card.recipe == tiny_preset
    assert run.network.settings == load_run(runs["base"]).network.settings


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "flags", "words"),
    [
        ("base", FLAGS, "size is missing"),
        ("base", ["--size", 8, 8, *FLAGS[2:]], "heads and head_channels are both None"),
        ("base", ["--size", 8, 8, *FLAGS[:2]], "text_heads is None"),
        ("base", ["--size", 8, 8, *FLAGS[:3], 3], "text_heads is 3: it must divide 8"),
        ("base", ["--size", 8, 8, *FLAGS, "--low-res", 4, 4], "the network is no upsampler"),
        ("upsample", ["--size", 8, 8, *FLAGS], "low_res is missing"),
        ("upsample", ["--size", 8, 8, *FLAGS, "--low-res", 3, 4], "low_res is (3, 4): it must"),
        ("upsample", ["--size", 8, 8, *FLAGS, "--low-res", 8, 8], "low_res must be the smaller"),
        ("base", ["--size", 8, 8, *FLAGS, "--in-channels", 2], "3 input channels"),
        (
            "base",
            ["--size", 8, 8, *FLAGS, "--schedule", "linear", "--timesteps", 9],
            "timesteps is 9",
        ),
        ("base", ["--preset", "large"], "preset is 'large': it must be one of base, upsample"),
        (
            "base",
            ["--preset", "base", "--size", 32, 32],
            "it must be left out or (64, 64), as in the preset base",
        ),
        ("upsample", ["--preset", "base"], "preset is base: low_res must be False, and is True"),
    ],
)
def test_options_that_are_missing_or_wrong(
    runs, where, tokens, tmp_path, capsys, tiny_preset, kind, flags, words
):
    checkpoint = where / f"{kind}.safetensors"
    assert words in import_refused(capsys, "glide", checkpoint, tmp_path / "x", *tokens, *flags)
    assert not list(tmp_path.iterdir())


def test_files_that_are_none_of_glide(runs, where, tokens, tmp_path, capsys):
    base, ids, merges = where / "base.safetensors", tmp_path / "few.json", tmp_path / "few.bpe"

    def said_of(checkpoint, *flags):
        flags = ["--size", 8, 8, *FLAGS, *flags]
        return import_refused(capsys, "glide", checkpoint, tmp_path / "x", *flags)

    assert "vocabulary is missing" in said_of(base, *tokens[2:])
    assert "no such file" in said_of(base, "--vocabulary", where / "none", *tokens[2:])
    ids.write_text(json.dumps({"a": 0, "r": 1, "d": 2}))
    merges.write_text("r e\n")
    few = ["--vocabulary", ids, "--merges", merges]
    assert "it must be that of the vocabulary" in said_of(base, *few)
    ids.write_text(json.dumps({"a": 0, "r": 1, "e": 2, "re": 3}))
    assert "it has 5 ids, and must have 259 for the checkpoint's network" in said_of(base, *few)
    assert "no such file" in said_of(tmp_path / "no.pt", *tokens)
    tensors = load_file(base)
    del tensors["final_ln.bias"]
    save_file(tensors, tmp_path / "t.safetensors")
    assert "missing: final_ln.bias" in said_of(tmp_path / "t.safetensors", *tokens)
    odd = network(out_channels=5, learned_variance=False)
    save_file(export_text_unet(odd), tmp_path / "odd.safetensors")
    said = said_of(tmp_path / "odd.safetensors", *tokens, "--in-channels", 3)
    assert "must be a denoiser, and has 5 output channels for images of 3" in said
    assert not (tmp_path / "x").exists()


def test_nothing_is_overwritten(runs, where, tokens, capsys):
    before = contents(runs["base"])
    flags = [*tokens, "--size", 8, 8, *FLAGS]
    said = import_refused(capsys, "glide", where / "base.safetensors", runs["base"], *flags)
    assert "nothing is overwritten" in said
    assert contents(runs["base"]) == before
