"""Label maps and images that tests make."""

import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from svls_cli.errors import InputError
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import open_label_file

# Direction cosines of a tilted scan.
OBLIQUE = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()

# The fields of a `.seg.nrrd` with one segment.
LIVER = {
    "Segment0_LabelValue": "1",
    "Segment0_Layer": "0",
    "Segment0_Name": "liver: left lobe",
    "Segment0_Color": "0.5 0 1",
}

# The same label twice.
TWO_SEGMENTS = {k.replace("0_", n): v for n in ("0_", "1_") for k, v in LIVER.items()}

LabelMap = npt.NDArray[Any]


def blobs(shape: Sequence[int], n_classes: int, *, seed: int = 0) -> LabelMap:
    """Smooth random regions of every class, as anatomy has them."""
    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.normal(size=shape), 2) for _ in range(n_classes)]
    return np.argmax(fields, axis=0).astype(np.uint8)


def row(*labels: int) -> LabelMap:
    """A label map of one row."""
    return np.array([labels], np.uint8)


def grid(shape: Sequence[int], spacing_mm: Sequence[float] | None = None) -> Geometry:
    """Of an image that lies straight."""
    n = len(shape)
    straight = tuple(np.eye(n).ravel().tolist())
    return Geometry(tuple(shape), spacing_mm or (1.0,) * n, (0.0,) * n, straight)


def write_image(
    path: Path,
    array: LabelMap,
    *,
    spacing: Sequence[float] | None = None,
    origin: Sequence[float] | None = None,
    direction: Sequence[float] | None = None,
) -> Path:
    """An image file; geometry in SimpleITK's (x, y, z) order."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing or (1.0,) * array.ndim)
    image.SetOrigin(origin or (0.0,) * array.ndim)
    if direction is not None:
        image.SetDirection(direction)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def patched(path: Path, places: dict[int, bytes]) -> Path:
    """The file with other bytes in some places."""
    content = bytearray(path.read_bytes())
    for place, value in places.items():
        content[place : place + len(value)] = value
    path.write_bytes(content)
    return path


def touch(folder: Path, *names: str) -> Path:
    """Empty files in a folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def unreadable(patch: pytest.MonkeyPatch, forbidden: Path) -> None:
    """Let nobody list a folder, not even root."""
    scandir = os.scandir

    def guarded(folder: Path) -> Any:
        if Path(folder) == forbidden:
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    patch.setattr(os, "scandir", guarded)


def segmentation(path: Path, array: npt.NDArray[Any], **fields: str) -> Path:
    """A `.seg.nrrd` as 3D Slicer writes it."""
    layered = array.ndim == 4
    sizes = " ".join(map(str, array.shape[::-1]))
    directions = ("none " if layered else "") + "(1,0,0) (0,1,0) (0,0,1)"
    kinds = ("list " if layered else "") + "domain domain domain"
    header = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {array.ndim}",
        "space: left-posterior-superior",
        f"sizes: {sizes}",
        f"space directions: {directions}",
        f"kinds: {kinds}",
        "encoding: gzip",
        "space origin: (0,0,0)",
        *(f"{key}:={value}" for key, value in fields.items()),
    ]
    path.parent.mkdir(exist_ok=True)
    content = "\n".join(header).encode() + b"\n\n" + gzip.compress(array.tobytes())
    path.write_bytes(content)
    return path


def read(path: Path) -> npt.NDArray[Any]:
    """The label values of every voxel, as the package reads them."""
    with open_label_file(path) as file:
        table = ClassTable.from_values(file.distinct())
        return table.values[file.indices(table, ignore_label=None)]


def refused(path: Path, message: str) -> None:
    """Check that the package does not read it, and says why."""
    with pytest.raises(InputError, match=message):
        read(path)
