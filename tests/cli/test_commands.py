"""The command line's ways: help, presets, recipes from runs and files, guesses at names."""

import subprocess
import sys
import tempfile

import pytest
import yaml

from helpers import TINY, contents, pilotage, train
from pilotage.cli.main import main, parse
from pilotage.errors import PilotageError
from pilotage.models.run_folder import read_card
from pilotage.settings import AdversarialRecipe, ClassifierRecipe, Recipe, TextRecipe

ALL_PRESETS = (
    *("digits", "mnist", "cifar10", "stacked-digits", "25-gaussians", "stacked-mnist"),
    *("shapes", "shapes-small", "shapes-up", "captioned"),
)


def refusal(*arguments):
    with pytest.raises(PilotageError) as error:
        parse([str(a) for a in arguments])
    return str(error.value)


def shown(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    assert end.value.code in (0, None)
    return capsys.readouterr().out


def test_help_of_train_has_all_presets_and_objectives(capsys):
    text = shown(capsys, "train", "--help")
    for word in (*ALL_PRESETS, "simple", "hybrid", "vdm", "ddgan", "classifier", "--from"):
        assert word in text, word


def test_help_comes_in_groups(capsys):
    text = shown(capsys, "train", "digits", "--help")
    for title in ("data options", "optimisation options", "cadence options", "objective options"):
        assert title in text
    assert "--network.channels" not in text
    assert "--help GROUP" in text
    assert "--network.channels" in shown(capsys, "train", "digits", "--help", "network")


def test_help_loads_no_torch():
    code = (
        "import sys\nfrom pilotage.cli.main import main\n"
        "try: main(['sample', '--help'])\nexcept SystemExit: pass\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "False"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["digits"], Recipe),
        (["digits", "--objective", "hybrid"], Recipe),
        (["digits", "--objective", "classifier"], ClassifierRecipe),
        (["digits", "--objective=ddgan"], AdversarialRecipe),
        (["25-gaussians"], AdversarialRecipe),
        (["shapes"], TextRecipe),
    ],
)
def test_a_preset_and_an_objective_decide_the_recipe(words, kind):
    recipe = parse(["train", *words, "--out", "x", "--steps", "7"]).settings.recipe
    assert type(recipe) is kind
    assert recipe.steps == 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "Did you mean train?"),
        (["study", "trilema"], "Did you mean trilemma?"),
        (["train", "digitz"], "Did you mean digits?"),
        (["sample", "r", "--lables", "3"], "--lables is not a flag of `pilotage sample`"),
        (["sample", "r", "--lables", "3"], "Did you mean --labels?"),
        (["train", "digits", "--objective", "vdn"], "Did you mean vdm?"),
        (["sample", "r", "--w", "1", "2", "3"], "`pilotage sweep RUN --w 1 2 3`"),
        (["sample", "r", "--w"], "w has 0 values: it must have 1."),
        (["sample", "r", "again"], "'again' is one word too many for `pilotage sample`"),
        (["sample", "r", "--device", "tpu", "--steps", "0"], "steps is 0"),
        (["train", "digits", "--resume", "r"], "digits and --resume r are given"),
        (["train", "digits", "--network.channels", "a"], "network.channels is 'a': it must be a w"),
        (["train", "digits", "--size", "1", "2", "3"], "it must have at most 2 items"),
        (["study", "p-uncond", "digits"], "out is missing: it must be given."),
        (["train", "--config", "none.yaml"], "config is none.yaml: it must be a file"),
    ],
)
def test_mistakes_are_named(words, said):
    assert said in refusal(*words)


def test_device_is_checked(tiny_run, capsys):
    for name in ("tpu", "cuda:x", "cuda:99"):
        assert main(["sample", str(tiny_run), "--device", name]) == 2
        assert f"device is {name!r}: it must be" in capsys.readouterr().err


def test_resume_needs_only_the_run(tmp_path, capsys):
    out = tmp_path / "run"
    assert train(out, steps=2) == 0
    before = read_card(out).recipe
    assert main(["train", "--resume", str(out), "--steps", "3"]) == 0
    assert read_card(out).recipe == before.replace(steps=3)
    capsys.readouterr()
    assert main(["train", "--resume", str(out), "--learning-rate", "1"]) == 2
    said = capsys.readouterr().err
    assert "learning_rate is 1.0: it must be 0.002, as in the run; only data, steps" in said
    assert main(["train", "--resume", str(out), "--out", str(tmp_path / "x")]) == 2
    assert "with --resume, the run is" in capsys.readouterr().err


def test_dry_run_prints_a_recipe_that_config_reads(tmp_path, capsys):
    assert main(["train", "digits", *TINY, "--dry-run", "--out", str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    assert contents(tmp_path) == {}
    assert "images of 1x8x8 in 10 classes" in text
    assert "parameters" in text
    file = tmp_path / "my.yaml"
    file.write_text(text)
    words = ["train", "--config", str(file), "--out", "x"]
    wanted = parse(["train", "digits", *TINY, "--out", "x"]).settings.recipe
    assert parse(words).settings.recipe == wanted
    assert parse([*words, "--seed", "5"]).settings.recipe == wanted.replace(seed=5)
    file.write_text(yaml.safe_dump({"recipe": {"learning_rat": 1.0}}))
    assert refusal(*words) == (
        f"config is {file}: learning_rat is not a setting. Did you mean learning_rate?"
    )


def test_presets_and_completion(capsys):
    assert main(["presets"]) == 0
    text = capsys.readouterr().out
    for word in (*ALL_PRESETS, "pilotage train digits --objective ddgan --out runs/digits"):
        assert word in text
    script = shown(capsys, "completion", "bash")
    assert "--guidance-scale" in script
    assert "trilemma" in script


def test_the_version_is_printed():
    answer = pilotage("--version")
    assert answer.returncode == 0
    assert answer.stdout.startswith("pilotage ")


def test_an_error_of_its_own_is_a_sentence_with_a_report(monkeypatch, capsys, tmp_path):
    def broken(_):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr("pilotage.cli.main.parse", broken)
    assert main(["presets"]) == 70
    said = capsys.readouterr().err
    assert said.startswith("error: unexpected ZeroDivisionError: by nothing; its traceback is in ")
    (report,) = tmp_path.iterdir()
    assert str(report) in said
    assert "raise ZeroDivisionError" in report.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "r1", "--force=x"], "force is"),
        (["export", "adm", "r1", "--out", "x"], "--out is not a flag of `pilotage export adm`"),
    ],
)
def test_odd_words_are_one_sentence(capsys, words, said):
    assert main(words) == 2
    found = capsys.readouterr().err
    assert found.startswith("error: ")
    assert said in found
    assert found.count("\n") == 1
