"""`pilotage.utils.parsing`: texts that anybody may have written."""

import csv
import io

import pytest

from pilotage.utils.parsing import parse_json, parse_yaml, plain_cell


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1]\nb: *a",
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]",
        "[" * 5000,
        "{a: " * 5000,
        "- " * 5000 + "x",
        "]]",
        "a: \x00",
        "9" * 5000,
        "a: 2001-99-99",
        "? [a]\n: b",
        "!!python/object/apply:os.mkdir [x]",
        "!!binary é",
        "!!timestamp x",
        "!!int x",
        "<<: 3",
        "x" * (2**20 + 1),
    ],
)
def test_bad_yaml_is_a_value_error(text):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def test_good_yaml_is_read():
    assert parse_yaml("a: [1, 2.5]\nb: {c: 'é'}") == {"a": [1, 2.5], "b": {"c": "é"}}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "{", "1" * 5000, b"\xff", ""])
def test_bad_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", " =1", "\r=1", "\n=1"]
)
def test_formulas_become_text(text):
    assert plain_cell(text) == f"'{text}"
    row = io.StringIO()
    csv.writer(row).writerow([plain_cell(text)])
    assert next(csv.reader(io.StringIO(row.getvalue(), newline="")))[0].startswith("'")


@pytest.mark.parametrize("value", ["cat", "-1.5", "+3", "1e-3", "a=b", "", -2, None, 0.5])
def test_other_cells_stay(value):
    assert plain_cell(value) == value
