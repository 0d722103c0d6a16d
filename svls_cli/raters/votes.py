"""Labels of several raters, with every combination of labels stored once.

Raters agree on nearly all voxels, and where they do not, few combinations of labels
occur. So a case becomes one volume of codes, and a small table that says which labels a
code stands for; fusion, agreement and STAPLE work on the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import BoolArray, FloatArray, IntArray, UIntArray
from svls_cli.errors import InputError
from svls_cli.labels.sources import SoftLabels
from svls_cli.labels.values import distinct_values, look_up

# Voxels worked on at a time: bounds the memory beside the label maps themselves.
_SLAB_VOXELS = 2**22
# Up to this size a table turns combinations into codes; a binary search beyond.
_TABLE_SIZE = 2**22


@dataclass(frozen=True)
class Votes:
    """The label maps of all raters of one case."""

    # (z, y, x) or (y, x), smallest unsigned type: row of the table of each voxel.
    codes: UIntArray
    # (n, raters) int64: class index by each rater, ``n_classes`` where the rater
    # ignores the voxel; in ascending order.
    rows: IntArray
    counts: IntArray  # (n,) int64: number of voxels of each row
    n_classes: int
    # By column, of raters whose labels are soft: (n,) row of a table of probabilities,
    # (rows, classes), that each row stands for. ``rows`` then repeat.
    soft: Mapping[int, tuple[IntArray, FloatArray]] = field(default_factory=dict)

    @property
    def classes(self) -> IntArray:
        """Class indices that some rater gave to some voxel, ascending."""
        given = np.zeros(self.n_classes + 1, bool)
        given[self.rows] = True
        for said, table in self.soft.values():
            given[:-1] |= (table > 0)[np.unique(said)].any(axis=0)
        return np.flatnonzero(given[:-1])

    @property
    def disputed(self) -> BoolArray:
        """(n,) whether two raters who do not ignore the voxel differ."""
        ignored = self.rows == self.n_classes
        low = np.where(ignored, self.n_classes, self.rows).min(axis=1)
        high = np.where(ignored, -1, self.rows).max(axis=1)
        differ: BoolArray = high > low
        return differ


def tally(maps: Sequence[UIntArray | SoftLabels], *, n_classes: int) -> Votes:
    """Count the combinations of labels that the raters gave.

    Parameters
    ----------
    maps : (z, y, x) or (y, x) each
        Class index of each voxel by each rater, ``n_classes`` where it is ignored; or
        soft labels.
    n_classes
        Classes of the data set.

    Raises
    ------
    InputError
        If there are no maps, or their shapes differ.

    Examples
    --------
    >>> votes = tally([np.array([[0, 0, 1]]), np.array([[0, 1, 1]])], n_classes=2)
    >>> votes.codes, votes.rows.tolist(), votes.counts.tolist()
    (array([[0, 1, 2]], dtype=uint8), [[0, 0], [0, 1], [1, 1]], [1, 1, 1])
    """
    if not maps:
        raise InputError("no label maps to compare")
    soft = {at: each for at, each in enumerate(maps) if isinstance(each, SoftLabels)}
    volumes = [each.codes if isinstance(each, SoftLabels) else each for each in maps]
    if len({volume.shape for volume in volumes}) > 1:
        raise InputError(f"shapes differ: {', '.join(str(v.shape) for v in volumes)}")
    rows = np.zeros((1, 0), np.int64)
    codes: UIntArray = np.zeros((1,) * volumes[0].ndim, np.uint8)
    for at, volume in enumerate(volumes):
        n_labels = len(soft[at].table) if at in soft else n_classes + 1
        codes, keys = _paired(codes, volume, n_labels)
        before, last = np.divmod(keys, n_labels)
        rows = np.column_stack([rows[before], last])
    said = {at: (rows[:, at].copy(), each.table) for at, each in soft.items()}
    for at, each in soft.items():
        rows[:, at] = each.hard[rows[:, at]]
    counts = np.zeros(len(rows), np.int64)
    for slab in _slabs(codes.shape):
        counts += np.bincount(codes[slab].ravel(), minlength=len(rows))
    return Votes(codes, rows, counts, n_classes, said)


def _paired(
    codes: UIntArray, labels: UIntArray, n_labels: int
) -> tuple[UIntArray, IntArray]:
    """New codes for pairs of a code and a label, and each code's key.

    The key of a pair is ``code * n_labels + label``.

    ``codes`` may have one voxel only, which then stands for all.
    """
    wide = np.min_scalar_type((int(codes.max()) + 1) * n_labels)
    codes = np.broadcast_to(codes, labels.shape)

    def key(slab: slice) -> UIntArray:
        pair: UIntArray = codes[slab].astype(wide)
        pair *= wide.type(n_labels)
        pair += labels[slab].astype(wide, copy=False)
        return pair

    slab_keys = [distinct_values(key(slab)) for slab in _slabs(labels.shape)]
    keys = np.unique(np.concatenate(slab_keys))
    dtype = np.min_scalar_type(len(keys) - 1)
    result: UIntArray = np.empty(labels.shape, dtype)
    table: npt.NDArray[Any] | None = None
    if int(keys[-1]) < _TABLE_SIZE:
        table = np.zeros(int(keys[-1]) + 1, dtype)
        table[keys] = np.arange(len(keys))
    for slab in _slabs(labels.shape):
        if table is None:
            pairs = key(slab).ravel()
            starts = np.flatnonzero(np.diff(pairs, prepend=~pairs[:1]))  # of runs
            found = np.searchsorted(keys, pairs[starts]).astype(dtype)
            runs = np.repeat(found, np.diff(starts, append=len(pairs)))
            result[slab] = runs.reshape(result[slab].shape)
        else:
            result[slab] = look_up(table, key(slab))
    return result, keys.astype(np.int64)


def _slabs(shape: Sequence[int]) -> Iterator[slice]:
    """A few slices of the first axis at a time."""
    step = max(1, _SLAB_VOXELS // max(1, int(np.prod(shape[1:]))))
    return (slice(start, start + step) for start in range(0, shape[0], step))
