"""``write_report``: what the page, the Markdown and the CSV say about given rows."""

import base64
import csv
import hashlib
import re
import subprocess
import sys

import pytest

from pilotage.errors import PilotageError
from pilotage.report import write_report
from pilotage.report.read import read_sources
from pilotage.report.training import training_charts
from report.fixtures import (
    IN_DOMAIN,
    REFERENCE,
    make_run,
    measured,
    real_row,
    sample_row,
    write_lines,
    write_preview,
    write_sweep,
)
from report.reading import report

STANDARD = IN_DOMAIN | {"name": "inception-2015", "hash": "99" * 32, "dimensions": 2048}


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """One run with everything, and its page."""
    folder = tmp_path_factory.mktemp("full")
    run = make_run(folder / "digits")
    rows = [sample_row(w, steps) for steps in (64, 256) for w in (0, 0.1, 0.3, 1, 4)]
    rows = [write_preview(run, row, 1 + row["w"]) for row in rows]
    write_sweep(run, [*rows, real_row()])
    return folder, run, [*rows, real_row()], report(folder, run)


def test_nothing_is_asked_from_outside(full):
    folder, _, _, page = full
    text = (folder / "out" / "report.html").read_text()
    for _, name, value in page.attributes:
        assert "://" not in (value or "")
        if name in ("src", "href", "xlink:href", "data", "poster", "srcset"):
            assert value.startswith(("data:image/png;base64,", "#"))
    assert not {tag for tag, *_ in page.attributes} & {"link", "iframe", "object"}
    (script,) = re.findall(r"<script.*?</script>", text, flags=re.DOTALL)
    digest = hashlib.sha256(script.removeprefix("<script>").removesuffix("</script>").encode())
    known = f"script-src 'sha256-{base64.b64encode(digest.digest()).decode()}'"
    assert known in text, "the page's own script runs and no other"
    assert not re.search(r"fetch|import|https?:", script)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_every_reference_within_the_drawings_exists_once(full):
    _, _, _, page = full
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = {value[1:] for _, name, value in page.attributes if name == "href"}
    used |= {
        m for _, _, value in page.attributes for m in re.findall(r"url\(#(.+?)\)", value or "")
    }
    assert used
    assert used <= set(ids)


def test_drawings_follow_the_colours_of_the_page(full):
    folder, *_ = full
    text = (folder / "out" / "report.html").read_text()
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(drawings) >= 12  # four of the sweep and their legend, three of training, five others
    for drawing in drawings:
        # black is matplotlib's name for "by the group around": no other fixed colour is left
        assert not set(re.findall(r"#[0-9a-f]{6}\b", drawing)) - {"#000000"}
    assert "prefers-color-scheme: dark" in text


def test_the_files_that_are_written(full):
    folder, *_ = full
    names = {path.name for path in (folder / "out").iterdir()}
    pictures = {f"report-{name}.png" for name in ("curves", "samples", "training", "health")}
    assert names == {"report.html", "report.md", "report.csv"} | pictures
    linked = set(re.findall(r"!\[.*?\]\(<(.+?)>\)", (folder / "out" / "report.md").read_text()))
    assert linked == pictures


def test_the_same_again_gives_the_same_bytes(full, tmp_path):
    folder, run, _, _ = full
    report(tmp_path, run)
    for path in (folder / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes(), path.name


def test_cells_stand_under_their_steps_and_beside_their_w(tmp_path):
    run = make_run(tmp_path / "digits", training=False, health=False)
    rows = [
        measured(0, (3.0, 0.02), (8.0, 0.05), steps=64),
        measured(0.3, (2.0, 0.02), (8.5, 0.05), steps=64),
        measured(0.3, (1.5, 0.02), (8.7, 0.05), steps=256),
    ]
    write_sweep(run, [*rows, real_row(metrics={"frechet": [0.5, 0.02]})])
    table = report(tmp_path, run).table("w", "T = 64", "T = 256")
    assert table[1:] == [
        ["0", "3.000 ±0.020", "8.00 ±0.05", "–", "–"],
        ["0.3", "2.000 ±0.020", "8.50 ±0.05", "1.500 ±0.020", "8.70 ±0.05"],
        ["real (n = 179)", "0.500 ±0.020", "–", "0.500 ±0.020", "–"],
    ]
    markdown = (tmp_path / "out" / "report.md").read_text()
    assert (
        "| 0.3 | **2.000** ±0.020 / **8.50** ±0.05 | **1.500** ±0.020 / **8.70** ±0.05 |"
        in markdown
    )
    assert "| 0 | 3.000 ±0.020 / 8.00 ±0.05 | – / – |" in markdown


def test_bold_is_the_best_sample_of_a_column_and_never_the_floor(full):
    *_, page = full
    assert {w for w, _ in page.bold} <= {"0", "0.1", "0.3", "1", "4"}
    lines = [line for line in page.tables[1] if line[0] not in ("w", "real (n = 179)")]
    best = min(lines, key=lambda line: float(line[1].split()[0]))
    assert (best[0], best[1].split()[0]) in page.bold


def test_several_runs_are_columns_by_p_uncond_at_each_t(tmp_path):
    runs = []
    for k, rate in enumerate((0.5, 0.1)):
        run = make_run(tmp_path / f"run{k}", rate, training=False, health=False)
        rows = [
            measured(w, (t / 64 + rate, 0.01), p_uncond=rate, steps=t, run_hash=f"{k}" * 64)
            for t in (64, 128)
            for w in (0, 1)
        ]
        write_sweep(run, rows)
        runs.append(run)
    page = report(tmp_path, *runs)
    names = ("w", "p_uncond = 0.1", "p_uncond = 0.5", "p_uncond = 0.1", "p_uncond = 0.5")
    table = page.table(*names)
    assert table[0] == ["", "T = 64", "T = 128"]
    assert [cell.split()[0] for cell in table[2][1::2]] == ["1.100", "1.500", "2.100", "2.500"]
    assert "run0 and run1" in page.text


def test_two_samplers_share_no_table(tmp_path):
    run = make_run(tmp_path / "digits", training=False, health=False)
    write_sweep(run, [sample_row(w, sampler=s) for s in ("ancestral", "ddim") for w in (0, 1)])
    tables = [t for t in report(tmp_path, run).tables if t[0] == ["w", "T = 64"]]
    assert [len(t) for t in tables] == [3, 3]


def test_other_extractors_and_references_share_no_section(tmp_path):
    run = make_run(tmp_path / "digits", training=False, health=False)
    other = REFERENCE | {"data": "mnist", "hash": "77" * 32}
    rows = [
        measured(0, (1.0, 0.1)),
        measured(0, (2.0, 0.1), id="a" * 16, extractor=STANDARD),
        measured(0, (3.0, 0.1), id="b" * 16, reference=other),
    ]
    write_sweep(run, rows)
    page = report(tmp_path, run)
    tables = [t for t in page.tables if t[0] == ["w", "T = 64"]]
    assert [[line[1].split()[0] for line in t[1:]] for t in tables] == [
        ["1.00"],
        ["2.00"],
        ["3.00"],
    ]
    assert "against mnist train" in page.text


def test_only_the_standard_inception_is_named_fid(full, tmp_path):
    folder, *_ = full
    for name in ("report.html", "report.md"):
        text = (folder / "out" / name).read_text()
        assert "FID" not in text
        assert "KID" not in text
    assert "sFD (in-domain)" in text
    run = make_run(tmp_path / "digits", training=False, health=False)
    dino = IN_DOMAIN | {"name": "dinov2", "hash": "55" * 32}
    write_sweep(
        run,
        [sample_row(0, extractor=STANDARD), sample_row(0, id="d" * 16, extractor=dino)],
    )
    page = report(tmp_path, run)
    heads = [table[0] for table in page.tables]
    assert ["w", "FID ↓", "sFID ↓", "IS ↑", "precision ↑", "recall ↑"] in heads
    assert any(head[1] == "FD (DINOv2) ↓" for head in heads)


@pytest.mark.parametrize(
    ("numbers", "value", "remark"),
    [
        ({0: 3.0, 0.1: 2.0, 0.3: 1.9, 1: 5.0}, 0.3, "Next w = 0.1: +0.10 ± 0.14, not told apart."),
        (
            {0: 1.95, 0.1: 2.0, 0.3: 1.9, 1: 5.0},
            0.3,
            "Next w = 0: +0.05 ± 0.14, not told apart. Also not told apart: w = 0.1.",
        ),
        ({0: 3.0, 0.1: 1.0, 0.3: 1.9}, 0.1, "Next w = 0.3: +0.90 ± 0.14, told apart."),
        ({0: 3.0, 1: 1.0}, 1, "It is the largest w tried."),
        ({0.2: 1.0}, 0.2, "The only w measured."),
    ],
)
def test_the_best_w_and_what_it_cannot_be_told_from(tmp_path, numbers, value, remark):
    run = make_run(tmp_path / "digits", training=False, health=False)
    write_sweep(run, [measured(w, (number, 0.1)) for w, number in numbers.items()])
    text = report(tmp_path, run).text
    card = text[text.index("Lowest FD (in-domain)") : text.index("Highest IS")]
    assert f"w = {value:g} {numbers[value]:.2f} ± 0.10" in card
    assert remark in card


def test_what_was_read_is_escaped(tmp_path):
    bad = '<script>alert(1)</script>&"|$_{'
    run = make_run(tmp_path / 'a<b>&"$x', health=False)
    write_lines(run / "health.jsonl", [{"step": 1, "drift": 0.1, "<i>k": 2, "warnings": [bad]}])
    extractor = IN_DOMAIN | {"name": f"x{bad}", "resize": bad}
    captions = {"data": bad, "split": bad, "n": 1, "hash": "7f" * 32}
    told = {"captions": captions, "negative": bad, "convention": bad, "code": bad}
    row = sample_row(0, extractor=extractor, **told)
    metrics = row["metrics"] | {f"m{bad}": [1.0, 0.1]}
    images = real_row(kind="images", id="i", images=bad, extractor=extractor)
    write_sweep(run, [row | {"metrics": metrics}, images])
    page = report(tmp_path, run)
    assert not {tag for tag, *_ in page.attributes} & {"script", "i"}
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.count("<script") == 1
    assert "<i>" not in text
    assert bad in page.text
    outside = re.sub(
        r"```.*?```", "", (tmp_path / "out" / "report.md").read_text(), flags=re.DOTALL
    )
    assert "<script" not in outside


def test_a_half_written_row_is_passed_over_and_the_last_of_an_id_counts(tmp_path):
    run = make_run(tmp_path / "digits", training=False, health=False)
    first = measured(0, (3.0, 0.02))
    write_sweep(run, [first, measured(1, (2.0, 0.02)), measured(0, (2.5, 0.02))])
    with (run / "sweep" / "rows.jsonl").open("ab") as file:
        file.write('{"id": "77", "run": "né'.encode()[:-1])
    table = report(tmp_path, run).table("w", "T = 64")
    assert [line[:2] for line in table[1:]] == [["0", "2.500 ±0.020"], ["1", "2.000 ±0.020"]]


def test_a_run_without_a_sweep_gives_a_report_too(tmp_path):
    page = report(tmp_path, make_run(tmp_path / "digits"))
    assert "digits has no sweep yet" in page.text
    assert "trained to step 1000" in page.text
    assert "learning_rate: 0.001" in page.text
    assert not page.tables
    assert (tmp_path / "out" / "report-training.png").is_file()


def test_a_run_of_which_there_is_but_the_card(tmp_path):
    page = report(tmp_path, make_run(tmp_path / "digits", training=False, health=False))
    assert "p_uncond 0.1" in page.text
    assert {p.suffix for p in (tmp_path / "out").iterdir()} == {".html", ".md", ".csv"}


def test_csv_holds_every_row_with_all_digits(full):
    folder, _, rows, _ = full
    with (folder / "out" / "report.csv").open(newline="") as file:
        found = {row["id"]: row for row in csv.DictReader(file)}
    assert set(found) == {row["id"] for row in rows}
    for row in rows:
        flat = found[row["id"]]
        assert flat["extractor_hash"] == IN_DOMAIN["hash"]
        for name, (value, error) in row["metrics"].items():
            assert float(flat[name]) == value
            assert flat[f"{name}_se"] == ("" if error != error else str(error))


def test_markdown_and_page_have_the_same_tables(full):
    folder, *_, page = full
    lines = (folder / "out" / "report.md").read_text().splitlines()
    lines = [line for line in lines if line.startswith("| ")]
    numbers = [re.findall(r"\d+\.\d+", line) for line in lines]
    shown = [re.findall(r"\d+\.\d+", " ".join(line)) for table in page.tables for line in table]
    assert numbers == shown


def test_the_floor_of_another_size_is_told(full):
    *_, page = full
    assert "The floor is measured on n = 179 real images, samples on n = 2000" in page.text
    assert "real against real (n = 179)" in page.text


def test_pictures_stand_in_order_of_w_and_only_from_within_the_run(tmp_path):
    run = make_run(tmp_path / "digits", training=False, health=False)
    rows = [write_preview(run, sample_row(w), 1) for w in (1, 0, 0.3)]
    secret = make_run(tmp_path / "other", training=False, health=False)
    outside = write_preview(secret, sample_row(4), 3)
    rows.append(outside | {"preview": f"../other/{outside['preview']}"})
    write_sweep(run, rows)
    page = report(tmp_path, run)
    names = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert names == ["samples at w = 0", "samples at w = 0.3", "samples at w = 1"]
    assert "w = 4 the picture is missing" in page.text


def test_health_warnings_are_told_with_their_steps(tmp_path):
    run = make_run(tmp_path / "digits", training=False, health=False)
    lines = [
        {"step": 100, "warnings": ["drift is 0.31", "too flat"]},
        {"step": 200, "warnings": ["drift is 0.27"]},
        {"step": 300, "drift": 0.1, "warnings": []},
    ]
    write_lines(run / "health.jsonl", lines)
    report(tmp_path, run)
    text = (tmp_path / "out" / "report.md").read_text()
    assert "- digits, steps 100 to 200 (2 times), lastly: drift is 0.27.\n" in text
    assert "- digits, step 100: too flat.\n" in text


def test_a_sweep_that_got_no_further_than_the_floor(tmp_path):
    run = make_run(tmp_path / "digits", training=False, health=False)
    write_sweep(run, [real_row(reference={"split": "train", "hash": "cd" * 32})])
    page = report(tmp_path, run)
    assert page.tables[0][1][:2] == ["real (n = 179)", "0.93 ±0.05"]
    assert "digits has no sweep yet" in page.text
    assert "against the train images" in page.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"w": None}, "line 2: w is None"),
        ({"w": "big"}, "line 2: w is 'big'"),
        ({"kind": "fake"}, "line 2: kind is 'fake'"),
        ({"extractor": {"name": "in-domain"}}, "line 2: extractor.hash is missing"),
        ({"metrics": {"frechet": 3.0}}, "line 2: metrics.frechet is 3.0"),
        ({"steps": 6.5}, "line 2: steps is 6.5"),
    ],
)
def test_a_wrong_field_is_named_with_file_and_line(tmp_path, change, said):
    run = make_run(tmp_path / "digits")
    write_sweep(run, [sample_row(0), sample_row(1) | change])
    with pytest.raises(PilotageError, match=r"rows\.jsonl, " + re.escape(said)):
        write_report([run], tmp_path / "report.html")


def test_a_missing_field_or_a_damaged_line_is_named(tmp_path):
    run = make_run(tmp_path / "digits")
    row = sample_row(0)
    del row["sampler"]
    write_sweep(run, [row])
    with pytest.raises(PilotageError, match=r"rows\.jsonl, line 1: sampler is missing"):
        write_report([run], tmp_path / "report.html")
    write_sweep(run, [])
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2}\nnonsense\n{"step": 2}\n')
    with pytest.raises(PilotageError, match=r"metrics\.jsonl, line 2 is not a JSON object"):
        write_report([run], tmp_path / "report.html")
    (run / "metrics.jsonl").write_text('{"loss": 2}\n')
    with pytest.raises(PilotageError, match=r"metrics\.jsonl, line 1: step is missing"):
        write_report([run], tmp_path / "report.html")


def test_wrong_arguments(tmp_path):
    run = make_run(tmp_path / "digits")
    with pytest.raises(PilotageError, match="runs is empty"):
        write_report([], tmp_path / "report.html")
    with pytest.raises(PilotageError, match="twice"):
        write_report([run, run], tmp_path / "report.html")
    with pytest.raises(PilotageError, match="no such folder"):
        write_report([tmp_path / "none"], tmp_path / "report.html")
    with pytest.raises(PilotageError, match=r"has to end in \.html"):
        write_report([run], tmp_path / "report.md")


def test_importing_it_needs_neither_torch_nor_matplotlib():
    code = "import sys, pilotage.report; print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_generators_loss_has_its_own_axis(tmp_path):
    plain, gan = make_run(tmp_path / "plain"), make_run(tmp_path / "gan")
    lines = [
        {"step": step, "loss": 0.7, "grad_norm": 0.1, "discriminator_loss": 1.3}
        for step in (10, 20)
    ]
    write_lines(gan / "metrics.jsonl", lines)
    names = [chart.title for chart in training_charts(read_sources([plain, gan]))]
    assert names[:3] == [
        f"{name} (smoothed)" for name in ("loss", "generator loss", "discriminator loss")
    ]
