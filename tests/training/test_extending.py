"""A new objective, kind of training or condition: its own file, and an entry."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from pilotage import load_run
from pilotage.conditions.loading import MAKERS
from pilotage.conditions.stored import write_facts
from pilotage.errors import PilotageError
from pilotage.models.build import BUILDERS, Builder
from pilotage.models.run_folder import read_card
from pilotage.objectives import Denoising
from pilotage.settings import Recipe
from pilotage.settings.recipe import TrainingRecipe
from pilotage.training import fit
from pilotage.training.tasks import OBJECTIVES, TASKS, Task

SMALL = {
    **{"steps": 2, "batch_size": 4, "log_every": 1},
    "network": Recipe().network.replace(
        channels=8, channel_mult=(1,), num_res_blocks=1, head_channels=8, attention_resolutions=()
    ),
}


def trained(recipe, out, **how):
    return list(fit(recipe, out, say=lambda _: None, **how))


@pytest.fixture
def forgotten():
    """Recipes that a test makes are known to that test only."""
    before = list(TrainingRecipe.known)
    yield
    TrainingRecipe.known[:] = before


def test_an_objective_is_a_class_and_an_entry(tmp_path, monkeypatch, forgotten):
    @dataclass(frozen=True)
    class Scaled(Denoising):
        """The denoising loss, times a number."""

        by: float = 0.5

        def terms(self, denoise, x, labels, draws):
            simple = super().terms(denoise, x, labels, draws)["loss"]
            return {"loss": self.by * simple, "simple": simple}

    class ScaledRecipe(Recipe):
        """A denoiser's recipe with the new objective, and its setting."""

        marks: ClassVar[dict[str, str]] = {"objective": "scaled"}
        objective: Literal["scaled"] = "scaled"
        by: float = 0.5

    monkeypatch.setitem(
        OBJECTIVES,
        "scaled",
        lambda recipe, *how: Scaled(*how, recipe.p_uncond, recipe.by),
    )
    whole = trained(Recipe(**SMALL), tmp_path / "simple")
    half = trained(ScaledRecipe(**SMALL, by=0.25), tmp_path / "scaled")
    assert half[0].loss == pytest.approx(0.25 * whole[0].loss)
    assert half[1].terms["simple"] == pytest.approx(4 * half[1].loss)
    card = read_card(tmp_path / "scaled")
    assert isinstance(card.recipe, ScaledRecipe)
    assert card.recipe.by == 0.25
    assert load_run(tmp_path / "scaled").sample([3], steps=2).shape == (1, 1, 8, 8)


def test_a_kind_of_training_is_a_task_and_a_builder(tmp_path, monkeypatch, forgotten):
    class Loud(Task):
        """Denoising that says every step."""

        def callbacks(self, run):
            class Say:
                name, every = "said", 1

                def __call__(self, training, record):
                    run.say(f"step {record.step} of {run.card.recipe.steps}")

            return [Say()]

    class LoudRecipe(Recipe):
        task: ClassVar[str] = "loud"
        marks: ClassVar[dict[str, str]] = {"objective": "loud"}
        objective: Literal["loud"] = "loud"

    monkeypatch.setitem(TASKS, "loud", Loud())
    monkeypatch.setitem(BUILDERS, "loud", Builder())
    monkeypatch.setitem(OBJECTIVES, "loud", OBJECTIVES["simple"])
    said = []
    assert len(list(fit(LoudRecipe(**SMALL), tmp_path / "run", say=said.append))) == 2
    assert said[-2:] == ["step 1 of 2", "step 2 of 2"]
    assert load_run(tmp_path / "run").sample([3], steps=2).shape == (1, 1, 8, 8)


class Numbers:
    """Numbers from 0 to 1 as conditions; -1 is none."""

    null = -1.0

    def __init__(self, scale=1.0):
        self.scale = scale

    def values(self, wanted):
        return [0.5] if wanted is None else [self.value(x) for x in wanted]

    def value(self, wanted):
        if not 0 <= wanted <= 1:
            raise PilotageError(f"number is {wanted}: it must lie in 0..1.")
        return float(wanted)

    def collate(self, values):
        return torch.tensor(
            [self.null if x is None else self.scale * self.value(x) for x in values]
        )

    def drop(self, batch, dropped):
        return torch.where(dropped, self.null, batch)

    def save(self, folder):
        write_facts(folder, {"kind": "numbers", "scale": self.scale})


class Bright(Dataset):
    """Images of one brightness, which is their condition."""

    def __len__(self):
        return 50

    def __getitem__(self, k):
        return torch.full((1, 4, 4), 2 * k / 49 - 1), k / 49


class Net(nn.Module):
    """Two layers, which are told time and number."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(18, 64), nn.SiLU(), nn.Linear(64, 16))

    def forward(self, z, time, cond):
        return self.layers(torch.cat([z.flatten(1), time[:, None] / 1000, cond[:, None]], 1)).view(
            z.shape
        )


@pytest.fixture
def numbers(monkeypatch):
    monkeypatch.setitem(MAKERS, "numbers", lambda facts, folder: Numbers(facts["scale"]))


def test_a_condition_is_a_space_and_an_entry(tmp_path, numbers):
    recipe = Recipe(steps=600, batch_size=50, learning_rate=1e-2, sample_every=10_000)
    own = {"data": Bright(), "network": Net(), "space": Numbers()}
    trained(recipe, tmp_path / "run", **own)
    model = load_run(tmp_path / "run", network=Net())
    assert isinstance(model.space, Numbers)
    how = {"steps": 32, "sampler": "ddim"}
    dark, light = model.sample([0.2, 0.8], **how).mean(dim=(1, 2, 3)).tolist()
    assert (dark, light) == pytest.approx((-0.6, 0.6), abs=0.25)
    assert model.sample([0.2], w=1.0, **how).shape == (1, 1, 4, 4)
    assert len(list((tmp_path / "run" / "samples").glob("*-ema.png"))) == 1
    with pytest.raises(PilotageError, match=r"number is 1\.5: it must lie in 0\.\.1"):
        model.sample([1.5])
    with pytest.raises(PilotageError, match="space is changed: it must be that of the run in"):
        trained(recipe, tmp_path / "run", **own | {"space": Numbers(2.0)})


def test_a_condition_outside_the_space_is_refused(tmp_path):
    class TooBright(Bright):
        def __getitem__(self, k):
            image, number = super().__getitem__(k)
            return image, 2 * number

    own = {"data": TooBright(), "network": Net(), "space": Numbers()}
    with pytest.raises(PilotageError, match=r"the space refuses: number is .*: it must lie in"):
        trained(Recipe(**SMALL), tmp_path / "run", **own)
    with pytest.raises(PilotageError, match="space is a Numbers: it must be one of labels"):
        trained(Recipe(**SMALL), tmp_path / "run", data=Bright(), space=Numbers())
    assert not (tmp_path / "run").exists()
