"""Reports of noisy classifiers: training curves, and accuracy by noise level."""

import csv
import json
import re

import pytest

from pilotage.errors import PilotageError
from pilotage.report import write_report
from report.fixtures import levels_line, make_classifier, make_run, write_lines
from report.reading import report

HEADS = ("lam", "accuracy ↑", "confidence", "calibration error ↓", "log loss ↓")


def charts(page):
    return [value for _, name, value in page.attributes if name == "aria-label"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A report of a classifier only."""
    folder = tmp_path_factory.mktemp("alone")
    return folder, report(folder, make_classifier(folder / "clf"))


def test_a_classifier_has_training_curves_and_no_sweep_to_wait_for(alone):
    folder, page = alone
    names = ("cross entropy", "accuracy", "grad norm")
    assert {*(f"{name} (smoothed)" for name in names), "learning rate"} <= set(charts(page))
    assert "no sweep yet" not in page.text
    assert "noisy classifier of 10 classes" in page.text
    assert "p_uncond" not in page.text
    assert (folder / "out" / "report-training.png").is_file()


def test_the_newest_levels_are_a_figure_and_a_table(alone):
    folder, page = alone
    table = page.table(*HEADS)
    newest = levels_line(1000)["levels"]
    fields = ("accuracy", "confidence", "calibration_error", "log_loss")
    assert table[1:] == [
        [f"{level['lam']:.3g}", *(f"{level[field]:.3f}" for field in fields)] for level in newest
    ]
    assert "clf at step 1000, on held out images; chance is 0.1." in page.text
    assert "accuracy and calibration by noise level" in charts(page)
    text = (folder / "out" / "report.html").read_text()
    assert all(f">{name}</text>" in text for name in ("calibration error", "chance"))
    markdown = (folder / "out" / "report.md").read_text()
    assert "![accuracy and calibration by noise level](<report-levels.png>)" in markdown
    assert (folder / "out" / "report-levels.png").is_file()
    with (folder / "out" / "report-levels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["500"] * 10 + ["1000"] * 10
    assert [float(row["lam"]) for row in rows[10:]] == [level["lam"] for level in newest]


def test_beside_models_its_loss_has_a_chart_of_its_own(tmp_path):
    runs = [make_run(tmp_path / "digits"), make_classifier(tmp_path / "clf", levels=False)]
    page = report(tmp_path, *runs)
    assert "digits has no sweep yet" in page.text
    names = ("loss", "cross entropy", "accuracy")
    assert {f"{name} (smoothed)" for name in names} <= set(charts(page))
    assert "Noisy classifiers" not in page.text  # it has no levels yet


def test_two_classifiers_have_a_chart_and_a_table_each(tmp_path):
    runs = [make_classifier(tmp_path / name) for name in ("clf", "other")]
    page = report(tmp_path, *runs)
    names = [f"accuracy and calibration by noise level, {name}" for name in ("clf", "other")]
    assert set(names) <= set(charts(page))
    assert len([table for table in page.tables if table[0] == list(HEADS)]) == 2


def test_more_terms_of_a_loss_are_drawn(tmp_path):
    run = make_run(tmp_path / "digits", training=False, health=False)
    lines = [{"step": k, "loss": 1.1, "simple": 1.0, "vlb": 0.1, "odd": 3} for k in (10, 20)]
    write_lines(run / "metrics.jsonl", lines)
    assert charts(report(tmp_path, run)) == [
        *(f"{name} (smoothed)" for name in ("loss", "simple", "vlb")),
        "odd",
    ]


def without(line, name):
    return {**line, "levels": [{k: x for k, x in line["levels"][0].items() if k != name}]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda line: without(line, "accuracy"),
            ": levels.0.accuracy is missing: it must be given.",
        ),
        (
            lambda line: {**line, "levels": []},
            ": levels is []: it must have at least 1 item.",
        ),
        (lambda line: {**line, "levels": [3]}, ": levels has 3: it must be a valid dictionary."),
        (lambda line: {**line, "levels": "x"}, ": levels is 'x': it must be several values."),
        (lambda line: {**line, "images": 1}, ": images is 1: it must be text."),
        (lambda line: {**line, "step": None}, ": step is None: it must be a whole number."),
        (lambda line: [line], " is not a JSON object."),
    ],
)
def test_a_wrong_line_of_the_levels_is_named(tmp_path, change, said):
    run = make_classifier(tmp_path / "clf", levels=False)
    write_lines(run / "noise_levels.jsonl", [levels_line(500), change(levels_line(1000))])
    with pytest.raises(PilotageError, match=rf"noise_levels\.jsonl, line 2{re.escape(said)}$"):
        write_report([run], tmp_path / "report.html")


def test_a_half_written_line_of_levels_is_passed_over(tmp_path):
    run = make_classifier(tmp_path / "clf")
    with (run / "noise_levels.jsonl").open("a") as file:
        file.write(json.dumps(levels_line(1500))[:-9])
    assert "clf at step 1000" in report(tmp_path, run).text
