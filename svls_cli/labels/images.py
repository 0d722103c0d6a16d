"""Reading label maps and images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import UIntArray
from svls_cli.errors import InputError
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.header import ImageHeader, check_regular
from svls_cli.labels.meta_image import read_meta_image
from svls_cli.labels.mgh import read_mgh
from svls_cli.labels.nifti import read_nifti
from svls_cli.labels.nrrd import read_nrrd
from svls_cli.labels.png import read_png
from svls_cli.labels.segments import Segment, read_segments
from svls_cli.labels.suffixes import JPEG, NO_JPEG, SUFFIXES, suffix_of
from svls_cli.labels.tiff import read_tiff
from svls_cli.labels.time_limit import time_limit
from svls_cli.labels.values import as_labels, listed
from svls_cli.labels.voxels import content_sha256, open_voxels

# After that long, and this much for its size, a disk does not answer or a reader hangs.
_PATIENCE_S, _SLOWEST_BYTES_PER_S, _DAY_S = 60, 2**19, 86_400
# Voxels converted at a time: bounds the memory beside the label map itself.
_SLAB_VOXELS = 2**24
_READERS = {
    ".nii": read_nifti, ".nii.gz": read_nifti, ".hdr": read_nifti,
    ".nrrd": read_nrrd, ".seg.nrrd": read_nrrd, ".nhdr": read_nrrd,
    ".mha": read_meta_image, ".mhd": read_meta_image,
    ".mgh": read_mgh, ".mgz": read_mgh,
    ".png": read_png, ".tif": read_tiff, ".tiff": read_tiff,
    ".ome.tif": read_tiff, ".ome.tiff": read_tiff,
}  # fmt: skip


@dataclass(frozen=True)
class ImageFile:
    """An open image file, checked to be complete and to have one number per voxel."""

    header: ImageHeader
    # (z, y, x) or (y, x): the stored numbers, which the header may scale.
    _stored: npt.NDArray[Any]

    @property
    def geometry(self) -> Geometry:
        """The voxel grid."""
        return self.header.geometry

    def read(self, rows: slice) -> npt.NDArray[Any]:
        """Read a range of slices of the first axis.

        Returns
        -------
        (rows, y, x) or (rows, x)
            In the file's own type; float64 if its header scales the voxels.
        """
        stored, header = self._stored[rows], self.header
        if (header.slope, header.intercept) != (1, 0):
            scaled: npt.NDArray[Any] = np.multiply(stored, header.slope, dtype=float)
            scaled += header.intercept
            return scaled
        return np.asarray(stored, stored.dtype.newbyteorder("="))


@dataclass(frozen=True)
class LabelFile:
    """An open label map file, checked to be whole and to have one label per voxel."""

    image: ImageFile
    # Names and colours by label value, if the file has them (3D Slicer).
    segments: Mapping[int, Segment]

    @property
    def geometry(self) -> Geometry:
        """The voxel grid."""
        return self.image.geometry

    @property
    def named(self) -> Sequence[Segment]:
        """None: labels go by their values."""
        return ()

    def notes(self, table: ClassTable) -> list[str]:
        """None: what is no label is an error."""
        return []

    def slabs(self) -> Iterator[tuple[slice, UIntArray, list[int]]]:
        """Read the labels, a few slices of the first axis at a time.

        Yields the range of slices, their labels, and the sorted distinct values.

        Raises
        ------
        InputError
            If a voxel is not a label, naming its value and position.
        """
        n, *rest = self.geometry.shape
        step = max(1, _SLAB_VOXELS // int(np.prod(rest)))
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n))
            yield rows, *as_labels(self.image.read(rows), first_row=start)

    def distinct(self) -> list[int]:
        """The distinct label values, sorted.

        Raises
        ------
        InputError
            As `slabs`.
        """
        distinct: set[int] = set()
        for _, _, values in self.slabs():
            distinct.update(values)
        return sorted(distinct)

    def indices(self, table: ClassTable, *, ignore_label: int | None) -> UIntArray:
        """Read the map as channels of ``table``; ``len(table)`` where ignored.

        Returns
        -------
        (*geometry.shape) uint8 up to 255 classes, else uint16

        Raises
        ------
        InputError
            As `slabs`, or if a value is not in the table.
        """
        shape = self.geometry.shape
        result: UIntArray = np.empty(shape, np.min_scalar_type(len(table)))
        for rows, slab, values in self.slabs():
            if unknown := table.unknown(values, ignore_label=ignore_label):
                raise InputError(
                    f"label values {listed(unknown)} are not among the classes "
                    f"({listed(table.values.tolist())})"
                )
            result[rows] = table.indices(slab, ignore_label=ignore_label)
        return result

    def soft(self, table: ClassTable, *, ignore_label: int | None) -> None:
        """None: every voxel has one class."""


@contextmanager
def open_image_file(path: Path) -> Iterator[ImageFile]:
    """Check an image file, its header first, and open it.

    Raises
    ------
    InputError
        If it cannot be read, is broken, or has several components per voxel, several
        times, complex numbers, or a palette.
    """
    header = read_header(path)
    if header.palette:
        raise InputError(
            "not an image: its pixels are places in a table of colours; save it as grey"
        )
    with time_limit(_longest(header)):
        yield _opened(header, "an image")


@contextmanager
def open_label_file(path: Path) -> Iterator[LabelFile]:
    """Check a label map file, its header first, and open it.

    Raises
    ------
    InputError
        If it cannot be read, is broken, or is not a label map: several components per
        voxel, segments in several layers, a time series, or complex numbers.
    """
    header = read_header(path)
    segments = read_segments(header.fields)
    if header.components > 1 and segments:
        raise InputError(
            f"its segments lie in {header.components} layers, as 3D Slicer keeps those "
            "that overlap; a label map has one label per voxel: export the segments "
            "as one label map"
        )
    with time_limit(_longest(header)):
        yield LabelFile(_opened(header, "a label map"), segments)


def read_header(path: Path) -> ImageHeader:
    """Read the header of an image file.

    Raises
    ------
    InputError
        If it cannot be read, is empty, is broken, or not what its suffix says.
    """
    check_regular(path)
    suffix = suffix_of(path)
    if path.suffix.lower() in JPEG:
        raise InputError(NO_JPEG)
    if not suffix:
        raise InputError(f"not a known format; expected one of {', '.join(SUFFIXES)}")
    try:
        if not path.stat().st_size:
            raise InputError("the file is empty")
        return _READERS[suffix](path)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}") from error


def _longest(header: ImageHeader) -> float:
    """Seconds after which whoever works on a file of this size does so in vain."""
    return min(_PATIENCE_S + header.n_bytes / _SLOWEST_BYTES_PER_S, _DAY_S)


def _opened(header: ImageHeader, what: str) -> ImageFile:
    if header.components > 1:
        raise InputError(f"not {what}: {header.components} components per voxel")
    return ImageFile(header, open_voxels(header))


def read_image(path: Path) -> tuple[Geometry, npt.NDArray[Any]]:
    """The grid of an image of one channel and its voxels, in the file's own type.

    Raises
    ------
    InputError
        If the file cannot be read, is broken, holds a NaN or infinity, or more than
        one number per voxel.
    """
    with open_image_file(path) as file:
        grid = file.geometry
        voxels = file.read(slice(0, grid.shape[0]))
    finite = np.isfinite(voxels)
    if finite.all():
        return grid, voxels
    voxel = np.unravel_index(int(np.argmin(finite)), voxels.shape)
    place = ", ".join(str(int(at)) for at in voxel)
    raise InputError(f"{voxels[voxel]} at voxel ({place}): images hold finite numbers")


def file_sha256(path: Path) -> str:
    """SHA-256 of a label map file's content, detached data included.

    Raises
    ------
    InputError
        If it cannot be read or its header is broken.
    """
    header = read_header(path)
    try:
        return content_sha256(header)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}") from error


def input_record(path: Path, rater: str | None = None) -> dict[str, Any]:
    """``name``, ``rater`` and ``sha256`` of a label map file, as a store keeps them.

    Raises
    ------
    InputError
        As `file_sha256`.
    """
    return {"name": path.name, "rater": rater, "sha256": file_sha256(path)}
