"""Label values: which occur, which are valid, and looking them up in a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import UIntArray
from svls_cli.errors import InputError

MAX_VALUE = 2**32 - 1
# Nobody takes an image of fewer for one: thresholded or binned, it may be a label map.
FEW_VALUES = 50


def distinct_values(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sorted distinct values, at the cost of one comparison per voxel.

    Label maps are runs of equal voxels: only the first of each run is sorted. NaNs
    are kept.

    Examples
    --------
    >>> distinct_values(np.array([[3, 3, 0], [0, 7, 7]]))
    array([0, 3, 7])
    """
    flat = array.reshape(-1)
    starts = flat[1:][flat[1:] != flat[:-1]]
    return np.unique(np.concatenate([flat[:1], starts]))


def look_up(table: UIntArray, indices: UIntArray) -> UIntArray:
    """``table[indices]``, three times faster where both are uint8.

    Indexing widens every voxel to 8 bytes first; `bytes.translate` does not.

    Examples
    --------
    >>> look_up(np.array([7, 9], np.uint8), np.array([[1, 0]], np.uint8))
    array([[9, 7]], dtype=uint8)
    """
    if table.dtype != np.uint8 or indices.dtype != np.uint8:
        return table[indices]
    full_table = np.resize(table, 256)
    mapped = indices.tobytes().translate(full_table.tobytes())
    return np.frombuffer(mapped, np.uint8).reshape(indices.shape)


def as_labels(
    slab: npt.NDArray[Any], *, first_row: int = 0
) -> tuple[UIntArray, list[int]]:
    """Label values as unsigned integers, and the distinct ones, sorted.

    Parameters
    ----------
    slab : (z, y, x) or (y, x), any real type
        Consecutive slices of a label map.
    first_row
        Index of the first slice in the label map, for the error message.

    Raises
    ------
    InputError
        At the first voxel that is not a whole number from 0 to 2^32 - 1.
    """
    if slab.dtype.kind not in "biuf":
        raise InputError(f"label maps hold whole numbers, found {slab.dtype}")
    if slab.dtype == np.float16:  # has no number as large as the largest label
        slab = slab.astype(np.float32)
    values = distinct_values(slab)
    good = (values >= 0) & (values <= MAX_VALUE)
    if slab.dtype.kind == "f":
        good &= np.floor(values) == values
    if not good.all():
        bad = ~np.isin(slab, values[good])
        voxel = np.unravel_index(int(np.argmax(bad)), slab.shape)
        position = (int(voxel[0]) + first_row, *map(int, voxel[1:]))
        raise _not_a_label(slab[voxel], position, image_doubt(slab))
    if slab.dtype.kind == "u" and slab.dtype.itemsize <= 4:
        return slab, values.tolist()
    labels = slab.astype(np.min_scalar_type(int(values.max())))
    return labels, values.astype(labels.dtype).tolist()


def image_doubt(array: npt.NDArray[Any]) -> str | None:
    """What to ask whoever takes an image for a label map; None for label maps.

    Labels lie in regions: of their runs of equal voxels few are of one voxel only
    (at most 13 % in label maps of TotalSegmentator and SynthSeg, and over 85 % in
    images of CT and MR), however many labels there are.
    """
    flat = array.reshape(-1)
    ends = flat[1:] != flat[:-1]
    alone = np.count_nonzero(ends[1:] & ends[:-1])
    if 2 * alone <= np.count_nonzero(ends):
        return None
    n = len(distinct_values(flat))
    return f"{n} different values: is this an image?" if n > FEW_VALUES else None


def _not_a_label(value: Any, voxel: Sequence[int], doubt: str | None) -> InputError:
    """The error for a voxel that no label map may hold."""
    position = ", ".join(str(int(i)) for i in voxel)
    axes = ", ".join(("z", "y", "x")[-len(voxel) :])
    return InputError(
        f"{value} at voxel ({axes}) = ({position}) is not a label; labels are whole "
        f"numbers from 0 to {MAX_VALUE}" + (f"; {doubt}" if doubt else "")
    )


def listed(values: Sequence[object], limit: int = 10) -> str:
    """A list for an error message, cut to a readable length."""
    shown = ", ".join(str(v) for v in values[:limit])
    return shown + (f", ... ({len(values)} in all)" if len(values) > limit else "")
