"""What the report says of runs on captions."""

import pytest

from pilotage.errors import PilotageError
from pilotage.report.read import read_sources
from pilotage.report.sweeps import captioned
from pilotage.sweep.curves import arrange
from report.fixtures import make_run, real_row, sample_row, write_preview, write_sweep
from report.reading import report

CAPTIONS = {"data": "shapes", "split": "held-out", "n": 2000, "hash": "7f" * 32}
SOURCE = {"images": "aa" * 32, "size": [16, 16]}
FIRST = ["a small red circle", "two large <b>blue squares"]
# w: caption accuracy, recall, clipped fraction
CURVE = {
    0.0: (0.30, 0.80, 0.000),
    1.0: (0.50, 0.70, 0.001),
    2.0: (0.60, 0.79, 0.010),
    4.0: (0.65, 0.60, 0.020),
    8.0: (0.61, 0.40, 0.100),
}


def captioned_row(w, *numbers, **changes):
    accuracy, recall, clipped = numbers
    metrics = sample_row(w)["metrics"] | {
        "attribute_all": [accuracy, 0.01],
        "attribute_count": [accuracy + 0.2, 0.01],
        "recall": [recall, 0.01],
        "clipped_fraction": [clipped, 0.001],
    }
    told = {"captions": CAPTIONS, "negative": None, "first_captions": FIRST, "metrics": metrics}
    row = sample_row(w, **(told | changes))
    return row | {"id": f"{w} {changes.get('low_res')}"}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions")
    run = make_run(folder / "shapes", training=False, health=False)
    rows = [write_preview(run, captioned_row(w, *numbers), 1) for w, numbers in CURVE.items()]
    write_sweep(run, rows)
    return folder, report(folder, run)


def test_the_strength_from_which_diversity_and_saturation_suffer(page):
    """One low recall before a good one does not count."""
    _, found = page
    assert (
        "Caption accuracy is 30.0% at w = 0 and highest at w = 4, 65.0%. Compared with w = 0, "
        "diversity (recall) is lower from w = 4 on and saturation (clipped fraction) is higher "
        "from w = 2 on."
    ) in found.text


def test_curves_and_table_stand_side_by_side(page):
    folder, found = page
    names = [value for _, name, value in found.attributes if name == "aria-label"]
    assert names[:4] == [
        "caption accuracy over w",
        "recall over w",
        "clipped fraction over w",
        "accuracy of each attribute over w",
    ]
    heads = ("caption accuracy ↑", "recall ↑", "clipped fraction", "count accuracy ↑")
    table = found.table("w", *heads)
    assert table[4] == ["4", "0.650 ±0.010", "0.600 ±0.010", "0.0200 ±0.0010", "0.850 ±0.010"]
    assert "Highest caption accuracy" in found.text
    assert "1. a small red circle; 2. two large <b>blue squares" in found.text
    assert "held-out captions of shapes (2000, hash 7f7f7f)" in found.text
    assert (folder / "out" / "report-captions.png").is_file()
    assert "(<report-captions.png>)" in (folder / "out" / "report.md").read_text()


def test_bicubic_enlargement_stands_beside_the_models(tmp_path):
    run = make_run(tmp_path / "up", training=False, health=False)
    asked = {"captions": CAPTIONS, "negative": None, "low_res": SOURCE}
    metrics = {"frechet": [5.0, 0.1], "condition_psnr": [40.0, 0.2]}
    base = real_row(kind="bicubic", id="b", n=2000, metrics=metrics, **asked)
    rows = [captioned_row(w, *CURVE[w], low_res=SOURCE) for w in (0.0, 1.0)]
    for row in rows:
        row["metrics"] = {"frechet": [2.0 + row["w"], 0.1], "condition_psnr": [30.0, 0.2]}
    write_sweep(run, [*rows, captioned_row(0.0, *CURVE[0.0]), base])
    found = report(tmp_path, run)
    heads = ("w", "PSNR of the condition (dB) ↑")
    table = next(t for t in found.tables if (t[0][0], t[0][-1]) == heads)
    assert ["bicubic from 16x16 (n = 2000)", "5.00 ±0.10"] in [line[:2] for line in table]
    assert "T = 64, enlarged from 16x16" in found.text, "unlike the same run's images without them"
    assert "(2000, hash 7f7f7f), enlarged from 16x16" in found.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"captions": "shapes"}, "captions"),
        ({"captions": {"data": "shapes"}}, "split"),
        ({"low_res": {"size": ["a", 16]}}, "size"),
        ({"negative": 3}, "negative"),
    ],
)
def test_damaged_rows_are_named(tmp_path, changes, said):
    run = make_run(tmp_path / "run", training=False, health=False)
    write_sweep(run, [captioned_row(0.0, *CURVE[0.0], **changes)])
    with pytest.raises(PilotageError, match=said):
        report(tmp_path, run)


def test_labels_have_no_such_section(tmp_path):
    run = make_run(tmp_path / "run", training=False, health=False)
    write_sweep(run, [sample_row(0), sample_row(1)])
    assert [captioned(group, "") for group in arrange(read_sources([run]))] == [None]
