"""Reports of classifier guidance beside classifier-free guidance."""

import csv
import re

import pytest

from pilotage.errors import PilotageError
from pilotage.report import write_report
from report.fixtures import classifier_row, make_run, real_row, sample_row, write_sweep
from report.reading import report

OTHER = {"classifier_hash": "77" * 32}


def swept(folder, rows, p_uncond=0.1):
    run = make_run(folder, p_uncond, training=False, health=False)
    write_sweep(run, rows)
    return run


def numbers(frechet, score, **more):
    """Metrics of a row, with a standard error of a hundredth each."""
    found = {"frechet": frechet, "inception_score": score, **more}
    return {name: [value, 0.01] for name, value in found.items()}


def over_w(page):
    """The tables of distance and score over w: their rows of w and columns."""
    return [t for t in page.tables if t[0] == ["w", "T = 64"]]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """One run with rows of both kinds of guidance."""
    folder = tmp_path_factory.mktemp("both")
    rows = [sample_row(w) for w in (0, 0.3, 1)] + [classifier_row(w) for w in (0, 1, 10)]
    return folder, report(folder, swept(folder / "digits", [*rows, real_row()]))


def test_the_kinds_share_no_table_over_w(both):
    _, page = both
    assert [[line[0] for line in table[1:-1]] for table in over_w(page)] == [
        ["0", "0.3", "1"],
        ["0", "1", "10"],
    ]
    assert (
        "seeds 0 to 1999, code 0.1.0; w is the strength of classifier-free guidance." in page.text
    )
    assert (
        "w is the strength of classifier guidance, 5b5b5b, classifier_free_w 0, eps shift."
        in page.text
    )


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (OTHER, ("classifier, 5b5b5b", "classifier, 777777")),
        (
            {"classifier_free_w": 0.5},
            ("classifier, classifier_free_w 0", "classifier, classifier_free_w 0.5"),
        ),
        ({"classifier_shift": "mean"}, ("classifier, eps shift", "classifier, mean shift")),
    ],
)
def test_what_differs_between_classifier_rows_parts_them_and_names_them(tmp_path, change, names):
    rows = [classifier_row(w, **more) for more in ({}, change) for w in (0, 1)]
    page = report(tmp_path, swept(tmp_path / "digits", [*rows, sample_row(0)]))
    assert len(over_w(page)) == 3
    heads = [line[0] for table in page.tables for line in table]
    for name in ("classifier-free", *names):
        assert f"T = 64, {name}" in heads
        assert name[0].upper() + name[1:] in page.text  # over its cards


def test_the_best_w_is_told_for_each_kind(both):
    folder, page = both
    text = page.text
    free, guided = text.index("Classifier-free Lowest FD"), text.index("Classifier Lowest FD")
    assert "w = 0.3" in text[free:guided]
    assert "w = 1 " in text[guided : text.index("Best w of every curve")]
    assert "w = 10 " not in text[free:guided]
    markdown = (folder / "out" / "report.md").read_text()
    assert "Classifier-free\n\n- Lowest FD" in markdown
    assert "Classifier\n\n- Lowest FD" in markdown


def test_both_conventions_are_told(both, tmp_path):
    _, page = both
    assert "Classifier-free guidance: (1 + w) · conditional − w · unconditional;" in page.text
    assert "Classifier guidance: eps − w · sigma · grad log p(c | z)" in page.text
    assert "convention, classifier-free" in page.text
    assert "runs/clf, step 1000" in page.text
    assert "5b" * 32 in page.text
    only = report(
        tmp_path, swept(tmp_path / "digits", [classifier_row(1, classifier_shift="mean")])
    )
    assert "Classifier-free guidance" not in only.text
    assert "A mean shift moves the mean" in only.text


def test_table_4_of_2105_05233(tmp_path):
    runs = []
    for name, rate, free_w in (("a", 0.0, 0.0), ("b", 1.0, -1.0)):
        rows = [
            classifier_row(w, p_uncond=rate, classifier_free_w=free_w, run_hash=name * 64)
            for w in (0, 1, 10)
        ]
        runs.append(swept(tmp_path / name, rows, rate))
    page = report(tmp_path, *runs)
    heads = ("w", "FD (in-domain) ↓", "sFD (in-domain) ↓", "IS (in-domain) ↑")
    table = page.table(*heads, "precision ↑", "recall ↑")
    blocks = ["conditional", "no guidance", "1", "10", "unconditional", "no guidance", "1", "10"]
    assert [line[0] for line in table[1:]] in (blocks, blocks[4:] + blocks[:4])
    assert len(over_w(page)) == 0  # the columns are named by the model
    assert len([t for t in page.tables if t[0] == ["", "T = 64"]]) == 2


def test_without_a_classifier_but_guided_is_not_called_no_guidance(tmp_path):
    rows = [classifier_row(w, classifier_free_w=0.5) for w in (0, 1)]
    page = report(tmp_path, swept(tmp_path / "digits", rows))
    assert any(line[0] == "no classifier" for table in page.tables for line in table)
    assert "no guidance" not in page.text


def test_a_learned_variance_is_told(tmp_path):
    rows = [sample_row(0), sample_row(1, v="learned", id="b"), classifier_row(1, v="learned")]
    page = report(tmp_path, swept(tmp_path / "digits", rows))
    assert "over w: ancestral, learned v, n = 2000" in page.text
    assert "T = 64, classifier-free, learned v" in page.text


def test_matched_scores_are_interpolated_within_the_range_only(tmp_path):
    rows = [
        sample_row(0, metrics=numbers(4.0, 8.0, precision=0.7, recall=0.6)),
        sample_row(1, metrics=numbers(2.0, 9.0, precision=0.9, recall=0.5)),
        sample_row(1, 256, metrics=numbers(1.0, 9.0)),
        classifier_row(0, metrics=numbers(4.0, 8.0)),
        classifier_row(1, metrics=numbers(3.5, 8.25, precision=0.8, recall=0.4)),
        classifier_row(4, metrics=numbers(3.0, 9.0)),
        classifier_row(10, metrics=numbers(9.0, 9.5)),
    ]
    page = report(tmp_path, swept(tmp_path / "digits", rows))
    (table,) = [t for t in page.tables if t[0][1:2] == ["T = 64, classifier"]]
    assert table[0] == ["", "T = 64, classifier", "T = 64, classifier-free"]
    shown = [[cell.split(" ±")[0] for cell in line] for line in table[2:]]
    assert shown == [
        ["1", "8.250", "3.500", "0.800", "0.400", "3.500", "0.750", "0.575"],
        ["4", "9.000", "3.000", "–", "–", "2.000", "0.900", "0.500"],
        ["10", "9.500", "9.000", "–", "–", "–", "–", "–"],
    ]
    assert "a dash where the curve does not have that IS" in page.text
    assert "at matched IS" in (tmp_path / "out" / "report.md").read_text()


def test_a_curve_that_turns_gives_its_lower_distance(tmp_path):
    rows = [
        *(sample_row(w, metrics=numbers(fd, s)) for w, fd, s in ((0, 4, 8), (1, 2, 9), (2, 6, 8))),
        classifier_row(1, metrics=numbers(1.0, 8.5)),
    ]
    page = report(tmp_path, swept(tmp_path / "digits", rows))
    assert "1 8.500 ±0.010 1.000 ±0.010 3.000 ±0.010" in page.text.replace("\n", " ")


def test_only_what_was_sampled_alike_is_matched(tmp_path):
    rows = [sample_row(0, sampler="ddim"), sample_row(0, 256), sample_row(0, n=500)]
    page = report(tmp_path, swept(tmp_path / "digits", [*rows, classifier_row(1)]))
    assert "at matched IS" not in page.text


def test_the_curves_of_both_kinds_are_drawn_apart(both):
    folder, page = both
    text = (folder / "out" / "report.html").read_text()
    names = [value for _, name, value in page.attributes if name == "aria-label"]
    assert "FD (in-domain) against IS (in-domain)" in names
    assert {f"FD (in-domain) over w, {kind}" for kind in ("classifier-free", "classifier")} <= {
        *names
    }
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    trade_off = drawings[names.index("FD (in-domain) against IS (in-domain)")]
    assert "fill: var(--paper)" in trade_off  # hollow points
    legend = next(drawing for drawing in drawings if "T = 64, classifier-free</text>" in drawing)
    assert "T = 64, classifier</text>" in legend
    assert "hollow ones classifier guidance" in page.text


def test_csv_tells_the_guidance(both):
    folder, _ = both
    with (folder / "out" / "report.csv").open(newline="") as file:
        found = [row for row in csv.DictReader(file) if row["kind"] == "sample"]
    assert [row["guidance"] for row in found] == [""] * 3 + ["classifier"] * 3
    assert {row["classifier_free_w"] for row in found} == {"", "0.0"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"guidance": "magic"},
            "guidance is 'magic': it must be 'classifier-free' or 'classifier'.",
        ),
        ({"classifier_hash": None}, "classifier_hash is missing: it must be given."),
        ({"classifier_free_w": "x"}, "classifier_free_w is 'x': it must be a number."),
        ({"classifier_shift": "x"}, "classifier_shift is 'x': it must be 'eps' or 'mean'."),
        (
            {"v": "big"},
            "v is 'big': it must be a number or be 'learned'.",
        ),
    ],
)
def test_a_wrong_field_of_guidance_is_named(tmp_path, change, said):
    run = swept(tmp_path / "digits", [classifier_row(0), classifier_row(1) | change])
    with pytest.raises(PilotageError, match=rf"rows\.jsonl, line 2: {re.escape(said)}$"):
        write_report([run], tmp_path / "report.html")
