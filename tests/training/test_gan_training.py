"""Denoising diffusion GANs under the trainer, the run folder and the sampler of all runs."""

import json

import numpy as np
import pytest
import torch

from helpers import TINY_GAN, TWO_PROCESSES, contents, pilotage, train, train_gan
from pilotage import load_run
from pilotage.cli.main import main
from pilotage.data import load_data
from pilotage.errors import PilotageError
from pilotage.metrics.modes import gaussian_modes
from pilotage.models.run_folder import checkpoints, state_folder
from pilotage.objectives.gan_losses import DiscriminatorLoss, GeneratorLoss
from pilotage.training.health import discriminator_warnings

POINTS = ["--network.channels", "16", "--discriminator.channels", "16", "--sample-every", "100"]


@pytest.fixture(scope="module")
def tiny_gan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "gan"
    assert train_gan(folder, "--steps-T", "2", "--p-uncond", "0.5") == 0
    return folder


def log(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_stopped_and_continued_equals_uninterrupted(tmp_path):
    flags = ["--checkpoint-every", "2", "--network.dropout", "0.1", "--flip", "--accumulate", "2"]
    assert train_gan(tmp_path / "whole", *flags, steps=8) == 0
    assert train_gan(tmp_path / "parts", *flags, steps=4) == 0
    assert train_gan(tmp_path / "parts", *flags, steps=8) == 0
    whole, parts = (contents(state_folder(tmp_path / name, 8)) for name in ("whole", "parts"))
    assert {name for name in whole if name.endswith(".safetensors")} == {
        "model.safetensors",
        "ema.safetensors",
        "optimizer.safetensors",
        "discriminator.safetensors",
        "discriminator-optimizer.safetensors",
    }
    assert whole == parts
    assert log(tmp_path / "whole") == log(tmp_path / "parts")


def test_both_networks_learn_and_the_log_tells_how(tiny_gan):
    records = log(tiny_gan)
    names = {"loss", "discriminator_loss", "grad_norm", "discriminator_grad_norm"}
    assert all(names | {"real_logit", "fake_logit"} <= record.keys() for record in records)
    assert [record["step"] for record in records if "r1" in record] == [1, 4], "lazily"
    card = load_run(tiny_gan).card
    from pilotage.training.tasks import task_of

    for name, model in task_of(card).models(card).items():
        now = contents(tiny_gan)[f"{name}.safetensors"]
        from pilotage.utils.files import read_tensors

        assert now
        trained = read_tensors(tiny_gan / f"{name}.safetensors")
        moved = [k for k, v in model.network.state_dict().items() if not torch.equal(v, trained[k])]
        assert len(moved) > len(trained) / 2, name


def test_the_cosine_decays_both_learning_rates_to_nothing(tmp_path, capsys):
    flags = ["--decay", "cosine", "--warmup-steps", "0", "--learning-rate", "1e-3"]
    flags += ["--discriminator-learning-rate", "5e-4"]
    assert train_gan(tmp_path / "run", *flags, steps=4) == 0
    rates = [record["learning_rate"] for record in log(tmp_path / "run")]
    expected = [1e-3 * (1 + np.cos(np.pi * k / 4)) / 2 for k in range(4)]
    assert rates == pytest.approx(expected)
    assert train_gan(tmp_path / "run", *flags, steps=6) == 2
    assert "steps is " in capsys.readouterr().err


@pytest.mark.parametrize("turn", [DiscriminatorLoss, GeneratorLoss])
def test_divergence_is_named_and_leaves_the_last_good_checkpoint(
    tmp_path, capsys, monkeypatch, turn
):
    honest, calls = turn.terms, []

    def poisoned(self, *how):
        calls.append(self)
        terms = honest(self, *how)
        return {**terms, "loss": terms["loss"] * (torch.nan if len(calls) > 5 else 1)}

    monkeypatch.setattr(turn, "terms", poisoned)
    out = tmp_path / "run"
    assert train_gan(out, "--checkpoint-every", "2", steps=10) == 1
    who = " of the discriminator" if turn is DiscriminatorLoss else ""
    assert f"diverged at step 6: the loss{who} is nan" in capsys.readouterr().err
    assert [step for step, _ in checkpoints(out)] == [2, 4]
    monkeypatch.undo()
    assert train_gan(out, "--checkpoint-every", "2", steps=10) == 0
    assert train_gan(tmp_path / "whole", "--checkpoint-every", "2", steps=10) == 0
    assert contents(state_folder(out, 10)) == contents(state_folder(tmp_path / "whole", 10))


def test_runaway_logits_are_divergence(tmp_path, capsys, monkeypatch):
    honest = DiscriminatorLoss.terms

    def loud(self, *how):
        terms = honest(self, *how)
        return {**terms, "fake_logit": terms["fake_logit"] - 1e5}

    monkeypatch.setattr(DiscriminatorLoss, "terms", loud)
    assert train_gan(tmp_path / "run") == 1
    said = capsys.readouterr().err
    assert "diverged at step 1: the mean fake_logit of the discriminator is -1e+05" in said


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """On points: the images' discriminator also looks at the neighbours in its process's batch."""
    flags = [*TINY_GAN, *POINTS, "--steps", "6"]
    command = ["train", "25-gaussians", "--objective", "ddgan", *flags]
    for name, launcher in (("one", ()), ("two", TWO_PROCESSES)):
        answer = pilotage(*command, "--out", tmp_path / name, launcher=launcher)
        assert answer.returncode == 0, answer.stderr
    one, two = log(tmp_path / "one"), log(tmp_path / "two")
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_images_train_on_two_processes(tmp_path):
    flags = [*TINY_GAN, "--steps", "4", "--out", tmp_path / "run"]
    answer = pilotage("train", "digits", "--objective", "ddgan", *flags, launcher=TWO_PROCESSES)
    assert answer.returncode == 0, answer.stderr
    assert len(log(tmp_path / "run")) == 4


def test_health_has_the_logits_of_the_discriminator(tiny_gan):
    (line,) = (tiny_gan / "health.jsonl").read_text().splitlines()
    record, last = json.loads(line), log(tiny_gan)[-1]
    assert record["real_logit"] == last["real_logit"]
    assert record["r1"] == log(tiny_gan)[3]["r1"], "the newest that was measured"
    (warning,) = discriminator_warnings({"real_logit": 8.0, "fake_logit": -7.0})
    assert "15.0 apart: it wins" in warning
    assert not list(discriminator_warnings({"real_logit": 0.3, "fake_logit": -0.3}))


def test_samples_belong_to_their_seeds(tiny_gan):
    run = load_run(tiny_gan)
    together = run.sample([3, 5], seeds=range(6), w=0.7)
    assert together.shape == (6, 1, 8, 8)
    assert together.abs().max() <= 1
    alone = run.sample([5], seeds=[3], w=0.7)
    torch.testing.assert_close(alone, together[3:4])
    torch.testing.assert_close(run.sample([3, 5], seeds=range(6), w=0.7, batch_size=4), together)
    assert not torch.equal(run.sample([5], seeds=[3]), alone), "guidance moves it"
    assert not torch.equal(run.sample([5], seeds=[4], w=0.7), alone)


def test_a_sample_is_made_of_latents_of_its_own(tiny_gan):
    """The latent changes the image, and is not the noise that the image starts from."""
    run = load_run(tiny_gan)
    seen = []
    handle = run.network.register_forward_pre_hook(lambda _, args: seen.append(args))
    run.sample([1], seeds=[7])
    handle.remove()
    (z, first_time, first, _), (_, second_time, second, _) = seen
    assert first_time.item() == 1
    assert second_time.item() == 0, "the times of the published networks"
    assert first.shape == (1, 4)
    assert not torch.equal(first, second)
    assert not torch.isin(first, z).any()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"steps": 3}, "steps is 3: it must be 2"),
        ({"sampler": "ddim"}, "sampler is ddim"),
        ({"v": 0.3}, "v is 0.3"),
    ],
)
def test_only_its_own_steps_are_taken(tiny_gan, how, words):
    with pytest.raises(PilotageError, match=words):
        load_run(tiny_gan).sample([1], **how)


def test_a_gan_has_no_likelihood(tiny_gan, capsys):
    assert main(["likelihood", str(tiny_gan)]) == 2
    said = capsys.readouterr().err
    assert "GAN" in said
    assert "it must have a likelihood" in said


def test_sweep_and_report(tiny_gan):
    flags = ["--w", "0", "1", "--samples", "20", "--force"]
    assert main(["sweep", str(tiny_gan), *flags]) == 0
    lines = (tiny_gan / "sweep" / "rows.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["steps"] for row in rows if row["kind"] == "sample"] == [2, 2]
    assert main(["report", str(tiny_gan)]) == 0
    assert (tiny_gan / "report.html").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--no-with-latent"],
        ["--direct"],
        ["--predicts", "eps"],
        ["--steps-T", "1"],
        ["--network.kind", "unet", "--network.head-channels", "8"],
        ["--p-uncond", "1", "--precision", "bf16"],
    ],
)
def test_variants_train_and_sample(tmp_path, flags):
    assert train_gan(tmp_path / "run", *flags, steps=2) == 0
    images = load_run(tmp_path / "run").sample("all", seeds=range(10))
    assert images.shape == (10, 1, 8, 8)
    assert images.isfinite().all()


def test_an_unconditional_gan_has_no_labels(tmp_path):
    assert train_gan(tmp_path / "run", "--p-uncond", "1", steps=2) == 0
    run = load_run(tmp_path / "run")
    assert run.classes == ()
    with pytest.raises(PilotageError, match="no classes"):
        run.sample([1])
    with pytest.raises(PilotageError, match="w is 1"):
        run.sample("all", w=1)


def test_training_starts_from_a_gan_with_both_networks(tiny_gan, tmp_path):
    from pilotage.utils.files import read_tensors

    flags = ["--out", str(tmp_path / "run"), "--steps", "1", "--learning-rate", "1e-12"]
    flags += ["--discriminator-learning-rate", "1e-12"]
    assert main(["train", "--from", str(tiny_gan), *flags]) == 0
    for mine, theirs in (("model", "ema"), ("discriminator", "discriminator")):
        now = read_tensors(tmp_path / "run" / f"{mine}.safetensors")
        before = read_tensors(tiny_gan / f"{theirs}.safetensors")
        for name, tensor in before.items():
            torch.testing.assert_close(now[name], tensor, msg=name)


def test_points_are_sampled_and_measured(tmp_path, capsys):
    out = tmp_path / "run"
    assert (
        main(["train", "25-gaussians", "--out", str(out), *TINY_GAN, *POINTS, "--steps", "2"]) == 0
    )
    health = json.loads((out / "health.jsonl").read_text())
    points = load_run(out).sample("all", seeds=range(10_000), batch_size=1000).numpy()
    modes = load_data("25-gaussians")[0].modes
    found = gaussian_modes(points, modes.means, modes.std)
    assert {name: health[name] for name in found._fields} == found._asdict()
    samples = tmp_path / "points.npz"
    assert main(["sample", str(out), "--seeds", "0:50", "--out", str(samples)]) == 0
    assert np.load(samples)["points"].shape == (50, 2)
    assert main(["evaluate", str(samples), "--data", "25-gaussians"]) == 0
    assert "modes" in capsys.readouterr().out
    assert main(["sample", str(out), "--seeds", "0:50", "--out", str(tmp_path / "plot.png")]) == 0
    assert main(["sample", str(out), "--out", str(tmp_path / "folder")]) == 2
    assert main(["sweep", str(out)]) == 2
    assert "are points" in capsys.readouterr().err


def test_a_denoiser_of_points_is_refused(tmp_path, capsys):
    assert train(tmp_path / "run", "--data", "25-gaussians", steps=2) == 2
    assert "data is 25-gaussians: it must have images" in capsys.readouterr().err
