"""An RTSTRUCT and its image series as a source of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from svls_cli.arrays import UIntArray
from svls_cli.dicom.series import Series, SeriesFiles, choose_series, read_series
from svls_cli.dicom.shares import LEVELS, soft_volume
from svls_cli.dicom.sources import file_sha256, series_sha256
from svls_cli.dicom.structures import (
    References,
    Structure,
    on_slices,
    read_references,
    read_structure_set,
)
from svls_cli.errors import InputError
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.segments import Segment
from svls_cli.labels.sources import Kind, SoftLabels
from svls_cli.labels.values import listed


@dataclass(frozen=True)
class ContourLabels:
    """Structures on the grid of their series; they are classes by their names.

    Parameters
    ----------
    geometry
        Grid of the series.
    structures
        All of the file.
    note
        A remark on the file, or empty.
    """

    geometry: Geometry
    structures: tuple[Structure, ...]
    note: str = ""
    # What structures have in common, once their labels were read.
    _overlaps: list[str] = field(default_factory=list, init=False)

    @property
    def segments(self) -> Mapping[int, Segment]:
        """None: ROI numbers are any, and differ from file to file."""
        return {}

    @property
    def named(self) -> tuple[Segment, ...]:
        """Names and colours of the structures that have an area."""
        return _named(self.structures)

    def distinct(self) -> list[int]:
        """The background; structures have names."""
        return [0]

    def notes(self, table: ClassTable) -> list[str]:
        """What makes no labels of these classes."""
        names = {label.name for label in table.classes}
        structures = [s for s in self.structures if s.name in names or not s.is_drawn]
        notes = [self.note, *(structure.note for structure in structures)]
        if others := [s.name for s in self.structures if s not in structures]:
            notes.append(f"structures that are not among the classes: {listed(others)}")
        if self._overlaps:
            notes.append(
                f"structures overlap and share: {listed(self._overlaps, 3)}; --classes "
                "leaves structures out"
            )
        return [note for note in notes if note]

    def indices(self, table: ClassTable, *, ignore_label: int | None) -> UIntArray:
        """Class with the largest share of each voxel; of equal ones the first.

        Raises
        ------
        InputError
            As `soft`.
        """
        return self.soft(table, ignore_label=ignore_label).indices()

    def soft(self, table: ClassTable, *, ignore_label: int | None) -> SoftLabels:
        """Share of each voxel's area that lies inside each structure.

        Raises
        ------
        InputError
            If no structure is among the classes, there is no background among them, two
            structures have one name, or a contour is not in the plane of a slice.
        """
        channels = {label.name: label.index for label in table.classes}
        named = [each for each in self.structures if each.name in channels]
        if self.structures and not named:
            raise InputError(
                "none of its structures is among the classes: they are "
                f"{listed([each.name for each in self.structures])}, and the classes "
                f"{listed(list(channels))}"
            )
        if 0 not in table.values:
            raise InputError("contours need a background, label 0, among the classes")
        drawn = [each for each in named if each.contours]
        names = Counter(each.name for each in drawn)
        if twice := [name for name, n in names.items() if n > 1]:
            raise InputError(f"two structures are named {twice[0]!r}")
        slices = [on_slices(each, self.geometry) for each in drawn]
        codes, shares, overlaps = soft_volume(slices, self.geometry.shape)
        self._overlaps[:] = [
            f"{drawn[one].name!r} and {drawn[other].name!r} {n} voxels"
            for (one, other), n in overlaps.most_common()
        ]
        columns = np.array([channels[each.name] for each in drawn], np.intp)
        pairs = np.array([*chain.from_iterable(shares)], np.intp).reshape(-1, 2)
        rows = np.zeros((len(shares), len(table)))
        at = np.repeat(np.arange(len(shares)), [len(each) for each in shares])
        rows[at, columns[pairs[:, 0]]] = pairs[:, 1]
        rows[:, table.values.tolist().index(0)] += LEVELS - rows.sum(axis=1)
        hard = rows.argmax(axis=1)
        rows /= LEVELS
        return SoftLabels(codes, rows, hard)


@dataclass(frozen=True)
class ContourFile:
    """An RTSTRUCT, and the image series that it was drawn on.

    Parameters
    ----------
    path
        Its file.
    series
        Files of the series, whose slices are the grid.
    problem
        Why there is no series.
    """

    path: Path
    series: SeriesFiles | None
    problem: str = ""

    @property
    def kind(self) -> Kind:
        return "contours"

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)

    def named(self) -> tuple[Segment, ...]:
        return _named(read_structure_set(self.path).structures)

    def geometry(self) -> Geometry:
        return self._grid().geometry

    @contextmanager
    def open(self) -> Iterator[ContourLabels]:
        series = self._grid()
        drawn = read_structure_set(self.path)
        note = _check_images(drawn.references, series)
        yield ContourLabels(series.geometry, drawn.structures, note)

    def records(self, rater: str | None = None) -> list[dict[str, Any]]:
        grid = self._grid()
        digests = {
            self.path.name: file_sha256(self.path),
            grid.files.folder.name: series_sha256(grid),
        }
        return [
            {"name": name, "rater": rater, "sha256": digest}
            for name, digest in digests.items()
        ]

    def absolute(self) -> ContourFile:
        series = self.series and self.series.absolute()
        return ContourFile(self.path.absolute(), series, self.problem)

    def _grid(self) -> Series:
        if self.series is None:
            raise InputError(self.problem)
        return read_series(self.series)


def find_contour_file(path: Path, found: Mapping[str, SeriesFiles]) -> ContourFile:
    """An RTSTRUCT, and which of the series found it was drawn on."""
    try:
        references = read_references(path)
        if not found:
            raise InputError(
                "contours have no voxels: they need the image series that they were "
                "drawn on (--series)"
            )
        known = [uid for uid in references.series if uid in found]
        uid = next(iter(known or references.series), "")
        frame = next(iter(references.frames), "")
        return ContourFile(
            path, choose_series(found, uid=uid, frame_of_reference=frame)
        )
    except InputError as error:
        return ContourFile(path, None, str(error))


def _check_images(references: References, series: Series) -> str:
    """Check that contours were drawn on these images; a remark if that is unsure.

    Raises
    ------
    InputError
        If they were not.
    """
    if references.images and references.images.isdisjoint(series.sop_instance_uids):
        raise InputError(
            "its contours were drawn on other images: it refers to SOPInstanceUID "
            f"{min(references.images)} and others, and none of them is in the image "
            f"series in {series.files.folder}"
        )
    frame = series.files.frame_of_reference
    if frame and references.frames and frame not in references.frames:
        return (
            "its FrameOfReferenceUID is not that of its image series: taken to be the "
            "same"
        )
    return ""


def _named(structures: Iterable[Structure]) -> tuple[Segment, ...]:
    """Names and colours of the structures that have an area."""
    return tuple(Segment(s.name, s.color) for s in structures if s.is_drawn)
