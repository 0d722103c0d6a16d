from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from svls_cli.dicom.series import choose_series, read_folder, read_series
from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from tests.helpers.dicom import SeriesGrid, write_series
from tests.helpers.label_maps import OBLIQUE

GRID = SeriesGrid((5, 6, 7))
TILTED = SeriesGrid((5, 6, 7), orientation=tuple(OBLIQUE.T[:2].ravel().tolist()))


def grid_of(folder: Path) -> Geometry:
    return read_series(choose_series(read_folder(folder).series)).geometry


@pytest.mark.parametrize("grid", [GRID, TILTED], ids=["axial", "oblique"])
def test_grid(grid: SeriesGrid, tmp_path: Path) -> None:
    write_series(tmp_path / "DICOM" / "S1", grid)
    (tmp_path / "notes.txt").write_text("none")
    series = read_series(choose_series(read_folder(tmp_path).series))
    mine = series.geometry
    assert mine.shape == grid.shape
    assert series.sop_instance_uids == grid.image_uids
    np.testing.assert_allclose(mine.spacing_mm, grid.spacing_mm, atol=1e-5)
    corner = np.array([4, 5, 6])
    axes = np.reshape(mine.direction, (3, 3)) * mine.spacing_mm
    found = (axes @ corner + mine.origin_mm)[::-1]
    np.testing.assert_allclose(found, grid.mm(corner), atol=1e-4)


def test_an_image_of_several_frames(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", GRID)
    images = [pydicom.dcmread(path) for path in sorted((tmp_path / "ct").iterdir())]
    whole = images[0]
    shared, frames = pydicom.Dataset(), []
    for keyword, names in {
        "PlaneOrientationSequence": ["ImageOrientationPatient"],
        "PixelMeasuresSequence": ["PixelSpacing", "SliceThickness"],
    }.items():
        item = pydicom.Dataset()
        for name in names:
            setattr(item, name, whole[name].value)
        setattr(shared, keyword, [item])
    for image in images:
        frame, position = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = image.ImagePositionPatient
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        del whole[name]
    whole.SharedFunctionalGroupsSequence = [shared]
    whole.PerFrameFunctionalGroupsSequence = frames
    whole.NumberOfFrames = len(frames)
    (tmp_path / "enhanced").mkdir()
    whole.save_as(tmp_path / "enhanced" / "IM1")
    assert grid_of(tmp_path / "enhanced") == grid_of(tmp_path / "ct")


def _change(keyword: str, value: Any) -> Callable[[pydicom.Dataset], None]:
    return lambda image: setattr(image, keyword, value)


def _shear(image: pydicom.Dataset) -> None:
    x, y, z = image.ImagePositionPatient
    image.ImagePositionPatient = [x, y + 0.3 * (z + 40), z]


@pytest.mark.parametrize(
    ("slices", "change", "message"),
    [
        ([2], _change("ImagePositionPatient", [-7, 11, -37.5]), "two slices lie at"),
        (
            [2],
            _change("ImagePositionPatient", [-7, 11, -34]),
            "not evenly spaced",
        ),
        (
            [2],
            _change("ImageOrientationPatient", [0, 1, 0, 1, 0, 0]),
            "of different",
        ),
        ([2], _change("PixelSpacing", [0.8, 0.6]), "slices of different spacings"),
        ([2], _change("Rows", 5), "slices of different sizes"),
        ([2], _change("FrameOfReferenceUID", "1.2.3"), "FrameOfReferenceUID differs"),
        ([2], _change("ImagePositionPatient", None), "no ImagePositionPatient"),
        (
            [2],
            _change("PixelSpacing", [0, 0]),
            r"PixelSpacing is \(0.0, 0.0\)",
        ),
        (range(5), _change("ImageOrientationPatient", [0] * 6), "right angles"),
        (range(5), _shear, "shifted against each other, by .* tilted gantry"),
    ],
)
def test_series_that_are_no_grid(
    slices: Any, change: Any, message: str, tmp_path: Path
) -> None:
    write_series(tmp_path, GRID)
    for path in tmp_path.iterdir():
        image = pydicom.dcmread(path)
        if image.InstanceNumber - 1 in slices:
            change(image)
            image.save_as(path)
    with pytest.raises(InputError, match=message):
        grid_of(tmp_path)


def test_missing_slices_are_named(tmp_path: Path) -> None:
    write_series(tmp_path, GRID, leave_out=[2, 3])
    message = r"slices are missing between 07_1\.dcm and 06_4\.dcm: 2"
    with pytest.raises(InputError, match=message):
        grid_of(tmp_path)


def test_one_slice(tmp_path: Path) -> None:
    write_series(tmp_path, GRID, leave_out=[0, 1, 3, 4])
    assert grid_of(tmp_path).spacing_mm == GRID.spacing_mm
    (path,) = tmp_path.iterdir()
    image = pydicom.dcmread(path)
    image.SpacingBetweenSlices = 3
    image.save_as(path)
    assert grid_of(tmp_path).spacing_mm[0] == 3
    del image.SpacingBetweenSlices, image.SliceThickness
    image.save_as(path)
    with pytest.raises(InputError, match="nobody knows how thick it is"):
        grid_of(tmp_path)


def test_folders_of_none_or_several(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("none")
    with pytest.raises(InputError, match="no DICOM files in this folder"):
        read_folder(tmp_path)
    other = SeriesGrid((2, 3, 4))
    write_series(tmp_path / "1", GRID)
    write_series(tmp_path / "2", other)
    found = read_folder(tmp_path).series
    with pytest.raises(InputError, match="2 image series, and the labels do not say"):
        choose_series(found)
    frame = other.frame_of_reference
    assert choose_series(found, frame_of_reference=frame).uid == other.uid
    assert choose_series(found, uid=GRID.uid).uid == GRID.uid
    with pytest.raises(InputError, match=r"drawn on image series 1\.2, and there is"):
        choose_series(found, uid="1.2")
    with pytest.raises(InputError, match="no image series has the labels' frame"):
        choose_series(found, frame_of_reference="1.2")
