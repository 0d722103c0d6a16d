"""Reading label maps and images; with `output`, the only user of SimpleITK.

SimpleITK's (x, y, z) is reversed here and in `output`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from svls_cli.arrays import UIntArray
from svls_cli.errors import InputError
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.headers import Container, read_container
from svls_cli.labels.integrity import content_sha256, plain_file
from svls_cli.labels.segments import Segment, read_segments
from svls_cli.labels.values import as_labels, listed, not_a_label

# Silence ITK's warnings about headers on stderr; problems are raised as errors.
sitk.ProcessObject.SetGlobalWarningDisplay(False)

# Voxels converted at a time: bounds the memory beside the label map itself.
_SLAB_VOXELS = 2**24


@dataclass(frozen=True)
class ImageFile:
    """An open image file, checked to be complete and to have one number per voxel."""

    geometry: Geometry
    container: Container
    _reader: sitk.ImageFileReader
    _plain: Path

    def read(self, rows: slice) -> npt.NDArray[Any]:
        """Read a range of slices of the first axis, in the file's own type.

        Raises
        ------
        InputError
            If ITK cannot read the voxels.
        """
        size = list(reversed(self.geometry.shape))
        index = [0] * self._reader.GetDimension()
        size[-1] = rows.stop - rows.start
        index[len(size) - 1] = rows.start
        # Size 0 drops an axis: trailing axes of one voxel, as in 4-D files of one time.
        size += [0] * (self._reader.GetDimension() - len(size))
        self._reader.SetExtractIndex(index)
        self._reader.SetExtractSize(size)
        voxels: npt.NDArray[Any] = sitk.GetArrayFromImage(
            call_itk(self._reader.Execute)
        )
        return voxels

    @property
    def rows_at_a_time(self) -> int:
        """Number of slices to read at once: bounds the memory beside the image."""
        shape = self.geometry.shape
        if self._reader.GetImageIO() == "NrrdImageIO":
            return shape[0]  # ITK reads the whole file for any part of it
        return max(1, _SLAB_VOXELS // int(np.prod(shape[1:])))

    def not_finite(self) -> tuple[Any, tuple[Any, ...]] | None:
        """First NaN or infinity in a NIfTI file's own bytes, and its voxel; else None.

        ITK's NIfTI reader turns it into 0.
        """
        container = self.container
        if not container.float_dtype:
            return None
        data = self._plain if container.compression else container.data_path
        count = int(np.prod(self.geometry.shape))
        voxels = np.memmap(
            data, container.float_dtype, "r", container.data_offset, (count,)
        )
        for start in range(0, count, _SLAB_VOXELS):
            finite = np.isfinite(voxels[start : start + _SLAB_VOXELS])
            if not finite.all():
                first = start + int(np.argmin(finite))
                voxel = np.unravel_index(first, self.geometry.shape)
                return voxels[first], voxel
        return None


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

    def slabs(self) -> Iterator[tuple[slice, UIntArray, list[int]]]:
        """Read the labels, a few slices of the first axis at a time.

        Yields the range of slices, their labels, and the sorted distinct values.

        Raises
        ------
        InputError
            If a voxel is not a label, naming its value and position, or if ITK cannot
            read the file.
        """
        if not_finite := self.image.not_finite():
            raise not_a_label(*not_finite)
        n, step = self.geometry.shape[0], self.image.rows_at_a_time
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


@contextmanager
def open_image_file(path: Path) -> Iterator[ImageFile]:
    """Check an image file, its header first, and open it.

    Raises
    ------
    InputError
        If it cannot be read, is broken, or has several components per voxel, several
        times, or complex numbers.
    """
    with _opened(read_container(path), "an image") as file:
        yield file


@contextmanager
def open_label_file(path: Path) -> Iterator[LabelFile]:
    """Check a label map file, its header first, and open it.

    Raises
    ------
    InputError
        If it cannot be read, is broken, or is not a label map: several components per
        voxel, overlapping segments, a time series, or complex numbers.
    """
    container = read_container(path)
    segments = read_segments(container)
    with _opened(container, "a label map", overlapping=bool(segments)) as image:
        yield LabelFile(image, segments)


@contextmanager
def _opened(
    container: Container, what: str, *, overlapping: bool = False
) -> Iterator[ImageFile]:
    with plain_file(container) as plain:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(plain))
        call_itk(reader.ReadImageInformation)
        ndim = _check_header(reader, what, overlapping=overlapping)
        yield ImageFile(read_geometry(reader, ndim), container, reader, plain)


def file_sha256(path: Path) -> str:
    """SHA-256 of a label map file's content, detached data included.

    Raises
    ------
    InputError
        If it cannot be read or its header is broken.
    """
    return content_sha256(read_container(path))


def input_record(path: Path, rater: str | None = None) -> dict[str, Any]:
    """``name``, ``rater`` and ``sha256`` of a label map file, as a store keeps them.

    Raises
    ------
    InputError
        As `file_sha256`.
    """
    return {"name": path.name, "rater": rater, "sha256": file_sha256(path)}


def _check_header(reader: sitk.ImageFileReader, what: str, *, overlapping: bool) -> int:
    """Check that voxels are single real numbers; return the number of spatial axes."""
    size, components = reader.GetSize(), reader.GetNumberOfComponents()
    pixel_type = sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())
    if components != 1 and overlapping:
        raise InputError(
            f"its segments overlap ({components} layers); a label map has one label "
            "per voxel: export the segments as one label map"
        )
    if components != 1:
        raise InputError(
            f"not {what}: {components} components per voxel ({pixel_type})"
        )
    if "complex" in pixel_type:
        raise InputError(f"not {what}: its voxels are {pixel_type}")
    if len(size) < 2 or any(n != 1 for n in size[3:]):
        raise InputError(
            f"not {what}: {len(size)}-D, {' x '.join(map(str, size))}; expected "
            "2-D or 3-D"
        )
    return min(len(size), 3)


def read_geometry(reader: sitk.ImageFileReader, ndim: int) -> Geometry:
    """Voxel grid of an ITK image; a negative spacing becomes a flipped direction.

    Raises
    ------
    InputError
        If the geometry is not finite, or the direction is singular.
    """
    dimension = reader.GetDimension()
    direction = np.reshape(reader.GetDirection(), (dimension, dimension))[:ndim, :ndim]
    spacing = np.array(reader.GetSpacing()[:ndim])
    origin = reader.GetOrigin()[:ndim]
    if not all(np.isfinite(v).all() for v in (direction, spacing, origin)):
        raise InputError(
            f"its geometry is not finite: {spacing}, {origin}, {direction}"
        )
    if np.linalg.det(direction) == 0:
        raise InputError(f"its direction cosines are singular: {direction.tolist()}")
    direction = direction * np.where(spacing < 0, -1.0, 1.0)
    return Geometry(
        shape=tuple(reversed(reader.GetSize()[:ndim])),
        spacing_mm=tuple(np.abs(spacing)[::-1].tolist()),
        origin_mm=tuple(reversed(origin)),
        # Reversing a row-major matrix reverses both its rows and its columns.
        direction=tuple(direction.ravel()[::-1].tolist()),
    )


def call_itk(call: Any, doing: str = "read") -> Any:
    """Call ITK, whose exceptions are RuntimeErrors with the reason in the last line.

    Raises
    ------
    InputError
        If ITK fails, with that reason.
    """
    try:
        return call()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("sitk::ERROR: ")
        raise InputError(f"ITK cannot {doing} it: {reason}") from error
