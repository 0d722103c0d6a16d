"""Where the label map of a case is read from, whatever the kind of its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from svls_cli.arrays import FloatArray, IntArray, UIntArray
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import input_record, open_label_file, read_header
from svls_cli.labels.segments import Segment
from svls_cli.labels.values import look_up

# One class per voxel; or soft labels: probabilities, or shares of a voxel's area; or
# unknown, as the file cannot be read and its case fails.
Kind = Literal["hard", "probabilities", "contours", "unknown"]


@dataclass(frozen=True)
class SoftLabels:
    """Labels that are soft before any smoothing."""

    codes: UIntArray  # (z, y, x) or (y, x): row of the table of each voxel
    # (n, classes) float64: probability of each class; a row's sum is 1, or 0 where the
    # voxel is ignored.
    table: FloatArray
    # (n,) int64: index of the class that each row counts as; ``n_classes`` where it is
    # ignored.
    hard: IntArray

    def indices(self) -> UIntArray:
        """Class index that each voxel counts as; ``n_classes`` where it is ignored."""
        n_classes = self.table.shape[1]
        return look_up(self.hard.astype(np.min_scalar_type(n_classes)), self.codes)


class Labels(Protocol):
    """The labels of an open source, checked to be whole."""

    @property
    def geometry(self) -> Geometry:
        """The voxel grid."""

    @property
    def segments(self) -> Mapping[int, Segment]:
        """Names and colours of labels that go by their values, if the source has them.

        Their values are those of the classes.
        """

    @property
    def named(self) -> Sequence[Segment]:
        """Segments that are classes by their names, as contours are."""

    def notes(self, table: ClassTable) -> list[str]:
        """Remarks for the case's record, once its labels were read."""

    def distinct(self) -> list[int]:
        """The distinct label values, sorted; without those of named segments.

        Raises
        ------
        InputError
            If a voxel is not a label, naming its value and position.
        """

    def indices(self, table: ClassTable, *, ignore_label: int | None) -> UIntArray:
        """Channel of ``table`` of every voxel; ``len(table)`` where it is ignored.

        Raises
        ------
        InputError
            As `distinct`, or if a value is not in the table.
        """

    def soft(self, table: ClassTable, *, ignore_label: int | None) -> SoftLabels | None:
        """The soft labels of a source that has them; of others None.

        Raises
        ------
        InputError
            As `indices`.
        """


class LabelSource(Protocol):
    """Where the labels of one case, or of one of its raters, are read from.

    It travels to the processes that read it, so it holds paths and no voxels.
    """

    @property
    def kind(self) -> Kind:
        """What the labels are, as far as is known before they are read."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""

    def named(self) -> Sequence[Segment] | None:
        """Segments that are classes by their names; None if labels go by their values.

        Raises
        ------
        InputError
            If the file cannot be read.
        """

    def geometry(self) -> Geometry:
        """The voxel grid, read from headers alone.

        Raises
        ------
        InputError
            If one cannot be read or is broken.
        """

    def open(self) -> AbstractContextManager[Labels]:
        """Check the files, headers first, and open them.

        Raises
        ------
        InputError
            If one cannot be read, is broken, or holds no labels.
        """

    def records(self, rater: str | None = None) -> list[dict[str, Any]]:
        """``name``, ``rater`` and ``sha256`` of every file that decides the labels.

        Raises
        ------
        InputError
            If one cannot be read, or its header is broken.
        """

    def absolute(self) -> LabelSource:
        """The same for a process in another folder."""


@dataclass(frozen=True)
class LabelMapFile:
    """One label map file."""

    path: Path

    @property
    def kind(self) -> Kind:
        return "hard"

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)

    def named(self) -> None:
        return None

    def geometry(self) -> Geometry:
        return read_header(self.path).geometry

    def open(self) -> AbstractContextManager[Labels]:
        return open_label_file(self.path)

    def records(self, rater: str | None = None) -> list[dict[str, Any]]:
        return [input_record(self.path, rater)]

    def absolute(self) -> LabelMapFile:
        return LabelMapFile(self.path.absolute())
