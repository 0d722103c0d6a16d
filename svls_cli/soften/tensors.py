"""Label maps on a GPU, as arrays of PyTorch, CuPy or the like, softened there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import Region
from svls_cli.errors import InputError
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.values import MAX_VALUE, as_labels, listed
from svls_cli.soften.dense import soften_dense
from svls_cli.soften.libraries import (
    Array,
    as_numpy,
    as_type,
    beside,
    foreign,
    look_up,
    namespace,
    repeat_edges,
)
from svls_cli.soften.methods import Softening

# Edge of the blocks that a volume is worked on in, by number of axes.
BLOCK_EDGE = {3: 64, 2: 512}


def cut_into_blocks(shape: Sequence[int]) -> Iterator[Region]:
    """The blocks of a volume in memory, in order."""
    edge = BLOCK_EDGE[len(shape)]
    along = ([slice(at, min(at + edge, n)) for at in range(0, n, edge)] for n in shape)
    return itertools.product(*along)


def label_values(labels: Array) -> list[int]:
    """Distinct values of a label map, ascending.

    Raises
    ------
    InputError
        If one is no whole number from 0 to 2^32 - 1.
    """
    seen = as_numpy(labels)
    if not foreign(seen):
        return as_labels(seen)[1]
    xp = namespace(labels)
    values = xp.unique_values(_comparable(xp, labels)).tolist()
    for value in values:
        if not (0 <= value <= MAX_VALUE and value == int(value)):
            raise InputError(
                f"{value} is not a label; labels are whole numbers from 0 to "
                f"{MAX_VALUE}"
            )
    return sorted(map(int, values))


def class_indices(
    labels: Array, table: ClassTable, *, ignore_label: int | None
) -> Array:
    """Class index of each voxel, ``len(table)`` where it is ignored; int32.

    Raises
    ------
    InputError
        If a value is neither a class nor ignored. To know that, the device is waited
        for.
    """
    xp, values = namespace(labels), table.values
    if ignore_label is not None:
        values = np.append(values, ignore_label)
    order = np.argsort(values)
    wide = xp.reshape(as_type(xp, labels, np.int64), (-1,))
    rows = xp.searchsorted(beside(xp, values[order], labels), wide)
    rows = xp.reshape(rows, labels.shape)
    rows = xp.clip(rows, 0, len(values) - 1)
    fits = look_up(xp, values[order], rows) == _comparable(xp, labels)
    if not bool(xp.all(fits)):
        unknown = label_values(labels[~fits])
        raise InputError(f"label values {listed(unknown)} are not among the classes")
    return look_up(xp, order.astype(np.int32), rows)


def _comparable(xp: Any, labels: Array) -> Array:
    """As 64-bit integers, because libraries do little with the unsigned; or floats."""
    if xp.isdtype(labels.dtype, "real floating"):
        return labels
    return as_type(xp, labels, np.int64)


def soften_tensor(
    indices: Array,
    softening: Softening,
    *,
    n_classes: int,
    dtype: npt.DTypeLike,
    guides: Array | None = None,
    ignores: bool,
) -> Array:
    """Soft labels of a batch of volumes, with the bytes that the engine gives each.

    Parameters
    ----------
    indices : (b, z, y, x) or (b, y, x)
        Class index of each voxel, ``n_classes`` where it is ignored.
    softening, n_classes, dtype
        As in `soften_block`.
    guides : as ``indices``
        The images, as `standardised` makes each, for a method that takes them.
    ignores
        Whether voxels may be ignored. If some are, the device is waited for.

    Returns
    -------
    (b, c, z, y, x) or (b, c, y, x)
    """
    xp = namespace(indices)
    meaning: dict[str, Any] = {"n_classes": n_classes, "dtype": dtype}
    ignoring = softening.neighbours is not None and ignores
    ignoring = ignoring and bool(xp.any(indices == n_classes))
    if guides is not None or not ignoring:
        meaning |= {"guide": guides, "ignores": ignoring, "batched": True}
        return soften_dense(indices, softening, **meaning)
    # The engine chooses its precision block by block.
    radius, softened = softening.radius or (), []
    for volume in indices:
        padded = repeat_edges(xp, volume, radius, 0)
        parts = []
        for block in cut_into_blocks(volume.shape):
            around = [
                slice(s.start, s.stop + 2 * r)
                for s, r in zip(block, radius, strict=True)
            ]
            part = soften_dense(padded[*around], softening, **meaning, halo=True)
            parts.append((block, part))
        softened.append(_assembled(xp, parts, volume.shape))
    return xp.stack(softened)


def _assembled(
    xp: Any, parts: Sequence[tuple[Region, Array]], shape: Sequence[int]
) -> Array:
    """One array of the blocks of a volume."""
    first = parts[0][1]
    whole = xp.zeros((first.shape[0], *shape), dtype=first.dtype, device=first.device)
    for block, part in parts:
        whole[:, *block] = part
    return whole
