"""Runs on captions: trained, resumed, sampled, enlarged and completed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import contents
from pilotage import load_run
from pilotage.cli.main import main
from pilotage.conditions import ByteLevelBPE
from pilotage.errors import PilotageError
from pilotage.models.run_folder import state_folder
from pilotage.objectives.conditioned import known_mask, shrunk
from pilotage.settings import LikelihoodSettings
from pilotage.tasks.inpaint import read_mask
from pilotage.tasks.likelihood import likelihood
from pilotage.utils.seeding import derived_seed

TINY_TEXT = [
    *("--network.channels", "8", "--network.channel-mult", "1", "2"),
    *("--network.num-res-blocks", "1", "--network.head-channels", "8"),
    *("--network.text-width", "8", "--network.text-layers", "1", "--network.text-heads", "2"),
    *("--network.norm-groups", "4", "--batch-size", "4", "--warmup-steps", "2"),
    *("--log-every", "1", "--sample-every", "1000", "--decay", "none"),
]


def train_text(out, *flags, preset="shapes-small", steps=2):
    how = ["--out", str(out), "--steps", str(steps)]
    return main(["train", preset, *how, *TINY_TEXT, *flags])


@pytest.fixture(scope="module", autouse=True)
def few_shown():
    """The grids of a run that trains are not what is tested here; they take half of the time."""
    from pilotage.training import callbacks as captions

    before = captions.COLUMNS, captions.ROWS
    captions.COLUMNS, captions.ROWS = 2, 1
    yield
    captions.COLUMNS, captions.ROWS = before


@pytest.fixture(scope="module")
def tiny_text(tmp_path_factory, few_shown):
    folder = tmp_path_factory.mktemp("runs") / "text"
    assert train_text(folder, "--learning-rate", "1e-2", steps=4) == 0
    return folder


@pytest.fixture(scope="module")
def tiny_up(tmp_path_factory, few_shown):
    folder = tmp_path_factory.mktemp("runs") / "up"
    flags = ["--size", "32", "32", "--low-res", "16", "16", "--learning-rate", "1e-2"]
    assert train_text(folder, *flags, steps=4) == 0
    return folder


def captioned(folder, count=12):
    """Odd-sized images with captions of several alphabets, one empty, one missing."""
    folder.mkdir()
    texts = ["a cat 🐈", "猫が一匹", "cafe\u0301 au lait", "", "ein Straßenschild", "a red square"]
    rng = np.random.default_rng(0)
    for k in range(count):
        pixels = rng.integers(0, 255, (20 + k, 37 - 2 * k, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
        if k != 7:
            (folder / f"{k}.txt").write_text(texts[k % len(texts)], encoding="utf-8")
    return folder


def test_a_captioned_folder_trains_and_samples(tmp_path, capsys):
    data = captioned(tmp_path / "data")
    out = tmp_path / "run"
    flags = ["--data", str(data), "--size", "16", "16", "--held-out", "0", "--context", "6"]
    flags += ["--precision", "no"]
    assert train_text(out, *flags, preset="captioned", steps=2) == 0
    said = capsys.readouterr().err
    assert "no caption for 7.png" in said
    assert "1 of 6 captions is longer than 6 tokens" in said
    files = contents(out)
    assert "conditions/tokenizer.json" in files
    samples = ["--prompt", "猫が一匹", "", "--seeds", "0:4", "--steps", "2", "--w", "2"]
    assert main(["sample", str(out), *samples, "--out", str(tmp_path / "a.npz")]) == 0
    made = np.load(tmp_path / "a.npz")
    assert made["images"].shape == (4, 16, 16, 3)
    assert made["captions"].tolist() == ["猫が一匹", "", "猫が一匹", ""]
    assert json.loads((tmp_path / "a.npz.json").read_text())["w"] == 2


def test_stopped_and_continued_equals_uninterrupted(tmp_path):
    flags = ["--checkpoint-every", "2", "--inpaint"]
    assert train_text(tmp_path / "whole", *flags, steps=4) == 0
    assert train_text(tmp_path / "parts", *flags, steps=2) == 0
    assert train_text(tmp_path / "parts", *flags, steps=4) == 0
    states = [contents(state_folder(tmp_path / name, 4)) for name in ("whole", "parts")]
    assert states[0] == states[1]


def test_samples_belong_to_seeds_and_captions(tiny_text):
    run = load_run(tiny_text)
    captions = ["a small red circle", "two large blue squares"]
    how = {"w": 1.5, "steps": 3, "negative": "green"}
    together = run.sample(captions, seeds=range(6), **how)
    torch.testing.assert_close(run.sample(captions, seeds=range(6), batch_size=4, **how), together)
    torch.testing.assert_close(run.sample(captions[1], seeds=[3], **how), together[3:4])
    assert not torch.equal(run.sample(captions[0], seeds=[3], **how), together[3:4])


def test_the_empty_caption_is_the_unconditional_model(tiny_text):
    run, how = load_run(tiny_text), {"seeds": range(3), "steps": 3}
    free = run.sample("a small red circle", w=-1, **how)
    torch.testing.assert_close(run.sample("", w=3, **how), run.sample("", w=0, **how))
    torch.testing.assert_close(run.sample("", **how), free)
    assert not torch.allclose(run.sample("a small red circle", **how), free)


def test_a_negative_caption_takes_the_place_of_the_empty_one(tiny_text):
    run, how = load_run(tiny_text), {"seeds": range(3), "steps": 3}
    asked = "a small red circle"
    plain = run.sample(asked, **how)
    torch.testing.assert_close(run.sample(asked, negative=asked, w=4, **how), plain)
    away = run.sample(asked, negative="a large blue square", w=4, **how)
    assert not torch.allclose(away, run.sample(asked, w=4, **how))


def test_text_is_encoded_once_and_a_guided_step_is_one_call(tiny_text):
    run = load_run(tiny_text)
    texts, calls = [], []
    run.network.text.register_forward_hook(lambda *_: texts.append(1))
    run.network.stem.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    captions = ["a small red circle", "two large blue squares"]
    run.sample(captions, seeds=range(6), w=2, steps=5, batch_size=3)
    assert len(texts) == 1
    assert calls == [6] * 10, "two batches of three, conditional and unconditional in one call"


def test_prompts_of_a_file_go_on_where_they_were(tiny_text, tmp_path, capsys):
    prompts, out = tmp_path / "prompts.txt", tmp_path / "images"
    prompts.write_text("a small red circle\n\ntwo large blue squares\na green circle\n")
    command = ["sample", str(tiny_text), "--prompts", str(prompts), "--steps", "2"]
    assert main([*command, "--out", str(out)]) == 0
    before = contents(out)
    assert len(before) == 4
    (out / "000001-seed1.png").unlink()
    assert main([*command, "--out", str(out)]) == 0
    assert "3 images" in capsys.readouterr().out
    assert contents(out) == before, "the missing one, bit by bit, and nothing else"
    assert main([*command, "--w", "2", "--out", str(out)]) == 2
    assert "were sampled with other settings" in capsys.readouterr().err
    assert contents(out) == before


def test_a_cascade_enlarges_what_its_base_makes(tiny_text, tiny_up, tmp_path, capsys):
    out = tmp_path / "up.npz"
    flags = ["--prompt", "a small red circle", "--seeds", "0:3", "--steps", "2", "--w", "1"]
    cascade = ["sample", "--cascade", str(tiny_text), str(tiny_up), *flags]
    assert main([*cascade, "--out", str(out)]) == 0
    assert np.load(out)["images"].shape == (3, 32, 32, 3)
    low = load_run(tiny_text).sample("a small red circle", seeds=range(3), steps=2, w=1)
    run, up = load_run(tiny_up), [derived_seed(k, "cascade", 1) % 2**32 for k in range(3)]
    high = run.sample("a small red circle", seeds=up, steps=2, low_res=low)
    wanted = ((high + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(np.load(out)["images"] - wanted).max() <= 1
    other = run.sample("a small red circle", seeds=up, steps=2, low_res=-low)
    assert not torch.allclose(other, high), "the image beside x is seen"
    own = ["--eta", "0.5", "--sampler", "ddim", "--up-sampler", "ancestral", "--up-steps", "3"]
    assert main([*cascade, *own, "--up-w", "2", "--out", str(tmp_path / "own.npz")]) == 0
    how = {"seeds": range(3), "sampler": "ddim", "eta": 0.5}
    low = load_run(tiny_text).sample("a small red circle", steps=2, w=1, **how)
    high = run.sample("a small red circle", seeds=up, steps=3, w=2, low_res=low)
    wanted = ((high + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(np.load(tmp_path / "own.npz")["images"] - wanted).max() <= 1
    swapped = ["sample", "--cascade", str(tiny_up), str(tiny_text), *flags]
    assert main([*swapped, "--out", str(tmp_path / "b.npz")]) == 2
    assert "takes no images after one that samples 32x32" in capsys.readouterr().err
    assert main(["sample", str(tiny_up), "--prompt", "a", "--out", str(tmp_path / "c.npz")]) == 2
    assert "low_res is missing" in capsys.readouterr().err


def test_in_painting_sees_what_is_known(tmp_path, capsys):
    out = tmp_path / "run"
    assert train_text(out, "--inpaint", "--learning-rate", "1e-2", steps=4) == 0
    image = Image.fromarray(np.full((16, 16, 3), 200, np.uint8))
    mask = np.zeros((16, 16), np.uint8)
    mask[4:9, 4:9] = 255
    image.save(tmp_path / "image.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    command = ["inpaint", str(out), "--image", str(tmp_path / "image.png"), "--steps", "2"]
    command += ["--prompt", "a red circle", "--seeds", "0:2", "--out", str(tmp_path / "a.npz")]
    assert main([*command, "--mask", str(tmp_path / "mask.png")]) == 0
    known = torch.from_numpy(mask == 0).float().expand(1, 1, 16, 16)
    pixels = torch.full((1, 3, 16, 16), 200 / 127.5 - 1)
    run = load_run(out)
    wanted = run.sample("a red circle", seeds=range(2), steps=2, known=pixels, known_mask=known)
    made = torch.from_numpy(np.load(tmp_path / "a.npz")["images"]).permute(0, 3, 1, 2)
    assert (made[:, :, mask == 0] == 200).all(), "what is known is kept"
    assert (made[:, :, mask > 0] != 200).any()
    assert (made - ((wanted + 1) * 127.5).round().clamp(0, 255)).abs().max() <= 1
    folder = [*command[:-1], str(tmp_path / "images"), "--mask", str(tmp_path / "mask.png")]
    assert main(folder) == 0
    before = contents(tmp_path / "images")
    assert main([*folder, "--batch-size", "1"]) == 0, "images do not depend on it"
    Image.fromarray(mask.T[::-1]).save(tmp_path / "mask.png")
    capsys.readouterr()
    assert main(folder) == 2
    assert "were sampled with other settings" in capsys.readouterr().err
    assert contents(tmp_path / "images") == before
    Image.fromarray(0 * mask).save(tmp_path / "mask.png")
    assert main([*command, "--mask", str(tmp_path / "mask.png")]) == 2
    assert "it must be white where the image is to be filled" in capsys.readouterr().err
    assert main([*command, "--mask", "x.png", "--classifier", "x"]) == 2
    several = ["inpaint", "--cascade", str(out), str(out), *command[2:]]
    assert main([*several, "--mask", str(tmp_path / "mask.png")]) == 2
    assert "one run completes an image" in capsys.readouterr().err
    Image.fromarray(mask[:8]).save(tmp_path / "small.png")
    assert main([*command, "--mask", str(tmp_path / "small.png")]) == 2
    assert "it has 8x16 pixels, and must have 16x16 as the run's images" in capsys.readouterr().err


def test_what_is_transparent_in_a_mask_is_black(tmp_path):
    strokes = np.full((4, 6, 4), 255, np.uint8)
    strokes[:2, :, 3] = 0
    Image.fromarray(strokes).save(tmp_path / "layer.png")
    mask = read_mask(tmp_path / "layer.png")
    assert mask.shape == (1, 1, 4, 6)
    assert mask[0, 0, :, 0].tolist() == [-1, -1, 1, 1]
    Image.fromarray(strokes[..., :3]).save(tmp_path / "plain.png")
    assert (read_mask(tmp_path / "plain.png") == 1).all()


def test_captions_stand_above_their_own_images(tiny_text, tmp_path, monkeypatch):
    headed = []
    monkeypatch.setattr(
        "pilotage.tasks.outputs.save_grid",
        lambda images, out, columns, heads, title, names: headed.append((columns, heads)),
    )
    prompts = tmp_path / "prompts.txt"
    for lines in ("a\na\nb\nb", "a\nb\na\nb\na"):
        prompts.write_text(lines)
        how = ["--prompts", str(prompts), "--steps", "1", "--out", str(tmp_path / "x.png")]
        assert main(["sample", str(tiny_text), *how]) == 0
    assert headed == [(4, ()), (2, ["a", "b"])]


def test_without_a_prompt_the_same_command_goes_on(tiny_text, tmp_path, capsys):
    command = ["sample", str(tiny_text), "--seeds", "0:3", "--steps", "1", "--out"]
    assert main([*command, str(tmp_path / "images")]) == 0
    (tmp_path / "images" / "000001-seed1.png").unlink()
    assert main([*command, str(tmp_path / "images")]) == 0
    assert "3 images in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"negative": "red"}, "negative is 'red': it has no effect at w = 0"),
        ({"compose": [("a", 3.0)]}, r"compose has weights \[3.0\]"),
        ({"w": 3.0}, "w is 3.0, but the run was trained with p_uncond 0"),
    ],
)
def test_strengths_that_mean_nothing(tiny_text, how, words):
    run = load_run(tiny_text)
    never = run.card.recipe.replace(p_uncond=0.0)
    run = replace(run, card=run.card._replace(recipe=never))
    with pytest.warns(UserWarning, match=words):
        run.resolve("", seeds=[0], **how)


def test_settings_of_captions_that_would_have_no_effect(tmp_path, capsys):
    for flag, words in (("--augment", "needs low_res"), ("--p-uncond-image", "needs low_res or")):
        assert train_text(tmp_path / "r", flag, "0.3") == 2
        assert words in capsys.readouterr().err
    assert train_text(tmp_path / "r", "--flip") == 2
    assert "what is left and right" in capsys.readouterr().err
    assert train_text(tmp_path / "r", "--vocabulary", "100") == 2
    assert "vocabulary is 100" in capsys.readouterr().err


def test_erased_boxes_and_means_of_pixels():
    mask = known_mask(torch.tensor([[[0.0, 0.0, 0.0, 0.0]], [[1.0, 1.0, 1.0, 1.0]]]), 16, 8)
    assert mask.shape == (2, 1, 16, 8)
    assert mask[0].sum() == 16 * 8 - 2, "1/8 of each side, in the corner"
    assert mask[0, 0, :2, 0].sum() == 0
    assert mask[1].sum() == 16 * 8 - 10 * 5
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert shrunk(x, (2, 2)).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (["--labels", "3"], "it must be left out for a run on captions; give a prompt"),
        (["--prompts", "EMPTY"], "is empty"),
        (["--prompts", "no-such-file"], "no-such-file"),
        (["--prompt", "a", "--prompts", "EMPTY"], "prompt must not be given too"),
        (["--prompt", "a", "b", "--seeds", "1"], "it must have at least one per prompt"),
        (["--prompt", "a", "--low-res", "EMPTY"], "it must be a readable image"),
    ],
)
def test_bad_requests(tiny_text, tmp_path, capsys, how, words):
    (tmp_path / "empty.txt").write_text("\n \n")
    how = [str(tmp_path / "empty.txt") if word == "EMPTY" else word for word in how]
    assert main(["sample", str(tiny_text), *how, "--out", str(tmp_path / "a.png")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()


def test_a_prompt_means_nothing_to_a_run_with_labels(tiny_run, tmp_path, capsys):
    out = tmp_path / "a.png"
    assert main(["sample", str(tiny_run), "--prompt", "seven", "--out", str(out)]) == 2
    assert "it must be a run on captions for prompt" in capsys.readouterr().err


@pytest.mark.parametrize("run", ["tiny_text", "tiny_up"])
def test_likelihood_of_captioned_images(run, request, capsys):
    folder = request.getfixturevalue(run)
    how = {"run_folder": folder, "images": 6, "evaluations": 2}
    told = likelihood(LikelihoodSettings(**how))
    again = likelihood(LikelihoodSettings(**how, batch_size=4))
    free = likelihood(LikelihoodSettings(**how, unconditional=True))
    bits = "bits_per_dimension"
    np.testing.assert_allclose(told.values[bits], again.values[bits], rtol=1e-4)
    assert not np.allclose(told.values[bits], free.values[bits], rtol=1e-4)
    assert told.row["captions"]["split"] == "held-out"
    assert "nothing is held out" not in capsys.readouterr().out
    assert ("low_res" in told.row) == (run == "tiny_up")


def test_another_tokenizer_is_refused(tiny_text, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_text, copy)
    ByteLevelBPE.train(["other words", "other words"], 300, 24).save(
        copy / "conditions" / "tokenizer.json"
    )
    with pytest.raises(PilotageError, match="SHA-256"):
        load_run(copy)


def test_a_given_tokenizer_is_kept(tiny_text, tmp_path, capsys):
    given = tiny_text / "conditions" / "tokenizer.json"
    out = tmp_path / "run"
    assert train_text(out, "--tokenizer", str(given), steps=1) == 0
    assert load_run(out).space.tokenizer.hash == load_run(tiny_text).space.tokenizer.hash
    assert train_text(tmp_path / "b", "--tokenizer", "nowhere.json", steps=1) == 2
    assert "tokenizer is 'nowhere.json'" in capsys.readouterr().err


def test_training_from_a_run_on_captions(tiny_text, tmp_path):
    out = tmp_path / "tuned"
    flags = ["--out", str(out), "--steps", "1", "--learning-rate", "1e-9", "--warmup-steps", "0"]
    assert main(["train", "--from", str(tiny_text), *flags]) == 0
    old, new = load_run(tiny_text), load_run(out)
    assert new.space.tokenizer.hash == old.space.tokenizer.hash
    how = {"seeds": [1], "steps": 2}
    torch.testing.assert_close(
        new.sample("a red circle", **how), old.sample("a red circle", **how), atol=1e-4, rtol=0
    )


def test_sizes_that_cannot_be_enlarged_to(tmp_path, capsys):
    flags = ["--size", "32", "32", "--low-res", "12", "12"]
    assert train_text(tmp_path / "run", *flags, steps=1) == 2
    assert "low_res is (12, 12): it must be smaller" in capsys.readouterr().err


def test_a_composition_of_one_caption_is_guidance_by_it(tiny_text):
    run, how = load_run(tiny_text), {"seeds": range(3), "steps": 3}
    asked = "a small red circle"
    one = run.sample(compose=[(asked, 3.0)], **how)
    torch.testing.assert_close(one, run.sample(asked, w=2.0, **how), atol=1e-5, rtol=0)
    both = run.sample(compose=[(asked, 3.0), ("a large blue square", 2.0)], **how)
    assert not torch.allclose(both, one)
    none = run.sample(compose=[(asked, 0.0)], **how)
    torch.testing.assert_close(none, run.sample("", **how))
    with pytest.raises(PilotageError, match="compose is given"):
        run.sample(compose=[(asked, 1.0)], w=1.0, **how)


def test_text_and_image_have_strengths_of_their_own(tiny_up):
    run = load_run(tiny_up)
    low = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)
    how = {"seeds": range(2), "steps": 3, "low_res": low}
    asked = "a small red circle"
    plain = run.sample(asked, **how)
    torch.testing.assert_close(run.sample(asked, w=0, image_w=0.0, **how), plain)
    text_alone = run.sample(asked, w=2, image_w=0.0, **how)
    torch.testing.assert_close(text_alone, run.sample(asked, w=2, **how), atol=1e-5, rtol=0)
    without_text = run.sample(asked, w=-1, image_w=0.0, **how)
    torch.testing.assert_close(without_text, run.sample("", **how))
    nothing = run.sample(asked, w=-1, image_w=-1.0, **how)
    grey = run.sample("", **{**how, "low_res": torch.zeros_like(low)})
    torch.testing.assert_close(nothing, grey, atol=1e-5, rtol=0)
    assert not torch.allclose(run.sample(asked, image_w=3.0, **how), plain)
    with pytest.raises(PilotageError, match="must be given"):
        run.network(low, torch.zeros(1))
