"""`svls-cli evaluate` as users run it, and `evaluate_cases`."""

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svls_cli import (
    Batch,
    EvaluationReport,
    evaluate_cases,
    find_cases,
    find_rated_cases,
    fuse_cases,
    parse_classes,
    smooth_cases,
)
from svls_cli.batch.workers import Workers
from svls_cli.cli.evaluate import command
from svls_cli.errors import InputError, InvalidParameterError, StoreError
from svls_cli.evaluation.report import Average
from svls_cli.metrics.averages import bootstrap
from tests.helpers import commands as helpers
from tests.helpers.commands import Run, files, records
from tests.helpers.label_maps import blobs, write_image
from tests.helpers.stores import edit_svls

SHAPE = (10, 12, 14)
SPACING = (1.0, 0.8, 2.0)  # x, y, z
Evaluate = Callable[..., EvaluationReport]


invoke = partial(helpers.invoke, command, "--jobs", "1")


def written(folder: Path, *, shift: int = 0, cases: int = 3) -> Path:
    """Label maps of some cases."""
    for at in range(cases):
        labels = np.roll(blobs(SHAPE, 3, seed=at), shift, axis=1)
        write_image(folder / f"case {at}.mha", labels, spacing=SPACING)
    return folder


@pytest.fixture(scope="module")
def pool() -> Iterator[Workers]:
    """One worker for all: it takes longer to start than to work."""
    with Workers(1, items=3, module="svls_cli.evaluation.evaluate") as workers:
        yield workers


@pytest.fixture(scope="module")
def evaluated(pool: Workers) -> Evaluate:
    """`evaluate_cases` by that worker."""
    return partial(evaluate_cases, batch=Batch(jobs=pool))


def smoothed(folder: Path, out: Path, pool: Workers, **options: Any) -> Path:
    cases, batch = find_cases([folder]), Batch(jobs=pool)
    found = smooth_cases(cases, out, batch=batch, **options)
    assert all(record.status == "done" for record in found)
    return out


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, pool: Workers) -> Path:
    """Predictions, two raters, and a store that keeps both."""
    folder = tmp_path_factory.mktemp("stores")
    a, b = written(folder / "a"), written(folder / "b", shift=1)
    smoothed(a, folder / "pred.zarr", pool)
    cases = find_rated_cases([a, b])
    for record in fuse_cases(cases, folder / "fused.zarr"):
        assert record.status == "done"
    return folder


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory, pool: Workers) -> tuple[Path, Path]:
    """Predictions of eight cases, and a rater: enough for intervals."""
    folder = tmp_path_factory.mktemp("eight")
    labels = written(folder / "a", cases=8)
    pred = smoothed(labels, folder / "pred.zarr", pool)
    return pred, written(folder / "b", shift=1, cases=8)


def test_tables(monkeypatch: pytest.MonkeyPatch, eight: tuple[Path, Path]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = invoke(eight[0], "--reference", eight[1])
    assert result.return_value == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    said, brackets = lines[0].split("; ")
    assert said == "8 cases, 1 reference label map each: means over cases"
    over = "in brackets 95 % intervals over cases, where at least 6 have the score"
    assert brackets == over
    rows = [re.split(r"\s{2,}", line) for line in lines]
    assert rows[2][:4] == ["label", "name", "Dice", "surface Dice"]
    assert rows[2][4:] == ["HD95 mm", "soft Dice", "GED", "CRPS mL"]
    assert [row[0] for row in rows[3:6]] == ["1", "2", "mean"]
    assert re.fullmatch(r"0\.\d{4} \[0\.\d{4}, 0\.\d{4}\]", rows[3][2])
    assert rows[8] == ["calibration", "NLL", "Brier", "ECE", "TACE"]
    regions = ["whole volume", "reference foreground", "boundary band"]
    assert [row[0] for row in rows[9:12]] == regions
    assert lines[12] == "15 bins; the band reaches 2 mm either side"
    assert len(lines) == 13


def test_a_band_that_is_the_whole_image_is_told(
    eight: tuple[Path, Path], evaluated: Evaluate, caplog: pytest.LogCaptureFixture
) -> None:
    evaluated(*eight)
    assert not caplog.messages
    evaluated(*eight, band_mm=1000)
    assert caplog.messages == [
        "the boundary band, 1000 mm either side, takes in all voxels of all cases: "
        "--band-mm makes it narrower"
    ]


def test_paper_compat_says_what_it_is(stores: Path, evaluated: Evaluate) -> None:
    result = invoke(stores / "pred.zarr", "--reference", stores / "b", "--paper-compat")
    said = " ".join(result.stdout.split("\n\n")[-1].split())
    assert said.startswith("as the published code prints it: ECE 0.")
    assert said.endswith("divided by the number of bins twice, so 10 times too small")
    found = evaluated(stores / "pred.zarr", stores / "b", paper_compat=True, bins=7)
    record = found.to_json()
    paper, regions = record["summary"]["paper"], record["summary"]["regions"]
    assert paper["ece"] == regions["foreground"]["ece"]
    # Two classes of some hundred forecasts: bins are uneven by a few.
    expected = regions["whole"]["tace"]["mean"] / 7
    assert paper["tace"]["mean"] == pytest.approx(expected, rel=0.05)


def test_files_and_a_store_of_them_score_alike(
    stores: Path, evaluated: Evaluate
) -> None:
    """The same label maps: from files, as a store's hard ones, as a rater's."""
    by_file = evaluated(stores / "pred.zarr", stores / "a")
    for reference, raters in (("pred.zarr", None), ("fused.zarr", ("a",))):
        found = evaluated(stores / "pred.zarr", stores / reference, raters=raters)
        for mine, theirs in zip(by_file.scores, found.scores, strict=True):
            given, expected = theirs.to_json(), mine.to_json()
            assert given.pop("raters") == list(raters or ("hard",))
            assert expected.pop("raters") == ["hard"]
            assert given == expected
    assert by_file.scores[0].class_mean("dice") == 1
    assert by_file.scores[0].class_mean("hd95_mm") == 0


def test_several_raters(stores: Path, evaluated: Evaluate) -> None:
    pred, fused = stores / "pred.zarr", stores / "fused.zarr"
    both = evaluated(pred, fused)
    a, b = (evaluated(pred, fused, raters=[name]) for name in "ab")
    for two, one, other in zip(both.scores, a.scores, b.scores, strict=True):
        assert two.raters == ("a", "b")
        for name in ("dice", "surface_dice", "hd95_mm"):
            mean = (one.class_mean(name) + other.class_mean(name)) / 2
            assert two.class_mean(name) == pytest.approx(mean)
        whole, *parts = (each.regions["whole"] for each in (two, one, other))
        assert whole.nll == pytest.approx(np.mean([part.nll for part in parts]))
        assert whole.forecasts == 2 * parts[0].forecasts
    assert both.scores[0].class_mean("dice") < 1
    hard = invoke(pred, "--reference", fused, "--raters", "hard", "--json")
    assert records(hard.stdout)["case 0"]["raters"] == ["hard"]
    # The fused store itself is the better forecast of both raters.
    own = evaluated(fused, fused)
    assert own.scores[0].class_mean("ged") < both.scores[0].class_mean("ged")
    band = [each.calibration["band"]["nll"].mean for each in (own, both)]
    assert band[0] is not None
    assert band[1] is not None
    assert band[0] < band[1]


def test_case_without_the_rater(
    stores: Path, evaluated: Evaluate, tmp_path: Path
) -> None:
    a, b = written(tmp_path / "a"), written(tmp_path / "b", shift=1)
    (b / "case 1.mha").unlink()
    fused = tmp_path / "fused.zarr"
    fuse_cases(find_rated_cases([a, b]), fused)
    found = evaluated(stores / "pred.zarr", fused)
    assert [case.raters for case in found.scores] == [("a", "b"), ("a",), ("a", "b")]
    found = evaluated(stores / "pred.zarr", fused, raters=["b"])
    assert [case.raters for case in found.scores] == [("b",), ("b",)]
    (left_out,) = found.skipped
    assert (left_out.case, left_out.reason) == ("case 1", "no reference")
    table = invoke(stores / "pred.zarr", "--reference", fused).stdout
    assert table.startswith("3 cases, 1 to 2 reference label maps each: means")
    assert "rater ECE" in table


def test_damaged_cases_fail(stores: Path, tmp_path: Path) -> None:
    for name, case in (("pred.zarr", "case 0"), ("fused.zarr", "case 1")):
        shutil.copytree(stores / name, tmp_path / name)
        edit_svls(tmp_path / name / case, lambda svls: svls.update(state="writing"))
    given = (tmp_path / "pred.zarr", "--reference", tmp_path / "fused.zarr")
    result = invoke(*given, "--json")
    assert result.return_value == 4
    found = records(result.stdout)
    assert [line["status"] for line in found.values()] == ["failed", "failed", "done"]
    for case, where in (("case 0", "prediction"), ("case 1", "reference")):
        assert found[case]["reason"].startswith(f"{where}: ")
        assert "its own sha256" in found[case]["reason"]
    report = tmp_path / "report.json"
    result = invoke(*given, "--fail-fast", "--report", report)
    assert result.return_value == 4
    assert result.stderr.count("failed: ") == 2
    assert json.loads(report.read_text())["summary"]["cases"] == 0


def test_report_figure_and_json_say_the_same(stores: Path, tmp_path: Path) -> None:
    report, table = tmp_path / "report.json", tmp_path / "report.csv"
    figure = tmp_path / "figure.png"
    given = (stores / "pred.zarr", "--reference", stores / "fused.zarr", "--json")
    result = invoke(*given, "--report", report, "--figure", figure)
    assert figure.read_bytes().startswith(b"\x89PNG")
    found = json.loads(report.read_text())
    lines = records(result.stdout)
    assert list(lines) == ["case 0", "case 1", "case 2"]
    assert all(line["status"] == "done" for line in lines.values())
    for case in found["cases"]:
        mine, theirs = dict(lines[case["case"]]), dict(case)
        assert abs(mine.pop("seconds") - theirs.pop("seconds")) < 1e-9
        assert mine == theirs
    dice = [case["dice"] for case in found["cases"]]
    summary = found["summary"]["dice"]
    assert summary["mean"] == pytest.approx(np.mean(dice))
    assert (summary["low"], summary["high"], summary["cases"]) == (None, None, 3)
    assert found["summary"]["patients"] == 3
    counts = found["reliability"]["band"]["count"]
    parts = [c["regions"]["band"]["reliability"]["count"] for c in found["cases"]]
    assert counts == np.sum(parts, axis=0).tolist()

    invoke(*given, "--report", table)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["name"] for row in rows[:3]] == ["mean", "label 1", "label 2"]
    assert float(rows[0]["dice"]) == found["cases"][0]["dice"]
    band = found["cases"][0]["regions"]["band"]
    for name in ("nll", "brier", "ece", "rater_ece", "tace"):
        assert float(rows[0][f"{name}[band]"]) == band[name]
    tace = found["cases"][0]["classes"][0]["tace"]
    assert float(rows[1]["tace[band]"]) == tace["band"]
    assert rows[1]["ece[band]"] == ""


def test_jobs_and_seed(eight: tuple[Path, Path]) -> None:
    def found(**options: Any) -> EvaluationReport:
        return evaluate_cases(*eight, **options)

    one = found(batch=Batch(jobs=1))
    assert found(batch=Batch(jobs=2)).to_json()["summary"] == one.to_json()["summary"]
    dice = np.array([case.class_mean("dice") for case in one.scores])
    for seed in (0, 3):
        expected = bootstrap(dice, seed=seed)
        average = EvaluationReport(one.parameters, one.cases, seed).overlaps["dice"]
        assert average == Average(**expected.to_json(), cases=8)
        assert min(dice) <= expected.low < expected.mean < expected.high <= max(dice)


def patients_of(names: str, path: Path) -> Path:
    """A table that gives cases 0, 1, ... these patients."""
    rows = [f"case {at},{name}\n" for at, name in enumerate(names)]
    path.write_text("".join(["case,patient\n", *rows]))
    return path


def test_intervals_over_patients(eight: tuple[Path, Path], tmp_path: Path) -> None:
    """Of eight cases, three are one patient's."""
    table, report = (
        patients_of("abcadaef", tmp_path / "p.csv"),
        tmp_path / "report.json",
    )
    given = (eight[0], "--reference", eight[1], "--patients", table)
    result = invoke(*given, "--report", report)
    said = " ".join(result.stdout.split())
    assert said.startswith("8 cases of 6 patients, 1 reference label map each: means")
    assert "in brackets 95 % intervals over patients, where at least 6 have" in said
    found = json.loads(report.read_text())
    assert found["parameters"]["patients"] == str(table)
    assert (found["summary"]["cases"], found["summary"]["patients"]) == (8, 6)
    assert [case["patient"] for case in found["cases"]] == list("abcadaef")
    for name in ("dice", "ged"):
        values = np.array([case[name] for case in found["cases"]])
        expected = bootstrap(values, seed=0, groups="abcadaef").to_json()
        assert found["summary"][name] == {**expected, "cases": 8}
    patients_of("abcadae", table)
    with pytest.raises(InputError, match="names none for case 7"):
        invoke(*given)


def test_few_patients_have_no_intervals(
    eight: tuple[Path, Path], tmp_path: Path
) -> None:
    table = patients_of("abcadaee", tmp_path / "p.csv")
    result = invoke(eight[0], "--reference", eight[1], "--patients", table)
    said = " ".join(result.stdout.split())
    assert said.startswith("8 cases of 5 patients, ")
    assert "no 95 % intervals, which take at least 6 patients" in said
    assert "[" not in said


@pytest.mark.parametrize(
    ("pattern", "note", "patients"),
    [
        ("{patient} *", "all 3 cases are of one patient, case", 1),
        (
            "{patient}",
            "no two of 3 cases are of the same patient: case 0, case 1, case 2",
            3,
        ),
    ],
)
def test_odd_patients_are_noted(
    stores: Path,
    evaluated: Evaluate,
    caplog: pytest.LogCaptureFixture,
    pattern: str,
    note: str,
    patients: int,
) -> None:
    found = evaluated(stores / "pred.zarr", stores / "b", patients=pattern)
    assert found.n_patients == patients
    assert caplog.messages == [f"patients {pattern}: {note}"]
    assert found.overlaps["dice"].low is None
    assert "patient" in found.case_records()[0]
    alone = evaluated(stores / "pred.zarr", stores / "b")
    assert "patient" not in alone.case_records()[0]
    assert alone.overlaps["dice"] == found.overlaps["dice"]


def test_the_band_stays_in_plane(evaluated: Evaluate, stores: Path) -> None:
    pred, reference = stores / "pred.zarr", stores / "b"
    around, within = (
        evaluated(pred, reference, band_mm=1, in_plane=flat) for flat in (False, True)
    )
    assert within.parameters["in_plane"] is True
    for name, fewer in (("whole", False), ("band", True)):
        n = [each.scores[0].regions[name].forecasts for each in (around, within)]
        assert (n[1] < n[0]) == fewer
    labels = blobs(SHAPE, 3, seed=0)
    band = np.zeros(SHAPE, bool)
    rolled = np.roll(labels, 1, axis=1)
    for z, y, x in np.ndindex(SHAPE):
        window = rolled[z, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        band[z, y, x] = len(np.unique(window)) > 1
    assert within.scores[0].regions["band"].forecasts == band.sum()
    shown = invoke(pred, "--reference", reference, "--in-plane").stdout
    assert "the band reaches 2 mm either side, within slices" in shown


def test_temperature_scaling(
    stores: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In tables, report, records and figure; each case by the others' temperature."""
    monkeypatch.setenv("COLUMNS", "200")
    report, table = tmp_path / "report.json", tmp_path / "report.csv"
    scaled = ("--temperature-scaling", "band")
    given = (stores / "fused.zarr", "--reference", stores / "b", *scaled)
    figure = tmp_path / "figure.svg"
    result = invoke(*given, "--report", report, "--figure", figure)
    assert "scaled by temperature" in figure.read_text()
    lines = [re.split(r"\s{2,}", line) for line in result.stdout.splitlines()]
    assert (lines[5][0], lines[6][:2]) == ("mean", ["mean", "scaled"])
    assert lines[5][1:4] == lines[6][2:5]  # Dice and distances do not change
    regions = ["whole volume", "reference foreground", "boundary band"]
    expected = [f"{name}{end}" for name in regions for end in ("", ", scaled")]
    assert [line[0] for line in lines[10:16]] == expected
    found = json.loads(report.read_text())
    scaling = found["temperature_scaling"]
    least, most = (
        pick(f["temperature"] for f in scaling["folds"]) for pick in (min, max)
    )
    of_all = f"{least:.3f} to {most:.3f}; {scaling['temperature']:.3f} of all"
    assert lines[-1][0].endswith(f"NLL (boundary band) of other cases: {of_all}")
    assert "uint16 for temperature scaling" in caplog.text
    assert sorted(f["cases"] for f in scaling["folds"]) == [
        [f"case {n}"] for n in range(3)
    ]
    temperatures = {f["cases"][0]: f["temperature"] for f in scaling["folds"]}
    for case in found["cases"]:
        assert case["temperature"] == temperatures[case["case"]]
        assert set(case["scaled"]) | {"temperature", "scaled"} <= set(case)
        assert case["scaled"]["dice"] == case["dice"]
        assert (
            case["scaled"]["regions"]["band"]["nll"] != case["regions"]["band"]["nll"]
        )
    assert set(scaling) >= {"summary", "classes", "reliability"}
    band = scaling["summary"]["regions"]["band"]["nll"]["mean"]
    each = [case["scaled"]["regions"]["band"]["nll"] for case in found["cases"]]
    assert band == pytest.approx(np.mean(each))
    assert band < found["summary"]["regions"]["band"]["nll"]["mean"]
    invoke(*given, "--report", table)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    first = ["case", "value", "name", "raters", "scaled", "temperature", "dice"]
    assert list(rows[0])[:7] == first
    assert [row["scaled"] for row in rows] == ["no"] * 9 + ["yes"] * 9
    assert [row["temperature"] == "" for row in rows] == [True] * 9 + [False] * 9
    assert float(rows[9]["temperature"]) == temperatures["case 0"]
    assert float(rows[9]["nll[band]"]) == each[0]


def test_scaling_goes_on_after_failed_cases(stores: Path, tmp_path: Path) -> None:
    labels = written(tmp_path / "labels", shift=1)
    (labels / "case 1.mha").write_bytes(b"")
    scaled = ("--temperature-scaling", "whole", "--json")
    given = (stores / "pred.zarr", "--reference", labels, *scaled)
    result = invoke(*given)
    assert result.return_value == 4
    assert "failed: case 1: the file is empty" in result.stderr
    found = records(result.stdout)
    assert "scaled" in found["case 0"]
    assert "scaled" not in found["case 1"]
    assert invoke(*given, "--fail-fast").stdout.count("temperature") == 0


def test_temperature_scaling_takes_two_patients(stores: Path) -> None:
    pred, labels = stores / "pred.zarr", stores / "b"
    scaled = ("--temperature-scaling", "whole", "--patients", "{patient} *")
    with pytest.raises(InputError, match="two or more, found 1"):
        invoke(pred, "--reference", labels, *scaled)
    with pytest.raises(InvalidParameterError, match="temperature_scaling must be one"):
        evaluate_cases(pred, labels, temperature_scaling="foreground")


def test_a_temperature_at_the_edge(
    stores: Path, evaluated: Evaluate, caplog: pytest.LogCaptureFixture
) -> None:
    """Smoothed labels as forecasts of themselves: never sure enough."""
    found = evaluated(stores / "pred.zarr", stores / "a", temperature_scaling="whole")
    assert found.temperatures is not None
    assert found.temperatures.temperature == pytest.approx(0.2)
    said = "the NLL is least at a temperature of 0.2, the least that is tried: the fore"
    assert f"{said}casts are far too unsure, or too few" in caplog.text
    assert "the largest" not in caplog.text


def test_one_case_has_no_interval(stores: Path) -> None:
    path = stores / "b" / "case 1.mha"
    result = invoke(stores / "pred.zarr", "--reference", path)
    assert result.return_value == 0
    assert result.stdout.startswith("1 case, 1 reference label map each: means over")
    assert "[" not in result.stdout
    assert result.stderr == "left out: case 0, case 2: no reference\n"


def test_many_cases_left_out_are_one_line(stores: Path, tmp_path: Path) -> None:
    labels = written(tmp_path / "labels")
    for n in range(3, 12):
        write_image(labels / f"more {n:02}.mha", blobs(SHAPE, 3), spacing=SPACING)
    (labels / "case 1.mha").write_bytes(b"")
    (labels / "case 2.mha").write_bytes(b"")
    result = invoke(stores / "pred.zarr", "--reference", labels)
    left_out, *failed = result.stderr.splitlines()
    named = "more 03, more 04, more 05, ... (9 in all)"
    assert left_out == f"left out: {named}: no prediction"
    assert [line[:14] for line in failed] == ["failed: case 1", "failed: case 2"]


def test_cases_that_cannot_be_compared(stores: Path, tmp_path: Path) -> None:
    labels = written(tmp_path / "labels")
    write_image(labels / "case 0.mha", blobs(SHAPE, 3), spacing=(1, 1, 2))
    (labels / "case 1.mha").write_bytes(b"")
    write_image(labels / "more.mha", blobs(SHAPE, 3), spacing=SPACING)
    result = invoke(stores / "pred.zarr", "--reference", labels)
    assert result.return_value == 4
    assert result.stdout.startswith("1 case, ")
    left_out, grid, empty = result.stderr.splitlines()
    assert left_out == "left out: more: no prediction"
    assert grid.startswith(
        "failed: case 0: prediction and reference lie on different grids: spacing_mm "
        "is (2.0, 0.8, 1.0) and (2.0, 1.0, 1.0) ["
    )
    assert empty.startswith("failed: case 1: the file is empty [")
    result = invoke(stores / "pred.zarr", "--reference", labels, "--json")
    found = records(result.stdout)
    assert list(found) == ["case 0", "case 1", "case 2", "more"]
    said = [line["status"] for line in found.values()]
    assert said == ["failed", "failed", "done", "skipped"]
    assert "dice" in found["case 2"]
    assert "dice" not in found["case 0"]


def test_fail_fast(stores: Path, tmp_path: Path) -> None:
    labels = written(tmp_path / "labels")
    for path in labels.iterdir():
        path.write_bytes(b"")
    result = invoke(stores / "pred.zarr", "--reference", labels, "--fail-fast")
    assert result.return_value == 4
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    result = invoke(stores / "pred.zarr", "--reference", labels)
    assert len(result.stderr.splitlines()) == 3


def test_unknown_labels(stores: Path, tmp_path: Path) -> None:
    labels = written(tmp_path / "labels")
    write_image(labels / "case 2.mha", blobs(SHAPE, 3) + 7, spacing=SPACING)
    result = invoke(stores / "pred.zarr", "--reference", labels)
    assert result.return_value == 4
    expected = "case 2: label values 7, 8, 9 are not among the classes (0, 1, 2)"
    assert expected in result.stderr
    ok = invoke(stores / "pred.zarr", "--reference", labels, "--ignore-label", "9")
    assert "label values 7, 8 are not among" in ok.stderr


def test_stores_of_other_classes(
    stores: Path, evaluated: Evaluate, pool: Workers, tmp_path: Path
) -> None:
    for at in range(3):
        labels = blobs(SHAPE, 3, seed=at)
        labels[labels == 2] = 5
        write_image(tmp_path / "other" / f"case {at}.mha", labels, spacing=SPACING)
    smoothed(tmp_path / "other", tmp_path / "o.zarr", pool)
    message = "the prediction lacks 5; the reference lacks 2"
    with pytest.raises(InputError, match=message):
        evaluated(stores / "pred.zarr", tmp_path / "o.zarr")


def test_classes_are_matched_by_value(
    stores: Path, evaluated: Evaluate, pool: Workers, tmp_path: Path
) -> None:
    """Values that are no channels, under other names."""
    labels = np.array([0, 3, 9], np.uint8)[blobs(SHAPE, 3, seed=1)]
    write_image(tmp_path / "in" / "x.mha", labels, spacing=SPACING)
    for name in ("pred", "ref"):
        table = [{"value": v, "name": f"{name} {v}"} for v in (0, 3, 9)]
        (tmp_path / f"{name}.json").write_text(json.dumps(table))
        classes = parse_classes(str(tmp_path / f"{name}.json"))
        smoothed(tmp_path / "in", tmp_path / f"{name}.zarr", pool, classes=classes)
    found = evaluated(tmp_path / "pred.zarr", tmp_path / "ref.zarr")
    scored = [(label.value, label.name) for label in found.scores[0].classes]
    assert scored == [(3, "pred 3"), (9, "pred 9")]
    assert found.scores[0].class_mean("dice") == 1


def test_ignore_labels(
    stores: Path, evaluated: Evaluate, pool: Workers, tmp_path: Path
) -> None:
    labels = written(tmp_path / "labels")
    padded = tmp_path / "padded"
    for at in range(3):
        array = blobs(SHAPE, 3, seed=at)
        array[:3] = 77
        write_image(padded / f"case {at}.mha", array, spacing=SPACING)
    ignored = 3 * 12 * 14
    found = evaluated(stores / "pred.zarr", padded, ignore_label=77)
    assert [case.ignored_voxels for case in found.scores] == [ignored] * 3
    assert found.parameters["ignore_label"] == 77
    # A store knows its own, as prediction and as reference.
    ignoring = smoothed(padded, tmp_path / "ignoring.zarr", pool, ignore_label=77)
    ways = [(stores / "pred.zarr", ignoring), (ignoring, labels), (ignoring, padded)]
    for prediction, reference in ways:
        found = evaluated(prediction, reference)
        assert found.parameters["ignore_label"] == 77
        assert [case.ignored_voxels for case in found.scores] == [ignored] * 3
        assert found.scores[0].class_mean("dice") == 1


def test_a_case_that_is_ignored_throughout(stores: Path, tmp_path: Path) -> None:
    labels = written(tmp_path / "labels")
    write_image(labels / "case 1.mha", np.full(SHAPE, 9, np.uint8), spacing=SPACING)
    result = invoke(stores / "pred.zarr", "--reference", labels, "--ignore-label", "9")
    assert result.return_value == 0
    assert result.stderr == "left out: case 1: every voxel is ignored\n"
    assert result.stdout.startswith("2 cases, ")


def test_many_classes_and_floats(
    evaluated: Evaluate, pool: Workers, tmp_path: Path
) -> None:
    """Each class in chunks of its own, and every type of store."""
    labels = blobs((20, 22, 24), 11, seed=3)
    write_image(tmp_path / "in" / "x.mha", labels)
    other = np.roll(labels, 1, axis=2)
    write_image(tmp_path / "ref" / "x.mha", other)
    scores = {}
    for dtype in ("uint8", "uint16", "float16", "float32"):
        out = tmp_path / f"{dtype}.zarr"
        smoothed(tmp_path / "in", out, pool, dtype=dtype)
        (scores[dtype],) = evaluated(out, tmp_path / "ref").scores
    exact = scores["float32"]
    assert len(exact.classes) == 10
    for dtype, found in scores.items():
        assert found.class_mean("dice") == exact.class_mean("dice")
        close = 2e-2 if dtype == "uint8" else 2e-3
        for name, region in exact.regions.items():
            assert found.regions[name].nll == pytest.approx(region.nll, rel=close)
            assert found.regions[name].ece == pytest.approx(region.ece, abs=close)


def test_two_dimensions(evaluated: Evaluate, pool: Workers, tmp_path: Path) -> None:
    image = blobs((30, 40), 3, seed=0)
    write_image(tmp_path / "in" / "x.mha", image, spacing=(0.5, 0.7))
    smoothed(tmp_path / "in", tmp_path / "o.zarr", pool)
    (found,) = evaluated(tmp_path / "o.zarr", tmp_path / "in").scores
    assert found.class_mean("surface_dice") == 1


def test_damaged_prediction(stores: Path, tmp_path: Path) -> None:
    shutil.copytree(stores / "pred.zarr", tmp_path / "pred.zarr")
    (shard,) = files(tmp_path / "pred.zarr" / "case 1" / "0" / "c")
    shard.write_bytes(shard.read_bytes()[:-20])
    result = invoke(tmp_path / "pred.zarr", "--reference", stores / "a")
    assert result.return_value == 4
    assert result.stderr.startswith("failed: case 1: ")
    assert "does not match its checksum" in result.stderr
    assert result.stdout.startswith("2 cases, ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--report", "missing/report.json"), "there is no folder missing"),
        (("--report", "report.txt"), r"a report ends in \.json or \.csv"),
        (("--figure", "missing/figure.png"), "there is no folder missing"),
        (
            ("--figure", "figure.docx"),
            "figure.docx: a figure's name ends in .png",
        ),
        (("--figure", "figure.gif"), "a figure's name ends in .png, .pdf or .svg"),
        (("--tolerance-mm", "-1"), "tolerance_mm must be finite"),
        (("--band-mm", "nan"), "band_mm must be positive"),
        (("--seed", "-1"), "seed must be at least 0"),
        (("--patients", "no.csv"), "neither a pattern with"),
        (("--ignore-label", "2"), "ignore_label 2 is also a class"),
        (("--raters", "a"), "raters are chosen from a store"),
    ],
)
def test_bad_parameters_are_refused_before_any_work(
    stores: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidParameterError, match=message):
        invoke(*arguments, stores / "pred.zarr", "--reference", stores / "a")
    assert not list(tmp_path.iterdir())


def test_bad_references(stores: Path, tmp_path: Path) -> None:
    pred, fused = stores / "pred.zarr", stores / "fused.zarr"
    write_image(tmp_path / "in" / "other.mha", blobs(SHAPE, 3))
    for reference, options, error, message in (
        (fused, {"raters": ["nobody"]}, InputError, "nobody; there are a, b, hard"),
        (fused, {"pattern": "*"}, InvalidParameterError, "a pattern picks files"),
        (tmp_path / "missing", {}, InputError, "no such file or folder"),
        (tmp_path / "missing.zarr", {}, StoreError, "no such store"),
        (tmp_path / "in", {}, InputError, r"no case of .* has a reference of the same"),
    ):
        with pytest.raises(error, match=message):
            evaluate_cases(pred, reference, **options)


def test_a_list_of_references(stores: Path) -> None:
    lines = "\n".join(str(path) for path in sorted((stores / "b").iterdir()))
    by_list = invoke(stores / "pred.zarr", "--reference", "-", input=lines)
    expected = invoke(stores / "pred.zarr", "--reference", stores / "b").stdout
    assert by_list.stdout == expected
    pattern = ("--pattern", "b/*.mha")
    result = invoke(stores / "pred.zarr", "--reference", stores, *pattern)
    assert result.stdout == expected


def test_a_figure_without_matplotlib(
    stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    given = (tmp_path / "no.zarr", "--reference", stores / "a")
    install = r"pip install 'svls-cli\[figures\]"
    with pytest.raises(InvalidParameterError, match=install):
        invoke("--figure", tmp_path / "figure.png", *given)


def test_installed_command(stores: Path, run: Run, tmp_path: Path) -> None:
    pred = stores / "pred.zarr"
    written = ("--figure", "a.svg", "--report", "a.json")
    result = run("evaluate", pred, "--reference", stores / "b", *written)
    assert result.stdout.startswith("3 cases, 1 reference label map each")
    assert (tmp_path / "a.svg").stat().st_size > 1000
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["parameters"]["prediction"] == str(pred)
    assert "--reference" in run("evaluate", pred, code=2).stderr
    import zarr

    zarr.create_group(tmp_path / "foreign.zarr", zarr_format=3)
    for given in (("foreign.zarr", stores / "a"), (pred, "foreign.zarr")):
        result = run("evaluate", given[0], "--reference", given[1], code=3)
        assert result.stderr.endswith("but not a soft-label store\n")
    result = run("evaluate", "no.zarr", "--reference", pred, code=3)
    assert result.stderr == "svls-cli: no.zarr: no such store\n"
    write_image(tmp_path / "labels" / "case 0.mha", blobs((4, 5, 6), 3))
    result = run("evaluate", pred, "--reference", "labels", code=4)
    assert "shape is (10, 12, 14) and (4, 5, 6)" in result.stderr
    assert "no reference" in result.stderr
