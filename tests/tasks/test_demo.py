"""The main job in miniature: ``pilotage demo`` with a handful of training steps."""

import pytest
from PIL import Image

from pilotage.cli.main import main
from pilotage.sweep.table import read_rows, table_path
from pilotage.tasks import demo


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
    for row in rows[2:]:
        assert float(row[3]) > 0
        assert 0 <= float(row[4]) <= 1
        assert 0 <= float(row[5]) < 0.5
        with Image.open(tmp_path / f"{row[1]}-w{row[0]}.png") as grid:
            assert len(grid.convert("L").getcolors()) > 10
    with Image.open(tmp_path / "overview.png") as overview:
        assert overview.width > 1000
    assert "real held-out digits: accuracy 0.9" in table
    sampled = [row for row in read_rows(table_path(tmp_path / "run")) if row["kind"] == "sample"]
    assert len({row["w"] for row in sampled}) >= 6
    assert len({row["steps"] for row in sampled}) == 2
    report = (tmp_path / "report.md").read_text()
    assert "- Lowest FD (in-domain): w = " in report
    assert "| w | T = 8 | T = 32 |" in report
