"""A new sampler or guidance rule is one class: everything above takes it by its name."""

import json
import shutil
from typing import ClassVar

import pytest
import torch
from PIL import Image

import pilotage
from helpers import train
from pilotage.cli.main import main
from pilotage.diffusion import Prediction, classifier_free, ddim
from pilotage.settings.rules import Rule
from pilotage.settings.samplers import Sampler


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train(folder, steps=4) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy: a report knows no row of a toy that another test defined."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def toy_sampler():
    class Toy(Sampler):
        """DDIM, shrunk a little at every step."""

        name: ClassVar[str] = "toy"
        shrink: float = 0.9

        def step(self, score=None):
            inner = ddim()

            def step(denoise, state, lam_s, noise):
                state = inner(denoise, state, lam_s, noise)
                return state._replace(z=self.shrink * state.z)

            return step

    yield Toy
    del Sampler.known["toy"]


@pytest.fixture
def toy_rule():
    class Halved(Rule):
        """Classifier-free guidance of a share of w."""

        name: ClassVar[str] = "halved"
        share: float = 0.5

        def apply(self, denoise, w, null):
            return classifier_free(denoise, self.share * w, null)

    yield Halved
    del Rule.known["halved"]


def _sweep(run, *flags):
    how = ["--steps", "2", "--samples", "20", "--force", "--batch-size", "8"]
    assert main(["sweep", str(run), *how, *flags]) == 0
    lines = (run / "sweep" / "rows.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == "sample"]


def test_a_sampler_samples_sweeps_and_reports_by_its_name(run, toy_sampler, tmp_path):
    model = pilotage.load_run(run)
    images = model.sample([3], sampler="toy(shrink=0.5)", steps=2)
    assert torch.equal(images, model.sample([3], sampler=toy_sampler(shrink=0.5), steps=2))
    assert not torch.equal(images, model.sample([3], sampler="toy", steps=2))
    out = tmp_path / "one.png"
    how = ["--labels", "3", "--seeds", "0", "--steps", "2", "--sampler", "toy(shrink=0.5)"]
    assert main(["sample", str(run), *how, "--out", str(out)]) == 0
    assert json.loads((tmp_path / "one.png.json").read_text())["sampler"] == "toy(shrink=0.5)"
    assert Image.open(out).size[0] > 0
    rows = _sweep(run, "--w", "0", "1", "--sampler", "toy(shrink=0.5)", "ddim")
    found = {row["sampler"] for row in rows}
    assert {"toy(shrink=0.5)", "ddim"} <= found
    assert main(["report", str(run), "--out", str(tmp_path / "report.html")]) == 0
    assert "toy(shrink=0.5)" in (tmp_path / "report.md").read_text()


def test_a_rule_guides_sweeps_and_reports_by_its_name(run, toy_rule, tmp_path):
    model = pilotage.load_run(run)
    images = model.sample([3], rule="halved", w=2.0, steps=2)
    assert torch.equal(images, model.sample([3], w=1.0, steps=2))
    assert torch.equal(
        model.sample([3], rule=toy_rule(share=1.0), w=2.0, steps=2),
        model.sample([3], w=2.0, steps=2),
    )
    rows = _sweep(run, "--w", "1", "--rule", "halved(share=0.25)")
    assert rows[-1]["rule"] == "halved(share=0.25)"
    assert main(["report", str(run), "--out", str(tmp_path / "report.html")]) == 0
    assert "halved(share=0.25)" in (tmp_path / "report.md").read_text()


def test_guidance_keeps_predictions_of_the_usual_kind(run, toy_rule):
    model = pilotage.load_run(run)
    denoise = model.guided(pilotage.models.guidance_spec.Guidance(1.0, rule=toy_rule()))
    z, lam = torch.zeros(2, *model.shape), torch.zeros(2)
    assert isinstance(denoise(z, lam, torch.tensor([0, 1])), Prediction)


def test_known_names_are_listed_where_one_is_wrong(run, capsys):
    assert main(["sample", str(run), "--sampler", "toy"]) == 2
    assert "sampler is 'toy': it must be one of ancestral, ddim" in capsys.readouterr().err
    assert main(["sample", str(run), "--rule", "best"]) == 2
    assert "rule is 'best': it must be one of cfg" in capsys.readouterr().err
