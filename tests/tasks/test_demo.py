"""``pilotage demo`` with a handful of training steps, and its two measures."""

import numpy as np
import pytest
import torch
from PIL import Image

from pilotage import load_run
from pilotage.cli.main import main
from pilotage.data import ImageData, load_data
from pilotage.sweep.table import read_rows, table_path
from pilotage.tasks import demo
from pilotage.utils.images import to_arrays


def flat(*levels):
    """Grey images (N, 2, 2, 1), one for each level."""
    return np.array(levels, dtype=np.uint8)[:, None, None, None].repeat(2, 1).repeat(2, 2)


def test_accuracy_is_the_share_of_the_conditioning_class():
    real = ImageData.from_arrays(
        torch.from_numpy(flat(0, 10, 20, 235, 245, 255)).permute(0, 3, 1, 2).numpy(),
        np.array([0, 0, 0, 1, 1, 1]),
        ("dark", "light"),
    )
    classifier, images = demo.DigitClassifier(real), flat(5, 15, 240, 250)
    assert classifier.accuracy(images, np.array([0, 0, 1, 1])) == 1
    assert classifier.accuracy(images, np.array([1, 0, 1, 1])) == 0.75
    assert classifier.accuracy(images, np.array([1, 1, 0, 0])) == 0


def test_diversity_is_the_deviation_within_a_class():
    labels = np.array([0, 0, 1, 1])
    assert demo.pixel_diversity(flat(0, 255, 0, 255), labels) == pytest.approx(0.5)
    assert demo.pixel_diversity(flat(0, 255, 9, 9), labels) == pytest.approx(0.25)
    assert demo.pixel_diversity(flat(0, 0, 255, 255), labels) == 0


@pytest.mark.slow
def test_demo_prints_the_table_and_draws_the_pictures(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(demo, "STEPS", 4)
    monkeypatch.setattr(demo, "SWEEP", demo.SWEEP.replace(steps=(1, 2), samples=72))
    assert main(["demo", "--out", str(tmp_path), "--steps", "3"]) == 0
    table = (tmp_path / "table.md").read_text()
    assert table.strip() in capsys.readouterr().out
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    assert rows[0] == ["w", "sampler", "steps", "seconds", "accuracy", "diversity"]
    assert [row[:2] for row in rows[2:]] == [
        [w, sampler] for sampler in ("ancestral", "ddim") for w in ("0", "0.3", "1", "4")
    ]
    run, classifier = load_run(tmp_path / "run"), demo.DigitClassifier(load_data("digits")[0])
    for row in rows[2:]:
        how = {"w": float(row[0]), "sampler": row[1], "steps": 4, "batch_size": demo.BATCH_SIZE}
        images, labels = to_arrays(run.sample("all", seeds=range(100), **how)), np.arange(100) % 10
        assert row[2] == "4"
        assert float(row[3]) > 0
        assert row[4] == f"{classifier.accuracy(images, labels):.3f}"
        assert row[5] == f"{demo.pixel_diversity(images, labels):.3f}"
        with Image.open(tmp_path / f"{row[1]}-w{row[0]}.png") as grid:
            assert len(grid.convert("L").getcolors()) > 10
    with Image.open(tmp_path / "overview.png") as overview:
        assert overview.width > 1000
    assert "real held-out digits: accuracy 0.9" in table
    sampled = [row for row in read_rows(table_path(tmp_path / "run")) if row["kind"] == "sample"]
    assert sorted((row["steps"], row["w"]) for row in sampled) == [
        (steps, w) for steps in (1, 2) for w in (0.0, 0.1, 0.3, 1.0, 2.0, 4.0)
    ]
    report = (tmp_path / "report.md").read_text()
    assert "- Lowest FD (in-domain): w = " in report
    assert "| w | T = 1 | T = 2 |" in report
