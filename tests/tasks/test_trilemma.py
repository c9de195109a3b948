"""Studies of denoising diffusion GANs: who is trained, what is measured, and that it goes on."""

import csv
from functools import cache, partial

import pytest

from helpers import TINY_GAN
from pilotage.cli.main import main
from pilotage.data import sources
from pilotage.models.model import load_run
from pilotage.models.run_folder import read_card
from pilotage.recipes import ADVERSARIAL_PRESETS, PRESETS, compared_denoiser
from pilotage.report.manifest import gather
from pilotage.report.read import read_sources
from pilotage.report.write import markdown
from pilotage.settings import AblationsStudy, SeriesSettings, SpeedSettings
from pilotage.sweep import evaluator
from pilotage.sweep.rows import SampleRow
from pilotage.sweep.speed import Way, measure_speed, time_rows
from pilotage.sweep.table import read_rows, table_path
from pilotage.tasks import trilemma
from pilotage.tasks.comparison import Compared, Comparison, comparison_table

SMALL = ["--steps", "2", *TINY_GAN, "--sweep.samples", "12", "--sweep.force"]
DENOISER = [
    *("--denoiser.steps", "2", "--denoiser.batch-size", "8", "--denoiser.network.channels", "8"),
    *("--denoiser.network.head-channels", "8", "--speed.images", "4", "--speed.rounds", "2"),
]
WAYS = ["--T", "1", "2", "--ancestral-steps", "6", "3", "--ddim-steps", "2"]


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory):
    """The extractor of these tests learns little; it and the digits are made once for all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(sources, "digits", cache(sources.digits))
        patch.setattr(evaluator, "load_extractor", partial(evaluator.load_extractor, passes=1))
        yield


@pytest.fixture
def reported(monkeypatch):
    """The runs of the report, whose many charts have tests of their own and are not drawn."""
    runs = []
    monkeypatch.setattr(trilemma, "write_report", lambda found, _: runs.extend(found) or [])
    return runs


def study(kind, out, *flags, preset="digits"):
    return main(["study", kind, preset, "--out", str(out), *SMALL, *flags])


def interrupt(*_):
    raise KeyboardInterrupt


def sampled(run):
    rows = [row for row in read_rows(table_path(run)) if row["kind"] == "sample"]
    return [(row["steps"], row["sampler"], row["w"], row["n"]) for row in rows]


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_trilemma_measures_and_times_every_model_and_resumes(tmp_path, monkeypatch, reported):
    out = tmp_path / "study"
    flags = [*DENOISER, *WAYS, "--p-uncond", "1", "--seed", "3"]
    with monkeypatch.context() as patch:
        patch.setattr(trilemma, "time_rows", interrupt)
        assert study("trilemma", out, *flags) == 130
    runs = ["ddgan-T1", "ddgan-T2", "denoiser"]
    tables = {run: table_path(out / run).read_bytes() for run in runs}
    recipes = {run: read_card(out / run).recipe for run in runs}
    assert [recipes[run].steps_T for run in runs[:2]] == [1, 2]
    assert {(r.seed, r.p_uncond, r.data) for r in recipes.values()} == {(3, 1, "digits")}
    assert sampled(out / "ddgan-T2") == [(2, "ancestral", 0, 12)]
    ways = [(6, "ancestral", -1, 12), (3, "ancestral", -1, 12), (2, "ddim", -1, 12)]
    assert sampled(out / "denoiser") == ways
    assert not (out / "trilemma.jsonl").exists()

    assert study("trilemma", out, *flags) == 0
    assert {run: table_path(out / run).read_bytes() for run in runs} == tables
    lines = read_rows(out / "trilemma.jsonl")
    assert [(line["steps"], line["calls"], len(line["seconds"])) for line in lines] == [
        (steps, steps, 2) for steps in (1, 2, 6, 3, 2)
    ]
    rows = table(out / "trilemma.csv")
    assert [row["model"] for row in rows] == ["ddgan-T1", "ddgan-T2", *["denoiser"] * 3]
    assert [float(row["times_fewer_calls"]) for row in rows] == [6, 3, 1, 2, 3]
    measured = [row for run in runs for row in read_rows(table_path(out / run))]
    distances = {row["id"]: row["metrics"]["frechet"][0] for row in measured}
    assert all(float(row["frechet"]) == distances[row["id"]] for row in rows)
    network = load_run(out / "ddgan-T1").network
    assert int(rows[0]["parameters"]) == sum(p.numel() for p in network.parameters())
    assert (out / "trilemma.png").stat().st_size
    said = markdown(gather(read_sources(reported)), {})
    assert all(f"### {run}" in said for run in runs)


def test_times_are_kept_and_never_mixed(tiny_run, tmp_path):
    runs, how = {str(tiny_run): load_run(tiny_run)}, SpeedSettings(images=2, rounds=2)
    path = tmp_path / "times.jsonl"

    def timed(*ways):
        fixed = {"run": str(tiny_run), "run_hash": "a", "step": 12, "w": 0.0}
        rows = [{**fixed, "sampler": sampler, "steps": steps} for sampler, steps in ways]
        return time_rows(rows, runs, how, path, started.append).speeds

    started = []
    first = timed(("ancestral", 3), ("ddim", 2))
    before = path.read_bytes()
    assert timed(("ddim", 2), ("ancestral", 3)) == first[::-1], "what is there is read"
    assert path.read_bytes() == before
    assert started == [10]
    more = timed(("ancestral", 3), ("ddim", 2), ("ddim", 1))
    assert started == [10, 12]
    assert all(old.seconds != new.seconds for old, new in zip(first, more, strict=False))
    assert len(read_rows(path)) == 3


@pytest.mark.slow
def test_ablations_differ_in_one_setting_each(tmp_path, reported):
    assert study("ablations", tmp_path / "study", "--steps-T", "3") == 0
    rows = table(tmp_path / "study" / "ablations.csv")
    names = ["full", "one-shot", "no-latent", "direct-denoising", "noise-generation"]
    assert [row["model"] for row in rows] == names
    assert [row["steps"] for row in rows] == ["3", "1", "3", "3", "3"]
    recipes = [dict(read_card(tmp_path / "study" / name).recipe) for name in names]
    changed = [{k for k in recipe if recipe[k] != recipes[0][k]} for recipe in recipes]
    assert changed == [set(), {"steps_T"}, {"with_latent"}, {"direct"}, {"predicts"}]
    assert reported == [tmp_path / "study" / name for name in names]
    hashes = [read_rows(table_path(run))[-1]["run_hash"] for run in reported]
    assert [row["run_hash"] for row in rows] == hashes
    assert "noise-generation" in (tmp_path / "study" / "ablations.md").read_text()


def test_a_study_that_is_stopped_in_training_writes_no_comparison(tmp_path):
    recipe = ADVERSARIAL_PRESETS["digits"].recipe.replace(steps=2)
    stops = iter([False, True, True])
    small = {"channels": 8, "channel_mult": (1,), "num_res_blocks": 1, "latent_dim": 4}
    recipe = recipe.replace(network=recipe.network.replace(**small), batch_size=8)
    series = SeriesSettings(samples=4, force=True)
    study = AblationsStudy(recipe=recipe, out=tmp_path / "a", sweep=series)
    assert trilemma.study_ablations(study, lambda: next(stops)) == []
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["full"]


@pytest.mark.parametrize(
    ("kind", "preset", "flags", "said"),
    [
        ("trilemma", "25-gaussians", [], "data is 25-gaussians"),
        ("ablations", "25-gaussians", [], "data is 25-gaussians"),
        ("trilemma", "digits", ["--T", "2", "2"], "T is (2, 2)"),
        ("trilemma", "digits", ["--ddim-steps", "5", "5"], "steps has 5 twice"),
        ("trilemma", "digits", ["--T", "2", "0"], "greater than or equal to 1"),
        ("trilemma", "digits", ["--beta-max", "500"], "beta_max is 500"),
        (
            "trilemma",
            "digits",
            ["--denoiser.schedule", "linear", "--ancestral-steps", "2000"],
            "2000",
        ),
        ("trilemma", "digits", ["--speed.rounds", "0"], "rounds is 0"),
        ("ablations", "digits", ["--direct"], "direct is True"),
        ("ablations", "digits", ["--steps-T", "1"], "steps_T is 1"),
    ],
)
def test_bad_settings_are_refused_before_training(kind, preset, flags, said, tmp_path, capsys):
    out = tmp_path / "study"
    assert main(["study", kind, preset, "--out", str(out), *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_every_gan_preset_has_a_denoiser_on_its_data():
    for name, preset in ADVERSARIAL_PRESETS.items():
        assert compared_denoiser(name).data == preset.recipe.data
    assert compared_denoiser("stacked-mnist").network == PRESETS["mnist"].recipe.network
    assert compared_denoiser("digits") == PRESETS["digits"].recipe


def test_ways_of_sampling_take_turns_and_calls_are_counted(tiny_run):
    run = load_run(tiny_run)
    order = []

    def way(steps, **more):
        resolved = run.resolve("all", seeds=range(10), steps=steps, batch_size=5, **more)
        return Way(run, resolved)

    ways = [way(3), way(2, sampler="ddim"), way(2, w=1.0)]
    counted = run.network.register_forward_hook(lambda *_: order.append(len(_[2])))
    try:
        speeds = measure_speed(ways, rounds=2)
    finally:
        counted.remove()
    once = [5] * 6 + [5] * 4 + [10] * 4  # two batches; a guided call has both halves in one
    warm = [5] * 4
    assert order == warm + 2 * once
    assert [speed.calls for speed in speeds] == [3, 2, 4]
    assert all(len(speed.seconds) == 2 and min(speed.seconds) > 0 for speed in speeds)


def test_the_table_marks_the_best_and_compares_with_the_most_calls():
    def model(name, steps, seconds, distance, recall):
        raw = {
            "id": name,
            "kind": "sample",
            "run": name,
            "n": 100,
            "seeds": [0, 100],
            "extractor": {"name": "in-domain", "hash": "a"},
            "reference": {"hash": "b", "data": "digits", "split": "train", "n": 1618},
            "metrics": {"frechet": [distance, 0.1], "recall": [recall, None]},
            "run_hash": "c",
            "step": 1,
            "w": 0,
            "steps": steps,
            "sampler": "ancestral",
            "v": 0,
        }
        return Compared(name, "any", 1_500_000, SampleRow(**raw), steps, seconds)

    models = [
        model("fast", 4, (1.0, 0.5, 4.0), 3.0, 0.5),
        model("slow", 1000, (200.0, 100.0, 150.0), 2.0, 0.5),
    ]
    found = comparison_table(Comparison("title", "lead", models, "Timed."))
    fast, slow = [[cell.text for (cell,) in line.cells] for line in found.lines]
    best = [[cell.best for (cell,) in line.cells] for line in found.lines]
    assert fast[:7] == ["1.5", "4", "ancestral, v = 0", "4", "1", "250", "150"]
    assert slow[3:7] == ["1000", "150", "1", "1"]
    assert found.lines[0].cells[4][0].error == "(0.5 to 4)"
    assert best[0][-2:] == [False, True]
    assert best[1][-2:] == [True, True]
    assert "slow, T = 1000" in found.columns[5]
    untimed = [model._replace(seconds=(), calls=None) for model in models]
    plain = comparison_table(Comparison("title", "lead", untimed))
    assert len(plain.columns) == len(found.columns) - 5
