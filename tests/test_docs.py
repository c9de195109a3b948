"""README and docs: short, without dead links, and with commands and Python that exist."""

import ast
import importlib
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from pilotage.cli.main import parse
from pilotage.errors import PilotageError
from pilotage.models.run_folder import Card, DataFacts, write_card
from pilotage.recipes import PRESETS
from pilotage.version import __version__

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}


def blocks(text, language):
    """What the code blocks of a language hold."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


def commands(text):
    """The words of every ``pilotage`` command line, in code blocks and within sentences."""
    lines = "\n".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    lines += [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", prose) if " --" in code]
    found = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in found if words[:1] == ["pilotage"] and "--help" not in words]


def headings(text):
    """The anchors of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_short():
    assert len(TEXTS["README.md"].splitlines()) <= 150


@pytest.mark.parametrize("page", TEXTS)
def test_links_and_pictures_exist(page):
    links = re.findall(r"\]\(<?([^)>]+)>?\)", TEXTS[page])
    for link in (link for link in links if "://" not in link):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in headings(target.read_text(encoding="utf-8")), link


def test_every_page_is_in_the_index():
    listed = re.findall(r"\]\((\w[\w-]*\.md)\)", TEXTS["docs/index.md"])
    assert sorted([*listed, "index.md"]) == [page.name for page in PAGES[1:]]


@pytest.mark.parametrize("page", TEXTS)
def test_commands_are_read_by_the_parser(tmp_path, monkeypatch, page):
    """With runs and recipe files where they are named."""
    monkeypatch.chdir(tmp_path)
    refused = []
    for words in commands(TEXTS[page]):
        make_inputs(words)
        try:
            assert callable(parse(words).run)
        except (PilotageError, SystemExit) as error:
            refused.append(f"{shlex.join(words)}: {error}")
    assert not refused, "\n".join(refused)


def make_inputs(words):
    """Write the run or the recipe file that a command reads before it starts."""
    recipe = PRESETS["digits"].recipe
    facts = DataFacts(shape=(1, 8, 8), classes=["0"], train=1, held_out=0, fingerprint="none")
    for flag, value in pairwise(words):
        if flag in ("--from", "--resume"):
            Path(value).mkdir(parents=True, exist_ok=True)
            write_card(Path(value), Card(recipe, facts))
        if flag == "--config":
            Path(value).write_text(yaml.safe_dump(recipe.model_dump(mode="json")))


@pytest.mark.parametrize("page", TEXTS)
def test_python_imports_what_exists(page):
    for code in blocks(TEXTS[page], "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), node.module


def test_the_citation_has_the_package_s_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == __version__
    assert citation["authors"] == [{"name": "The Pilotage authors"}]
    assert citation["url"] in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
