"""Windows of voxels: the sum of the neighbours, axis by axis, and what they hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from svls_cli.arrays import BoolArray, SoftArray, UIntArray
from svls_cli.soften.kernel import NeighbourWeights

FloatKind = type[np.float32] | type[np.float64]


def neighbour_sum(
    shares: SoftArray, weights: NeighbourWeights, kind: FloatKind
) -> SoftArray:
    """Weighted sum over the neighbours of each voxel within its window.

    Parameters
    ----------
    shares : (n, z + 2 rz, y + 2 ry, x + 2 rx), or 2-D
        Shares of one class in a batch of windows.
    weights
        Weights of a window of that radius.
    kind
        Number type to compute in. Every voxel's operations have one order, whatever
        the batch.

    Returns
    -------
    (n, z, y, x)
        Sums at the voxels that the halo leaves.
    """
    wide: SoftArray = shares.astype(kind)
    result: SoftArray | None = None
    for axis, column in enumerate(weights.offsets, start=1):
        reach, length = len(column), wide.shape[axis]
        if not reach:
            continue
        at = [
            (slice(None),) * axis + (slice(start, start + length - 2 * reach),)
            for start in range(2 * reach + 1)
        ]
        part = wide[at[reach - 1]] + wide[at[reach + 1]]
        part *= kind(column[0])
        for distance, weight in enumerate(column[1:], start=2):
            pair = wide[at[reach - distance]] + wide[at[reach + distance]]
            pair *= kind(weight)
            part += pair
        result = part.copy() if result is None else result[at[reach]] + part
        if axis < wide.ndim - 1:
            part *= kind(weights.total)
            wide = wide[at[reach]] + part
    assert result is not None, "a window holds neighbours"
    return result


def one_code(windows: UIntArray, radius: Sequence[int]) -> BoolArray:
    """Which voxels of a batch see one code only, halo left out."""
    windows = np.ascontiguousarray(windows)
    low = high = windows.reshape(-1)  # in rows as long as this NumPy is fast
    steps = [stride // windows.itemsize for stride in windows.strides[1:]]
    for reach, step in zip(radius, steps, strict=True):
        seen = 1  # voxels along the axis, from each on
        while seen <= 2 * reach:
            more = min(seen, 2 * reach + 1 - seen)
            low = np.minimum(low[: -more * step], low[more * step :])
            high = np.maximum(high[: -more * step], high[more * step :])
            seen += more
    inner = [n - 2 * r for n, r in zip(windows.shape[1:], radius, strict=True)]
    strides = [stride // windows.itemsize for stride in windows.strides]
    return as_strided(low == high, (len(windows), *inner), strides)


def crop(radius: Sequence[int]) -> tuple[slice, ...]:
    """What a halo of ``radius`` leaves."""
    return tuple(slice(r, -r or None) for r in radius)
