"""``pilotage sample`` and ``load_run(...).sample``: files, seeds, conventions, guidance."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import pilotage
from helpers import TINY, contents, train
from pilotage.cli.main import main
from pilotage.diffusion import SeededNoise, classifier_free, clip_x, ddim, sample
from pilotage.errors import PilotageError
from pilotage.utils.images import to_arrays


def sample_npz(run, out, *flags):
    assert main(["sample", str(run), "--out", str(out), "--steps", "6", *flags]) == 0
    with np.load(out) as file:
        return dict(file)


def test_npz_holds_images_labels_and_seeds(tiny_run, tmp_path):
    flags = ["--labels", "3", "7", "--seeds", "0:5", "--w", "2"]
    arrays = sample_npz(tiny_run, tmp_path / "images.npz", *flags)
    assert arrays["images"].shape == (5, 8, 8, 1)
    assert arrays["images"].dtype == np.uint8
    assert arrays["labels"].tolist() == [3, 7, 3, 7, 3]
    assert arrays["seeds"].tolist() == [0, 1, 2, 3, 4]


def test_png_grid_and_what_was_used(tiny_run, tmp_path):
    out = tmp_path / "grid.png"
    flags = ["--labels", "3", "7", "--w", "2", "--steps", "4", "--seeds", "0:4"]
    assert main(["sample", str(tiny_run), *flags, "--out", str(out)]) == 0
    with Image.open(out) as image:
        assert image.format == "PNG"
        assert len(image.convert("L").getcolors()) > 10
    record = json.loads((tmp_path / "grid.png.json").read_text())
    assert record["w"] == 2
    assert record["guidance_scale"] == 3
    assert record["sampler"] == "ancestral"
    assert record["training_step"] == 12
    assert record["labels"] == [3, 7, 3, 7]
    assert "(1 + w)" in record["convention"]


def test_folder_of_single_pngs_equals_npz(tiny_run, tmp_path):
    flags = ["--labels", "all", "--seeds", "5:17", "--sampler", "ddim"]
    arrays = sample_npz(tiny_run, tmp_path / "a.npz", *flags)
    folder = tmp_path / "folder"
    assert main(["sample", str(tiny_run), *flags, "--steps", "6", "--out", str(folder)]) == 0
    files = sorted(folder.glob("*.png"))
    assert len(files) == 12
    for file, image, label in zip(files, arrays["images"], arrays["labels"], strict=True):
        assert file.name.endswith(f"-label{label}.png")
        assert np.array_equal(np.asarray(Image.open(file)), image[..., 0])
    assert json.loads((folder / "samples.json").read_text())["seeds"] == list(range(5, 17))


def test_a_rerun_into_a_folder_makes_what_is_missing(tiny_run, tmp_path, capsys):
    folder, flags = tmp_path / "folder", ["--seeds", "0:12", "--steps", "2", "--batch-size", "5"]
    command = ["sample", str(tiny_run), *flags, "--out", str(folder)]
    assert main(command) == 0
    before = contents(folder)
    missing = [sorted(folder.glob("*.png"))[k] for k in (0, 7)]
    for path in missing:
        path.unlink()
    assert main([*command, "--batch-size", "4"]) == 0, "images do not depend on it"
    assert "12 images" in (said := capsys.readouterr().out)
    assert "(2 made now)" in said
    assert all(contents(folder)[name] == data for name, data in before.items() if ".png" in name)
    assert main([*command, "--w", "2"]) == 2
    assert "sampled with other settings" in capsys.readouterr().err


@pytest.mark.parametrize("sampler", ["ancestral", "ddim"])
def test_same_seed_same_image_at_any_batch_size_and_order(tiny_run, sampler):
    run = pilotage.load_run(tiny_run)
    settings = {"w": 1.5, "steps": 12, "sampler": sampler}
    seeds = list(range(64))
    whole = run.sample([3], seeds=seeds, batch_size=64, **settings)
    assert whole.shape == (64, 1, 8, 8)
    assert whole.abs().max() <= 1
    assert whole.std(dim=0).mean() > 0.01, "other seeds must give other images"
    for batch_size in (1, 16):
        again = run.sample([3], seeds=seeds, batch_size=batch_size, **settings)
        assert (again - whole).abs().max() <= 1e-4
    backwards = run.sample([3], seeds=seeds[::-1], batch_size=16, **settings)
    assert (backwards.flip(0) - whole).abs().max() <= 1e-4


def test_both_conventions_mean_the_same(tiny_run, tmp_path):
    flags = ["--labels", "1", "--seeds", "0:3"]
    by_w = sample_npz(tiny_run, tmp_path / "w.npz", *flags, "--w", "2")
    by_scale = sample_npz(tiny_run, tmp_path / "s.npz", *flags, "--guidance-scale", "3")
    assert np.array_equal(by_w["images"], by_scale["images"])
    records = [json.loads((tmp_path / name).read_text()) for name in ("w.npz.json", "s.npz.json")]
    assert records[0] == records[1]


def test_guidance_acts_in_its_interval_only(tiny_run, tmp_path):
    run, how = pilotage.load_run(tiny_run), {"cond": [3, 7], "steps": 4, "seeds": [4, 9]}
    plain, guided = run.sample(**how), run.sample(**how, w=3)
    assert torch.equal(run.sample(**how, w=3, guidance_interval=(-20.5, 20.5)), guided)
    assert torch.equal(run.sample(**how, w=3, guidance_interval=(20.5, 21)), plain)
    seen = []
    run.network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    partly = run.sample(**how, w=3, guidance_interval=(-20.5, 0))
    assert not torch.equal(partly, guided)
    assert not torch.equal(partly, plain)
    below = int((run.levels(4) <= 0).sum())
    assert 0 < below < 4
    assert seen == [4] * below + [2] * (4 - below), "elsewhere guidance costs nothing"
    out = tmp_path / "a.npz"
    flags = ["--guidance-interval", "-20.5", "0", "--w", "3", "--steps", "4", "--labels", "3", "7"]
    assert main(["sample", str(tiny_run), *flags, "--seeds", "4", "9", "--out", str(out)]) == 0
    assert (np.load(out)["images"] == to_arrays(partly)).all()
    assert json.loads((tmp_path / "a.npz.json").read_text())["guidance_interval"] == [-20.5, 0]


@pytest.mark.parametrize(("scale", "w"), [(0.0, -1.0), (1.0, 0.0), (0.5, -0.5)])
def test_small_scales_mean_what_they_say(tiny_run, scale, w):
    run = pilotage.load_run(tiny_run)
    assert run.resolve(3, guidance_scale=scale).guidance.w == w
    assert run.resolve(3, w=w).guidance.w == w
    assert run.resolve(3).guidance.w == 0


def test_the_run_samples_what_the_functions_say(tiny_run):
    """``Run.sample`` is schedule -> denoiser -> guidance -> step -> loop and nothing else."""
    run = pilotage.load_run(tiny_run)
    noise = SeededNoise([4, 9], run.shape)
    denoise = clip_x(classifier_free(run.denoiser, 2.0, run.space.null))
    cond = torch.tensor([3, 7])
    *_, last = sample(denoise, next(noise), run.schedule.grid(5), ddim(0.5), cond, noise)
    images = run.sample([3, 7], w=2, steps=5, sampler="ddim", eta=0.5, seeds=[4, 9])
    assert torch.equal(images, last.z)


@pytest.mark.parametrize(
    ("labels", "settings", "words"),
    [
        (3.5, {}, r"labels has 3\.5: it must be 'all', a class name"),
        ("3.0", {}, r"labels has '3\.0': it must be 'all', a class name"),
        (3, {"steps": 2.5}, r"^steps.* is 2\.5"),
        (3, {"steps": "many"}, "^steps is 'many'"),
        (3, {"w": "two"}, "^w is 'two'"),
        (3, {"seeds": 1.5}, "^seeds "),
        (3, {"seeds": ["a"]}, "^seeds "),
        (3, {"flavour": "sweet"}, "flavour"),
        (3, {"sampler": "magic"}, "^sampler is 'magic'"),
        ([], {}, "^labels is empty: it must have at least one"),
    ],
)
def test_wrong_values_in_python_are_refused_in_a_sentence(tiny_run, labels, settings, words):
    with pytest.raises(PilotageError, match=words):
        pilotage.load_run(tiny_run).resolve(labels, **settings)


def test_numbers_of_any_kind_are_labels_and_seeds(tiny_run):
    resolved = pilotage.load_run(tiny_run).resolve(np.int64(3), seeds=7)
    assert (resolved.conditions, resolved.seeds) == ((3,), (7,))
    resolved = pilotage.load_run(tiny_run).resolve(np.array([3, 4]), seeds=np.arange(2))
    assert (resolved.conditions, resolved.seeds) == ((3, 4), (0, 1))


def test_network_calls_are_counted(tiny_run):
    run = pilotage.load_run(tiny_run)
    denoise = run.denoiser
    guided = classifier_free(denoise, 1.0, run.space.null)
    noise = SeededNoise([0], run.shape)
    list(sample(guided, next(noise), run.schedule.grid(7), ddim(), torch.tensor([3])))
    assert denoise.calls == 7


def test_averaged_and_latest_weights_differ(tiny_run):
    images = [
        pilotage.load_run(tiny_run, weights=name).sample(3, steps=4) for name in ("ema", "model")
    ]
    assert not torch.equal(*images)


def test_labels_by_name_number_and_tensor(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for k in range(3):
            pixels = np.random.default_rng(k).integers(0, 255, (28, 20), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{k}.png")
    assert train(tmp_path / "run", "--data", str(tmp_path / "data"), steps=2) == 0
    run = pilotage.load_run(tmp_path / "run")
    assert run.classes == ("cat", "dog")
    assert run.shape == (1, 28, 20)
    by_name = run.sample(["dog", "cat"], steps=2)
    assert by_name.shape == (2, 1, 28, 20)
    assert torch.equal(by_name, run.sample([1, 0], steps=2))
    assert torch.equal(by_name, run.sample(torch.tensor([1, 0]), steps=2))


def test_guidance_without_a_trained_null_is_warned_about(tmp_path, capsys):
    train(tmp_path / "run", "--p-uncond", "0", steps=2)
    run = pilotage.load_run(tmp_path / "run")
    with pytest.warns(UserWarning, match="null condition was never trained"):
        run.sample(3, w=1, steps=2)
    command = ["sample", str(tmp_path / "run"), "--labels", "3", "--seeds", "0", "--steps", "2"]
    out = ["--out", str(tmp_path / "a.npz")]
    assert main([*command, *out, "--w", "1"]) == 0
    assert "warning: w is 1.0, but the run was trained with p_uncond 0" in capsys.readouterr().err
    assert main([*command, *out]) == 0
    assert "warning" not in capsys.readouterr().err


def test_sampling_leaves_the_run_untouched(tiny_run, tmp_path):
    before = contents(tiny_run)
    sample_npz(tiny_run, tmp_path / "x.npz", "--seeds", "0:10")
    assert contents(tiny_run) == before


def test_tiny_flags_are_valid_settings():
    from pilotage.cli.main import parse

    assert parse(["train", "digits", "--out", "x", *TINY]).settings.recipe.network.channels == 8


def many_classes(tmp_path, count):
    for k in range(count):
        (folder := tmp_path / "data" / f"class {k} {'of a long name ' * 4}").mkdir(parents=True)
        Image.new("L", (8, 8), k % 256).save(folder / "a.png")
    out = tmp_path / "run"
    assert train(out, "--data", str(tmp_path / "data"), steps=1) == 0
    return out


def test_many_classes_make_a_grid_of_bounded_size(tmp_path):
    run = many_classes(tmp_path, 40)
    for name, flags, count in (("few", [], 16), ("all", ["--labels", "all"], 320)):
        out = tmp_path / f"{name}.png"
        assert main(["sample", str(run), "--steps", "1", *flags, "--out", str(out)]) == 0
        record = json.loads(out.with_name(f"{out.name}.json").read_text())
        assert len(record["seeds"]) == count
        with Image.open(out) as image:
            assert max(image.size) <= 8000
    few = ["sample", str(run), "--steps", "1", "--seeds", "5:8", "--out", str(tmp_path / "b.npz")]
    assert main(few) == 0
    assert np.load(tmp_path / "b.npz")["labels"].tolist() == [0, 1, 2]


def test_what_is_refused_leaves_no_folder(tiny_run, tmp_path, capsys):
    command = ["sample", str(tiny_run), "--steps", "2", "--out", str(tmp_path / "images")]
    assert main([*command, "--sampler", "ancestral(v=learned)"]) == 2
    assert "v is 'learned': it must be a number" in capsys.readouterr().err
    assert not (tmp_path / "images").exists()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "samples.json").write_text("{}")  # of a sampling that made no image
    assert main([*command, "--seeds", "0:2"]) == 0
    assert len(list((tmp_path / "images").glob("*.png"))) == 2


@pytest.mark.parametrize("seeds", ["0:10000000000", "4294967296", "0:20000000"])
def test_too_many_or_too_large_seeds_are_refused_at_once(tiny_run, capsys, seeds):
    assert main(["sample", str(tiny_run), "--seeds", seeds]) == 2
    assert "it must be less than 2**32, and of 10000000 at most" in capsys.readouterr().err
