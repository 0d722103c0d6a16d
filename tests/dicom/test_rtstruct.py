"""RTSTRUCT and image series as a source of labels, and smoothed into a store."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import svls_cli
from svls_cli import fuse_cases, smooth_cases
from svls_cli.batch.records import Record
from svls_cli.dicom.contours import occupancy
from svls_cli.dicom.rtstruct import ContourFile, find_contour_file
from svls_cli.dicom.series import read_folder
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.cases import Case, find_cases
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.raters import RatedCase
from svls_cli.soften.methods import Method
from svls_cli.store.reader import open_store
from svls_cli.store.verify import verify_case
from tests.helpers.commands import run_here
from tests.helpers.dicom import Drawn, SeriesGrid, drawn, write_rtstruct, write_series
from tests.helpers.label_maps import write_image
from tests.helpers.shapes import circle, square

GRID = SeriesGrid()
HEART = {1: [circle(4.2, (9.3, 8.6))], 2: [circle(5, (9, 9)), circle(2, (9, 9))]}
LUNG = {2: [square(13.25, 17.5)], 3: [square(13.25, 17.5)]}
HEART_AND_LUNG = (
    drawn("Lung", GRID, LUNG, color=(0, 255, 0), number=1),
    drawn("Heart", GRID, HEART, color=(255, 0, 0), number=7),
)
CLASSES = ClassTable.from_values([0, 1, 2], names={1: "Heart", 2: "Lung"})


def source(
    folder: Path, *structures: Drawn, grid: SeriesGrid = GRID, **more: Any
) -> ContourFile:
    """The structures, written beside their series."""
    write_series(folder / "ct", grid)
    path = folder / "rt.dcm"
    write_rtstruct(path, grid, structures or HEART_AND_LUNG, **more)
    return find_contour_file(path, read_folder(folder / "ct").series)


def expected(slices: dict[int, Any], grid: SeriesGrid = GRID) -> Any:
    """Share of each voxel inside one structure."""
    shares = np.zeros(grid.shape)
    for z, contours in slices.items():
        box, inside = occupancy(contours, grid.shape[1:])
        shares[z][box] = inside
    return shares


def soft(found: ContourFile, table: ClassTable = CLASSES) -> Any:
    """(classes, z, y, x)"""
    with found.open() as labels:
        given = labels.soft(table, ignore_label=None)
        np.testing.assert_allclose(given.table.sum(axis=1), 1)
        hard = labels.indices(table, ignore_label=None)
    dense = np.moveaxis(given.table[given.codes], -1, 0)
    np.testing.assert_array_equal(hard, dense.argmax(axis=0))
    return dense


def smooth(found: ContourFile, out: Path, **more: Any) -> list[Record]:
    return smooth_cases([Case("p1", found)], out, **more)


def test_shares_of_each_structure(tmp_path: Path) -> None:
    found = source(tmp_path)
    background, heart, lung = soft(found)
    np.testing.assert_allclose(heart, expected(HEART), atol=0.002)
    np.testing.assert_allclose(lung, expected(LUNG), atol=0.002)
    np.testing.assert_allclose(background + heart + lung, 1)
    with found.open() as labels:
        assert labels.geometry == found.geometry()
        assert labels.notes(CLASSES) == []
        assert [s.name for s in labels.named] == ["Lung", "Heart"]
    assert pickle.loads(pickle.dumps(found)) == found


def test_structures_that_overlap_share_in_proportion(tmp_path: Path) -> None:
    halves = {0: [np.array([[3.5, 3.5], [3.5, 4], [9.5, 4], [9.5, 3.5]])]}
    whole = {0: [square(3.5, 9.5)]}
    one, other = drawn("Heart", GRID, whole), drawn("Lung", GRID, halves)
    found = soft(source(tmp_path, one, other))
    np.testing.assert_allclose(found[:, 0, 5, 4], [0, 2 / 3, 1 / 3], atol=0.002)
    np.testing.assert_allclose(found[:, 0, 5, 5], [0, 1, 0])


def test_store_of_contours(tmp_path: Path) -> None:
    found = source(tmp_path)
    [record] = smooth(found, tmp_path / "out.zarr")
    assert (record.status, record.reason) == ("done", None)
    case = open_store(tmp_path / "out.zarr")["p1"]
    # Numbered by name; the ROI numbers are 1 and 7, the other way round.
    shown = [(c.value, c.name, c.color) for c in case.classes.classes]
    assert shown == [
        (0, "background", "000000"), (1, "Heart", "FF0000"), (2, "Lung", "00FF00")
    ]  # fmt: skip
    heart, lung = expected(HEART), expected(LUNG)
    stored = case.soft[:]
    np.testing.assert_array_equal(stored[1], np.rint(255 * heart))
    np.testing.assert_array_equal(stored[2], np.rint(255 * lung))
    assert case.attributes["method"]["name"] == "contours"
    text = (tmp_path / "out.zarr" / "p1" / "zarr.json").read_text()
    for private in ("Doe", "MRN-12345", GRID.uid, GRID.frame_of_reference):
        assert private not in text
    [again] = smooth(found, tmp_path / "out.zarr")
    assert again.status == "skipped"


def test_smoothing_is_linear_in_the_shares(tmp_path: Path) -> None:
    found = source(tmp_path)
    smooth(found, tmp_path / "a.zarr", method=Method("svls"), dtype="float32")
    smoothed = open_store(tmp_path / "a.zarr")["p1"].soft[:]
    shares = soft(found)
    around = np.pad(shares, ((0, 0), *((1, 1),) * 3), mode="edge")
    g = np.exp(-0.5 * np.array([1, 0, 1]))
    kernel = g[:, None, None] * g[:, None] * g
    kernel[1, 1, 1] = 0
    kernel *= 0.5 / kernel.sum()
    kernel[1, 1, 1] = 0.5
    blurred = sum(
        kernel[i, j, k] * around[:, i : i + 5, j : j + 24, k : k + 28]
        for i, j, k in np.ndindex(3, 3, 3)
    )
    np.testing.assert_allclose(smoothed, blurred, atol=1e-5)


def test_smoothing_may_favour_another_class_than_the_largest_share(
    tmp_path: Path,
) -> None:
    thin = np.array([[3.5, 3.5], [3.5, 4.1], [9.5, 4.1], [9.5, 3.5]])
    found = source(tmp_path, drawn("Vessel", GRID, {2: [thin]}))
    smooth(found, tmp_path / "out.zarr", method=Method("svls"))
    case = open_store(tmp_path / "out.zarr")["p1"]
    assert case.hard[2, 5, 4] == 1
    assert case.soft[1, 2, 5, 4] < case.soft[0, 2, 5, 4]
    assert verify_case(case) == []


def test_cases_agree_by_name(tmp_path: Path) -> None:
    cases = []
    for name, structures in {
        "a": [drawn("Lung", GRID, LUNG), drawn("Heart", GRID, HEART)],
        "b": [drawn("Heart", GRID, HEART), drawn("Eye", GRID, {0: [square(3, 5)]})],
    }.items():
        grid = SeriesGrid()
        cases.append(Case(name, source(tmp_path / name, *structures, grid=grid)))
    assert {r.status for r in smooth_cases(cases, tmp_path / "out.zarr")} == {"done"}
    store = open_store(tmp_path / "out.zarr")
    names = [c.name for c in store.classes.classes]
    assert names == ["background", "Eye", "Heart", "Lung"]
    for case, present in {"a": [2, 3], "b": [1, 2]}.items():
        stored = store[case].soft[:]
        assert [i for i in (1, 2, 3) if stored[i].any()] == present
        np.testing.assert_array_equal(stored[2], np.rint(255 * expected(HEART)))


def test_structures_that_are_no_classes(tmp_path: Path) -> None:
    isocentre = Drawn("Isocentre", [[[1, 2, 3]]], kind="POINT")
    body = drawn("BODY", GRID, {0: [square(0, 20)]})
    empty = Drawn("Lung", None)
    found = source(tmp_path, drawn("Heart", GRID, HEART), isocentre, body, empty)
    notes = [
        "structure 'Isocentre': left out what has no area: 1 POINT",
        "structure 'Lung' has no contours",
    ]
    [record] = smooth(found, tmp_path / "all.zarr")
    assert record.reason == "; ".join(notes)
    names = [c.name for c in open_store(tmp_path / "all.zarr").classes.classes]
    assert names == ["background", "BODY", "Heart"]
    out = tmp_path / "some.zarr"
    [record] = smooth(found, out, classes=ClassSpec(CLASSES))
    left_out = "structures that are not among the classes: BODY"
    assert record.reason == "; ".join([*notes, left_out])
    np.testing.assert_array_equal(
        open_store(out)["p1"].soft[1], np.rint(255 * expected(HEART))
    )


def test_structures_within_others_are_noted(tmp_path: Path) -> None:
    body = drawn("BODY", GRID, {z: [square(0, 20)] for z in range(4)}, number=9)
    found = source(tmp_path, body, *HEART_AND_LUNG[:1])
    [record] = smooth(found, tmp_path / "all.zarr")
    assert record.reason == (
        "structures overlap and share: 'BODY' and 'Lung' 32 voxels; --classes leaves "
        "structures out"
    )
    stored = open_store(tmp_path / "all.zarr")["p1"].patch()
    assert stored[1:, 2, 15, 15].tolist() == [128, 127]


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (
            ClassTable.from_values([0, 1]),
            "none of its structures is among the classes: they are Lung, Heart, and "
            "the classes background, label 1",
        ),
        (
            ClassTable.from_values([1, 2], names={1: "Heart", 2: "Lung"}),
            "contours need a background, label 0, among the classes",
        ),
    ],
)
def test_classes_that_do_not_fit(tmp_path: Path, table: ClassTable, match: str) -> None:
    with source(tmp_path).open() as labels, pytest.raises(InputError, match=match):
        labels.soft(table, ignore_label=None)


def test_two_structures_of_one_name(tmp_path: Path) -> None:
    found = source(tmp_path, drawn("Heart", GRID, HEART), drawn("Heart ", GRID, LUNG))
    with pytest.raises(InputError, match="two structures are named 'Heart'"):
        soft(found)
    # An empty one beside it does no harm.
    found = source(tmp_path, drawn("Heart", GRID, HEART), Drawn("Heart", None))
    np.testing.assert_allclose(soft(found)[1], expected(HEART), atol=0.002)


def refused(found: ContourFile, match: str) -> None:
    with pytest.raises(InputError, match=match), found.open():
        pass
    with pytest.raises(InputError, match=match):
        found.records()


def test_contours_of_other_images(tmp_path: Path) -> None:
    write_series(tmp_path / "other", SeriesGrid())
    path = source(tmp_path).path
    other = read_folder(tmp_path / "other").series
    refused(
        find_contour_file(path, other), f"drawn on image series {GRID.uid}, and there"
    )
    refused(find_contour_file(path, {}), r"they need the image series .* \(--series\)")
    refused(find_contour_file(tmp_path / "ct" / "00_0.dcm", other), "not an RTSTRUCT")
    # The same series, exported anew: other SOPInstanceUIDs.
    shutil.rmtree(tmp_path / "ct")
    write_series(tmp_path / "ct", SeriesGrid(uid=GRID.uid))
    found = find_contour_file(path, read_folder(tmp_path / "ct").series)
    with (
        pytest.raises(
            InputError, match=r"refers to SOPInstanceUID .* none of them is in"
        ),
        found.open(),
    ):
        pass


def test_frame_of_reference(tmp_path: Path) -> None:
    # Some programs write one of their own; the images named decide.
    stranger = replace(GRID, frame_of_reference="1.2.3")
    write_series(tmp_path / "ct", GRID)
    path = tmp_path / "rt.dcm"
    write_rtstruct(path, stranger, HEART_AND_LUNG)
    found = find_contour_file(path, read_folder(tmp_path / "ct").series)
    with found.open() as labels:
        [note] = labels.notes(CLASSES)
        assert note.startswith(
            "its FrameOfReferenceUID is not that of its image series"
        )
    write_rtstruct(path, stranger, HEART_AND_LUNG, with_series=False)
    found = find_contour_file(path, read_folder(tmp_path / "ct").series)
    refused(found, r"has the labels' frame of reference 1\.2\.3")
    write_rtstruct(path, GRID, HEART_AND_LUNG, with_series=False)
    found = find_contour_file(path, read_folder(tmp_path / "ct").series)
    np.testing.assert_allclose(soft(found)[1], expected(HEART), atol=0.002)


def test_missing_slices(tmp_path: Path) -> None:
    found = source(tmp_path)
    shutil.rmtree(tmp_path / "ct")
    write_series(tmp_path / "ct", GRID, leave_out=[2])
    [files] = read_folder(tmp_path / "ct").series.values()
    with pytest.raises(InputError, match=r"slices are missing between .*: 1"):
        soft(replace(found, series=files))
    shutil.rmtree(tmp_path / "ct")
    write_series(tmp_path / "ct", GRID, leave_out=[3, 4])
    [files] = read_folder(tmp_path / "ct").series.values()
    with pytest.raises(
        InputError, match=r"'Lung': .* beyond the image series, at slice 3"
    ):
        soft(replace(found, series=files))


def test_records_change_with_contours_and_grid(tmp_path: Path) -> None:
    found = source(tmp_path)
    records = found.records("r1")
    assert [(r["name"], r["rater"]) for r in records] == [
        ("rt.dcm", "r1"),
        ("ct", "r1"),
    ]
    shutil.rmtree(tmp_path / "ct")
    write_series(tmp_path / "ct", replace(GRID, origin_mm=(0.0, 0.0, 0.0)))
    [files] = read_folder(tmp_path / "ct").series.values()
    moved = replace(found, series=files).records("r1")
    assert moved[0] == records[0]
    assert moved[1]["sha256"] != records[1]["sha256"]


def test_oblique_series(tmp_path: Path) -> None:
    grid = SeriesGrid(orientation=(0.8, 0.6, 0, -0.36, 0.48, 0.8))
    found = soft(source(tmp_path, drawn("Heart", grid, HEART), grid=grid))
    np.testing.assert_allclose(found[1], expected(HEART, grid), atol=0.003)


def test_method_contours_is_for_contours(tmp_path: Path) -> None:
    write_image(tmp_path / "a.nii.gz", np.zeros((3, 4, 5), np.uint8))
    cases = find_cases(tmp_path / "a.nii.gz")
    with pytest.raises(
        InvalidParameterError, match=r"inside the contours .* which a have"
    ):
        smooth_cases(cases, tmp_path / "out.zarr", method=Method("contours"))
    with pytest.raises(InvalidParameterError, match="for RTSTRUCT, not label maps"):
        svls_cli.smooth(np.zeros((3, 4), np.uint8), method="contours")
    mixed = [*cases, Case("p1", source(tmp_path))]
    with pytest.raises(
        InvalidParameterError, match=r"soft labels already: p1; not yet: a\."
    ):
        smooth_cases(mixed, tmp_path / "out.zarr")


def test_raters_contours_are_fused(tmp_path: Path) -> None:
    other = {z: [contour + 0.75 for contour in several] for z, several in HEART.items()}
    one = source(tmp_path / "a", drawn("Lung", GRID, LUNG), drawn("Heart", GRID, HEART))
    two = source(tmp_path / "b", drawn("Heart", GRID, other), Drawn("PTV", []))
    case = RatedCase("p1", (("a", one), ("b", two)))
    out = tmp_path / "out.zarr"
    with pytest.raises(InvalidParameterError, match="contours stores one drawing"):
        fuse_cases([case], out, method=Method("contours"))
    [record] = fuse_cases([case], out, method=Method("onehot"), dtype="float32")
    assert record.status == "done"
    assert record.reason == "rater b: structure 'PTV' has no contours"
    stored = open_store(out)["p1"]
    names = [c.name for c in stored.classes.classes]
    assert names == ["background", "Heart", "Lung"]
    shares = [expected(HEART), expected(other)]
    np.testing.assert_allclose(stored.soft[1], np.mean(shares, axis=0), atol=0.002)
    np.testing.assert_array_equal(stored.label_map("b")[:] == 1, shares[1] > 0.5)


def test_commands_take_contours(tmp_path: Path) -> None:
    source(tmp_path / "study")
    shutil.copytree(tmp_path / "study", tmp_path / "studies" / "p1")
    source(tmp_path / "studies" / "p2", grid=SeriesGrid())
    # A file with its series, what it is by default, and a study's folder.
    rt = "study/rt.dcm"
    with_series = [rt, "--series", "study/ct"]
    for inputs in (with_series, ["--method", "contours", *with_series], ["study"]):
        run_here("smooth", *inputs, "out.zarr", "--overwrite", cwd=tmp_path)
        stored = open_store(tmp_path / "out.zarr")["rt"].soft[1]
        np.testing.assert_array_equal(stored, np.rint(255 * expected(HEART)))
    run_here("smooth", "studies", "all.zarr", cwd=tmp_path)
    assert list(open_store(tmp_path / "all.zarr")) == ["p1", "p2"]
    run_here("inspect", "--verify", "all.zarr", cwd=tmp_path)
    result = run_here("smooth", rt, "none.zarr", cwd=tmp_path, code=4)
    assert "they need the image series that they were drawn on" in result.stderr
