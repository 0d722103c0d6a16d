"""Structures of a DICOM RTSTRUCT: their names, colours and closed contours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from svls_cli.arrays import FloatArray
from svls_cli.dicom.files import RTSTRUCT, read_dataset, text, understood
from svls_cli.dicom.planes import SAME_MM, TOLERANCE
from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.names import composed
from svls_cli.labels.values import listed

# Contours of these types enclose an area; with several on a slice, both mean even-odd.
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OTHERS = ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")
# What follows the structures' names; a file that lacks both has lost its contours.
_AT_ITS_END = ("ROIContourSequence", "RTROIObservationsSequence")


@dataclass(frozen=True)
class Structure:
    """One structure (ROI), as drawn.

    Parameters
    ----------
    name
        Name to show and to find its class by.
    color
        RRGGBB, or empty.
    contours : (n, 3) each, mm
        Vertices (x, y, z), LPS, of the contours that enclose an area.
    left_out
        How many contours enclose none, by what they are.
    """

    name: str
    color: str
    contours: tuple[FloatArray, ...]
    left_out: Mapping[str, int]

    @property
    def is_drawn(self) -> bool:
        """Whether it has an area: an isocentre has none, nor an organ not drawn yet."""
        return bool(self.contours)

    @property
    def note(self) -> str:
        """What of it makes no labels, if anything."""
        if self.left_out:
            count = ", ".join(f"{n} {what}" for what, n in self.left_out.items())
            return f"structure {self.name!r}: left out what has no area: {count}"
        return "" if self.contours else f"structure {self.name!r} has no contours"


@dataclass(frozen=True)
class References:
    """The images that structures were drawn on, by what the file says.

    Parameters
    ----------
    series, frames, images
        SeriesInstanceUID, FrameOfReferenceUID and SOPInstanceUID that it refers to.
    """

    series: tuple[str, ...]
    frames: tuple[str, ...]
    images: frozenset[str]


@dataclass(frozen=True)
class StructureSet:
    """What an RTSTRUCT holds: structures, in its order, and what they refer to."""

    structures: tuple[Structure, ...]
    references: References


def read_references(path: Path) -> References:
    """Read which images an RTSTRUCT was drawn on, and no contours.

    Raises
    ------
    InputError
        If it cannot be read, or is no RTSTRUCT.
    """
    tags = ("ReferencedFrameOfReferenceSequence", "StructureSetROISequence")
    dataset = _read(path, *tags)
    with understood(path):
        return _references(dataset)


def read_structure_set(path: Path) -> StructureSet:
    """Read an RTSTRUCT.

    Raises
    ------
    InputError
        If it cannot be read, is no RTSTRUCT, or is broken: a structure has no number
        or two have the same, coordinates are no numbers or not three for each point.
    """
    dataset = _read(path)
    with understood(path):
        return StructureSet(_structures(dataset), _references(dataset))


def _read(path: Path, *tags: str) -> pydicom.Dataset:
    dataset = read_dataset(path, tags=tags)
    if dataset.SOPClassUID != RTSTRUCT:
        raise InputError(f"not an RTSTRUCT: it is {dataset.SOPClassUID.name}")
    return dataset


def _items(dataset: pydicom.Dataset, *keywords: str) -> Iterator[pydicom.Dataset]:
    """Items of a sequence, or of sequences in its items."""
    for item in dataset.get(keywords[0]) or ():
        if len(keywords) == 1:
            yield item
        else:
            yield from _items(item, *keywords[1:])


def _references(dataset: pydicom.Dataset) -> References:
    frames = list(_items(dataset, "ReferencedFrameOfReferenceSequence"))
    in_study = ("RTReferencedStudySequence", "RTReferencedSeriesSequence")
    series = [item for frame in frames for item in _items(frame, *in_study)]
    uids = [frame.get("FrameOfReferenceUID") for frame in frames]
    uids += [
        roi.get("ReferencedFrameOfReferenceUID")
        for roi in _items(dataset, "StructureSetROISequence")
    ]
    contours = _items(dataset, "ROIContourSequence", "ContourSequence")
    return References(
        tuple(dict.fromkeys(str(item.SeriesInstanceUID) for item in series)),
        tuple(dict.fromkeys(str(uid) for uid in uids if uid)),
        frozenset(
            str(image.ReferencedSOPInstanceUID)
            for item in (*series, *contours)
            for image in _items(item, "ContourImageSequence")
        ),
    )


def _structures(dataset: pydicom.Dataset) -> tuple[Structure, ...]:
    if not any(keyword in dataset for keyword in _AT_ITS_END):
        raise InputError("truncated: it has no ROIContourSequence")
    drawn: dict[int, pydicom.Dataset] = {}
    for item in _items(dataset, "ROIContourSequence"):
        number = int(item.ReferencedROINumber)
        if drawn.setdefault(number, item) is not item:
            raise InputError(f"broken DICOM file: contours of ROI {number} given twice")
    declared = list(_items(dataset, "StructureSetROISequence"))
    numbers = [int(roi.ROINumber) for roi in declared]
    if twice := [n for n, count in Counter(numbers).items() if count > 1]:
        raise InputError(
            f"broken DICOM file: two structures have ROI number {twice[0]}"
        )
    if unknown := sorted(set(drawn) - set(numbers)):
        raise InputError(
            f"broken DICOM file: contours of ROI {listed(unknown)}, which has no name"
        )
    if not declared:
        raise InputError("an RTSTRUCT without structures")
    return tuple(
        _structure(roi, drawn.get(number, pydicom.Dataset()))
        for number, roi in zip(numbers, declared, strict=True)
    )


def _structure(roi: pydicom.Dataset, drawn: pydicom.Dataset) -> Structure:
    name = composed(text(roi, "ROIName")) or f"ROI {roi.ROINumber}"
    contours: list[FloatArray] = []
    known: set[bytes] = set()
    left_out: Counter[str] = Counter()
    for item in drawn.get("ContourSequence") or ():
        kind = str(item.get("ContourGeometricType") or "")
        if kind not in (*_CLOSED, *_OTHERS):
            raise InputError(
                f"structure {name!r}: a contour of type {kind!r}; known are "
                + ", ".join((*_CLOSED, *_OTHERS))
            )
        points = _points(item, name)
        if kind in _OTHERS:
            left_out[kind] += 1
        elif len(points) < 3:
            left_out[f"{kind} of fewer than 3 points"] += 1
        elif points.tobytes() in known:  # even-odd, both would be gone
            left_out[f"{kind} given twice"] += 1
        else:
            known.add(points.tobytes())
            contours.append(points)
    color = [int(part) for part in drawn.get("ROIDisplayColor") or ()]
    shown = len(color) == 3 and all(0 <= part <= 255 for part in color)
    return Structure(
        name,
        "".join(f"{part:02X}" for part in color) if shown else "",
        tuple(contours),
        left_out,
    )


def _points(contour: pydicom.Dataset, name: str) -> FloatArray:
    """(n, 3) vertices; read from the file's text, as pydicom takes a minute for it."""
    stored = contour.get_item("ContourData")
    value = stored.value if stored else None
    if isinstance(value, bytes):
        text = value.decode("ascii", "replace").rstrip(" \0")
        value = text.split("\\") if text else None
    try:
        numbers = np.array(value or (), np.float64)
    except ValueError as error:
        raise InputError(f"structure {name!r}: a coordinate is no number") from error
    if numbers.size % 3 or not np.isfinite(numbers).all():
        raise InputError(
            f"structure {name!r}: {numbers.size} coordinates of a contour, which are "
            "not three finite numbers for each point"
        )
    return numbers.reshape(-1, 3)


def on_slices(structure: Structure, grid: Geometry) -> dict[int, list[FloatArray]]:
    """Contours of a structure by slice of a grid, as (n, 2) vertices (y, x) in voxels.

    Raises
    ------
    InputError
        If one lies between slices, across them, beyond the first or last, or wholly
        beside the images.
    """
    if not structure.contours:
        return {}
    points_mm = np.concatenate(structure.contours)[:, ::-1]  # (z, y, x), as the grid
    axes = np.reshape(grid.direction, (3, 3)) * grid.spacing_mm
    voxels = np.linalg.solve(axes, (points_mm - grid.origin_mm).T).T
    ends = np.cumsum([len(contour) for contour in structure.contours])
    placed: dict[int, list[FloatArray]] = {}
    tolerance = TOLERANCE + SAME_MM / grid.spacing_mm[0]
    for points, contour in zip(
        np.split(voxels, ends[:-1]), structure.contours, strict=True
    ):
        low, high = points[:, 0].min(), points[:, 0].max()
        at, how = round((low + high) / 2), ""
        if max(at - low, high - at) > tolerance or not 0 <= at < grid.shape[0]:
            how = _misplaced(low, high, tolerance, grid.shape[0])
        elif (points[:, 1:].max(0) < -0.5).any() or (
            points[:, 1:].min(0) > np.array(grid.shape[1:]) - 0.5
        ).any():
            how = "lies beside the images: it was drawn on others"
        if how:
            where = ", ".join(f"{mm:g}" for mm in contour[0])
            raise InputError(
                f"structure {structure.name!r}: the contour that begins at ({where}) "
                f"mm {how}"
            )
        placed.setdefault(at, []).append(points[:, 1:])
    return placed


def _misplaced(low: float, high: float, tolerance: float, n_slices: int) -> str:
    """How a contour lies that lies on no slice; positions are in slices."""
    if high - low > 2 * tolerance:
        return (
            f"lies across slices {low:.2f} to {high:.2f} of the image series, counted "
            "from 0: it was drawn in planes of another orientation"
        )
    at = (low + high) / 2
    if -0.5 <= at <= n_slices - 0.5:
        return (
            f"lies between slices, at {at:.2f} of 0 to {n_slices - 1} of the image "
            "series: it was drawn on other images, or interpolated"
        )
    return (
        f"lies beyond the image series, at slice {at:.2f} of 0 to {n_slices - 1}: "
        "slices are missing, or it was drawn on other images"
    )
