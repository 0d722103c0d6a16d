"""Agreement of raters: golden values, other implementations, laws, the report."""

import csv
import json
import math
import pickle
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.files import check_report_path
from svls_cli.labels.classes import ClassTable
from svls_cli.raters.case_agreement import CaseAgreement
from svls_cli.raters.measures import fleiss_kappa, pair_dice
from svls_cli.raters.measuring import measure_agreement
from svls_cli.raters.report import AgreementReport
from svls_cli.raters.votes import Votes, tally
from tests.helpers.label_maps import blobs, grid, row

Maps = list[npt.NDArray[np.uint8]]


def measured(
    maps: Maps,
    *,
    n_classes: int = 4,
    spacing: tuple[float, ...] | None = None,
    tolerance_mm: float = 1.0,
    case: str = "case",
    raters: str = "abcdefgh",
    values: list[int] | None = None,
) -> CaseAgreement:
    """Maps of class indices, label value = index."""
    return measure_agreement(
        case,
        tally(maps, n_classes=n_classes),
        raters[: len(maps)],
        ClassTable.from_values(values or range(n_classes)),
        grid(maps[0].shape, spacing),
        tolerance_mm=tolerance_mm,
    )


def noisy(n_raters: int, *, seed: int = 0, shape: tuple[int, ...] = (8, 9, 10)) -> Maps:
    """One truth with errors of each rater's own, a background rim around it."""
    rng = np.random.default_rng(seed)
    truth = blobs(shape, 4, seed=seed)
    maps = []
    for rater in range(n_raters):
        wrong = rng.random(shape) < 0.05 * (rater + 1)
        maps.append(np.where(wrong, rng.integers(0, 4, shape), truth).astype(np.uint8))
    return [np.pad(labels, 1) for labels in maps]


# Fleiss 1971 as worked in Wikipedia, "Fleiss' kappa": 10 subjects, 14 raters.
WORKED = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)


def worked_votes() -> Votes:
    rows = np.array([np.repeat(np.arange(5), row) for row in WORKED])
    codes = np.arange(10, dtype=np.uint8).reshape(1, 10)
    return Votes(codes, rows, np.ones(10, np.int64), 5)


def test_fleiss_kappa_of_the_worked_example() -> None:
    assert fleiss_kappa(worked_votes()) == pytest.approx(0.210, abs=5e-4)


@pytest.mark.parametrize("index", range(5))
def test_fleiss_kappa_of_one_class_by_its_formula(index: int) -> None:
    # 1 - sum(x (m - x)) / (n m (m - 1) p q), Fleiss 1971.
    said, p = WORKED[:, index], WORKED[:, index].sum() / 140
    expected = 1 - (said * (14 - said)).sum() / (10 * 14 * 13 * p * (1 - p))
    assert fleiss_kappa(worked_votes(), index) == pytest.approx(expected)


def test_fleiss_kappa_counts_voxels() -> None:
    votes = worked_votes()
    twice = Votes(votes.codes, votes.rows, votes.counts * 7, 5)
    assert fleiss_kappa(twice) == pytest.approx(fleiss_kappa(votes))


@pytest.mark.parametrize("seed", range(3))
def test_dice_is_that_of_simpleitk(seed: int) -> None:
    maps = [m.astype(np.uint8) for m in noisy(3, seed=seed)]
    votes = tally(maps, n_classes=4)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    for at, (r, s) in enumerate([(0, 1), (0, 2), (1, 2)]):
        images = [sitk.GetImageFromArray(maps[i]) for i in (r, s)]
        overlap.Execute(*images)
        for index in (1, 2, 3):
            expected = overlap.GetDiceCoefficient(index)
            assert pair_dice(votes, index)[at] == pytest.approx(expected)


def volume(*labels: int) -> npt.NDArray[np.uint8]:
    return np.array([row(*labels)])


def by_hand() -> CaseAgreement:
    """Two raters; class 1 in 3 and 2 voxels of 3 x 1 x 0.5 mm, 2 of them shared."""
    maps = [volume(0, 1, 1, 1, 0), volume(0, 1, 1, 0, 0)]
    return measured(maps, n_classes=3, spacing=(3, 1, 0.5), tolerance_mm=0.4)


def test_golden_values() -> None:
    found = by_hand()
    assert (found.rated_voxels, found.disputed_voxels) == (3, 1)
    assert found.disputed_share == pytest.approx(1 / 3)
    assert found.entropy_bits == pytest.approx(1 / 3)  # 1 bit in one of 3 voxels
    # Observed 4 of 5, by chance .5^2 + .5^2.
    assert found.kappa == pytest.approx((0.8 - 0.5) / 0.5)
    (label,) = found.classes
    assert (label.value, label.name) == (1, "label 1")
    assert label.pair_dice.tolist() == [pytest.approx(4 / 5)]
    # All 5 voxels are surface; one has none of the other's within 0.4 mm.
    assert label.pair_surface_dice.tolist() == [pytest.approx(4 / 5)]
    assert label.kappa == pytest.approx(0.6)
    assert label.sizes.tolist() == [4.5, 3.0]
    assert label.volume_spread == pytest.approx(0.75 / 3.75)
    assert label.disputed_voxels == 1


def test_sensitivity_and_confusion_of_a_majority() -> None:
    # Rater c misses half of what a and b say together, and adds a quarter.
    agreed = row(0, 0, 0, 0, 1, 1, 1, 1)
    found = measured([agreed, agreed, row(1, 0, 0, 0, 1, 1, 0, 0)], n_classes=2)
    (label,) = found.classes
    assert label.sensitivity.tolist() == pytest.approx([1, 1, 0.5])
    assert label.specificity.tolist() == pytest.approx([1, 1, 0.75])
    assert found.confusion_values == (0, 1)
    # Rows: said; columns: true.
    np.testing.assert_allclose(found.confusion[2], [[0.75, 0.5], [0.25, 0.5]])


def test_identical_raters() -> None:
    found = measured(noisy(1) * 3)
    assert found.kappa == pytest.approx(1)
    assert found.entropy_bits == found.disputed_voxels == found.disputed_share == 0
    for label in found.classes:
        assert label.pair_dice.tolist() == [1, 1, 1]
        assert label.pair_surface_dice.tolist() == [1, 1, 1]
        assert label.kappa == pytest.approx(1)
        assert (label.disputed_voxels, label.volume_spread) == (0, 0)
        assert label.sensitivity.tolist() == label.specificity.tolist() == [1, 1, 1]


def test_one_rater_agrees_with_nobody() -> None:
    record = measured(noisy(1)).to_json()
    names = ("kappa", "disputed_voxels", "disputed_share", "entropy_bits", "dice")
    assert [record[name] for name in names] == [None] * 5
    assert record["rated_voxels"] > 0
    for label in record["classes"]:
        names = ("dice", "surface_dice", "kappa", "volume_spread", "disputed_voxels")
        assert [label[name] for name in names] == [None] * 5
        assert label["pairs"] == []
        assert label["sensitivity"] == label["specificity"] == {"a": None}
        assert label["volume_mm3"]["a"] > 0


def test_nothing_but_background() -> None:
    record = measured([np.zeros((3, 3), np.uint8)] * 2).to_json()
    assert record["classes"] == []
    assert (record["rated_voxels"], record["disputed_voxels"]) == (0, 0)
    assert record["disputed_share"] is record["entropy_bits"] is record["kappa"] is None


def test_class_that_one_pair_did_not_draw() -> None:
    maps = [row(0, 1, 0), row(0, 0, 0), row(0, 0, 0)]
    (label,) = measured(maps).to_json()["classes"]
    assert [pair["dice"] for pair in label["pairs"]] == [0, 0, None]
    assert [pair["surface_dice"] for pair in label["pairs"]] == [0, 0, None]
    assert label["dice"] == label["surface_dice"] == 0


def test_ignored_voxels_are_not_disputed() -> None:
    maps = [row(0, 1, 1, 2), row(0, 1, 2, 2)]  # 2: ignored
    found = measured(maps, n_classes=2, values=[0, 7])
    (label,) = found.classes
    assert (label.value, label.disputed_voxels, found.disputed_voxels) == (7, 0, 0)
    assert (found.rated_voxels, found.entropy_bits) == (2, 0)


def test_background_is_label_value_0() -> None:
    found = measured([row(0, 1, 1), row(0, 0, 1)], n_classes=2, values=[3, 8])
    assert [label.value for label in found.classes] == [3, 8]
    assert found.rated_voxels == 3


def test_area_in_2d() -> None:
    (label,) = measured([row(0, 1, 1)] * 2, spacing=(2, 0.5)).to_json()["classes"]
    assert label["area_mm2"] == {"a": 2, "b": 2}
    assert "volume_mm3" not in label


@pytest.mark.parametrize("width", [1, 4])
def test_padding_with_background(width: int) -> None:
    maps = noisy(3)
    before, after = measured(maps), measured([np.pad(m, width) for m in maps])
    assert after.disputed_share == before.disputed_share
    assert after.entropy_bits == pytest.approx(before.entropy_bits)
    for old, new in zip(before.classes, after.classes, strict=True):
        assert new.pair_dice.tolist() == old.pair_dice.tolist()
        assert new.pair_surface_dice.tolist() == old.pair_surface_dice.tolist()
        assert new.sensitivity.tolist() == pytest.approx(old.sensitivity.tolist())
        assert new.sizes.tolist() == old.sizes.tolist()


def test_without_a_rim_of_background() -> None:
    # The first code then holds a class, and has no bounding box.
    maps = [labels[1:-1, 1:-1, 1:-1] for labels in noisy(3)]
    shifted = [(labels + 1).astype(np.uint8) for labels in maps]
    before = measured([np.pad(labels, 2) for labels in shifted], n_classes=5)
    after = measured(shifted, n_classes=5)
    for old, new in zip(before.classes, after.classes, strict=True):
        assert new.pair_surface_dice.tolist() == old.pair_surface_dice.tolist()


def test_permuting_raters() -> None:
    maps, order = noisy(3), [2, 0, 1]
    before = measured(maps)
    after = measured([maps[i] for i in order], raters="".join("abc"[i] for i in order))
    assert after.kappa == pytest.approx(before.kappa)
    assert after.entropy_bits == pytest.approx(before.entropy_bits)
    assert after.disputed_voxels == before.disputed_voxels
    for old, new in zip(before.classes, after.classes, strict=True):
        # Pairs ab, ac, bc; then ca, cb, ab.
        assert new.pair_dice.tolist() == old.pair_dice[[1, 2, 0]].tolist()
        surface = old.pair_surface_dice[[1, 2, 0]].tolist()
        assert new.pair_surface_dice.tolist() == surface
        sensitivity = old.sensitivity[order].tolist()
        assert new.sensitivity.tolist() == pytest.approx(sensitivity, abs=1e-6)
    one, other = (AgreementReport([each]).to_json() for each in (before, after))
    dice = {record["rater"]: record["dice"] for record in one["raters"]}
    assert {r["rater"]: r["dice"] for r in other["raters"]} == pytest.approx(dice)


def test_a_case_crosses_processes() -> None:
    found = measured(noisy(2))
    assert pickle.loads(pickle.dumps(found)).to_json() == found.to_json()


def test_votes_of_another_case() -> None:
    maps = [np.zeros((2, 3), np.uint8)] * 2
    votes, table = tally(maps, n_classes=1), ClassTable.from_values([0])
    with pytest.raises(InputError, match=r"2 label maps of shape \(2, 3\), expected 2"):
        measure_agreement("x", votes, "ab", table, grid((3, 2)), tolerance_mm=1)
    with pytest.raises(InvalidParameterError, match="tolerance_mm must be finite"):
        measured(maps, tolerance_mm=-1)


def report() -> AgreementReport:
    """Dice of class 1 and 2: .8 and none; 0 and 1; one rater only."""
    return AgreementReport(
        [
            measured([volume(0, 1, 1, 1, 0), volume(0, 1, 1, 0, 0)], case="one"),
            measured([volume(0, 1, 0, 2), volume(0, 0, 0, 2)], case="two", raters="bc"),
            measured([volume(0, 1)], case="three", raters="c"),
        ]
    )


def test_report_means_over_cases() -> None:
    record = report().to_json()
    first, second = record["classes"]
    assert (first["value"], first["name"], first["cases"]) == (1, "label 1", 3)
    assert first["dice"] == pytest.approx(0.4)
    assert first["disputed_voxels"] == 1
    assert (second["cases"], second["dice"], second["disputed_voxels"]) == (1, 1, 0)
    raters = {r["rater"]: (r["cases"], r["dice"]) for r in record["raters"]}
    expected = {"a": (1, 0.8), "b": (2, (0.8 + 0.5) / 2), "c": (2, 0.5)}
    assert raters == {k: (n, pytest.approx(dice)) for k, (n, dice) in expected.items()}
    assert (record["set"]["cases"], record["set"]["raters"]) == (3, 3)
    assert record["set"]["dice"] == pytest.approx((0.8 + 0.5) / 2)
    assert record["set"]["disputed_share"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert [case["case"] for case in record["cases"]] == ["one", "two", "three"]


def test_report_names_the_worst_cases_first() -> None:
    two, one = report().to_json()["worst"]
    assert (two["case"], two["dice"], two["class"]["name"]) == ("two", 0.5, "label 1")
    assert (one["case"], one["class"]["dice"]) == ("one", pytest.approx(0.8))
    many = [measured(noisy(2, seed=i), case=str(i)) for i in range(7)]
    worst = AgreementReport(many).to_json()["worst"]
    means = sorted(case.class_mean("dice") for case in many)
    assert [case["dice"] for case in worst] == means[:5]


def test_report_json_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    report().write(path)
    record = json.loads(path.read_text())
    assert record == json.loads(json.dumps(report().to_json(), allow_nan=False))
    assert record["cases"][2]["kappa"] is None
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_report_csv(tmp_path: Path) -> None:
    path = tmp_path / "report.CSV"
    path.write_text("old")
    report().write(path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = [f"{record['case']} {record['value']}" for record in rows]
    assert found == ["one 1", "two 1", "two 2", "three 1"]
    assert float(rows[0]["dice"]) == pytest.approx(0.8)
    assert [rows[0][f"volume_mm3[{r}]"] for r in "abc"] == ["3.0", "2.0", ""]
    assert rows[3]["dice"] == rows[3]["sensitivity[c]"] == ""
    assert [p.name for p in tmp_path.iterdir()] == ["report.CSV"]


def test_report_table() -> None:
    lines = report().table()
    header = lines.index(next(line for line in lines if line.startswith("label ")))
    assert lines[header + 1].split()[:5] == ["1", "label", "1", "3", "0.4000"]
    assert lines[header].index("cases") == lines[header + 1].index("3 ")
    assert any(re.fullmatch(r"two +label \d .* 0\.5000", line) for line in lines)
    assert not any("nan" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("report.txt", r"a report ends in \.json or \.csv, found"),
        ("report", r"a report ends in \.json or \.csv, found"),
        ("missing/report.json", "there is no folder"),
        ("folder.csv", "is a folder"),
    ],
)
def test_bad_report_path(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    for check in (check_report_path, report().write):
        with pytest.raises(InvalidParameterError, match=message):
            check(tmp_path / name)


def test_bad_reports() -> None:
    one = by_hand()
    with pytest.raises(InputError, match="no cases"):
        AgreementReport([])
    with pytest.raises(InputError, match="occurs twice"):
        AgreementReport([one, one])
    other = measured(noisy(2), case="other", tolerance_mm=3)
    with pytest.raises(InvalidParameterError, match="tolerance_mm differs"):
        AgreementReport([one, other])


def test_undefined_is_nan_until_written() -> None:
    assert math.isnan(measured(noisy(1)).class_mean("dice"))
