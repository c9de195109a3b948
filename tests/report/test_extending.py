"""A new sampler and a new guidance rule appear in a report that was not told of them."""

from typing import ClassVar

import pytest

from pilotage.errors import PilotageError
from pilotage.report import write_report
from pilotage.report.read import read_sources
from pilotage.settings.rules import Rule
from pilotage.settings.samplers import Sampler
from pilotage.sweep.curves import arrange
from report.fixtures import classifier_row, make_run, sample_row, write_sweep
from report.reading import report


@pytest.fixture
def toys():
    """A sampler "zigzag" and a rule "push", known during a test."""

    class Zigzag(Sampler):
        name: ClassVar[str] = "zigzag"
        strength: float = 1.0

    class Push(Rule):
        name: ClassVar[str] = "push"
        strength: float = 1.0

    yield
    del Sampler.known["zigzag"], Rule.known["push"]


def swept(folder, *rows):
    run = make_run(folder / "digits", training=False, health=False)
    write_sweep(run, [row | {"id": str(k)} for k, row in enumerate(rows)])
    return run


def labels(run):
    (group,) = arrange(read_sources([run]))
    return {curve.label: [row.w for row in curve.rows] for curve in group.curves}


def test_rows_of_two_samplers_share_no_curve(tmp_path, toys):
    new = {"sampler": "zigzag(strength=2.0)", "v": None, "eta": None}
    other = new | {"sampler": "zigzag"}
    run = swept(tmp_path, *(sample_row(w, **how) for how in ({}, new, other) for w in (0, 1)))
    names = ["T = 64, ancestral", "T = 64, zigzag(strength=2.0)", "T = 64, zigzag"]
    assert labels(run) == {name: [0, 1] for name in names}
    page = report(tmp_path, run)
    assert "over w: zigzag(strength=2.0), n = 2000, seeds 0 to 1999, code 0.1.0; w is" in page.text
    assert [name for name, *_ in page.tables[0]] == ["curve", *names]


def test_rows_of_two_rules_share_no_curve_and_no_best_w(tmp_path, toys):
    new = {"rule": "push(strength=2.0)"}
    rows = [sample_row(w, **how) for how in ({}, new) for w in (0, 1)]
    rows += [classifier_row(1, rule="push", guidance_interval=[-3, 4])]
    run = swept(tmp_path, *rows)
    assert labels(run) == {
        "T = 64, classifier-free": [0, 1],
        "T = 64, classifier-free, push(strength=2.0)": [0, 1],
        "T = 64, classifier, push, λ from -3 to 4": [1],
    }
    page = report(tmp_path, run)
    assert "w is the strength of classifier-free guidance, push(strength=2.0)." in page.text
    assert "classifier_free_w 0, eps shift, push, λ from -3 to 4." in page.text
    assert "Classifier-free, push(strength=2.0) Lowest FD" in page.text


def test_what_is_not_registered_is_shown_as_it_stands(tmp_path):
    odd = {"sampler": "zigzag(strength=<2>)", "v": None, "eta": None}
    rows = [sample_row(w, **how) for how in ({}, odd, {"rule": "push(1|2)"}) for w in (0, 1)]
    run = swept(tmp_path, *rows)
    assert labels(run) == {
        "T = 64, ancestral": [0, 1],
        "T = 64, push(1|2), ancestral": [0, 1],
        "T = 64, zigzag(strength=<2>)": [0, 1],
    }
    text = report(tmp_path, run).text
    assert "over w: zigzag(strength=<2>), n = 2000" in text
    assert "w is the strength of classifier-free guidance, push(1|2)." in text


def test_a_parameter_that_a_sampler_does_not_have_is_named_with_file_and_line(tmp_path):
    run = swept(tmp_path, sample_row(0), sample_row(1, sampler="ddim", v=0.3))
    said = r"rows\.jsonl, line 2: v is 0\.3: it must go with the ancestral sampler, not ddim\."
    with pytest.raises(PilotageError, match=said):
        write_report([run], tmp_path / "report.html")
