"""The voxels of one mask file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from svls_cli.arrays import BoolArray
from svls_cli.errors import InputError
from svls_cli.labels.images import open_label_file
from svls_cli.labels.values import listed


def marked(path: Path) -> Iterator[tuple[slice, BoolArray]]:
    """Where a mask is not 0, a few slices at a time, without those that are empty."""
    with naming(path), open_label_file(path) as file:
        marks: set[int] = set()
        for rows, slab, values in file.slabs():
            marks.update(values)
            marks.discard(0)
            if len(marks) > 1:
                raise InputError(
                    f"not a mask: it has the values {listed(sorted(marks))}; expected "
                    "0 and one other"
                )
            inside = slab != 0
            filled = np.flatnonzero(inside.reshape(len(inside), -1).any(axis=1))
            if len(filled):
                first, end = int(filled[0]), int(filled[-1]) + 1
                yield slice(rows.start + first, rows.start + end), inside[first:end]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say which of the masks it is that is wrong."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error
