"""Headers that lie, and those that only look as if they did."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from svls_cli.labels import voxels
from tests.helpers.label_maps import (
    LIVER,
    TWO_SEGMENTS,
    blobs,
    patched,
    read,
    refused,
    segmentation,
    write_image,
)

LABELS = blobs((8, 9, 10), 3)


@pytest.mark.parametrize("bits", [0, 8, 64, -8])
def test_bitpix_of_another_type(bits: int, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.nii", LABELS.astype(np.int16))
    patched(path, {72: struct.pack("<h", bits)})
    np.testing.assert_array_equal(read(path), LABELS)
    path.write_bytes(path.read_bytes()[:-500])
    refused(path, "truncated: the header promises 1440 bytes")


def test_upper_case_encoding(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.nrrd", LABELS)
    content = path.read_bytes().replace(b"encoding: gzip", b"encoding: GZIP")
    path.write_bytes(content)
    np.testing.assert_array_equal(read(path), LABELS)
    path.write_bytes(content[:-3])
    refused(path, "corrupt or truncated gzip data")


def test_packed_meta_image_behind_a_header(tmp_path: Path) -> None:
    text = (
        "ObjectType = Image\nNDims = 3\nDimSize = 10 9 8\nElementType = MET_UCHAR\n"
        "HeaderSize = 5\nCompressedData = True\nElementDataFile = a.zraw\n"
    )
    (tmp_path / "a.mhd").write_text(text)
    packed = zlib.compress(LABELS.tobytes())
    (tmp_path / "a.zraw").write_bytes(b"12345" + packed)
    np.testing.assert_array_equal(read(tmp_path / "a.mhd"), LABELS)


def test_met_long_is_four_bytes(tmp_path: Path) -> None:
    text = (
        "ObjectType = Image\nNDims = 3\nDimSize = 10 9 8\nElementType = MET_ULONG\n"
        "BinaryData = True\nBinaryDataByteOrderMSB = False\nElementDataFile = LOCAL\n"
    )
    voxels = LABELS.astype("<u4").tobytes()
    (tmp_path / "a.mha").write_bytes(text.encode() + voxels)
    np.testing.assert_array_equal(read(tmp_path / "a.mha"), LABELS)


@pytest.mark.parametrize("key", ["HeaderSize", "ElementNumberOfChannels"])
def test_words_for_numbers(key: str, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.mha", LABELS)
    content = path.read_bytes().replace(b"NDims", f"{key} = many\nNDims".encode())
    path.write_bytes(content)
    refused(path, f"broken header: {key} is 'many'")


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_gzip_members_across_reads(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = write_image(tmp_path / "a.nii", LABELS).read_bytes()
    parts = [plain[:300], plain[300:400], plain[400:]]
    (tmp_path / "b.nii.gz").write_bytes(b"".join(map(gzip.compress, parts)))
    monkeypatch.setattr(voxels, "_READ_BYTES", size)
    np.testing.assert_array_equal(read(tmp_path / "b.nii.gz"), LABELS)


def test_geometry_that_is_no_number(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.nii", LABELS)
    nans = struct.pack("<12f", *[float("nan")] * 12)
    patched(path, {252: struct.pack("<2h", 0, 1), 280: nans})
    refused(path, "geometry is not finite|direction")


@pytest.mark.parametrize("value", ["-1", "x", "4294967296", "9" * 5000])
def test_segments_of_impossible_values(value: str, tmp_path: Path) -> None:
    fields = {**LIVER, "Segment0_LabelValue": value}
    path = segmentation(tmp_path / "a.seg.nrrd", LABELS, **fields)
    refused(path, "broken header: Segment0_LabelValue")


def test_two_segments_of_one_name(tmp_path: Path) -> None:
    fields = {**TWO_SEGMENTS, "Segment1_LabelValue": "2"}
    path = segmentation(tmp_path / "a.seg.nrrd", LABELS, **fields)
    refused(path, "two segments are named 'liver: left lobe'")
