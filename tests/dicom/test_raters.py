"""Several raters' contours and segmentations, fused."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svls_cli.cli.label_files import AnyFiles
from svls_cli.compiling.fuse import fuse_cases
from svls_cli.errors import InputError
from svls_cli.labels.cases import find_cases
from svls_cli.labels.listing import list_images
from svls_cli.labels.output import write_image
from svls_cli.labels.raters import RatedCase, find_rated_cases
from svls_cli.raters.choices import FusionName
from svls_cli.raters.fusion import Fusion
from svls_cli.soften.methods import Method
from svls_cli.store.reader import StoredCase, open_store
from tests.helpers.commands import Run
from tests.helpers.dicom import Drawn, SeriesGrid, drawn, write_rtstruct, write_series
from tests.helpers.segmentations import save, segmentation
from tests.helpers.shapes import square

GRID = SeriesGrid((3, 9, 10))


def find(folder: Path) -> list[RatedCase]:
    """Cases of the raters a and b, on the series beside them."""
    files = AnyFiles(folder / "ct", "fail")
    return find_rated_cases([folder / "a", folder / "b"], files=files)


def write(folder: Path, **raters: Drawn) -> None:
    """One structure of each rater."""
    write_series(folder / "ct", GRID)
    for rater, structure in raters.items():
        write_rtstruct(folder / rater / "p1.dcm", GRID, [structure])


def fused(folder: Path, name: FusionName = "mean", **more: Any) -> StoredCase:
    out = folder / "out.zarr"
    cases, onehot = find(folder), Method("onehot")
    more = {"method": onehot, "dtype": "float32", "overwrite": True} | more
    [record] = fuse_cases(cases, out, fusion=Fusion(name), **more)
    assert record.status == "done", record.reason
    return open_store(out)["p1"]


def rectangle(right: float) -> Any:
    """Rows 3 to 5, from column 3 to somewhere."""
    corners = [[2.5, 2.5], [2.5, right], [5.5, right], [5.5, 2.5]]
    return {1: [np.array(corners)]}


def test_contours_are_averaged_by_their_shares(tmp_path: Path) -> None:
    # Column 5 lies inside by 1/5 and by 4/5, column 6 by 0 and by 1/5.
    a, b = rectangle(4.7), rectangle(5.3)
    write(tmp_path, a=drawn("Heart", GRID, a), b=drawn("Heart", GRID, b))
    case = fused(tmp_path)
    row = [0, 0, 0, 1, 1, 0.5, 0, 0, 0, 0]
    np.testing.assert_allclose(case.soft[1, 1, 4], row, atol=1e-6)
    np.testing.assert_allclose(case.soft[:].sum(axis=0), 1, atol=1e-6)
    assert case.label_map("a")[1, 4].tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    assert case.label_map("b")[1, 4].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0]
    # The others count what each rater's voxel is for the most part.
    assert fused(tmp_path, "majority").soft[1, 1, 4, 5] == 0
    assert 0.1 < fused(tmp_path, "staple").soft[1, 1, 4, 5] < 0.9


def test_smoothed_they_are_the_mean_of_what_each_smoothed_is(tmp_path: Path) -> None:
    a, b = rectangle(4.7), {1: [square(1.3, 6.1)], 2: [square(3, 7)]}
    write(tmp_path, a=drawn("Heart", GRID, a), b=drawn("Heart", GRID, b))
    both = fused(tmp_path, method=Method()).soft[:]
    alone = []
    for rater in "ab":
        weights = dict.fromkeys("ab", 0.0) | {rater: 1.0}
        out = tmp_path / f"{rater}.zarr"
        fusion = Fusion(weights=weights)
        fuse_cases(find(tmp_path), out, fusion=fusion, dtype="float32")
        alone.append(open_store(out)["p1"].soft[:])
    np.testing.assert_allclose(both, np.mean(alone, axis=0), atol=1e-6)


def test_fractions_and_a_label_map(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", GRID)
    shares = np.random.default_rng(0).integers(0, 128, (*GRID.shape, 2)) / 255
    shares[0] = 0
    file = segmentation(tmp_path / "ct", shares, "FRACTIONAL", max_fractional_value=255)
    for rater in "ab":
        (tmp_path / rater).mkdir()
    save(file, tmp_path / "a" / "p1.dcm")
    [(_, given)] = find_rated_cases(
        [tmp_path / "a"], files=AnyFiles(tmp_path / "ct", "fail")
    )[0].raters
    hard = np.random.default_rng(1).integers(0, 3, GRID.shape).astype(np.uint8)
    write_image(tmp_path / "b" / "p1.nrrd", hard, given.geometry())
    case = fused(tmp_path)
    for index in (1, 2):
        expected = (shares[..., index - 1] + (hard == index)) / 2
        np.testing.assert_allclose(case.soft[index], expected, atol=1e-6)


def test_contours_on_another_grid(tmp_path: Path) -> None:
    write(tmp_path, a=drawn("Heart", GRID, rectangle(4.7)))
    # The same voxels, of which the first slice is not there.
    other = SeriesGrid((2, 9, 10), origin_mm=tuple(GRID.mm((1, 0, 0))))
    structure = drawn("Heart", GRID, rectangle(5.3))
    write_series(tmp_path / "b" / "p1" / "ct", other)
    write_rtstruct(tmp_path / "b" / "p1" / "rt.dcm", other, [structure])
    files = AnyFiles(None, "fail")
    raters = {
        "a": AnyFiles(tmp_path / "ct", "fail").source(tmp_path / "a" / "p1.dcm"),
        "b": files.listed(tmp_path / "b", None, ("case",))[0][1],
    }
    case = RatedCase("p1", tuple(raters.items()))
    out = tmp_path / "out.zarr"
    more: Any = {"method": Method("onehot"), "dtype": "float32"}
    [record] = fuse_cases([case], out, **more)
    assert "lie on different grids" in (record.reason or "")
    [record] = fuse_cases([case], out, resample_to_first=True, **more)
    row = [0, 0, 0, 1, 1, 0.5, 0, 0, 0, 0]
    stored: Any = open_store(out)["p1"].soft[:]
    np.testing.assert_allclose(stored[1, 1, 4], row, atol=1e-6)
    np.testing.assert_allclose(stored[0, 0], 1)


@pytest.mark.parametrize("fusion", ["mean", "majority"])
def test_raters_who_agree(tmp_path: Path, fusion: FusionName) -> None:
    same = drawn("Heart", GRID, rectangle(4.7))
    write(tmp_path, a=same, b=same)
    share = 0.2 if fusion == "mean" else 0
    assert fused(tmp_path, fusion).soft[1, 1, 4, 5] == pytest.approx(share, abs=1e-6)


def test_commands(tmp_path: Path, run: Run) -> None:
    # Structures of other numbers, and one that only b drew.
    eye, heart = drawn("Eye", GRID, {0: [square(1, 3)]}), rectangle(5.3)
    write_series(tmp_path / "ct", GRID)
    write_rtstruct(tmp_path / "a" / "p1.dcm", GRID, [drawn("Heart", GRID, heart)])
    both = [eye, drawn("Heart", GRID, heart)]
    write_rtstruct(tmp_path / "b" / "p1.dcm", GRID, both)
    options = ("--series", "ct", "-j1")
    report = ("--report", "r.csv")
    for out in (("a.zarr", "--method", "onehot"), ("consensus",)):
        told = run("fuse-raters", *options, *report, "a", "b", *out).stderr
        for number, name in ((1, "Eye"), (2, "Heart")):
            assert re.search(rf"^{number} +{name} +1 ", told, re.MULTILINE)
    [record] = find_cases(tmp_path / "consensus")
    with record.source.open() as labels:
        assert labels.distinct() == [0, 2]
    told = run("evaluate", "a.zarr", *options, "--reference", "a").stdout
    assert re.search(r"^2 +Heart +1\.0000 ", told, re.MULTILINE)
    run("smooth", *options, "consensus", "b.zarr", "--classes", "0,2")
    told = run("evaluate", "b.zarr", *options, "--reference", "a", code=4).stderr
    assert "none of its structures is among the classes: they are Heart, and" in told
    (tmp_path / "c").mkdir()
    hard = np.zeros(GRID.shape, np.uint8)
    hard[1, 3:6, 3:6] = 1
    save(segmentation(tmp_path / "ct", hard, names=["Heart"]), tmp_path / "c/p1.dcm")
    told = run("evaluate", "a.zarr", "-j1", "--reference", "c", code=4).stderr
    assert "different grids" in told
    assert "; --series puts DICOM segmentations on their series [" in told
    few = ("--sigmas", "1", "--strengths", ".5")
    told = run("tune", *options, *few, "--json", "a", "b").stdout
    found = json.loads(told)["one_map"]["recommendation"]["command"]
    assert found == "svls-cli smooth --series ct LABELS OUT.zarr"


def test_images_are_no_series(tmp_path: Path) -> None:
    write_series(tmp_path / "images" / "p1", GRID)
    with pytest.raises(InputError, match=r"no image files .*SimpleITK writes one as"):
        list_images(tmp_path / "images")
