"""``pilotage study p-uncond``: models, one sweep, one report, resumable."""

import pytest

from helpers import TINY
from pilotage.cli.main import main
from pilotage.models.run_folder import read_card
from pilotage.sweep.table import read_rows, table_path


@pytest.mark.slow
def test_study_trains_sweeps_reports_and_resumes(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "study"
    grid = ["--sweep.w", "0", "1", "--sweep.steps", "2", "--sweep.samples", "72"]
    command = ["study", "p-uncond", "digits", "--out", str(out), "--steps", "3", *TINY, *grid]
    assert main([*command, "--rates", "0.1", "0.5"]) == 0
    tables = {}
    for rate in (0.1, 0.5):
        run = out / f"p_uncond-{rate:g}"
        assert read_card(run).recipe.p_uncond == rate
        tables[run] = table_path(run).read_bytes()
        rows = [row for row in read_rows(table_path(run)) if row["kind"] == "sample"]
        assert [row["w"] for row in rows] == [0, 1]
        assert {row["p_uncond"] for row in rows} == {rate}
    heads = r"| w | T = 2, p\_uncond = 0.1 | T = 2, p\_uncond = 0.5 |"
    report = (out / "report.md").read_text()
    assert heads in report
    assert main(["report", str(out)]) == 0
    assert (out / "report.md").read_text() == report, "the study's folder stands for its runs"

    assert main([*command, "--rates", "0.1", "0.5", "0.2"]) == 0
    assert {run: table_path(run).read_bytes() for run in tables} == tables
    assert len(read_rows(table_path(out / "p_uncond-0.2"))) == 3
    capsys.readouterr()
    assert main([*command, "--rates", "1.5"]) == 2
    assert "rates" in capsys.readouterr().err


@pytest.mark.slow
def test_classifier_study_compares_both_kinds_of_guidance(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "study"
    grid = ["--sweep.w", "0", "1", "--sweep.steps", "2", "--sweep.samples", "72"]
    command = ["study", "classifier", "digits", "--out", str(out), "--steps", "3", *TINY, *grid]
    small = ["--classifier.steps", "3", "--classifier.network.channels", "8"]
    small += ["--classifier.network.head-channels", "8"]
    assert main([*command, *small, "--classifier-w", "0", "5"]) == 0
    assert read_card(out / "unconditional").recipe.p_uncond == 1
    found = {
        name: [
            (row.get("guidance"), row["w"], row.get("classifier_free_w"))
            for row in read_rows(table_path(out / name))
            if row["kind"] == "sample"
        ]
        for name in ("conditional", "unconditional")
    }
    guided = [("classifier", 0, 0), ("classifier", 5, 0)]
    assert found["conditional"] == [(None, 0, None), (None, 1, None), *guided]
    assert found["unconditional"] == [("classifier", 0, -1), ("classifier", 5, -1)]
    report = (out / "report.md").read_text()
    assert "### Classifier-free against classifier guidance at matched IS\n\n| w |" in report
    before = table_path(out / "conditional").read_bytes()
    assert main([*command, *small, "--classifier-w", "0", "5"]) == 0
    assert table_path(out / "conditional").read_bytes() == before
