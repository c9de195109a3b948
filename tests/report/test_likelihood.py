"""The likelihood in a report: tables by T, codecs, charts, and the variance over training."""

import csv
import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from pilotage.errors import PilotageError
from pilotage.report import write_report
from pilotage.report.charts import draw
from pilotage.report.read import read_sources
from pilotage.report.training import bits_chart, moving_variance, variance_charts
from pilotage.sweep.curves import coded
from report.fixtures import (
    likelihood_line,
    make_classifier,
    make_run,
    sample_row,
    write_likelihood,
    write_lines,
    write_sweep,
)
from report.reading import report

HEADS = ("T", "bits per dimension ↓", "prior", "reconstruction", "diffusion")
HEADS += ("evaluations", "seed", "training step")
CODECS = {"PNG": 3.7256, "JPEG XL": 3.389}


def bare(folder, **changes):
    return make_run(folder, training=False, health=False, **changes)


def charts(page):
    return [value for _, name, value in page.attributes if name == "aria-label"]


def rows(page):
    """T and bits of the first table, or a heading within it."""
    return [tuple(line[:2]) for line in page.table(*HEADS)[1:]]


def drawn(chart):
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    draw(axis, chart)
    return axis


def over_t(runs):
    """The one chart of bits over T."""
    (found,) = coded({source.label: source.bounds for source in read_sources(runs)})
    return bits_chart(*found, [run.name for run in runs], named=False)


def write_diffusion(run, count=400, every=1, scale=1.0):
    noise = np.random.default_rng(3).normal(0, scale, count)
    lines = [
        {"step": (k + 1) * every, "loss": 2.0, "diffusion": float(500 - k + noise[k])}
        for k in range(count)
    ]
    write_lines(run / "metrics.jsonl", lines)


def test_steps_stand_in_order_and_the_codecs_once_at_the_end(tmp_path):
    run = bare(tmp_path / "digits")
    lines = [likelihood_line(codecs=CODECS)]
    lines += [likelihood_line(t, b) for t, b in ((1000, 2.65), (1, 31.2), (100, 2.9), (10, 6.3))]
    write_likelihood(run, *lines)
    page = report(tmp_path, run)
    table = page.table(*HEADS)
    assert [line[0] for line in table[1:]] == [
        "digits, conditional", "1", "10", "100", "1000", "inf", "PNG", "JPEG XL"
    ]  # fmt: skip
    assert table[6] == [
        "inf", "2.600 ±0.030", "0.004000 ±0.000010", "0.0070 ±0.0006", "2.589 ±0.030",
        "64", "0", "1000",
    ]  # fmt: skip
    assert table[7] == ["PNG", "3.726", *[""] * 6]
    assert "upper bound of −log₂ p per dimension" in page.text
    assert "lower is better" in page.text
    markdown = (tmp_path / "out" / "report.md").read_text()
    assert "## Likelihood\n\n| T | bits per dimension ↓ | prior |" in markdown
    assert "| PNG | 3.726 |" in markdown
    assert "(<report-likelihood.png>)" in markdown
    assert (tmp_path / "out" / "report-likelihood.png").is_file()


def test_no_more_evaluations_than_steps_are_told(tmp_path):
    run = bare(tmp_path / "digits")
    chain = {"schedule": "cosine", "timesteps": 1000}
    write_likelihood(run, likelihood_line(10), likelihood_line(100), likelihood_line(200, **chain))
    table = report(tmp_path, run).table(*HEADS)
    assert [line[5] for line in table[2:]] == ["10", "64", "200"]


def test_the_newest_line_of_a_key_counts_and_codecs_of_older_ones_stay(tmp_path):
    run = bare(tmp_path / "digits")
    others = [
        likelihood_line(bits=bits, **change)
        for bits, change in (
            (2.51, {"seed": 1}),
            (2.52, {"training_step": 2000}),
            (2.53, {"evaluations": 32}),
            (2.54, {"unconditional": True}),
            (2.55, {"weights": "model"}),
            (2.56, {"v": 0.3}),
        )
    ]
    write_likelihood(
        run, likelihood_line(bits=9.0, codecs={"PNG": 3.7}), *others, likelihood_line(bits=2.5)
    )
    found = rows(report(tmp_path, run))
    numbers = {head: cell.split()[0] for head, cell in (r for r in found if len(r) > 1)}
    assert "9.000" not in str(found)
    assert numbers["PNG"] == "3.700"
    bits = sorted(cell.split()[0] for head, *rest in found for cell in rest if head == "inf")
    assert bits == ["2.500", "2.510", "2.520", "2.530", "2.540", "2.550", "2.560"]
    assert [head for head, *rest in found if not rest] == [
        "digits, conditional",
        "digits, unconditional",
        "digits, conditional, latest weights",
        "digits, conditional, v = 0.3",
    ]


def test_other_data_and_another_number_of_images_have_tables_of_their_own(tmp_path):
    runs = [bare(tmp_path / "a"), bare(tmp_path / "b")]
    other = {"data": "letters", "split": "held out", "hash": "01" * 32}
    write_likelihood(runs[0], likelihood_line(codecs=CODECS), likelihood_line(n=100))
    write_likelihood(runs[1], likelihood_line(), likelihood_line(data=other))
    page = report(tmp_path, *runs)
    tables = [t for t in page.tables if tuple(t[0]) == HEADS]
    heads = [[line[0] for line in table[1:]] for table in tables]
    assert heads == [
        ["a, conditional", "inf", "b, conditional", "inf", "PNG", "JPEG XL"],
        ["a, conditional", "inf"],
        ["b, conditional", "inf"],
    ]
    for name in ("digits (n = 300, hash efef", "digits (n = 100,", "letters (n = 300, hash 0101"):
        assert f"Held-out images of {name}" in page.text
    assert len([name for name in charts(page) if name.startswith("bits per dimension")]) == 3


def test_a_model_that_was_never_told_a_class_is_unconditional(tmp_path):
    run = bare(tmp_path / "digits", p_uncond=1.0)
    write_likelihood(run, likelihood_line())
    assert rows(report(tmp_path, run))[0] == ("digits, unconditional",)


def test_a_run_with_a_likelihood_only_is_not_asked_for_a_sweep(tmp_path):
    runs = [bare(tmp_path / "digits"), bare(tmp_path / "fresh")]
    write_likelihood(runs[0], likelihood_line())
    page = report(tmp_path, runs[0])
    assert "no sweep yet" not in page.text
    assert "guidance" not in page.text.split("Likelihood")[0]
    assert "How many bits per dimension" in page.text
    assert "fresh has no sweep yet" in report(tmp_path, *runs).text
    both = report(tmp_path, runs[0], make_classifier(tmp_path / "clf"))
    assert "How many bits per dimension" in both.text


def test_without_a_likelihood_there_is_no_section(tmp_path):
    run = make_run(tmp_path / "digits")
    write_diffusion(run)
    assert "Likelihood" not in report(tmp_path, run).text
    assert not list((tmp_path / "out").glob("report-likelihood*"))


def test_it_stands_beside_a_sweep(tmp_path):
    run = bare(tmp_path / "digits")
    write_sweep(run, [sample_row(w) for w in (0, 1)])
    write_likelihood(run, likelihood_line())
    page = report(tmp_path, run)
    assert rows(page)[1] == ("inf", "2.600 ±0.030")
    assert "Every setting" in page.text
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_csv_holds_the_rows_with_all_digits_and_the_codecs(tmp_path):
    run = bare(tmp_path / "digits")
    first = likelihood_line(codecs=CODECS)
    write_likelihood(run, first, likelihood_line(10, 6.123456789, None), likelihood_line(n=1))
    report(tmp_path, run)
    with (tmp_path / "out" / "report-likelihood.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["steps"] for row in found] == ["inf", "10", "inf"]
    assert [row["n"] for row in found] == ["300", "300", "1"]
    row = found[1]
    assert (row["run"], row["data"], row["data_hash"]) == ("digits", "digits", "ef" * 32)
    assert (row["bits_per_dimension"], row["bits_per_dimension_se"]) == ("6.123456789", "")
    assert (row["evaluations"], row["training_step"], row["lam_max"]) == ("10", "1000", "13.3")
    assert [r["codec_JPEG XL"] for r in found] == ["3.389", "3.389", ""]


def test_what_is_not_finite_is_a_dash(tmp_path):
    run = bare(tmp_path / "digits")
    write_likelihood(run, likelihood_line(10, math.nan, math.nan), likelihood_line(100, error=None))
    assert rows(report(tmp_path, run))[1:] == [("10", "–"), ("100", "2.600")]


def test_the_curve_has_one_point_for_each_t_and_inf_at_the_right(tmp_path):
    run = bare(tmp_path / "digits")
    write_likelihood(
        run,
        likelihood_line(codecs=CODECS),
        likelihood_line(bits=2.9, evaluations=8),
        likelihood_line(10, 6.3),
        likelihood_line(100, 2.9),
    )
    axis = drawn(over_t([run]))
    curve = axis.containers[0].lines[0]
    assert curve.get_xdata().tolist() == [10, 100, 1000]
    assert curve.get_ydata().tolist() == [6.3, 2.9, 2.6]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["10", "100", "inf"]
    assert axis.get_xscale() == "log"
    assert axis.get_legend_handles_labels()[1] == ["PNG", "JPEG XL", "digits"]
    assert "that with the most evaluations is drawn" in report(tmp_path, run).text


def test_curves_of_a_run_are_told_apart_by_what_differs(tmp_path):
    runs = [bare(tmp_path / "a"), bare(tmp_path / "b")]
    write_likelihood(runs[0], likelihood_line(), likelihood_line(unconditional=True))
    write_likelihood(runs[1], likelihood_line(), likelihood_line(training_step=5))
    labels = drawn(over_t(runs)).get_legend_handles_labels()[1]
    assert labels == ["a, conditional", "a, unconditional", "b, step 1000", "b, step 5"]


def test_the_variance_around_a_trend_is_that_of_the_noise():
    noise = np.random.default_rng(0).normal(0, 3, 200_000)
    values = moving_variance(pd.Series(noise + np.linspace(0, 10_000, len(noise))), 101)
    assert len(values) == len(noise) - 200
    assert np.mean(values) == pytest.approx(9, rel=0.01)
    assert np.allclose(moving_variance(pd.Series(np.linspace(3, 70, 500)), 101), 0)


def test_the_variance_over_training_is_in_bits_per_dimension(tmp_path):
    runs = [bare(tmp_path / name) for name in ("long", "short", "none")]
    scale = 64 * math.log(2) * 0.2
    write_diffusion(runs[0], 5000, scale=scale)
    write_diffusion(runs[1], 30)
    write_likelihood(runs[0], likelihood_line())
    sources = read_sources(runs)
    axis = drawn(*variance_charts(sources))
    (line,) = axis.lines
    assert axis.get_legend_handles_labels()[1] == ["long"]
    assert axis.get_yscale() == "log"
    assert (line.get_xdata()[0], line.get_xdata()[-1]) == (101, 4900)
    assert np.mean(line.get_ydata()) == pytest.approx(0.04, rel=0.1)
    assert variance_charts(sources[1:]) == []
    page = report(tmp_path, *runs)
    assert "variance of the diffusion term over training" in charts(page)
    assert "only where a logged line is one step" in page.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": "many"}, ": steps is 'many': it must be a whole number or be 'inf'."),
        ({"steps": 0}, ": steps is 0: it must be greater than or equal to 1 or be 'inf'."),
        ({"steps": True}, ": steps is True: it must be a whole number or be 'inf'."),
        (
            {"steps": "inf", "timesteps": 10},
            ": steps is 'inf': a beta schedule has a number of steps.",
        ),
        ({"prior": 0.1}, ": prior is 0.1: it must be [value, standard error]."),
        ({"diffusion": [1, "x"]}, ": diffusion is [1, 'x']: it must be [value, standard error]."),
        ({"unconditional": 1}, ": unconditional is 1: it must be True or False."),
        ({"weights": "old"}, ": weights is 'old': it must be 'ema' or 'model'."),
        ({"v": "x"}, ": v is 'x': it must be a number."),
        ({"data": "digits"}, ": data is 'digits': it must be a valid dictionary."),
        ({"data": {}}, ": data.hash is missing: it must be given."),
        ({"codecs": {"PNG": "x"}}, ": codecs.PNG is 'x': it must be a number."),
        ({"codecs": [1]}, ": codecs is [1]: it must be a valid dictionary."),
        ({"seed": None}, ": seed is None: it must be a whole number."),
    ],
)
def test_a_wrong_field_is_named_with_file_and_line(tmp_path, change, said):
    run = bare(tmp_path / "digits")
    write_likelihood(run, likelihood_line(), likelihood_line() | change)
    with pytest.raises(PilotageError, match=rf"likelihood\.jsonl, line 2{re.escape(said)}$"):
        write_report([run], tmp_path / "report.html")


@pytest.mark.parametrize(
    "name",
    [
        k
        for k in likelihood_line()
        if k not in ("v", "run", "schedule", "lam_min", "lam_max", "code")
    ],
)
def test_a_missing_field_is_named(tmp_path, name):
    run = bare(tmp_path / "digits")
    line = likelihood_line()
    del line[name]
    write_likelihood(run, line)
    said = rf"likelihood\.jsonl, line 1: {name} is missing: it must be given\.$"
    with pytest.raises(PilotageError, match=said):
        write_report([run], tmp_path / "report.html")


def test_a_half_written_line_is_passed_over_and_a_damaged_one_named(tmp_path):
    run = bare(tmp_path / "digits")
    write_likelihood(run, likelihood_line())
    with (run / "likelihood.jsonl").open("a") as file:
        file.write(json.dumps(likelihood_line(10))[:-9])
    assert [head for head, *_ in rows(report(tmp_path, run))] == ["digits, conditional", "inf"]
    with (run / "likelihood.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(PilotageError, match=r"likelihood\.jsonl, line 2 is not a JSON object"):
        write_report([run], tmp_path / "report.html")
