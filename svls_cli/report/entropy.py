"""The entropy of soft labels, block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import FloatArray, UIntArray
from svls_cli.evaluation.counting import as_levels, checked, count_levels
from svls_cli.evaluation.evaluate_case import chunks
from svls_cli.evaluation.predictions import PredictedCase
from svls_cli.raters.measures import row_entropy


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """How uncertain soft labels are.

    Parameters
    ----------
    by_slice : (slices,)
        Sum of the entropy over each slice, bits.
    mean_bits
        Mean entropy over the voxels that may be something else than background; NaN if
        there are none.
    argmax : (z, y, x) or (y, x)
        Most probable class, of equal ones the first; the number of classes where the
        voxel is ignored.
    """

    by_slice: FloatArray
    mean_bits: float
    argmax: UIntArray


def measure_uncertainty(case: PredictedCase, axis: int | None) -> Uncertainty:
    """Measure the entropy of soft labels, along the axis of the slices.

    One class of one block is in memory at a time. Without an axis there is one slice.

    Raises
    ------
    StoreError
        If the soft labels are damaged, or no probabilities.
    """
    grid, table = case.geometry, case.classes
    n_classes, dtype = len(table), np.dtype(case.attributes["dtype"])
    background = next((c.index for c in table.classes if c.value == 0), None)
    top = count_levels(dtype)
    bits_of_level = _entropy_terms(top)
    by_slice = np.zeros(1 if axis is None else grid.shape[axis])
    argmax = np.full(grid.shape, n_classes, np.min_scalar_type(n_classes))
    voxels = 0
    for region, groups in chunks(grid, n_classes, dtype):
        shape = tuple(s.stop - s.start for s in region)
        bits = np.zeros(shape, np.float32)
        best = np.zeros(shape, np.uint16)
        winner = argmax[region]
        certain = np.zeros(shape, bool)
        for group in groups:
            patch = checked(case.patch(region, classes=group))
            for index, p in enumerate(map(as_levels, patch), group.start):
                if not p.any():
                    continue
                bits += bits_of_level[p]
                winner[p > best] = index
                np.maximum(best, p, out=best)
                if index == background:
                    certain = p == top
        voxels += int(np.count_nonzero((best > 0) & ~certain))
        others = tuple(at for at in range(grid.ndim) if at != axis)
        sums = bits.sum(axis=others, dtype=np.float64)
        by_slice[slice(None) if axis is None else region[axis]] += sums
    total = float(by_slice.sum())
    return Uncertainty(by_slice, total / voxels if voxels else float("nan"), argmax)


def slice_entropy(p: npt.NDArray[np.float32]) -> FloatArray:
    """Entropy (rows, columns) in bits of probabilities (classes, rows, columns)."""
    flat = p.reshape(len(p), -1).T.astype(np.float64)
    return row_entropy(flat).reshape(p.shape[1:])


def _entropy_terms(top: int) -> npt.NDArray[np.float32]:
    """(levels + 1,) what a class of probability k / levels adds to the entropy."""
    p = np.arange(top + 1) / top
    logs = np.log2(p, out=np.zeros_like(p), where=p > 0)
    terms: npt.NDArray[np.float32] = (0 - p * logs).astype(np.float32)
    return terms
