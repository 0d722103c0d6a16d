"""DICOM segmentations: hard labels, and soft ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from svls_cli.arrays import IntArray, UIntArray
from svls_cli.dicom.files import SEGMENTATIONS, element, read_dataset
from svls_cli.dicom.frames import place_planes, segment_numbers
from svls_cli.dicom.pixels import check_pixels, read_frames
from svls_cli.dicom.planes import planes_of
from svls_cli.dicom.segments import read_segments
from svls_cli.dicom.series import Series
from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.segments import Segment
from svls_cli.labels.values import listed

_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


@dataclass(frozen=True)
class Segmentation:
    """The header of a DICOM segmentation, and the way to its voxels.

    Parameters
    ----------
    path
        Its file.
    kind
        ``BINARY``, ``FRACTIONAL`` or ``LABELMAP``, its SegmentationType.
    geometry
        Grid of its frames, or of the series that they were put on.
    segments
        Names, colours and codes by segment number, which is the label value.
    frames
        Segment number and slice of each frame; the number is 0 in a label map, whose
        frames hold all segments.
    maximum
        What stands for 1 in a fractional one.
    """

    path: Path
    dataset: pydicom.FileDataset
    kind: str
    geometry: Geometry
    segments: dict[int, Segment]
    frames: tuple[tuple[int, int], ...]
    maximum: int = 1

    def label_map(self) -> UIntArray:
        """(z, y, x) segment numbers; 0 is background.

        Raises
        ------
        InputError
            If segments overlap, or a frame cannot be decoded.
        """
        largest = max(self.segments, default=0)
        if self.kind == "LABELMAP":
            largest = 2 ** int(self.dataset.BitsAllocated) - 1
        labels: UIntArray = np.zeros(self.geometry.shape, np.min_scalar_type(largest))
        shared: Counter[tuple[int, int]] = Counter()
        for (segment, z), frame in zip(self.frames, self._decoded(), strict=True):
            if self.kind == "LABELMAP":
                labels[z] = frame
                continue
            inside = frame == 1
            taken = labels[z][inside]
            values, counts = np.unique(taken[taken > 0], return_counts=True)
            for other, n in zip(values.tolist(), counts.tolist(), strict=True):
                shared[other, segment] += n
            labels[z][inside] = segment
        if shared:
            raise InputError(
                "its segments overlap, and a voxel of a label map has one label: "
                + listed([self._overlap(*pair, n) for pair, n in shared.items()], 3)
            )
        return labels

    def fractions(self) -> tuple[UIntArray, UIntArray, list[int]]:
        """Shares of the segments, each combination that occurs once.

        Returns
        -------
        codes : (z, y, x)
            Row of ``rows`` of each voxel.
        rows : (combinations, 1 + segments) uint16
            Share of the background and of each segment, in parts of the sum of the row.
        numbers
            Segment number of each column; 0 first.

        Raises
        ------
        InputError
            If a voxel's shares add up to more than 1, or a frame cannot be decoded.
        """
        numbers = sorted(set(self.segments) | {number for number, _ in self.frames})
        columns = {number: column for column, number in enumerate(numbers, 1)}
        by_slice: dict[int, list[int]] = {}
        for index, (_, z) in enumerate(self.frames):
            by_slice.setdefault(z, []).append(index)
        order = [index for z in sorted(by_slice) for index in by_slice[z]]
        decoded = self._decoded(order)
        empty = np.zeros((1, 1 + len(numbers)), np.uint16)
        empty[0, 0] = self.maximum
        parts, codes = [empty], np.zeros(self.geometry.shape, np.uint32)
        n_rows = 1
        for z in sorted(by_slice):
            shares = np.zeros((1 + len(numbers), *self.geometry.shape[1:]), np.uint16)
            for index in by_slice[z]:
                shares[columns[self.frames[index][0]]] = next(decoded)
            total = shares.sum(axis=0, dtype=np.int64)
            self._check_total(z, numbers, shares, total)
            shares[0] = np.maximum(self.maximum - total, 0)
            rows, own = _distinct_columns(shares.reshape(len(shares), -1))
            codes[z] = own.reshape(codes[z].shape) + n_rows
            parts.append(rows)
            n_rows += len(rows)
        rows, own = _distinct_columns(np.concatenate(parts).T)
        smallest = own.astype(np.min_scalar_type(len(rows)))
        return smallest[codes], rows, [0, *numbers]

    def _decoded(self, order: Sequence[int] | None = None) -> Iterator[UIntArray]:
        """Frames, in an order, each checked to hold what its kind allows."""
        indices = range(len(self.frames)) if order is None else order
        for index, frame in zip(
            indices, read_frames(self.path, self.dataset, indices), strict=True
        ):
            if self.kind != "LABELMAP" and frame.max(initial=0) > self.maximum:
                raise InputError(
                    f"{int(frame.max())} in frame {index + 1}: the pixels of a "
                    f"{self.kind} segmentation lie in 0..{self.maximum}"
                )
            yield frame

    def _check_total(
        self, z: int, numbers: list[int], shares: UIntArray, total: IntArray
    ) -> None:
        # Each share may be rounded up by half a step.
        over = total > self.maximum + np.count_nonzero(shares, axis=0) / 2
        if not over.any():
            return
        y, x = (int(i) for i in np.argwhere(over)[0])
        parts = [
            f"{self.name(number)} {int(share) / self.maximum:.3g}"
            for number, share in zip(numbers, shares[1:, y, x], strict=True)
            if share
        ]
        raise InputError(
            "its segments' shares add up to more than 1 at "
            f"{np.count_nonzero(over)} voxels of slice {z}: voxel ({z}, {y}, {x}) is "
            + listed(parts)
        )

    def name(self, number: int) -> str:
        """What errors call a segment."""
        segment = self.segments.get(number)
        if not number:
            return "the background"
        return repr(segment.name) if segment and segment.name else f"segment {number}"

    def _overlap(self, one: int, other: int, n_voxels: int) -> str:
        return f"{self.name(one)} and {self.name(other)} share {n_voxels} voxels"


def read_segmentation(path: Path, series: Series | None = None) -> Segmentation:
    """Check a DICOM segmentation, by its header, and find its frames' places.

    Parameters
    ----------
    path
        Its file.
    series
        Image series that it was drawn on; its slices are the grid, and those that the
        file left out, as empty ones often are, are background. Without it the grid is
        that of the frames, gaps between them filled.

    Raises
    ------
    InputError
        If it is not a segmentation, is broken or truncated, is compressed in a way that
        cannot be decoded, lies on a slide, or does not lie on the grid.
    """
    dataset = read_dataset(path)
    if dataset.SOPClassUID not in SEGMENTATIONS:
        raise InputError(f"not a segmentation: it is {dataset.SOPClassUID.name}")
    kind = str(element(dataset, "SegmentationType"))
    if kind not in _KINDS:
        raise InputError(f"its SegmentationType is {kind}, not {', '.join(_KINDS)}")
    if "TotalPixelMatrixRows" in dataset or "ImageOrientationSlide" in dataset:
        raise InputError(
            "its frames are tiles of a microscope slide, not slices of a patient"
        )
    if dataset.get("NumberOfFrames") == 0:
        raise InputError("it has no frames")
    check_pixels(path, dataset)
    planes = planes_of(dataset)
    if len(planes) != int(dataset.get("NumberOfFrames") or 1):
        raise InputError(
            f"broken DICOM file: {dataset.NumberOfFrames} frames, and places of "
            f"{len(planes)}"
        )
    geometry, slices = place_planes(planes, series)
    numbers = [0] * len(planes)
    if kind != "LABELMAP":
        numbers = segment_numbers(dataset, len(planes))
    frames = tuple(zip(numbers, slices, strict=True))
    if twice := [frame for frame, n in Counter(frames).items() if n > 1]:
        of_segment = f" of segment {twice[0][0]}" if twice[0][0] else ""
        raise InputError(f"two frames{of_segment} lie in slice {twice[0][1]}")
    maximum = 1
    if kind == "FRACTIONAL":
        maximum = int(element(dataset, "MaximumFractionalValue"))
    return Segmentation(
        path,
        dataset,
        kind,
        geometry,
        read_segments(dataset, lowest=int(kind != "LABELMAP")),
        frames,
        maximum,
    )


def _distinct_columns(array: UIntArray) -> tuple[UIntArray, IntArray]:
    """The distinct columns of a 2-D array, sorted, as rows, and which of them each is.

    `numpy.unique` along an axis takes forty times as long: here a run of equal columns
    counts once, and whole numbers are sorted.
    """
    changes = (array[:, 1:] != array[:, :-1]).any(axis=0)
    starts = np.flatnonzero(np.concatenate([[True], changes]))
    ranks: IntArray = np.zeros(len(starts), np.int64)
    for row in array[:, starts]:
        ranks = np.unique((ranks << 16) + row, return_inverse=True)[1]
    distinct = np.empty((ranks.max() + 1, len(array)), array.dtype)
    distinct[ranks] = array[:, starts].T
    return distinct, np.repeat(ranks, np.diff(starts, append=array.shape[1]))
