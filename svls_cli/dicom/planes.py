"""Planes of DICOM images in the patient, and the voxel grid that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pydicom

from svls_cli.arrays import FloatArray, IntArray
from svls_cli.dicom.files import element, first_item
from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry

# How far from its place on the grid a plane may lie, in parts of a voxel's edges.
TOLERANCE = 0.05
# Planes are one below this distance; positions are often rounded to this, mm.
SAME_MM = 0.01
_SAME_COSINE = 1e-4
# Some write two digits of a cosine.
_ROUNDED = 0.02
# Keywords of the elements that `planes_of` reads.
PLANE_TAGS = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)


@dataclass(frozen=True)
class Plane:
    """One frame's place in the patient, in the order and the words of its header."""

    position_mm: tuple[float, ...]  # centre of the first pixel, LPS (x, y, z)
    orientation: tuple[float, ...]  # cosines along a row, then along a column
    pixel_spacing_mm: tuple[float, ...]  # between rows, between columns
    size: tuple[int, int]  # rows, columns
    # Distance to the next slice, or the slice's thickness, as far as its header tells.
    spacing_mm: float | None = None
    thickness_mm: float | None = None


@dataclass(frozen=True)
class Stack:
    """Parallel planes as a voxel grid."""

    geometry: Geometry
    slices: IntArray  # (planes,) slice of the grid that each plane is


def planes_of(dataset: pydicom.Dataset) -> list[Plane]:
    """The plane of each frame of an image, of one frame or several.

    Raises
    ------
    InputError
        If a frame's place, orientation or size of pixels is missing or is no number.
    """
    size = int(element(dataset, "Rows")), int(element(dataset, "Columns"))
    if not min(size):
        raise InputError(f"broken DICOM file: {size[0]} rows and {size[1]} columns")
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        return [_plane(size, dataset, dataset, dataset)]
    shared = first_item(dataset, "SharedFunctionalGroupsSequence") or pydicom.Dataset()

    def group(frame: pydicom.Dataset, keyword: str) -> pydicom.Dataset:
        found = first_item(frame, keyword) or first_item(shared, keyword)
        if found is None:
            raise InputError(f"its frames have no place in the patient: no {keyword}")
        return found

    return [
        _plane(
            size,
            group(frame, "PlanePositionSequence"),
            group(frame, "PlaneOrientationSequence"),
            group(frame, "PixelMeasuresSequence"),
        )
        for frame in dataset.PerFrameFunctionalGroupsSequence
    ]


def _plane(
    size: tuple[int, int],
    position: pydicom.Dataset,
    orientation: pydicom.Dataset,
    measures: pydicom.Dataset,
) -> Plane:
    plane = Plane(
        _numbers(position, "ImagePositionPatient", 3),
        _numbers(orientation, "ImageOrientationPatient", 6),
        _numbers(measures, "PixelSpacing", 2),
        size,
        _length(measures, "SpacingBetweenSlices"),
        _length(measures, "SliceThickness"),
    )
    if min(plane.pixel_spacing_mm) <= 0:
        raise InputError(f"broken DICOM file: PixelSpacing is {plane.pixel_spacing_mm}")
    return plane


def _numbers(dataset: pydicom.Dataset, keyword: str, n: int) -> tuple[float, ...]:
    values = element(dataset, keyword)
    numbers = tuple(float(value) for value in np.atleast_1d(values))
    if len(numbers) != n or not np.isfinite(numbers).all():
        raise InputError(f"broken DICOM file: {keyword} is {values}")
    return numbers


def _length(dataset: pydicom.Dataset, keyword: str) -> float | None:
    # The standard lets the distance of slices be negative, and many write 0.
    value = abs(float(dataset.get(keyword) or 0))
    return value if np.isfinite(value) and value else None


def stack_planes(planes: Sequence[Plane], names: Sequence[str]) -> Stack:
    """The grid of an image's planes, whose slices go along the planes' normal.

    Planes at one place are one slice. Slices between two planes that have none are part
    of the grid if they have room there: planes lie whole numbers of slices apart.

    Parameters
    ----------
    planes
        At least one.
    names
        What each is called in errors.

    Raises
    ------
    InputError
        If planes differ in size, orientation or spacing, are shifted against each
        other, or lie at distances that are no multiples of one.
    """
    first = planes[0]
    for plane, name in zip(planes, names, strict=True):
        _check_alike(first, plane, names[0], name)
    along_row, along_column = np.reshape(first.orientation, (2, 3))
    normal: FloatArray = np.cross(along_row, along_column)
    lengths = np.linalg.norm([along_row, along_column, normal], axis=1)
    if abs(lengths - 1).max() > _ROUNDED:
        raise InputError(
            f"broken DICOM file: ImageOrientationPatient is {first.orientation}, not "
            "two directions at right angles"
        )
    normal /= lengths[2]
    positions = np.array([plane.position_mm for plane in planes])
    distances = positions @ normal
    order = np.argsort(distances, kind="stable")
    steps_mm = np.diff(distances[order])
    apart = steps_mm > SAME_MM
    spacing_mm = _slice_spacing(first, steps_mm[apart])
    slices = np.zeros(len(planes), np.intp)
    steps = np.where(apart, np.rint(steps_mm / spacing_mm), 0).astype(np.intp)
    slices[order[1:]] = np.cumsum(steps)
    if steps.sum():  # the mean distance is more exact than any one
        spacing_mm = float(steps_mm.sum() / steps.sum())
    origin = positions[order[0]]
    off_mm = positions - (origin + np.outer(slices * spacing_mm, normal))
    along = abs(off_mm @ normal)
    across = np.linalg.norm(off_mm - np.outer(off_mm @ normal, normal), axis=1)
    if along.max() > max(SAME_MM, TOLERANCE * spacing_mm):
        raise InputError(
            "its slices are not evenly spaced: they lie "
            f"{np.unique(steps_mm[apart].round(3)).tolist()} mm apart"
        )
    if across.max() > max(SAME_MM, TOLERANCE * min(first.pixel_spacing_mm)):
        raise InputError(
            f"its slices are shifted against each other, by {across.max():.3g} mm at "
            f"{names[int(across.argmax())]}, as with a tilted gantry: they are no grid "
            "of right angles"
        )
    rows_mm, columns_mm = first.pixel_spacing_mm
    geometry = Geometry.from_axes(
        (first.size[1], first.size[0], int(slices.max()) + 1),
        (along_row, along_column, normal),
        origin,
        (columns_mm, rows_mm, spacing_mm),
    )
    return Stack(geometry, slices)


def _slice_spacing(plane: Plane, steps_mm: FloatArray) -> float:
    """Distance between slices: the declared one if all planes fit it."""
    declared = plane.spacing_mm
    if steps_mm.size:
        steps = steps_mm / (declared or steps_mm.min())
        fits = (steps > 1 - TOLERANCE) & (abs(steps - np.rint(steps)) <= TOLERANCE)
        return declared if declared and fits.all() else float(steps_mm.min())
    known = declared or plane.thickness_mm
    if known is None:
        raise InputError(
            "a single slice, and its header has no SpacingBetweenSlices nor "
            "SliceThickness: nobody knows how thick it is"
        )
    return known


def _check_alike(first: Plane, plane: Plane, first_name: str, name: str) -> None:
    differences = {
        "sizes": (first.size, plane.size, 0.0),
        "orientations": (first.orientation, plane.orientation, _SAME_COSINE),
        "spacings": (first.pixel_spacing_mm, plane.pixel_spacing_mm, 1e-4),
    }
    for what, (one, other, tolerance) in differences.items():
        if any(abs(a - b) > tolerance for a, b in zip(one, other, strict=True)):
            raise InputError(
                f"slices of different {what}: {one} in {first_name} and {other} in "
                f"{name}"
            )
