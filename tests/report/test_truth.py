"""What a report shows is what the rows say: each number, bar, line, image and name in its place."""

import base64
import csv
import html
import io
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pilotage.models.run_folder import Card, write_card
from pilotage.report import write_report
from pilotage.report.charts import charts_figure, draw, seeds_figure, svg
from pilotage.report.read import find_runs, read_sources
from pilotage.report.sweeps import samples, summary, sweep_charts
from pilotage.report.write import page
from pilotage.settings import Recipe
from pilotage.sweep.best import best_of, difference, told_apart
from pilotage.sweep.curves import arrange
from pilotage.sweep.rows import as_row
from report.fixtures import (
    FACTS,
    classifier_row,
    make_run,
    measured,
    real_row,
    sample_row,
    write_preview,
    write_sweep,
)
from report.reading import Page, report

W = (0.0, 0.3, 1.0, 4.0)
FD = (3.0, 2.0, 2.5, 6.0)
ERROR = (0.11, 0.12, 0.13, 0.14)
SCORE = (8.0, 8.6, 9.1, 9.3)
FLOOR = 0.75
NAMES = [
    "a|b",
    "<i>x</i>",
    r"$\alpha_1$",
    "[y](u://z)",
    "_q_ *r*",
    "`c`",
    "&amp;",
    "\\",
    "é#",
    "~",
]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A run of four w with a floor and odd class names, its group, its page."""
    folder = tmp_path_factory.mktemp("told")
    run = make_run(folder / "digits", training=False, health=False)
    write_card(run, Card(Recipe(), FACTS.replace(classes=tuple(NAMES))))
    rows = [
        measured(w, (fd, error), (score, error / 2))
        for w, fd, error, score in zip(W, FD, ERROR, SCORE, strict=True)
    ]
    rows = [write_preview(run, row, 0.5 + row["w"]) for row in rows]
    floor = real_row(metrics={"frechet": [FLOOR, 0.05], "inception_score": [9.9, 0.05]})
    write_sweep(run, [*rows, floor])
    (group,) = arrange(read_sources([run]))
    return folder, run, rows, group, report(folder, run)


def chart_named(group, title):
    return next(chart for chart in sweep_charts(group) if chart.title == title)


def drawn(chart):
    axis = Figure().subplots()
    draw(axis, chart)
    return axis


@pytest.mark.parametrize(
    ("title", "x", "y"),
    [
        ("FD (in-domain) over w", W, FD),
        ("IS (in-domain) over w", W, SCORE),
        ("FD (in-domain) against IS (in-domain)", SCORE, FD),
    ],
)
def test_points_stand_at_their_numbers(told, title, x, y):
    *_, group, _ = told
    chart = chart_named(group, title)
    axis = drawn(chart)
    line = axis.containers[0].lines[0]
    assert line.get_xdata().tolist() == list(x)
    assert line.get_ydata().tolist() == list(y)
    label = title.split(" against ")[-1] if " against " in title else "w"
    assert axis.get_xlabel().startswith(label)
    assert axis.get_ylabel().startswith(title.split(" over ")[0].split(" against ")[0])


def test_what_is_pointed_at_on_the_page_lies_at_its_numbers(told):
    *_, group, _ = told
    for title, x, y in (
        ("FD (in-domain) over w", W, FD),
        ("FD (in-domain) against IS (in-domain)", SCORE, FD),
    ):
        text = svg(chart_named(group, title), "a")
        found = re.findall(r'<circle cx="(.+?)" cy="(.+?)" r="7"><title>(.+?)</title>', text, re.S)
        assert [tip.split("\n")[0] for *_, tip in found] == [f"T = 64, w = {w:g}" for w in W]
        cx, cy = (np.array([float(row[k]) for row in found]) for k in (0, 1))
        for pixels, values, sign in ((cx, x, 1), (cy, y, -1)):
            slope, start = np.polyfit(values, pixels, 1)
            assert sign * slope > 1
            assert np.abs(np.polyval((slope, start), values) - pixels).max() < 0.2
        paths = re.findall(r'<path d="(M[^"]+?)" clip-path="[^"]+?" style="fill: none', text)
        places = [np.array(re.findall(r"[-\d.]+", path), float).reshape(-1, 2) for path in paths]
        assert any(len(p) == 4 and np.abs(p - np.stack([cx, cy], 1)).max() < 0.2 for p in places), (
            "the line runs through the points"
        )


def test_the_floor_is_drawn_at_the_floor(told):
    *_, group, _ = told
    axis = drawn(chart_named(group, "FD (in-domain) over w"))
    (floor,) = [line for line in axis.lines if line.get_label() == "real against real (n = 179)"]
    assert list(floor.get_ydata()) == [FLOOR, FLOOR]


def test_bars_are_one_standard_error(told):
    *_, group, _ = told
    axis = drawn(chart_named(group, "FD (in-domain) against IS (in-domain)"))
    _, _, (wide, high) = axis.containers[0]
    halves = [(seg[1] - seg[0]) / 2 for seg in high.get_segments()]
    assert np.allclose([half[1] for half in halves], ERROR)
    halves = [(seg[1] - seg[0]) / 2 for seg in wide.get_segments()]
    assert np.allclose([half[0] for half in halves], np.array(ERROR) / 2)


def test_every_number_is_written_with_its_own_standard_error(told):
    folder, _, _, group, found = told
    fd = [f"{x:.2f} ±{e:.2f}" for x, e in zip(FD, ERROR, strict=True)]
    score = [f"{x:.2f} ±{e / 2:.2f}" for x, e in zip(SCORE, ERROR, strict=True)]
    table = found.table("w", "T = 64")
    assert [line[1] for line in table[1:]] == [*fd, f"{FLOOR:.2f} ±0.05"]
    assert [line[2] for line in table[1:]] == [*score, "9.90 ±0.05"]
    every = found.table("w", "FD (in-domain) ↓", "IS (in-domain) ↑")
    assert [line[1:] for line in every[1:-1]] == [
        list(pair) for pair in zip(fd, score, strict=True)
    ]
    text = svg(chart_named(group, "FD (in-domain) over w"), "a")
    for x, e in zip(FD, ERROR, strict=True):
        assert f"FD (in-domain) {x:.2f} ± {e:.2f}\n" in text
    markdown = (folder / "out" / "report.md").read_text()
    assert [line.split(" | ")[1].replace("*", "") for line in markdown.splitlines()
            if re.match(r"\| [\d.]+ \| [^/]+ \| [^/]+ \|$", line)] == fd  # fmt: skip
    with (folder / "out" / "report.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "sample"]
    assert [float(row["frechet_se"]) for row in rows] == list(ERROR)


def test_matched_numbers_have_interpolated_standard_errors(tmp_path):
    run = make_run(tmp_path / "digits", training=False, health=False)
    rows = [measured(0, (4.0, 0.2), (8.0, 0.1)), measured(1, (2.0, 0.4), (9.0, 0.1))]
    metrics = {"frechet": [3.3, 0.15], "inception_score": [8.25, 0.1]}
    write_sweep(run, [*rows, classifier_row(1, metrics=metrics)])
    (table,) = [t for t in report(tmp_path, run).tables if t[0][1:2] == ["T = 64, classifier"]]
    assert table[2] == ["1", "8.25 ±0.10", "3.30 ±0.15", "3.50 ±0.25"]


def test_the_best_of_a_column_and_nothing_else_is_bold(told):
    folder, *_, found = told
    best = {("0.3", "2.00"), ("4", "9.30")}
    assert set(found.bold) == best
    markdown = (folder / "out" / "report.md").read_text()
    lines = [line for line in markdown.splitlines() if line.startswith("|") and "**" in line]
    marked = {
        (line.split("|")[1].strip(), x)
        for line in lines
        for x in re.findall(r"\*\*(.+?)\*\*", line)
    }
    assert marked == best


def test_a_card_says_the_best_its_error_and_the_next(told):
    *_, group, _ = told
    (cards,) = [block.value for block in summary([group]).value if block.kind == "cards"]
    said = "Next w = 1: +0.50 ± 0.18, told apart."
    assert cards[0] == ("Lowest FD (in-domain)", "w = 0.3", "2.00 ± 0.12", "T = 64", said)
    said = "Next w = 1: -0.20 ± 0.10, told apart. It is the largest w tried."
    assert cards[1] == ("Highest IS (in-domain)", "w = 4", "9.30 ± 0.07", "T = 64", said)


def test_the_best_of_every_curve_stands_at_its_own_curve(tmp_path):
    run = make_run(tmp_path / "digits", training=False, health=False)
    rows = [measured(0, (3.0, 0.1)), measured(1, (2.0, 0.2))]
    rows += [measured(0, (1.0, 0.3), steps=256), measured(1, (1.1, 0.4), steps=256)]
    write_sweep(run, rows)
    table = report(tmp_path, run).table("curve", "FD (in-domain) ↓", "IS (in-domain) ↑")
    assert [line[:3] for line in table[1:]] == [
        ["T = 64", "1", "2.00 ±0.20"],
        ["T = 256", "0 (1)", "1.00 ±0.30"],
    ]


HALVES = {"frechet": [2.0, 2.2, 1.9, 2.1]}
LIFTED = {"frechet": [2.11, 2.29, 2.01, 2.19]}
PAIRED = np.std([0.11, 0.09, 0.11, 0.09], ddof=1) / 4**0.5


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({}, PAIRED),
        ({"seeds": [2000, 4000]}, 0.5),
        ({"n": 1000}, 0.5),
        ({"run_hash": "22" * 32}, 0.5),
        ({"seeds": None}, 0.5),
        ({"replicates": {}}, 0.5),
        ({"replicates": {"frechet": [2.0, 2.1]}}, 0.5),
        (
            {"sampler": "ddim", "v": None, "steps": 256},
            PAIRED,
        ),
    ],
)
def test_rows_of_the_same_seeds_have_paired_errors_of_their_difference(change, error):
    one = as_row(measured(0.3, (2.0, 0.3), replicates=HALVES))
    other = as_row(measured(1, (2.1, 0.4), replicates=LIFTED) | change)
    gap = difference(one, other, "frechet")
    assert gap == pytest.approx((0.1, error))
    assert told_apart(gap) == (error < 0.05)


def test_ties_come_from_paired_errors(tmp_path):
    run = make_run(tmp_path / "digits", training=False, health=False)
    rows = [measured(0.3, (2.0, 0.3)), measured(1, (2.1, 0.4))]
    paired = [row | {"replicates": x} for row, x in zip(rows, (HALVES, LIFTED), strict=True)]
    for written, ties in ((rows, [1.0]), (paired, [])):
        write_sweep(run, written)
        (group,) = arrange(read_sources([run]))
        assert best_of(group.curves[0], "frechet").ties == ties
    found = report(tmp_path, run)
    assert "Next w = 1: +0.100 ± 0.006, told apart." in found.text
    assert "replicates" not in (tmp_path / "out" / "report.csv").read_text()


def test_a_weak_extractor_is_named_above_the_best(tmp_path):
    run = make_run(tmp_path / "digits", training=False, health=False)
    rows = [measured(0.3, (2.0, 0.3)), measured(1, (2.1, 0.4))]
    for share, weak in ((0.11, True), (0.9, False)):
        write_sweep(run, [r | {"extractor": r["extractor"] | {"accuracy": share}} for r in rows])
        text = report(tmp_path, run).text
        assert ("right for only 11% of held-out images" in text) == weak
        if weak:
            assert text.index("right for only 11%") < text.index("Lowest FD")


def test_the_page_shows_each_rows_own_images_in_order_under_their_classes(told):
    _, run, rows, _, found = told
    shown = [value for tag, name, value in found.attributes if (tag, name) == ("img", "src")]
    names = [value for tag, name, value in found.attributes if (tag, name) == ("img", "alt")]
    assert names == [f"samples at w = {w:g}" for w in W]
    pictures = [base64.b64decode(value.removeprefix("data:image/png;base64,")) for value in shown]
    assert pictures == [(run / row["preview"]).read_bytes() for row in rows]
    text = (told[0] / "out" / "report.html").read_text()
    (columns,) = re.findall(r'<div class="columns">(.*?)</div>', text)
    assert [html.unescape(x) for x in re.findall("<span>(.*?)</span>", columns)] == NAMES


def test_the_picture_for_markdown_has_each_grid_upright_beside_its_w(told):
    _, run, rows, group, _ = told
    block = samples(group, "samples").value[0]
    with seeds_figure(block) as figure:
        figure.canvas.draw()
        texts = {text.get_text(): text.get_position() for text in figure.texts}
        assert len(figure.axes) == len(rows)
        for axis, row in zip(figure.axes, rows, strict=True):
            (image,) = axis.images
            own = np.asarray(Image.open(run / row["preview"]).convert("RGB"))
            assert np.array_equal(image.get_array(), own)
            assert not axis.xaxis_inverted()
            assert axis.get_ylim()[0] > axis.get_ylim()[1], "the first row is on top"
            place = axis.get_position()
            assert place.y0 < texts[f"w = {row['w']:g}"][1] < place.y1
        width = place.width / len(NAMES)
        for k, name in enumerate(NAMES):
            assert texts[name][0] == pytest.approx(place.x0 + (k + 0.5) * width)


def test_a_class_name_is_never_markup(told):
    folder, _, _, group, found = told
    assert ", ".join(NAMES) in found.text
    text = (folder / "out" / "report.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("- classes: ")]
    line = line.removeprefix("- classes: ")
    assert html.unescape(re.sub(r"\\(.)", r"\1", line)) == ", ".join(NAMES)
    bare = re.sub(r"\\.", "", line)
    assert not set("|*_`[]<>$~") & set(bare), "every sign that Markdown reads is escaped"
    assert not re.search("&(?!amp;|lt;|gt;)", bare)
    with seeds_figure(samples(group, "samples").value[0]) as figure:
        assert {text.get_text() for text in figure.texts} >= set(NAMES)
        assert not any(text.get_parse_math() for text in figure.texts)


def test_a_formula_in_a_name_is_no_formula_in_charts(tmp_path):
    run = make_run(tmp_path / "$x^2$|b", training=False, health=False)
    rows = [measured(w, (w + 1, 0.1)) for w in (0, 1)]
    rows += [measured(w, (w + 2, 0.1), run_hash="9" * 64, step=2000) for w in (0, 1)]
    write_sweep(run, rows)
    (group,) = arrange(read_sources([run]))
    with charts_figure(sweep_charts(group)) as figure:
        labels = figure.legends[0].get_texts()
        assert [text.get_text() for text in labels] == [
            f"$x^2$|b, step {step}" for step in (1000, 2000)
        ]
        assert not any(text.get_parse_math() for text in labels)
    assert "$x^2$|b, step 1000" in Page(page([*_blocks(run)])).text


def _blocks(run):
    from pilotage.report.manifest import gather

    return gather(read_sources([run]))


def test_a_study_is_its_runs(tmp_path):
    study = tmp_path / "study"
    runs = [make_run(study / f"p_uncond-{rate}", rate, False, False) for rate in (0.1, 0.5)]
    for k, run in enumerate(runs):
        rate = (0.1, 0.5)[k]
        write_sweep(run, [measured(0, (1.0 + k, 0.1), p_uncond=rate, run_hash=f"{k}" * 64)])
    (study / "cache").mkdir()
    assert find_runs([study]) == runs
    assert find_runs([runs[1], tmp_path / "none"]) == [runs[1], tmp_path / "none"]
    page = report(tmp_path, study)
    assert page.table("w", "p_uncond = 0.1", "p_uncond = 0.5")
    assert "p_uncond-0.1 and p_uncond-0.5" in page.text


def test_the_slider_has_every_w_and_the_page_has_a_list_of_its_parts(told):
    folder, *_, found = told
    text = (folder / "out" / "report.html").read_text()
    strips = re.findall(r'<div class="strip"><span>(.*?)</span>', text)
    assert strips == [f"w = {w:g}" for w in W]
    ids = {value for _, name, value in found.attributes if name == "id"}
    links = [value for tag, name, value in found.attributes if (tag, name) == ("a", "href")]
    assert len(links) == 2
    assert {link.removeprefix("#") for link in links} <= ids
    assert 'type: "range"' in text


def test_old_rows_without_new_fields_and_new_rows_with_more_are_read(tmp_path):
    run = make_run(tmp_path / "digits", training=False, health=False)
    old = sample_row(0)
    for name in ("p_uncond", "guidance_scale", "convention", "preview", "seconds"):
        del old[name]
    write_sweep(run, [old, sample_row(1) | {"later": {"a": 1}, "another": [1, 2]}])
    found = report(tmp_path, run)
    assert [line[0] for line in found.table("w", "T = 64")[1:]] == ["0", "1"]
    with (tmp_path / "out" / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["later_a"], row["another"]) for row in rows] == [("", ""), ("1", "1 2")]


def test_a_preview_is_a_picture(told):
    """The fixtures' strips are pictures, so that the tests of images compare something."""
    _, run, rows, *_ = told
    sizes = {Image.open(io.BytesIO((run / row["preview"]).read_bytes())).size for row in rows}
    assert sizes == {(107, 19)}
    assert len({(run / row["preview"]).read_bytes() for row in rows}) == len(rows)


def test_out_has_to_be_a_page(told, tmp_path):
    _, run, *_ = told
    with pytest.raises(ValueError, match=r"has to end in \.html"):
        write_report([run], tmp_path / "report.pdf")
