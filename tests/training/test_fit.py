"""Training from Python: data sets, networks and callbacks of one's own."""

import runpy
import sys
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.utils.data import Dataset

from helpers import contents
from pilotage import load_run
from pilotage.cli.main import main
from pilotage.conditions import Labels
from pilotage.errors import PilotageError
from pilotage.models.run_folder import read_card, state_folder
from pilotage.settings import (
    AdversarialRecipe,
    ClassifierRecipe,
    EncoderSettings,
    Recipe,
    TextRecipe,
    TextUNetSettings,
    UNetSettings,
)
from pilotage.training import Callback, fit

SMALL = {"batch_size": 4, "warmup_steps": 1, "log_every": 1, "sample_every": 1000}
TINY = {"channels": 8, "channel_mult": (1,), "num_res_blocks": 1, "head_channels": 8}
TINY |= {"attention_resolutions": ()}


class Bars(Dataset):
    """A bright row on the upper or the lower half: labels 0 and 1."""

    def __init__(self, images=20, shape=(1, 8, 8)):
        self.images, self.shape = images, shape

    def __len__(self):
        return self.images

    def __getitem__(self, k):
        x = -torch.ones(self.shape)
        x[:, k % self.shape[1]] = 1 - k / self.images
        return x, int(k % self.shape[1] >= self.shape[1] // 2)


class Net(nn.Module):
    """A convolution that is told time and label; with dropout, whose masks a resume must repeat."""

    def __init__(self, channels=1, outputs=1, labels=3):
        super().__init__()
        torch.manual_seed(0)
        self.label = nn.Embedding(labels, 8)
        self.layers = nn.ModuleList([nn.Conv2d(channels, 8, 3, padding=1), nn.Dropout(0.1)])
        self.out = nn.Conv2d(8, outputs, 3, padding=1)

    def forward(self, z, time, cond):
        h = self.layers[1](self.layers[0](z)) + time[:, None, None, None] / 1000
        return self.out(torch.tanh(h + self.label(cond)[:, :, None, None]))


class Steps:
    """A callback that notes when it was called."""

    name = "steps"

    def __init__(self, every=2):
        self.every, self.seen = every, []

    def __call__(self, training, record):
        assert training.step == record.step
        self.seen.append(record.step)


def run(out, recipe=None, **how):
    """All records of a training that says nothing."""
    how = {"data": Bars(), "network": Net(), "say": lambda _: None, **how}
    return list(fit(recipe or Recipe(steps=6, **SMALL), out, **how))


def states(*outs, step=6):
    return [contents(state_folder(Path(out), step)) for out in outs]


def test_stopped_and_continued_equals_uninterrupted(tmp_path):
    whole, parts = str(tmp_path / "whole"), str(tmp_path / "parts")
    first, calls = Steps(), count(1)
    assert isinstance(first.name, str)
    records = run(whole, callbacks=[first])
    assert [record.step for record in records] == [1, 2, 3, 4, 5, 6]
    assert first.seen == [2, 4, 6]
    assert len(run(parts, stop=lambda: next(calls) == 3)) == 3
    later = Steps(every=4)
    callbacks: list[Callback] = [later]
    resumed = run(parts, callbacks=callbacks)
    assert later.seen == [4, 6], "the last step is always seen"
    assert resumed == records[3:]
    assert states(whole)[0] == states(parts)[0]
    logs = [Path(out, "metrics.jsonl").read_bytes() for out in (whole, parts)]
    assert logs[0] == logs[1]


def test_images_that_are_drawn_anew_are_the_same_again(tmp_path):
    class Noisy(Bars):
        def __getitem__(self, k):
            x, label = super().__getitem__(k)
            return (x + 0.1 * torch.randn(x.shape)).clamp(-1, 1), label

    calls = count(1)
    run(tmp_path / "whole", data=Noisy())
    run(tmp_path / "plain")
    run(tmp_path / "parts", data=Noisy(), stop=lambda: next(calls) == 3)
    run(tmp_path / "parts", data=Noisy())
    whole, parts, plain = states(*(tmp_path / name for name in ("whole", "parts", "plain")))
    assert whole == parts
    assert whole["model.safetensors"] != plain["model.safetensors"]


def test_the_run_says_what_it_needs_and_samples_with_it(tmp_path, capsys):
    out = tmp_path / "run"
    run(out)
    card = yaml.safe_load((out / "recipe.yaml").read_text())
    assert (card["network"], card["recipe"]["data"]) == ("Net", "own")
    assert card["data"]["classes"] == ["0", "1"]
    with pytest.raises(PilotageError, match=r"its network, Net, was given in Python; give one"):
        load_run(out)
    assert main(["sample", str(out)]) == 2
    assert "its network, Net, was given in Python" in capsys.readouterr().err
    with pytest.raises(PilotageError, match="does not hold this run's weights"):
        load_run(str(out), network=Net(labels=7))
    model = load_run(str(out), network=Net())
    images = model.sample([0, 1, 1], seeds=[0, 0, 1], w=1.0, steps=2)
    assert images.shape == (3, 1, 8, 8)
    assert not torch.equal(images[0], images[1])
    assert main(["train", "--from", str(out), "--out", str(tmp_path / "on")]) == 2
    assert "data is 'own': the run was trained on a data set" in capsys.readouterr().err


def test_a_data_set_trains_the_recipes_network_too(tmp_path):
    class Arrays(Bars):
        classes = ("up", "down")

        def __getitem__(self, k):
            x, label = super().__getitem__(k)
            return ((x + 1) * 127.5).to(torch.uint8).numpy(), np.int64(label)

    recipe = Recipe(steps=2, network=UNetSettings(**TINY), **SMALL)
    out = tmp_path / "run"
    run(out, recipe, data=(Arrays(), Arrays(4)), network=None)
    facts = read_card(out).data
    assert (facts.train, facts.held_out, facts.classes) == (20, 4, ("up", "down"))
    assert "network" not in yaml.safe_load((out / "recipe.yaml").read_text())
    assert not (out / "conditions").exists()
    assert load_run(out).sample("down", steps=2).shape == (1, 1, 8, 8)
    with pytest.raises(PilotageError, match="network is given: the run in"):
        load_run(out, network=Net())


def test_classifiers_learn_a_data_set_too(tmp_path):
    recipe = ClassifierRecipe(steps=2, network=EncoderSettings(**TINY), **SMALL)
    run(tmp_path / "run", recipe, network=None)
    assert '"images": "train"' in (tmp_path / "run" / "noise_levels.jsonl").read_text()


def test_captions_of_a_data_set(tmp_path, monkeypatch):
    class Captioned(Bars):
        def __getitem__(self, k):
            x, label = super().__getitem__(k)
            return x.expand(3, 8, 8), ("a bar above", "a bar below")[label]

    monkeypatch.setattr("pilotage.training.callbacks.ROWS", 1)
    network = TextUNetSettings(**TINY, text_width=8, text_layers=1, text_heads=2)
    recipe = TextRecipe(steps=2, network=network, vocabulary=260, context=12, **SMALL)
    run(tmp_path / "run", recipe, data=Captioned(), network=None)
    assert load_run(tmp_path / "run").sample("a bar", steps=2).shape == (1, 3, 8, 8)
    assert "a bar below" in (tmp_path / "run" / "samples" / "captions.txt").read_text()
    with pytest.raises(PilotageError, match="data has the condition 0 at 0: it must be a text"):
        run(tmp_path / "labels", recipe, network=None)


class Wrong(Bars):
    """Pairs of which the eighth is another."""

    def __init__(self, pair):
        super().__init__()
        self.pair = pair

    def __getitem__(self, k):
        return self.pair if k == 7 else super().__getitem__(k)


GREY = -torch.ones(1, 8, 8)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"data": Bars(0)}, "data is empty: at least one pair"),
        ({"data": iter([])}, "data is list_iterator: it must be a data set with a length"),
        ({"data": (Bars(), Bars(), Bars())}, "data has 3 parts"),
        (
            {"data": (Bars(), Bars(shape=(1, 4, 4)))},
            "1x4x4 of float32 at 0, and 1x8x8 of float32 first",
        ),
        ({"data": Wrong((GREY[:, :4], 0))}, "1x4x8 of float32 at 7, and 1x8x8 of float32 first"),
        ({"data": Wrong((GREY.to(torch.uint8), 0))}, "1x8x8 of uint8 at 7"),
        ({"data": Wrong((GREY[0], 0))}, "data has 8x8 of float32 at 7: it must be a pair"),
        ({"data": Wrong(("image", 0))}, "data has a str at 7: it must be a pair"),
        ({"data": Wrong((255 * GREY, 0))}, "1x8x8 of float32 from -255 to -255 at 7"),
        ({"data": Wrong((GREY * torch.nan, 0))}, "of float32 from nan"),
        ({"data": Wrong(3)}, "data has a int at 7: it must be a pair"),
        ({"data": Wrong((GREY, "up"))}, "data has the condition 'up' at 7: it must be a label"),
        ({"data": Wrong((GREY, -1))}, "data has the condition -1 at 7"),
        ({"space": Labels(("only",))}, "a condition that the space refuses: labels has 1"),
        ({"data": None, "space": Labels(("a", "b"))}, "space is given: it must come with data"),
        ({"callbacks": [Steps(every=0)]}, "callbacks has .*: it must be callable with"),
        ({"callbacks": [print]}, "callbacks has <built-in function print>"),
        ({"network": Net(outputs=2)}, r"network returns \(4, 2, 8, 8\)"),
        ({"recipe": Recipe(objective="hybrid", **SMALL)}, r"network returns \(4, 1, 8, 8\)"),
        (
            {"recipe": Recipe(size=(4, 4), **SMALL)},
            r"size is \(4, 4\): it must be None if data is given",
        ),
        (
            {"recipe": AdversarialRecipe()},
            "network is given: it must be None for a denoiser of the task gan",
        ),
        (
            {"recipe": Recipe(objective="vdm", schedule="learned", **SMALL)},
            "schedule is learned: it must be a fixed one if a network is given",
        ),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(tmp_path, how, said):
    out = tmp_path / "run"
    with pytest.raises(PilotageError, match=said):
        run(out, **how)
    assert not out.exists()


def test_another_network_or_data_set_does_not_go_on(tmp_path):
    class Other(Net):
        pass

    out = tmp_path / "run"
    run(out)
    before = contents(out)
    with pytest.raises(
        PilotageError, match=f"network is Other: it must be Net, as in the run in {out}"
    ):
        run(out, network=Other())
    with pytest.raises(
        PilotageError, match="network is the recipe's: it must be Net, as in the run in"
    ):
        run(out, network=None)
    with pytest.raises(
        PilotageError,
        match="data is own: it must have the images, classes and captions that the run",
    ):
        run(out, data=Bars(21))
    assert contents(out) == before


def test_the_example_trains_a_network_of_that_signature(tmp_path, monkeypatch):
    """With a small stand-in for diffusers' network, called as that is, and few steps."""

    class UNet2DModel(Net):
        def __init__(self, sample_size, in_channels, out_channels, *, num_class_embeds, **_):
            super().__init__(in_channels, out_channels, num_class_embeds)

        def forward(self, sample, timestep, class_labels=None):
            return SimpleNamespace(sample=super().forward(sample, timestep, class_labels))

    stand_in = ModuleType("diffusers")
    stand_in.UNet2DModel = UNet2DModel
    monkeypatch.setitem(sys.modules, "diffusers", stand_in)
    monkeypatch.setattr("pilotage.settings.Recipe", lambda **how: Recipe(**how | {"steps": 2}))
    monkeypatch.chdir(tmp_path)
    example = Path(__file__).parents[2] / "examples" / "train_own.py"
    assert len(example.read_text().splitlines()) < 30
    found = runpy.run_path(str(example))
    assert found["record"].step == 2
    assert (tmp_path / "runs" / "discs" / "ema.safetensors").exists()
