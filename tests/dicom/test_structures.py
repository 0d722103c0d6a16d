"""RTSTRUCT files: what is read from them, and which are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from svls_cli.dicom.series import choose_series, read_folder, read_series
from svls_cli.dicom.structures import (
    on_slices,
    read_references,
    read_structure_set,
)
from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from tests.helpers.dicom import (
    CT,
    Drawn,
    SeriesGrid,
    drawn,
    write_rtstruct,
    write_series,
)
from tests.helpers.shapes import square

GRID = SeriesGrid()
SQUARE = square(5, 9)


def grid_of(folder: Path, grid: SeriesGrid = GRID) -> Geometry:
    """The series of a grid, written and read."""
    write_series(folder / "ct", grid)
    return read_series(choose_series(read_folder(folder / "ct").series)).geometry


def test_structures_as_drawn(tmp_path: Path) -> None:
    heart = drawn("Heart ", GRID, {3: [SQUARE], 0: [SQUARE]}, color=(255, 0, 16))
    lung = drawn("Lunge, rechts", GRID, {1: [SQUARE + 0.123456]}, number=17)
    write_rtstruct(tmp_path / "rt.dcm", GRID, [heart, lung])
    found = read_structure_set(tmp_path / "rt.dcm")
    assert [s.name for s in found.structures] == ["Heart", "Lunge, rechts"]
    assert [s.color for s in found.structures] == ["FF0010", ""]
    assert found.references.series == (GRID.uid,)
    assert found.references.frames == (GRID.frame_of_reference,)
    assert found.references.images == set(GRID.image_uids)
    assert read_references(tmp_path / "rt.dcm") == found.references
    assert [s.note for s in found.structures] == ["", ""]
    for structure, given in zip(found.structures, (heart, lung), strict=True):
        assert given.contours is not None
        for read, written in zip(structure.contours, given.contours, strict=True):
            np.testing.assert_allclose(read, written, atol=1e-8)


@pytest.mark.parametrize(
    "grid",
    [
        GRID,
        SeriesGrid(orientation=(0, 1, 0, 0, 0, -1)),  # sagittal
        SeriesGrid(orientation=(0.8, 0.6, 0, -0.36, 0.48, 0.8)),  # oblique
    ],
)
def test_contours_lie_on_the_slices_of_the_series(
    tmp_path: Path, grid: SeriesGrid
) -> None:
    slices = {4: [SQUARE], 0: [SQUARE + 1, SQUARE + 2.25], 2: [SQUARE]}  # no order
    write_rtstruct(tmp_path / "rt.dcm", grid, [drawn("a", grid, slices)])
    [structure] = read_structure_set(tmp_path / "rt.dcm").structures
    placed = on_slices(structure, grid_of(tmp_path, grid))
    assert set(placed) == set(slices)
    for z, contours in slices.items():
        np.testing.assert_allclose(placed[z], contours, atol=1e-4)


@pytest.mark.parametrize(
    ("contours", "kind", "note"),
    [
        (None, "", "structure 'a' has no contours"),
        ([], "", "structure 'a' has no contours"),
        (
            [[[1, 2, 3]]] * 2,
            "POINT",
            "structure 'a': left out what has no area: 2 POINT",
        ),
        (
            [[[1, 2, 3]], [[1, 2, 3], [3, 2, 1]]],
            "CLOSED_PLANAR",
            "structure 'a': left out what has no area: "
            "2 CLOSED_PLANAR of fewer than 3 points",
        ),
        (
            [[[1, 2, 3], [2, 2, 3], [2, 3, 3]]] * 2,
            "CLOSEDPLANAR_XOR",
            "structure 'a': left out what has no area: 1 CLOSEDPLANAR_XOR given twice",
        ),
        (
            [[[1, 2, 3], [2, 2, 3], [2, 3, 3]]],
            "OPEN_NONPLANAR",
            "structure 'a': left out what has no area: 1 OPEN_NONPLANAR",
        ),
    ],
)
def test_what_has_no_area_is_noted(
    tmp_path: Path, contours: Any, kind: str, note: str
) -> None:
    write_rtstruct(tmp_path / "rt.dcm", GRID, [Drawn("a", contours, kind=kind)])
    [structure] = read_structure_set(tmp_path / "rt.dcm").structures
    assert structure.note == note
    assert structure.is_drawn == (kind == "CLOSEDPLANAR_XOR")


@pytest.mark.parametrize(
    ("voxels", "match"),
    [
        (
            np.insert(SQUARE, 0, 2.5, axis=1),
            r"structure 'a': the contour that begins at \(-4.5, 15, -33.75\) mm lies "
            "between slices, at 2.50 of 0 to 4 of the image series",
        ),
        (
            np.insert(SQUARE - (0, 40), 0, 2, axis=1),
            "lies beside the images: it was drawn on others",
        ),
        (
            np.insert(SQUARE - (-40, 0), 0, 2, axis=1),
            "lies beside the images: it was drawn on others",
        ),
        (
            np.insert(SQUARE, 0, 5.0, axis=1),
            "beyond the image series, at slice 5.00 of",
        ),
        (
            np.insert(SQUARE, 1, 5.0, axis=1),
            "lies across slices 5.00 to 9.00 .* drawn in planes of another orientation",
        ),
    ],
)
def test_contours_off_the_slices_are_refused(
    tmp_path: Path, voxels: Any, match: str
) -> None:
    structure = Drawn("a", [GRID.mm(np.insert(SQUARE, 0, 1.0, 1)), GRID.mm(voxels)])
    write_rtstruct(tmp_path / "rt.dcm", GRID, [structure])
    [found] = read_structure_set(tmp_path / "rt.dcm").structures
    with pytest.raises(InputError, match=match):
        on_slices(found, grid_of(tmp_path))


def _set(**changes: Any) -> Any:
    """Change elements of the first contour."""

    def change(dataset: Any) -> None:
        contour = dataset.ROIContourSequence[0].ContourSequence[0]
        for keyword, value in changes.items():
            setattr(contour, keyword, value)

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_set(ContourData=[1, 2, 3, 4]), "'a': 4 coordinates of a contour, which"),
        (_set(ContourGeometricType="SPLINE"), "'a': a contour of type 'SPLINE'; known"),
        (
            lambda d: d.ROIContourSequence.append(d.ROIContourSequence[0]),
            "contours of ROI 1 given twice",
        ),
        (
            lambda d: d.StructureSetROISequence.append(d.StructureSetROISequence[0]),
            "two structures have ROI number 1",
        ),
        (
            lambda d: setattr(d.StructureSetROISequence[0], "ROINumber", 3),
            "contours of ROI 1, which has no name",
        ),
        (
            lambda d: (d.StructureSetROISequence.clear(), d.ROIContourSequence.clear()),
            "an RTSTRUCT without structures",
        ),
        (lambda d: setattr(d, "SOPClassUID", CT), "not an RTSTRUCT: it is CT"),
        (
            lambda d: d.ROIContourSequence[0].__delattr__("ReferencedROINumber"),
            "broken or truncated DICOM file: AttributeError",
        ),
    ],
)  # fmt: skip
def test_broken_files(tmp_path: Path, change: Any, match: str) -> None:
    path = tmp_path / "rt.dcm"
    dataset = write_rtstruct(path, GRID, [drawn("a", GRID, {1: [SQUARE]})])
    change(dataset)
    dataset.save_as(path, enforce_file_format=True)
    with pytest.raises(InputError, match=match):
        read_structure_set(path)


@pytest.mark.parametrize("write_as", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("undefined", [False, True])
def test_truncated_file(tmp_path: Path, write_as: UID, undefined: bool) -> None:
    """It is read as a whole or not at all, wherever it ends."""
    path, cut = tmp_path / "rt.dcm", tmp_path / "cut.dcm"
    several = [drawn("a", GRID, {1: [SQUARE], 2: [SQUARE]}), Drawn("b", None)]
    dataset = write_rtstruct(path, GRID, several)
    for sequence in ("StructureSetROISequence", "ROIContourSequence"):
        dataset[sequence].is_undefined_length = undefined
        for item in dataset[sequence].value:
            item.is_undefined_length_sequence_item = undefined
    dataset.file_meta.TransferSyntaxUID = write_as
    dataset.RTROIObservationsSequence = []
    dataset.ApprovalStatus = "UNAPPROVED"
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    whole, content = read_structure_set(path), path.read_bytes()
    ends = content.index(b"UNAPPROVED") - 20  # nothing behind it is read
    for size in range(0, ends, 7):
        cut.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"truncated|^not a DICOM file"):
            read_structure_set(cut)
    assert [len(each.contours) for each in whole.structures] == [2, 0]


def test_coordinates_that_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "rt.dcm"
    points = np.arange(9).reshape(3, 3) + 1.25
    write_rtstruct(path, GRID, [Drawn("a", [points])])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1.25\\", b"1.x5\\"))
    with pytest.raises(InputError, match="structure 'a': a coordinate is no number"):
        read_structure_set(path)
    path.write_bytes(content.replace(b"1.25\\", b" inf\\"))
    with pytest.raises(InputError, match="not three finite numbers for each point"):
        read_structure_set(path)
