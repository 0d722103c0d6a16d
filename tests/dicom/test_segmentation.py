from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from svls_cli.dicom.segmentation import Segmentation, read_segmentation
from svls_cli.dicom.series import Series, choose_series, read_folder, read_series
from svls_cli.errors import InputError
from tests.helpers.dicom import SeriesGrid, write_series
from tests.helpers.label_maps import OBLIQUE, blobs
from tests.helpers.segmentations import save, segmentation

# 7 x 9 pixels: frames of a binary one begin within bytes.
GRID = SeriesGrid((6, 7, 9))
TILTED = SeriesGrid((6, 7, 9), orientation=tuple(OBLIQUE.T[:2].ravel().tolist()))


@pytest.fixture(params=[GRID, TILTED], ids=["axial", "oblique"])
def images(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write_series(tmp_path / "ct", request.param)
    return tmp_path / "ct"


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    write_series(tmp_path / "ct", GRID)
    return tmp_path / "ct"


def series_of(folder: Path) -> Series:
    return read_series(choose_series(read_folder(folder).series))


def labels(*, empty: tuple[int, ...] = ()) -> Any:
    found = blobs(GRID.shape, 4, seed=3)
    found[list(empty)] = 0
    return found


def assert_as_highdicom(mine: Segmentation, path: Path) -> None:
    """Voxels and grid; highdicom counts slices against the normal."""
    volume = hd.seg.segread(path).get_volume(combine_segments=True)
    np.testing.assert_array_equal(mine.label_map(), volume.array[::-1])
    grid = mine.geometry
    last = (grid.shape[0] - 1, 0, 0)
    axes = np.reshape(grid.direction, (3, 3)) * grid.spacing_mm
    np.testing.assert_allclose(axes[::-1] @ np.diag([-1, 1, 1]), volume.affine[:3, :3])
    origin = (axes @ last + grid.origin_mm)[::-1]
    np.testing.assert_allclose(origin, volume.affine[:3, 3])


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("empty", [(), (0, 2, 3), (5,)])
def test_read_as_highdicom_does(
    kind: str, empty: tuple[int, ...], images: Path
) -> None:
    array = labels(empty=empty)
    path = save(segmentation(images, array, kind), images.parent / "seg.dcm")
    assert_as_highdicom(read_segmentation(path), path)
    on_series = read_segmentation(path, series_of(images))
    np.testing.assert_array_equal(on_series.label_map(), array)
    assert on_series.geometry == series_of(images).geometry


def test_segments(ct: Path) -> None:
    path = save(segmentation(ct, labels()), ct / "seg.dcm")
    segment = read_segmentation(path).segments[2]
    assert (segment.name, segment.color) == ("tumour", "FF0000")
    assert segment.category == "SCT^91772007^Organ"
    assert segment.type == "SCT^10200004^Liver"


def test_names_that_repeat_get_numbers(ct: Path) -> None:
    file = segmentation(ct, labels(), names=("nodule", "nodule", "lung"))
    segments = read_segmentation(save(file, ct / "seg.dcm")).segments
    assert [s.name for s in segments.values()] == ["nodule 1", "nodule 2", "lung"]


def test_a_backslash_parts_no_name(ct: Path) -> None:
    file = segmentation(ct, labels())
    file.SegmentSequence[0].SegmentLabel = "left\\right"
    segments = read_segmentation(save(file, ct / "seg.dcm")).segments
    assert segments[1].name == "left\\right"


def test_numbers_of_16_bits(ct: Path) -> None:
    array = np.array([0, 7, 300, 40_000], np.uint16)[labels()]
    file = segmentation(ct, array, "LABELMAP", numbers=(7, 300, 40_000))
    mine = read_segmentation(save(file, ct / "seg.dcm"))
    np.testing.assert_array_equal(mine.label_map(), array)
    assert {0, 7, 300, 40_000} == set(mine.segments)


def test_frames_out_of_order(images: Path) -> None:
    array = labels()
    file = segmentation(images, array)
    order = np.random.default_rng(0).permutation(int(file.NumberOfFrames))
    frames = file.PerFrameFunctionalGroupsSequence
    file.PerFrameFunctionalGroupsSequence = [frames[i] for i in order]
    bits = np.concatenate([file.pixel_array[i].ravel() for i in order])
    file.PixelData = np.packbits(bits, bitorder="little").tobytes()
    file.PixelData += bytes(len(file.PixelData) % 2)
    mine = read_segmentation(save(file, images.parent / "seg.dcm"))
    np.testing.assert_array_equal(mine.label_map(), array)


def test_groups_for_each_frame_and_no_index(ct: Path) -> None:
    array = labels()
    file = segmentation(ct, array)
    shared = file.SharedFunctionalGroupsSequence[0]
    for frame in file.PerFrameFunctionalGroupsSequence:
        frame.PixelMeasuresSequence = shared.PixelMeasuresSequence
        frame.PlaneOrientationSequence = shared.PlaneOrientationSequence
        del frame.FrameContentSequence
    del file.SharedFunctionalGroupsSequence, file.DimensionIndexSequence
    del file.DimensionOrganizationSequence, file.ReferencedSeriesSequence
    mine = read_segmentation(save(file, ct / "seg.dcm"))
    np.testing.assert_array_equal(mine.label_map(), array)


def test_one_frame(ct: Path) -> None:
    array = labels(empty=(0, 1, 2, 4, 5))
    array[array > 1] = 0
    path = save(segmentation(ct, array), ct / "seg.dcm")
    mine = read_segmentation(path)
    np.testing.assert_array_equal(mine.label_map(), array[3:4])
    assert mine.geometry.spacing_mm == (2.5, 0.8, 0.5)


def _plain(file: pydicom.Dataset) -> pydicom.Dataset:
    """The same, of no encoding yet."""
    plain = pydicom.Dataset(file)
    plain.file_meta = file.file_meta
    return plain


@pytest.mark.parametrize(
    ("syntax", "kind"),
    [
        (ImplicitVRLittleEndian, "BINARY"),
        (DeflatedExplicitVRLittleEndian, "BINARY"),
        (DeflatedExplicitVRLittleEndian, "LABELMAP"),
        (RLELossless, "LABELMAP"),
        (JPEGLSLossless, "LABELMAP"),
    ],
)
def test_transfer_syntaxes(syntax: pydicom.uid.UID, kind: str, ct: Path) -> None:
    array = labels()
    more = {"transfer_syntax_uid": syntax} if syntax.is_encapsulated else {}
    file = segmentation(ct, array, kind, **more)
    file.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(ct / "seg.dcm", _plain(file), enforce_file_format=True)
    mine = read_segmentation(ct / "seg.dcm")
    np.testing.assert_array_equal(mine.label_map(), array)


def shares() -> Any:
    """Three classes in steps of 1/255; the first one is the background."""
    rng = np.random.default_rng(5)
    parts = rng.multinomial(255, [0.4, 0.5, 0.1], GRID.shape)
    parts[:, :3] = (255, 0, 0)
    return parts


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless])
@pytest.mark.parametrize("kind", ["PROBABILITY", "OCCUPANCY"])
def test_fractions(syntax: str | None, kind: str, ct: Path) -> None:
    parts = shares()
    more = {"transfer_syntax_uid": syntax} if syntax else {}
    file = segmentation(
        ct, parts[..., 1:] / 255, "FRACTIONAL", fractional_type=kind, **more
    )
    codes, rows, numbers = read_segmentation(save(file, ct / "seg.dcm")).fractions()
    assert numbers == [0, 1, 2]
    np.testing.assert_array_equal(rows[codes], parts)
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_shares_that_rounding_makes_more_than_1(ct: Path) -> None:
    parts = np.full((*GRID.shape, 2), 0.5)  # 128 of 255 each
    file = segmentation(ct, parts, "FRACTIONAL")
    _, rows, _ = read_segmentation(save(file, ct / "seg.dcm")).fractions()
    assert rows.tolist() == [[0, 128, 128]] or [0, 128, 128] in rows.tolist()


def test_shares_that_add_up_to_more_than_1(ct: Path) -> None:
    parts = np.zeros((*GRID.shape, 2))
    parts[2, 3:5, 4] = 0.6, 0.8
    path = save(segmentation(ct, parts, "FRACTIONAL"), ct / "seg.dcm")
    message = (
        r"more than 1 at 2 voxels of slice 0: voxel \(0, 3, 4\) is 'liver' 0.6, "
        "'tumour' 0.8"
    )
    with pytest.raises(InputError, match=message):
        read_segmentation(path).fractions()


def test_overlapping_segments(ct: Path) -> None:
    masks = np.zeros((*GRID.shape, 2), np.uint8)
    masks[1:4, 2:5, 2:5, 0] = masks[2:5, 4:7, 4:7, 1] = 1
    path = save(segmentation(ct, masks), ct / "seg.dcm")
    with pytest.raises(InputError, match="'liver' and 'tumour' share 2 voxels"):
        read_segmentation(path).label_map()


def _set(keyword: str, value: Any) -> Callable[[pydicom.Dataset], None]:
    return lambda file: setattr(file, keyword, value)


def _remove(keyword: str) -> Callable[[pydicom.Dataset], None]:
    return lambda file: delattr(file, keyword)


def _syntax(uid: str) -> Callable[[pydicom.Dataset], None]:
    return lambda file: setattr(file.file_meta, "TransferSyntaxUID", uid)


def _twice(file: pydicom.Dataset) -> None:
    frames = file.PerFrameFunctionalGroupsSequence
    frames[1].PlanePositionSequence = frames[0].PlanePositionSequence


def _between(file: pydicom.Dataset) -> None:
    position = file.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    position.ImagePositionPatient = [-7, 11, -36.4]


def _far(file: pydicom.Dataset) -> None:
    position = file.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    position.ImagePositionPatient = [-7, 11, 2.5e6]


def _turned(*cosines: float) -> Callable[[pydicom.Dataset], None]:
    def change(file: pydicom.Dataset) -> None:
        shared = file.SharedFunctionalGroupsSequence[0]
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = list(cosines)

    return change


def _spaced(*spacing_mm: float) -> Callable[[pydicom.Dataset], None]:
    def change(file: pydicom.Dataset) -> None:
        shared = file.SharedFunctionalGroupsSequence[0]
        shared.PixelMeasuresSequence[0].PixelSpacing = list(spacing_mm)

    return change


def _zero(file: pydicom.Dataset) -> None:
    file.SegmentSequence[0].SegmentNumber = 0


def _same(file: pydicom.Dataset) -> None:
    file.SegmentSequence[0].SegmentNumber = 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("SOPClassUID", hd.UID("1.2.840.10008.5.1.4.1.1.2")), "it is CT Image"),
        (_set("SegmentationType", "SURFACE"), "SegmentationType is SURFACE"),
        (_set("TotalPixelMatrixRows", 9000), "tiles of a microscope slide"),
        (_set("Rows", 60_000), "truncated: 16 frames of 60000 x 9 pixels"),
        (_set("Rows", 6), "bytes, and the file has"),
        (_set("Rows", 0), "0 rows and 9 columns|0 x 9 pixels"),
        (_set("NumberOfFrames", 2**31 - 1), "truncated: 2147483647 frames"),
        (_set("NumberOfFrames", 0), "it has no frames"),
        (_remove("PixelData"), "it has no pixel data"),
        (_remove("SegmentSequence"), "no SegmentSequence"),
        (_remove("PerFrameFunctionalGroupsSequence"), "no ImagePositionPatient"),
        (_syntax(MPEG2MPML), "MPEG2 .*, for which pydicom has no decoder"),
        (_syntax(HTJ2KLossless), "no decoder of it is installed: .*requires"),
        (_twice, "two frames of segment 1 lie in slice"),
        (_between, "not evenly spaced"),
        (_far, "lie so far apart that 1000017 slices"),
        (_turned(1, 0, 0, 1, 0, 0), "not two directions at right angles"),
        (_turned(2, 0, 0, 0, 0.5, 0), "not two directions at right angles"),
        (_spaced(-1, 1), r"PixelSpacing is \(-1.0, 1.0\)"),
        (_spaced(0, 0), r"PixelSpacing is \(0.0, 0.0\)"),
        (_zero, "a segment has number 0"),
        (_same, "two segments have number 2"),
    ],
)
def test_broken_files(
    change: Callable[[pydicom.Dataset], None], message: str, ct: Path
) -> None:
    file = segmentation(ct, labels())
    change(file)
    if file.file_meta.TransferSyntaxUID.is_encapsulated:
        file.PixelData = encapsulate([b"none"])
    file.save_as(ct / "seg.dcm")
    with pytest.raises(InputError, match=message):
        read_segmentation(ct / "seg.dcm")


def test_truncated_file(ct: Path) -> None:
    path = save(segmentation(ct, labels()), ct / "seg.dcm")
    content = path.read_bytes()
    for size in (*range(0, len(content), 97), len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"truncated|^not a DICOM file"):
            read_segmentation(path).label_map()


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_frames_that_cannot_be_decoded(syntax: str, ct: Path) -> None:
    parts = shares()[..., 1:] / 255
    file = segmentation(ct, parts, "FRACTIONAL", transfer_syntax_uid=syntax)
    whole = list(generate_frames(file.PixelData, number_of_frames=file.NumberOfFrames))
    for frames in ([each[:40] for each in whole], [b"none"] * len(whole), whole[1:]):
        file.PixelData = encapsulate(frames)
        with pytest.raises(InputError, match=r"^broken or truncated DICOM file: .*$"):
            read_segmentation(save(file, ct / "seg.dcm")).fractions()


def test_big_endian(ct: Path) -> None:
    file = segmentation(ct, labels(), "LABELMAP")
    file.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(ct / "seg.dcm", _plain(file), enforce_file_format=True)
    mine = read_segmentation(ct / "seg.dcm")
    np.testing.assert_array_equal(mine.label_map(), labels())


def test_another_grid_than_the_series(ct: Path, tmp_path: Path) -> None:
    path = save(segmentation(ct, labels()), ct / "seg.dcm")
    write_series(tmp_path / "other", SeriesGrid((5, 7, 9), origin_mm=(-7, 11, -40)))
    message = r"not lie on the grid of its image series .*shape is \(5, 7, 9\) and \(6"
    with pytest.raises(InputError, match=message):
        read_segmentation(path, series_of(tmp_path / "other"))
