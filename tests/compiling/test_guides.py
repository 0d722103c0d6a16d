"""Stores of labels that were smoothed by their images."""

from __future__ import annotations

import json
import re
import shutil
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from svls_cli import (
    Batch,
    Fusion,
    InputError,
    InvalidParameterError,
    Method,
    find_cases,
    find_rated_cases,
    fuse_cases,
    open_store,
    pair_images,
    smooth,
    smooth_cases,
)
from svls_cli.batch.records import Record
from svls_cli.labels.scans import find_scans
from svls_cli.training.fingerprints import inputs_hash
from tests.helpers.commands import run_here, tree
from tests.helpers.label_maps import blobs, write_image

METHOD = Method("bilateral", sigma=1.5, size=(1, 5, 5), strength=0.8)
SHAPE = (6, 14, 12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Label maps ``a`` and ``b`` of two cases, and images."""
    for number in range(2):
        for rater, seed in (("a", number), ("b", number + 5)):
            path = tmp_path / rater / f"case_{number}.nrrd"
            write_image(path, blobs(SHAPE, 3, seed=seed))
        write_image(tmp_path / "images" / f"case_{number}.nii.gz", image(number))
    return tmp_path


def image(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return rng.integers(-900, 2000, SHAPE).astype(np.int16)


def compiled(folder: Path, **options: Any) -> dict[str, Record]:
    cases = pair_images(find_cases(folder / "a"), folder / "images")
    given = {"method": METHOD, "batch": Batch(jobs=1), **options}
    return {each.case: each for each in smooth_cases(cases, folder / "s.zarr", **given)}


def status(records: dict[str, Record]) -> list[str]:
    return [records[name].status for name in sorted(records)]


def test_a_store_holds_what_smooth_gives(folder: Path) -> None:
    assert status(compiled(folder)) == ["done", "done"]
    store = open_store(folder / "s.zarr")
    assert store.config.method["intensity_scale"] == 0.5
    for number in range(2):
        labels = blobs(SHAPE, 3, seed=number)
        method = METHOD.to_json()
        expected = smooth(
            labels,
            method=method.pop("name"),
            **{key: tuple(v) if key == "size" else v for key, v in method.items()},
            image=image(number),
            dtype="uint8",
        )
        case = store[f"case_{number}"]
        np.testing.assert_array_equal(np.asarray(case.soft[:]), expected)
        assert case.attributes["method"]["size_vox"] == [1, 5, 5]
        assert [file.get("image") for file in case.attributes["inputs"]] == [None, True]


def test_a_changed_image_is_noticed(folder: Path) -> None:
    compiled(folder)
    before = tree(folder / "s.zarr")
    assert status(compiled(folder)) == ["skipped", "skipped"]
    write_image(folder / "images" / "case_1.nii.gz", image(7))
    assert status(compiled(folder)) == ["skipped", "done"]
    write_image(folder / "images" / "case_1.nii.gz", image(1))
    assert status(compiled(folder)) == ["skipped", "done"]
    assert tree(folder / "s.zarr") == before


@pytest.mark.parametrize("fusion", ["mean", "majority", "staple"])
def test_several_raters(folder: Path, fusion: Any) -> None:
    shutil.copytree(folder / "a", folder / "c")
    raters = [folder / name for name in "abc"]
    cases = pair_images(find_rated_cases(raters), folder / "images")
    options: dict[str, Any] = {"fusion": Fusion(fusion), "batch": Batch(jobs=1)}
    records = fuse_cases(
        cases, folder / "f.zarr", method=METHOD, dtype="float32", **options
    )
    assert [record.status for record in records] == ["done", "done"]
    case = open_store(folder / "f.zarr")["case_0"]
    assert [file["rater"] for file in case.attributes["inputs"]] == [*"abc", None]
    soft = np.asarray(case.soft[:])
    np.testing.assert_allclose(soft.sum(axis=0), 1, atol=1e-6)
    if fusion == "majority":
        method: dict[str, Any] = {"sigma": 1.5, "size": (1, 5, 5), "strength": 0.8}
        expected = smooth(
            np.asarray(case.hard[:]), method="bilateral", image=image(0), **method
        )
        np.testing.assert_allclose(soft, expected, atol=1e-6)


def break_image(path: Path, fault: str) -> None:
    if fault == "cut short":
        path.write_bytes(path.read_bytes()[:-50])
    elif fault == "removed":
        path.unlink()
    elif fault == "NaN":
        voxels = image(0).astype(np.float32)
        voxels[1, 2, 3] = np.nan
        write_image(path, voxels)
    elif fault == "several components":
        vectors = np.zeros((*SHAPE, 2), np.float32)
        sitk.WriteImage(sitk.GetImageFromArray(vectors, isVector=True), str(path))
    else:
        write_image(path, image(0), spacing=(1.0, 1.0, 2.0))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("cut short", "^the image: corrupt or truncated gzip data"),
        ("removed", "^the image: cannot be read: No such file"),
        ("NaN", r"^the image: nan at voxel \(1, 2, 3\)"),
        ("several components", "^the image: not an image: 2 components"),
        (
            "another grid",
            "^the image and the labels lie on different grids: spacing_mm",
        ),
    ],
)
def test_a_bad_image_costs_its_case(folder: Path, fault: str, reason: str) -> None:
    cases = pair_images(find_cases(folder / "a"), folder / "images")
    break_image(folder / "images" / "case_0.nii.gz", fault)
    found = smooth_cases(cases, folder / "s.zarr", method=METHOD, batch=Batch(jobs=1))
    records = {record.case: record for record in found}
    assert status(records) == ["failed", "done"]
    assert re.search(reason, records["case_0"].reason or "")
    assert records["case_0"].inputs == (
        str(folder / "a" / "case_0.nrrd"),
        str(folder / "images" / "case_0.nii.gz"),
    )


def test_a_constant_image_is_noted(folder: Path) -> None:
    write_image(folder / "images" / "case_1.nii.gz", np.full(SHAPE, 1e300))
    records = compiled(folder)
    assert status(records) == ["done", "done"]
    assert records["case_0"].reason is None
    assert records["case_1"].reason == (
        "the image is constant: all neighbours look alike"
    )


def test_a_label_map_is_no_image(folder: Path) -> None:
    shutil.copy(folder / "b" / "case_1.nrrd", folder / "images" / "case_1.nrrd")
    (folder / "images" / "case_1.nii.gz").unlink()
    raters = [folder / "a", folder / "b"]
    cases = pair_images(find_rated_cases(raters), folder / "images")
    found = fuse_cases(cases, folder / "f.zarr", method=METHOD, batch=Batch(jobs=1))
    records = {record.case: record for record in found}
    assert status(records) == ["done", "failed"]
    assert "the image is a label map of the case" in (records["case_1"].reason or "")


def test_every_case_needs_one_image(folder: Path) -> None:
    cases, images = find_cases(folder / "a"), folder / "images"
    with pytest.raises(InvalidParameterError, match="image of each case, which case_0"):
        smooth_cases(cases, folder / "s.zarr", method=METHOD)
    with pytest.raises(InvalidParameterError, match="svls takes no images"):
        smooth_cases(pair_images(cases, images), folder / "s.zarr")
    for number in range(2):
        channel = images / f"case_{number}_0001.nii.gz"
        write_image(channel, image(number))
        (images / f"case_{number}.nii.gz").rename(images / f"case_{number}_0000.nii.gz")
    with pytest.raises(
        InputError, match=r"2 channels .* --image-pattern '{case}_0000.nii.gz'"
    ):
        pair_images(cases, images)
    paired = pair_images(cases, images, pattern="{case}_0001.nii.gz")
    assert [each.image.name for each in paired if each.image] == [
        "case_0_0001.nii.gz",
        "case_1_0001.nii.gz",
    ]
    (images / "case_1_0001.nii.gz").unlink()
    with pytest.raises(InputError, match="no image for 1 of 2 cases: case_1"):
        pair_images(cases, images, pattern="{case}_0001.nii.gz")
    assert not (folder / "s.zarr").exists()


def test_images_of_the_store_are_still_images_to_train_on(folder: Path) -> None:
    compiled(folder)
    store = open_store(folder / "s.zarr")
    inputs_hash(store, dict(store), find_scans(folder / "images"))
    with pytest.raises(InputError, match="label map that case 'case_0' was made from"):
        inputs_hash(store, dict(store), find_scans(folder / "a"))


def test_commands(folder: Path) -> None:
    def fails(message: str, *given: Any) -> None:
        assert message in run_here(*given, cwd=folder, code=2).stderr

    bilateral = ("--method", "bilateral", "--intensity-scale", "0.7")
    images = ("--images", "images", "--image-pattern", "{case}.nii.gz")
    fails("--method bilateral needs --images", "smooth", *bilateral, "a", "s.zarr")
    useless = "--images, --image-pattern: of use to --method bilateral only"
    fails(useless, "smooth", *images, "a", "s.zarr")
    fails(useless, "fuse-raters", *images, "a", "b", "s.zarr")
    fails("Error: --image-pattern: of use to", "smooth", *images[2:], "a", "s.zarr")
    fails("needs --images", "smooth", *bilateral, *images[2:], "a", "s.zarr")
    fails(
        "--images, --image-pattern: of no use for out",
        "fuse-raters",
        *images,
        "a",
        "out",
    )
    assert not (folder / "s.zarr").exists()
    run_here("smooth", *bilateral, *images, "a", "s.zarr", cwd=folder)
    run_here("fuse-raters", *bilateral, *images, "a", "b", "f.zarr", cwd=folder)
    for name in ("s.zarr", "f.zarr"):
        method = open_store(folder / name).config.method
        assert (method["name"], method["intensity_scale"]) == ("bilateral", 0.7)
    shown = run_here("inspect", "s.zarr", cwd=folder).stdout
    assert re.search(r"case_0 .* complete +case_0\.nii\.gz", shown)
    told = json.loads(
        run_here("inspect", "--json", "f.zarr", cwd=folder).stdout.split("\n")[0]
    )
    assert told["image"] == told["inputs"][-1] == f"{told['case']}.nii.gz"
    run_here("smooth", "a", "plain.zarr", cwd=folder)
    assert "image" not in run_here("inspect", "plain.zarr", cwd=folder).stdout


def test_records_name_images(folder: Path) -> None:
    """On standard input, beside or instead of `--images`."""
    (folder / "images" / "case_1.nii.gz").rename(folder / "other.nii.gz")
    a, b = ({"case": f"case_{n}", "label": f"a/case_{n}.nrrd"} for n in range(2))
    b["image"] = "other.nii.gz"
    lines = "\n".join(map(json.dumps, (a, b)))
    bilateral = ("smooth", "--json", "--method", "bilateral", "-", "s.zarr")
    failed = run_here(*bilateral, cwd=folder, input=lines, code=2)
    assert "needs --images, or an image in each record" in failed.stderr
    done = run_here(*bilateral, "--images", "images", cwd=folder, input=lines)
    records = sorted(map(json.loads, done.stdout.splitlines()), key=itemgetter("case"))
    assert [record["inputs"][1:] for record in records] == [
        ["images/case_0.nii.gz"],
        ["other.nii.gz"],
    ]
    again = run_here(*bilateral, cwd=folder, input=json.dumps(b))
    assert json.loads(again.stdout)["status"] == "skipped"
    rated = {"case": "x", "raters": {"r": "a/case_1.nrrd"}, "image": "other.nii.gz"}
    fuse = ("fuse-raters", "-")
    run_here(*fuse, "f.zarr", *bilateral[2:4], cwd=folder, input=json.dumps(rated))
    assert [*open_store(folder / "f.zarr")] == ["x"]
    for command, record in (
        (("smooth", "-", "plain.zarr"), b),
        ((*fuse, "plain.zarr"), rated),
        ((*fuse, "plain"), rated),
    ):
        failed = run_here(*command, cwd=folder, input=json.dumps(record), code=2)
        assert f"image in the record of {record['case']}: of use to" in failed.stderr


@pytest.mark.parametrize("image", ["", 1, None, ["a.nii.gz"], "a\0"])
def test_images_of_records_are_paths(image: Any) -> None:
    record = json.dumps({"case": "a", "label": "a.nrrd", "image": image})
    with pytest.raises(InputError, match="expected a path or"):
        find_cases("-", lines=[record])
    rated = json.dumps({"case": "a", "raters": {"r": "a.nrrd"}, "image": image})
    with pytest.raises(InputError, match=r"expected .*raters"):
        find_rated_cases("-", lines=[rated])


def test_a_case_has_one_image() -> None:
    def lines(record: dict[str, Any]) -> list[str]:
        return [json.dumps({**record, "image": image}) for image in "xy"]

    with pytest.raises(InputError, match="given twice, with image x and y"):
        find_cases("-", lines=lines({"case": "a", "label": "a.nrrd"}))
    with pytest.raises(InputError, match="the image of case 'a': x and y"):
        find_rated_cases("-", lines=lines({"case": "a", "raters": {"r": "a.nrrd"}}))
