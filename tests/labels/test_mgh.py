"""FreeSurfer's files, against nibabel's own reading."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import open_label_file
from tests.helpers.label_maps import OBLIQUE, blobs, patched, read, refused

LABELS = blobs((4, 5, 6), 3)


def mgh(path: Path, voxels: np.ndarray = LABELS.T) -> Path:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = OBLIQUE * [0.7, 0.8, 2.5], (5, -7, 9)
    nibabel.save(nibabel.MGHImage(voxels, matrix), path)  # type: ignore[attr-defined]
    return path


def affine(grid: Geometry) -> np.ndarray:
    """Voxel (x, y, z) to millimetres in RAS, as nibabel has it."""
    axes = np.reshape(grid.direction, (3, 3)) * grid.spacing_mm
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = axes[::-1, ::-1], grid.origin_mm[::-1]
    return np.diag([-1, -1, 1, 1]) @ result


@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "f4"])
@pytest.mark.parametrize("name", ["a.mgh", "a.mgz"])
def test_as_nibabel(kind: str, name: str, tmp_path: Path) -> None:
    path = mgh(tmp_path / name, LABELS.T.astype(kind))
    np.testing.assert_array_equal(read(path), LABELS)
    content = path.read_bytes()
    image = nibabel.MGHImage.from_bytes(
        gzip.decompress(content) if name.endswith("z") else content
    )
    with open_label_file(path) as file:
        np.testing.assert_allclose(affine(file.geometry), image.affine, atol=1e-5)


def test_without_a_place(tmp_path: Path) -> None:
    """FreeSurfer and nibabel do not agree on where it would lie."""
    path = patched(mgh(tmp_path / "a.mgh"), {28: b"\0\0"})
    refused(path, "does not say which side is left")


@pytest.mark.parametrize("name", ["a.mgh", "a.mgz"])
def test_what_follows_the_voxels(name: str, tmp_path: Path) -> None:
    path = mgh(tmp_path / name)
    content = path.read_bytes()
    more = b"\0" * 20 + b"mri_convert a b"
    if name.endswith("z"):
        path.write_bytes(gzip.compress(gzip.decompress(content) + more))
    else:
        path.write_bytes(content + more)
    np.testing.assert_array_equal(read(path), LABELS)


@pytest.mark.parametrize("name", ["a.mgh", "a.mgz"])
def test_every_truncation_is_found(name: str, tmp_path: Path) -> None:
    path = mgh(tmp_path / name)
    content = path.read_bytes()
    if name.endswith("h"):
        content = content[: 284 + LABELS.size]  # scan parameters follow
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refused(path, "truncated|the file is empty")


def test_damage_behind_the_voxels(tmp_path: Path) -> None:
    path = mgh(tmp_path / "a.mgz")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1  # of the checksum
    path.write_bytes(content)
    refused(path, "corrupt or truncated gzip data")


def test_times(tmp_path: Path) -> None:
    path = mgh(tmp_path / "a.mgz", np.stack([LABELS.T] * 2, axis=-1))
    refused(path, "4-D, 6 x 5 x 4 x 2; expected 2-D or 3-D")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, b"\0\0\0\2", "its version is 2"),
        (20, b"\0\0\0\6", "voxels are of MGH type 6"),
        (4, b"\0\0\0\0", "sizes are 0 x 5"),
        (4, b"\x7f\0\0\0", "truncated: the header promises"),
        (30, b"\x7f\xc0\0\0", "geometry is not finite"),
    ],
)
def test_broken_headers(place: int, value: bytes, message: str, tmp_path: Path) -> None:
    refused(patched(mgh(tmp_path / "a.mgh"), {place: value}), message)
