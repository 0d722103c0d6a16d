"""`svls-cli fuse-raters`: stores and consensus folders of several raters."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from yaozarrs import validate_zarr_store

from svls_cli import (
    Fusion,
    Method,
    find_cases,
    find_rated_cases,
    fuse_cases,
    open_store,
    parse_classes,
    smooth,
    smooth_cases,
    write_consensus,
)
from svls_cli.batch.records import Record
from svls_cli.errors import InvalidParameterError, StoreError
from svls_cli.labels.images import open_label_file
from svls_cli.labels.raters import RatedCase
from svls_cli.store.inspect import inspect_cases
from tests.helpers.commands import SAMPLE, Run, files, records, tree
from tests.helpers.label_maps import OBLIQUE, LabelMap, blobs, read, write_image

GRID = {
    "spacing": (0.7, 0.8, 2.5),
    "origin": (-10.0, 20.0, 30.5),
    "direction": OBLIQUE.ravel().tolist(),
}
SHAPE = (9, 20, 21)
Raters = list[Path]  # their folders
Records = dict[str, Record]


@pytest.fixture
def raters(tmp_path: Path) -> Raters:
    """Three raters and two cases; rater c lacks the second."""
    for case in range(2):
        truth = blobs(SHAPE, 3, seed=case)
        for number, rater in enumerate("abc"[: 3 - case]):
            wrong = np.random.default_rng(number).random(SHAPE) < 0.1
            drawn = np.where(wrong, 2 - truth, truth)
            write_image(tmp_path / rater / f"case_{case}.nrrd", drawn, **GRID)
    return [tmp_path / rater for rater in "abc"]


def fused(cases: Sequence[RatedCase], out: Path, **options: Any) -> Records:
    return {record.case: record for record in fuse_cases(cases, out, **options)}


def labels(folder: Path, case: str = "case_0") -> LabelMap:
    return read(folder / f"{case}.nrrd")


def test_store_holds_the_mean_of_their_svls(raters: Raters, tmp_path: Path) -> None:
    found = fused(find_rated_cases(raters), tmp_path / "a.zarr", dtype="float32")
    assert [found[case].status for case in sorted(found)] == ["done", "done"]
    assert found["case_0"].reason is None
    assert found["case_1"].reason == "no label map of rater c"
    case = open_store(tmp_path / "a.zarr")["case_0"]
    each = [smooth(labels(folder), classes=[0, 1, 2]) for folder in raters]
    np.testing.assert_allclose(case.probabilities(), np.mean(each, axis=0), atol=1e-6)


def test_raters_maps_and_provenance_are_kept(raters: Raters, tmp_path: Path) -> None:
    weights = {"a": 2.0, "b": 1.0, "c": 1.0}
    fused(find_rated_cases(raters), tmp_path / "a.zarr", fusion=Fusion(weights=weights))
    store = open_store(tmp_path / "a.zarr")
    case = store["case_0"]
    assert case.raters == ("a", "b", "c")
    for folder in raters:
        np.testing.assert_array_equal(case.label_map(folder.name)[...], labels(folder))
    stored = [(rater["name"], rater["weight"]) for rater in case.attributes["raters"]]
    assert stored == [("a", 0.5), ("b", 0.25), ("c", 0.25)]
    assert [given["rater"] for given in case.attributes["inputs"]] == ["a", "b", "c"]
    weights_of_two = [rater["weight"] for rater in store["case_1"].attributes["raters"]]
    assert weights_of_two == [pytest.approx(2 / 3), pytest.approx(1 / 3)]
    assert {c.record.status for c in inspect_cases(store, verify=True)} == {"done"}
    validate_zarr_store(str(case.path))


def test_dropped_raters_leave_the_soft_labels(raters: Raters, tmp_path: Path) -> None:
    cases = find_rated_cases(raters)
    fused(cases, tmp_path / "a.zarr")
    fused(cases, tmp_path / "b.zarr", keep_raters=False)
    one, other = open_store(tmp_path / "a.zarr"), open_store(tmp_path / "b.zarr")
    assert other["case_0"].raters == ()
    assert tree(one["case_0"].path / "0") == tree(other["case_0"].path / "0")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16"])
@pytest.mark.parametrize("name", ["mean", "majority", "staple"])
@pytest.mark.parametrize("method", [Method(), Method("onehot"), Method("ls")])
def test_every_fusion_is_sound(
    raters: Raters, tmp_path: Path, name: Any, method: Method, dtype: str
) -> None:
    out = tmp_path / "a.zarr"
    cases = find_rated_cases(raters)
    fused(cases, out, fusion=Fusion(name), method=method, dtype=dtype)
    checked = inspect_cases(out, verify=True)
    assert [case.record.reason for case in checked] == [None, None]
    hard = np.asarray(open_store(out)["case_0"].hard[...])
    given = np.stack([labels(folder) for folder in raters])
    assert (given == hard).any(axis=0).all(), "no label that nobody gave"


def test_one_rater_is_smoothed_as_smooth_does(raters: Raters, tmp_path: Path) -> None:
    fused(find_rated_cases(raters[0]), tmp_path / "a.zarr")
    smooth_cases(find_cases(raters[0]), tmp_path / "b.zarr")
    for array in ("0", "labels/hard/0"):
        path = Path("case_0") / array
        assert tree(tmp_path / "a.zarr" / path) == tree(tmp_path / "b.zarr" / path)


def test_resume_skips_or_refuses_what_is_there(raters: Raters, tmp_path: Path) -> None:
    cases, out = find_rated_cases(raters), tmp_path / "a.zarr"
    fused(cases, out)
    before = tree(out)
    assert {r.status for r in fused(cases, out).values()} == {"skipped"}
    for options, message in (
        ({"fusion": Fusion("majority")}, "fusion is mean in the store, majority now"),
        ({"fusion": Fusion(ties="highest")}, "ties is lowest in the store"),
        ({"keep_raters": False}, "keep_raters is True in the store, False now"),
    ):
        with pytest.raises(StoreError, match=message):
            fused(cases, out, **options)
    with pytest.raises(StoreError, match="fusion is mean in the store, unset now"):
        smooth_cases(find_cases(raters[0]), out)
    assert tree(out) == before
    write_image(raters[1] / "case_0.nrrd", blobs(SHAPE, 3, seed=9), **GRID)
    again = fused(cases, out)
    assert [again[c].status for c in sorted(again)] == ["done", "skipped"]


def test_other_grids_fail_their_case_by_name(raters: Raters, tmp_path: Path) -> None:
    moved = {**GRID, "origin": (-10.0, 20.0, 33.0)}
    write_image(raters[1] / "case_0.nrrd", labels(raters[1]), **moved)
    cases = find_rated_cases(raters)
    found = fused(cases, tmp_path / "a.zarr")
    assert found["case_0"].status == "failed"
    for part in ("a/case_0.nrrd", "b/case_0.nrrd", "origin_mm", "30.5", "33.0"):
        assert part in (found["case_0"].reason or "")
    assert found["case_1"].status == "done"
    again = fused(cases, tmp_path / "b.zarr", resample_to_first=True)
    assert again["case_0"].status == "done"


def test_broken_files_of_a_rater_fail_a_case(raters: Raters, tmp_path: Path) -> None:
    path = raters[1] / "case_0.nrrd"
    path.write_bytes(path.read_bytes()[:-40])
    found = fused(find_rated_cases(raters), tmp_path / "a.zarr")
    assert found["case_0"].status == "failed"
    assert found["case_1"].status == "done"
    given = parse_classes("0,1,2")
    later = fused(find_rated_cases(raters), tmp_path / "b.zarr", classes=given)
    assert later["case_0"].status == "failed"
    assert "rater b" in (later["case_0"].reason or "")


def test_weights_must_name_the_raters(raters: Raters, tmp_path: Path) -> None:
    cases = find_rated_cases(raters)
    with pytest.raises(InvalidParameterError, match="weights lack rater b, c"):
        fused(cases, tmp_path / "a.zarr", fusion=Fusion(weights={"a": 1}))
    named = {"a": 1, "b": 1, "c": 1, "d": 1}
    with pytest.raises(InvalidParameterError, match="weights name d; the raters are"):
        fused(cases, tmp_path / "a.zarr", fusion=Fusion(weights=named))
    only_c = {"a": 0, "b": 0, "c": 1}
    found = fused(cases, tmp_path / "a.zarr", fusion=Fusion(weights=only_c))
    assert found["case_1"].reason == "every rater of this case has weight 0: a, b"


def consensus(cases: Sequence[RatedCase], out: Path, **options: Any) -> Records:
    return {record.case: record for record in write_consensus(cases, out, **options)}


def test_consensus_folder_keeps_grid_and_values(raters: Raters, tmp_path: Path) -> None:
    for folder in raters:
        for path in folder.iterdir():
            values = np.array([0, 7, 65_535], np.uint16)[labels(folder, path.stem)]
            write_image(path, values, **GRID)
    cases, out = find_rated_cases(raters), tmp_path / "fused"
    found = consensus(cases, out)
    assert [found[c].status for c in sorted(found)] == ["done", "done"]
    given = np.stack([labels(folder) for folder in raters])
    most = np.array([(given == v).sum(axis=0) for v in (0, 7, 65_535)])
    chosen = np.array([0, 7, 65_535])[most.argmax(axis=0)]
    np.testing.assert_array_equal(labels(out), chosen)
    with (
        open_label_file(out / "case_0.nrrd") as one,
        open_label_file(raters[0] / "case_0.nrrd") as other,
    ):
        assert one.geometry.is_close(other.geometry, relative=1e-12)
    sidecar = json.loads((out / "case_0.json").read_text())
    assert [given["rater"] for given in sidecar["inputs"]] == ["a", "b", "c"]
    assert sidecar["fusion"]["name"] == "mean"


def test_consensus_is_resumed_and_never_touches_others_files(
    raters: Raters, tmp_path: Path
) -> None:
    cases, out = find_rated_cases(raters), tmp_path / "fused"
    write_image(out / "case_1.nrrd", np.ones((2, 3, 4), np.uint8))
    precious = (out / "case_1.nrrd").read_bytes()
    found = consensus(cases, out)
    assert found["case_0"].status == "done"
    assert "case_1.nrrd exists; use --overwrite" in (found["case_1"].reason or "")
    assert (out / "case_1.nrrd").read_bytes() == precious
    assert consensus(cases, out)["case_0"].status == "skipped"
    with pytest.raises(StoreError, match="made with other parameters: fusion is"):
        consensus(cases, out, fusion=Fusion("staple"))
    shutil.copy(out / "case_1.nrrd", out / "case_0.nrrd")  # as corrected by hand
    assert "was changed since" in (consensus(cases, out)["case_0"].reason or "")
    assert (out / "case_0.nrrd").read_bytes() == precious
    (out / "case_0.nrrd").unlink()
    assert consensus(cases, out)["case_0"].status == "done"
    over = consensus(cases, out, fusion=Fusion("staple"), overwrite=True)
    assert {record.status for record in over.values()} == {"done"}
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_consensus_that_a_killed_run_left_half_replaced_is_made(
    raters: Raters, tmp_path: Path
) -> None:
    cases, out = find_rated_cases(raters), tmp_path / "fused"
    consensus(cases, out)
    old = (out / "case_0.nrrd").read_bytes()
    shutil.copy(raters[0] / "case_1.nrrd", raters[1] / "case_0.nrrd")
    assert consensus(cases, out)["case_0"].status == "done"
    new = (out / "case_0.nrrd").read_bytes()
    (out / "case_0.nrrd").write_bytes(old)  # its new description was there before
    assert consensus(cases, out)["case_0"].status == "done"
    assert (out / "case_0.nrrd").read_bytes() == new != old


@pytest.mark.parametrize("overwrite", [False, True])
def test_consensus_never_replaces_a_raters_own(
    overwrite: bool, raters: Raters, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(raters[0])
    before = tree(raters[0])
    for out in (raters[0], tmp_path / "link"):
        found = consensus(find_rated_cases(raters), out, overwrite=overwrite)
        assert {record.status for record in found.values()} == {"failed"}
        assert "is a rater's own label map" in (found["case_0"].reason or "")
    assert tree(raters[0]) == before


def test_consensus_dry_run_leaves_nothing(raters: Raters, tmp_path: Path) -> None:
    found = consensus(find_rated_cases(raters), tmp_path / "fused", dry_run=True)
    assert {record.status for record in found.values()} == {"done"}
    assert not (tmp_path / "fused").exists()


def test_consensus_into_what_is_no_folder(raters: Raters, tmp_path: Path) -> None:
    cases = find_rated_cases(raters)
    fused(cases, tmp_path / "a.zarr")
    with pytest.raises(StoreError, match="a Zarr store; expected a folder"):
        consensus(cases, tmp_path / "a.zarr")
    (tmp_path / "file").write_text("precious")
    with pytest.raises(StoreError, match="a file; expected a folder"):
        consensus(cases, tmp_path / "file")


def test_command_makes_stores_and_folders(raters: Raters, run: Run) -> None:
    result = run("fuse-raters", "--json", *raters, "out.zarr")
    assert records(result.stdout)["case_1"]["reason"] == "no label map of rater c"
    assert len(records(result.stdout)["case_0"]["inputs"]) == 3
    result = run("fuse-raters", *raters, "out.zarr")
    said, *_ = result.stdout.splitlines()
    assert said == "out.zarr: 0 fused (0 B), 2 already complete"
    result = run("fuse-raters", "--fusion", "staple", *raters, "fused/")
    assert result.stdout.startswith("fused/: 2 fused")
    assert result.stderr == "note: case_1: no label map of rater c\n"
    run("smooth", "fused/", "smoothed.zarr")
    shown = run("inspect", "--verify", "out.zarr").stdout
    assert "fusion   mean, weights equal, ties lowest" in shown


def test_command_reads_patterns_and_records(raters: Raters, run: Run) -> None:
    folder = raters[0].parent
    run("fuse-raters", *raters, "one.zarr")
    pattern = ("--pattern", "{rater}/case_{case}.nrrd")
    run("fuse-raters", *pattern, folder, "two.zarr")
    lines = [
        json.dumps({"case": path.stem[-1], "raters": {rater.name: str(path)}})
        for rater in raters
        for path in rater.iterdir()
    ]
    run("fuse-raters", "-", "three.zarr", input="\n".join(lines))
    cases = ("one.zarr/case_0", "two.zarr/0", "three.zarr/0")
    first, *others = [tree(folder / case / "0") for case in cases]
    assert others == [first, first]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--weights", "a=x"], 2, "neither staple, dice nor r1=2,r2=1"),
        (["--weights", "a=1,a=2"], 2, "names a rater twice"),
        (["--weights", "dice", "--fusion", "staple"], 2, "do not apply to fusion"),
        (["--pattern", "{rater}.nrrd"], 2, "needs {case}, too"),
    ],
)
def test_command_refuses(
    raters: Raters, run: Run, options: list[str], code: int, message: str
) -> None:
    result = run("fuse-raters", *options, *raters, "out.zarr", code=code)
    assert message in result.stderr
    assert not (raters[0].parent / "out.zarr").exists()


def test_smoothing_options_are_refused_for_label_maps(raters: Raters, run: Run) -> None:
    given = ["--sigma", "2", "--drop-raters"]
    result = run("fuse-raters", *given, *raters, "fused", code=2)
    assert "--sigma, --drop-raters: of no use for fused" in result.stderr


def test_damaged_rater_map_is_found(raters: Raters, tmp_path: Path) -> None:
    fused(find_rated_cases(raters), tmp_path / "a.zarr")
    case = open_store(tmp_path / "a.zarr")["case_0"]
    (shard,) = files(case.path / "labels" / "b" / "0" / "c")
    shard.unlink()
    inspected = inspect_cases(case.path.parent, verify=True)
    reasons = {each.record.case: each.record.reason for each in inspected}
    assert "labels/b/0/c/0/0/0 is missing" in (reasons["case_0"] or "")


def test_samples_lack_nobody(tmp_path: Path) -> None:
    cases = find_rated_cases([SAMPLE / "raters" / rater for rater in "abc"])
    assert [len(case.raters) for case in cases] == [3, 3, 3]
    assert not any(case.missing for case in cases)


def test_report_is_written_and_summarised(raters: Raters, run: Run) -> None:
    result = run("fuse-raters", "--report", "agreement.json", *raters, "out.zarr")
    folder = raters[0].parent
    found = json.loads((folder / "agreement.json").read_text())
    assert [case["case"] for case in found["cases"]] == ["case_0", "case_1"]
    assert "cases with the least Dice" in result.stderr
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*(sitk.ReadImage(str(r / "case_1.nrrd")) for r in raters[:2]))
    (measured,) = (c for c in found["cases"][1]["classes"] if c["value"] == 1)
    assert measured["dice"] == pytest.approx(overlap.GetDiceCoefficient(1))
    # A run with nothing left to do reports the same.
    run("fuse-raters", "--report", "again.json", *raters, "out.zarr")
    assert json.loads((folder / "again.json").read_text()) == found
    run("fuse-raters", "--report", "table.csv", *raters, "fused/")
    rows = (folder / "table.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 2


@pytest.mark.parametrize(
    ("report", "message"),
    [("a.txt", "ends in .json or .csv"), ("none/a.json", "there is no folder none")],
)
def test_report_is_refused_before_the_work(
    raters: Raters, run: Run, report: str, message: str
) -> None:
    result = run("fuse-raters", "--report", report, *raters, "out.zarr", code=2)
    assert message in result.stderr
    assert not (raters[0].parent / "out.zarr").exists()


def test_report_leaves_out_what_failed(raters: Raters, run: Run) -> None:
    (raters[0] / "case_0.nrrd").write_bytes(b"")
    run("fuse-raters", "--report", "a.json", *raters, "out.zarr", code=4)
    found = json.loads((raters[0].parent / "a.json").read_text())
    assert [case["case"] for case in found["cases"]] == ["case_1"]
