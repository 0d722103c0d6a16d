"""Reading label maps: formats, geometry, and files that are not what they seem."""

import bz2
import gzip
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from svls_cli.errors import InputError
from svls_cli.labels import images, voxels
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import file_sha256, open_label_file
from svls_cli.labels.output import write_image as write
from tests.helpers.label_maps import (
    LIVER,
    OBLIQUE,
    TWO_SEGMENTS,
    blobs,
    patched,
    read,
    refused,
    segmentation,
    write_image,
)

FLIPPED = np.diag([-1.0, 1.0, -1.0])
DIRECTIONS = {"oblique": OBLIQUE, "flipped": FLIPPED, "both": OBLIQUE @ FLIPPED}
SUFFIXES = [".nii", ".nii.gz", ".hdr", ".nrrd", ".nhdr", ".seg.nrrd", ".mha", ".mhd"]


SMALL = blobs((4, 5, 6), 3)


def geometry(path: Path) -> Geometry:
    with open_label_file(path) as file:
        return file.geometry


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32"])
def test_every_format(suffix: str, compress: bool, dtype: str, tmp_path: Path) -> None:
    labels = blobs((9, 10, 11), 4).astype(dtype) * 3
    image = sitk.GetImageFromArray(labels)
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(image, str(path), useCompression=compress)
    np.testing.assert_array_equal(read(path), labels)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_slab_by_slab_is_the_same(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = blobs((13, 10, 11), 4)
    path = write_image(tmp_path / f"a{suffix}", labels)
    monkeypatch.setattr(images, "_SLAB_VOXELS", 300)
    np.testing.assert_array_equal(read(path), labels)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("kind", DIRECTIONS)
def test_geometry_is_the_files_own(suffix: str, kind: str, tmp_path: Path) -> None:
    path = write_image(
        tmp_path / f"a{suffix}",
        blobs((5, 6, 7), 2),
        spacing=(0.7, 0.8123456789, 2.5),
        origin=(-12.3456789, 45.678, 1000 / 3),
        direction=DIRECTIONS[kind].ravel().tolist(),
    )
    image, found = sitk.ReadImage(str(path)), geometry(path)
    assert found.shape == (5, 6, 7)
    assert found.spacing_mm == image.GetSpacing()[::-1]
    assert found.origin_mm == image.GetOrigin()[::-1]
    # Any voxel's place in the patient, by ITK and by our definition.
    index = np.array([4, 2, 3])
    direction = np.reshape(found.direction, (3, 3))
    point = found.origin_mm + direction @ (np.array(found.spacing_mm) * index)
    expected = image.TransformIndexToPhysicalPoint(index[::-1].tolist())
    np.testing.assert_allclose(point[::-1], expected, atol=1e-9)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("kind", DIRECTIONS)
def test_written_geometry_is_read_back_to_the_last_digits(
    suffix: str, kind: str, tmp_path: Path
) -> None:
    direction = tuple(DIRECTIONS[kind].ravel()[::-1].tolist())
    spacing, origin = (2.5, 0.8123456789, 0.7), (1000 / 3, 45.678, -12.3456789)
    path = tmp_path / f"a{suffix}"
    write(path, SMALL, Geometry((4, 5, 6), spacing, origin, direction))
    found = geometry(path)
    np.testing.assert_allclose(found.spacing_mm, spacing, atol=1e-9, rtol=0)
    np.testing.assert_allclose(found.origin_mm, origin, atol=1e-9, rtol=0)
    np.testing.assert_allclose(found.direction, direction, atol=1e-9, rtol=0)


def test_nifti_geometry_survives_to_single_precision(tmp_path: Path) -> None:
    path = write_image(
        tmp_path / "a.nii.gz",
        SMALL,
        spacing=(0.75, 0.5, 2.5),
        origin=(-12.25, 45.5, 1000.125),
        direction=OBLIQUE.ravel().tolist(),
    )
    first = geometry(path)
    write(tmp_path / "b.nii.gz", SMALL, first)
    second = geometry(tmp_path / "b.nii.gz")
    assert second.spacing_mm == first.spacing_mm
    assert second.origin_mm == first.origin_mm
    np.testing.assert_allclose(second.direction, first.direction, atol=1e-7)


def test_sform_and_qform_that_differ(tmp_path: Path) -> None:
    """The sform is followed, as nibabel does; ITK takes either, by their codes."""
    path = write_image(tmp_path / "a.nii", SMALL, origin=(1, 2, 3))
    offset = struct.pack("<3f", 7, 8, 9)  # the qform's
    patched(path, {252: struct.pack("<2h", 1, 2), 268: offset})
    assert geometry(path).origin_mm == (3, 2, 1)
    patched(path, {252: struct.pack("<2h", 1, 0)})
    assert geometry(path).origin_mm == (9, -8, -7)  # LPS


def test_negative_spacing_is_what_itk_makes_of_it(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.mha", blobs((4, 5, 6), 2))
    content = path.read_bytes().replace(b"ElementSpacing = 1", b"ElementSpacing = -1")
    path.write_bytes(content)
    image = sitk.ReadImage(str(path))
    assert geometry(path).spacing_mm == image.GetSpacing()[::-1]
    assert geometry(path).direction == image.GetDirection()[::-1]
    assert image.GetDirection()[0] == -1


def test_singular_direction(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.mha", SMALL)
    straight, singular = b"TransformMatrix = 1 0 0 0 1", b"TransformMatrix = 1 0 0 1 0"
    path.write_bytes(path.read_bytes().replace(straight, singular))
    refused(path, "direction cosines are singular")


@pytest.mark.parametrize("shape", [(1, 5, 6), (5, 1, 6), (1, 1, 1), (5, 6)])
def test_thin_and_flat_images(shape: tuple[int, ...], tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
    path = write_image(tmp_path / "a.nrrd", labels)
    np.testing.assert_array_equal(read(path), labels)


def test_one_time_point_is_three_dimensional(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.nii", SMALL, spacing=(1, 2, 3))
    patched(path, {40: struct.pack("<h", 4), 48: struct.pack("<h", 1)})
    np.testing.assert_array_equal(read(path), SMALL)


def test_time_series(tmp_path: Path) -> None:
    image = sitk.JoinSeries([sitk.GetImageFromArray(blobs((4, 5, 6), 2))] * 3)
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    refused(tmp_path / "a.nii.gz", "4-D, 6 x 5 x 4 x 3; expected 2-D or 3-D")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_colour_images(suffix: str, tmp_path: Path) -> None:
    array = np.zeros((4, 5, 6, 3), np.uint8)
    image = sitk.GetImageFromArray(array, isVector=True)
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    refused(tmp_path / f"a{suffix}", "3 components per voxel")


def test_complex_images(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6), np.complex64))
    path = tmp_path / "a.nii"
    sitk.WriteImage(image, str(path))
    refused(path, "its voxels are complex numbers")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -3.0, 1.5])
def test_voxels_that_are_no_labels(suffix: str, bad: float, tmp_path: Path) -> None:
    labels = np.ones((4, 5, 6), np.float32)
    labels[2, 3, 1] = bad
    path = write_image(tmp_path / f"a{suffix}", labels)
    refused(path, rf"{bad} at voxel \(z, y, x\) = \(2, 3, 1\) is not a label")


def test_value_that_is_no_class(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.nrrd", np.array([[0, 1, 9]], np.uint8))
    with (
        open_label_file(path) as file,
        pytest.raises(InputError, match=r"label values 9 are not among .* \(0, 1\)"),
    ):
        file.indices(ClassTable.from_values([0, 1]), ignore_label=None)


# What is broken, and what the answer names.
BREAK = {
    "truncated": (lambda b: b[: len(b) * 2 // 3], "truncated"),
    "tail only": (lambda b: b[:-3], "truncated|corrupt"),
    "empty": (lambda b: b"", "empty"),
    "other magic": (
        lambda b: b"hello world, not an image" * 40,
        "not a|corrupt|broken",
    ),
}


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("how", BREAK)
@pytest.mark.parametrize("compress", [True, False])
def test_broken_files(suffix: str, how: str, compress: bool, tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 9, (8, 9, 10)).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(path), useCompression=compress)
    change, message = BREAK[how]
    path.write_bytes(change(path.read_bytes()))
    refused(path, message)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".nhdr", ".mhd"])
def test_flipped_bit_in_compressed_voxels(suffix: str, tmp_path: Path) -> None:
    """A flip in the checksum itself is the one that only a checksum can find."""
    labels = np.random.default_rng(0).integers(0, 9, (8, 9, 10)).astype(np.uint8)
    write_image(tmp_path / f"a{suffix}", labels)
    data = next((p for p in tmp_path.iterdir() if p.suffix in (".zraw", ".gz")), None)
    path = data or tmp_path / f"a{suffix}"
    whole = path.read_bytes()
    for place in (len(whole) - 3, len(whole) - len(whole) // 4):
        path.write_bytes(whole)
        patched(path, {place: bytes([whole[place] ^ 0x10])})
        refused(tmp_path / f"a{suffix}", "corrupt or truncated")


def test_bzip2(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.nrrd", SMALL)
    header, packed = path.read_bytes().split(b"\n\n", 1)
    header = header.replace(b"encoding: gzip", b"encoding: bzip2") + b"\n\n"
    content = bz2.compress(gzip.decompress(packed))
    path.write_bytes(header + content)
    np.testing.assert_array_equal(read(path), SMALL)
    path.write_bytes(header + content[:-4])
    refused(path, "corrupt or truncated bzip2 data")
    path.write_bytes(header + b"x" + content)
    refused(path, "corrupt or truncated bzip2 data")


def test_gzip_members_and_padding(tmp_path: Path) -> None:
    plain = write_image(tmp_path / "a.nii", SMALL).read_bytes()
    packed = gzip.compress(plain[:400]) + gzip.compress(plain[400:])
    for tail in (b"", b"\0" * 512):
        (tmp_path / "b.nii.gz").write_bytes(packed + tail)
        np.testing.assert_array_equal(read(tmp_path / "b.nii.gz"), SMALL)


def test_highly_compressed_files_are_unpacked_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voxels, "_WRITE_BYTES", 100)
    monkeypatch.setattr(voxels, "_READ_BYTES", 7)
    labels = np.zeros((9, 30, 30), np.uint8)
    labels[3, 4, 5] = 2
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        path = write_image(tmp_path / f"a{suffix}", labels)
        np.testing.assert_array_equal(read(path), labels)


def test_detached_data(tmp_path: Path) -> None:
    for suffix, data in ((".nhdr", "a.raw.gz"), (".mhd", "a.zraw"), (".hdr", "a.img")):
        path = write_image(tmp_path / f"a{suffix}", SMALL)
        before = file_sha256(path)
        voxels = (tmp_path / data).read_bytes()
        patched(tmp_path / data, {len(voxels) - 1: bytes([voxels[-1] ^ 1])})
        assert file_sha256(path) != before, "the data file counts as the input too"
        (tmp_path / data).unlink()
        refused(path, f"data file '?{data}'? is missing")


def test_data_in_many_files(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.mhd", SMALL)
    text = path.read_text().replace("a.zraw", "a%03d.raw 1 4 1")
    path.write_text(text)
    refused(path, "spread over several files")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (40, struct.pack("<h", 9), "dim is"),
        (42, struct.pack("<h", -4), "dim is"),
        (108, struct.pack("<f", float("nan")), "vox_offset"),
    ],
)
def test_nifti_header_that_makes_no_sense(
    place: int, value: bytes, message: str, tmp_path: Path
) -> None:
    path = patched(write_image(tmp_path / "a.nii", SMALL), {place: value})
    refused(path, f"broken NIfTI header: {message}")


def test_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.bmp").write_bytes(b"BM")
    refused(tmp_path / "a.bmp", "not a known format")
    refused(tmp_path / "b.nii", "cannot be read: No such file")
    (tmp_path / "b.nii.gz").mkdir()
    refused(tmp_path / "b.nii.gz", "cannot be read: a folder, not a file")
    (tmp_path / "link.nii").symlink_to("nowhere.nii")
    refused(tmp_path / "link.nii", "a link to nowhere.nii, which leads nowhere")
    os.mkfifo(tmp_path / "pipe.nii")
    refused(tmp_path / "pipe.nii", "cannot be read: a pipe, not a file")
    refused(Path("/dev/zero"), "cannot be read: a device, not a file")
    (tmp_path / "c.mha").write_bytes(b"ObjectType = Image\nNDims = 3\n")
    refused(tmp_path / "c.mha", "no ElementDataFile")


def test_big_endian(tmp_path: Path) -> None:
    header = b"NRRD0004\ntype: uint16\ndimension: 3\nsizes: 6 5 4\nendian: big\n"
    packed = gzip.compress(SMALL.astype(">u2").tobytes())
    (tmp_path / "a.nrrd").write_bytes(header + b"encoding: gzip\n\n" + packed)
    np.testing.assert_array_equal(read(tmp_path / "a.nrrd"), SMALL)


def test_numbers_written_as_text(tmp_path: Path) -> None:
    header = b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 3 2\nencoding: ascii\n\n"
    (tmp_path / "a.nrrd").write_bytes(header + b"0 1 2\n2 1 0\n")
    assert read(tmp_path / "a.nrrd").tolist() == [[0, 1, 2], [2, 1, 0]]


def test_slicer_segments(tmp_path: Path) -> None:
    path = segmentation(tmp_path / "a.seg.nrrd", blobs((4, 5, 6), 2), **LIVER)
    with open_label_file(path) as file:
        segment = file.segments[1]
    assert (segment.name, segment.color) == ("liver: left lobe", "8000FF")


def test_overlapping_segments(tmp_path: Path) -> None:
    array = np.zeros((4, 5, 6, 2), np.uint8)
    fields = {**TWO_SEGMENTS, "Segment1_Layer": "1"}
    path = segmentation(tmp_path / "a.seg.nrrd", array, **fields)
    refused(path, "its segments lie in 2 layers, as 3D Slicer")


def test_segments_that_share_a_value(tmp_path: Path) -> None:
    path = segmentation(tmp_path / "a.seg.nrrd", SMALL, **TWO_SEGMENTS)
    refused(path, "two segments share label value 1")


def test_zlib_stream_in_meta_image_is_checked(tmp_path: Path) -> None:
    """ITK itself reads this file without a word."""
    labels = np.arange(720, dtype=np.uint16).reshape(8, 9, 10)
    path = write_image(tmp_path / "a.mha", labels)
    header, _ = path.read_bytes().split(b"LOCAL\n", 1)
    header = re.sub(rb"CompressedDataSize.*\n", b"", header)
    short = zlib.compress(labels.ravel()[:700].tobytes())
    path.write_bytes(header + b"LOCAL\n" + short)
    refused(path, "truncated: .* promises 1440 bytes of voxels, the file has 1400")
