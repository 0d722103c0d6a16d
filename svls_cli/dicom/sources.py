"""DICOM segmentations as sources of labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from svls_cli.arrays import FloatArray, IntArray, UIntArray
from svls_cli.dicom.segmentation import Segmentation, read_segmentation
from svls_cli.dicom.series import Series, SeriesFiles, read_series
from svls_cli.errors import InputError
from svls_cli.labels.classes import ClassTable, default_name
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.segments import Segment
from svls_cli.labels.sources import Kind, Labels, SoftLabels
from svls_cli.labels.values import distinct_values, listed, look_up


@dataclass(frozen=True)
class SegmentationFile:
    """A DICOM segmentation, and the image series that it was drawn on.

    Parameters
    ----------
    path
        Its file.
    kind
        ``probabilities`` if it is fractional, else ``hard``.
    series
        Files of the series, whose slices are the grid; without it the grid is that of
        the frames.
    problem
        Why the series cannot be used, if it is wanted and cannot.
    """

    path: Path
    kind: Kind
    series: SeriesFiles | None = None
    problem: str = ""

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)

    def named(self) -> tuple[Segment, ...] | None:
        return _named(self._read()) or None

    def geometry(self) -> Geometry:
        return self._read().geometry

    @contextmanager
    def open(self) -> Iterator[Labels]:
        yield SegmentationLabels(self._read(), self.series is not None)

    def records(self, rater: str | None = None) -> list[dict[str, Any]]:
        digests = {self.path.name: file_sha256(self.path)}
        if self.series is not None:
            digests[self.series.folder.name] = series_sha256(read_series(self.series))
        return [
            {"name": name, "rater": rater, "sha256": digest}
            for name, digest in digests.items()
        ]

    def absolute(self) -> SegmentationFile:
        series = self.series and self.series.absolute()
        return SegmentationFile(self.path.absolute(), self.kind, series, self.problem)

    def _read(self) -> Segmentation:
        if self.problem:
            raise InputError(self.problem)
        series = None if self.series is None else read_series(self.series)
        return read_segmentation(self.path, series)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}") from error


def series_sha256(series: Series) -> str:
    """SHA-256 of a series' grid, which is all that labels take from it."""
    text = json.dumps(series.geometry.to_json(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class SegmentationLabels:
    """The labels of a DICOM segmentation."""

    file: Segmentation
    on_series: bool  # whether the grid is that of the image series

    @property
    def geometry(self) -> Geometry:
        return self.file.geometry

    @property
    def segments(self) -> Mapping[int, Segment]:
        """None if all have names; 0 is the background, whatever the file calls it."""
        if self.named:
            return {}
        return {number: s for number, s in self.file.segments.items() if number}

    @cached_property
    def named(self) -> Sequence[Segment]:
        return _named(self.file)

    def notes(self, table: ClassTable) -> list[str]:
        """Whether slices may be missing, as a file leaves out empty ones."""
        if self.on_series or not self._at_ends:
            return []
        return [
            "its labels reach its first or last slice: --series brings back empty "
            "slices that the file left out"
        ]

    @property
    def _is_soft(self) -> bool:
        return self.file.kind == "FRACTIONAL"

    @property
    def _at_ends(self) -> bool:
        """Whether the first or last slice has more than background."""
        if not self._is_soft:
            return bool(self._label_map[[0, -1]].any())
        codes, rows, values = self._fractions
        inside = np.flatnonzero(rows[:, values != 0].sum(axis=1))
        return bool(np.isin(codes[[0, -1]], inside).any())

    @cached_property
    def _label_map(self) -> UIntArray:
        return self.file.label_map()

    @cached_property
    def _fractions(self) -> tuple[UIntArray, UIntArray, IntArray]:
        """Codes, shares of each, and the label value of each column."""
        codes, rows, numbers = self.file.fractions()
        occur = rows.any(axis=0)
        return codes, rows[:, occur], np.array(numbers)[occur]

    @cached_property
    def _numbers(self) -> IntArray:
        """Numbers of the segments that occur, 0 for the background; sorted."""
        if self._is_soft:
            return self._fractions[2]
        return distinct_values(self._label_map).astype(np.int64)

    def distinct(self) -> list[int]:
        named = [segment.value for segment in self.named]
        return [number for number in self._numbers.tolist() if number not in named]

    def indices(self, table: ClassTable, *, ignore_label: int | None) -> UIntArray:
        soft = self.soft(table, ignore_label=ignore_label)
        if soft is not None:
            return soft.indices()
        channels = self._channels(table, ignore_label)
        lookup = np.zeros(self._numbers[-1] + 1, np.min_scalar_type(len(table)))
        lookup[self._numbers] = channels
        return look_up(lookup, self._label_map)

    def _channels(self, table: ClassTable, ignore_label: int | None) -> list[int]:
        """Channel of each number that occurs; ``len(table)`` if it is ignored."""
        by_name = {label.name: label.index for label in table.classes}
        channels = {label.value: label.index for label in table.classes}
        for segment in self.named:
            number = int(segment.value or 0)
            if segment.name in by_name:
                channels[number] = by_name[segment.name]
            elif default_name(number) not in by_name:  # the class has another name
                channels.pop(number, None)
        if ignore_label is not None:
            channels[ignore_label] = len(table)
        numbers = self._numbers.tolist()
        if unknown := [number for number in numbers if number not in channels]:
            raise InputError(
                f"{listed([self.file.name(number) for number in unknown])} not among "
                f"the classes ({listed(list(by_name))})"
            )
        return [channels[number] for number in numbers]

    def soft(self, table: ClassTable, *, ignore_label: int | None) -> SoftLabels | None:
        if not self._is_soft:
            return None
        codes, rows, _ = self._fractions
        shares: FloatArray = np.zeros((len(rows), len(table) + 1))
        for own, channel in zip(
            rows.T, self._channels(table, ignore_label), strict=True
        ):
            shares[:, channel] += own
        # The last column is the ignore label: it takes a voxel or none of it.
        hard = shares.argmax(axis=1)
        shares = shares[:, :-1]
        shares[hard == len(table)] = 0
        total = shares.sum(axis=1, keepdims=True)
        np.divide(shares, total, out=shares, where=total > 0)
        return SoftLabels(codes, shares, hard)


def _named(file: Segmentation) -> tuple[Segment, ...]:
    """The segments, which are classes by their names if each has one."""
    segments = {number: s for number, s in file.segments.items() if number}
    if not all(segment.name for segment in segments.values()):
        return ()
    return tuple(replace(s, value=number) for number, s in segments.items())
