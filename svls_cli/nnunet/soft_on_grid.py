"""Soft labels of a case on nnU-Net's grid, and whether they are those of its labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.errors import InputError
from svls_cli.labels.orientation import Reordering, reordering
from svls_cli.nnunet.preprocessed import PreprocessedCase
from svls_cli.nnunet.soft_files import CERTAIN
from svls_cli.soften.levels import levels
from svls_cli.store.reader import StoredCase

# Voxels of which the most probable class must be nnU-Net's label, of all and of those
# that are foreground in either: labels of another case or order agree far less.
_LEAST_AGREEMENT, _LEAST_FOREGROUND = 0.98, 0.5
# Brings a volume of the store's grid into the order of nnU-Net's images.
Order = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


def soft_on_grid(
    case: StoredCase, target: PreprocessedCase, values: Sequence[int]
) -> npt.NDArray[np.uint8]:
    """Soft labels of a case on nnU-Net's grid.

    Parameters
    ----------
    case
        The case of a store.
    target
        The same case, as nnU-Net preprocessed it.
    values
        Label value of each channel of the result.

    Returns
    -------
    (c, z, y, x) uint8
        255 is certain; sums to 255, and to 0 where the voxel is ignored.

    Raises
    ------
    InputError
        If the grids differ.
    """
    reorder, top = _reordering(case, target), levels(case.attributes["dtype"])
    channels = {c.value: c.index for c in case.classes.classes}
    ignored = np.zeros(case.geometry.shape)
    if case.attributes["ignore_label"] is not None:
        ignored = top - case.patch().sum(axis=0, dtype=np.float64)
    unseen = _levels(target.resampled(reorder(ignored)), top)
    soft = np.zeros((len(values), *unseen.shape), np.uint8)
    for at, value in enumerate(values):
        if value in channels:
            stored = reorder(case.patch(classes=channels[value]))
            soft[at] = _levels(target.resampled(stored), top)
    for plane, without in zip(soft.swapaxes(0, 1), unseen, strict=True):
        _complete(plane, CERTAIN - without)
    return soft


def check_agreement(
    soft: npt.NDArray[np.uint8], labels: npt.NDArray[Any], values: Sequence[int]
) -> float:
    """Agreement of soft labels with nnU-Net's label map, in the foreground of either.

    Raises
    ------
    InputError
        If it is so low that these must be labels of another kind.
    """
    if soft.shape[1:] != labels.shape:
        raise InputError(
            f"soft labels become {soft.shape[1:]} voxels, nnU-Net's case has "
            f"{labels.shape}: preprocess the data set again"
        )
    agreed = counted = alike = foreground = 0
    table = np.array(values)
    for plane, truth in zip(soft.swapaxes(0, 1), labels, strict=True):
        seen = plane.any(axis=0) & (truth <= table.max())
        argmax, truth = table[plane.argmax(axis=0)], np.maximum(truth, 0)
        same, either = (argmax == truth) & seen, ((argmax > 0) | (truth > 0)) & seen
        agreed, counted = agreed + same.sum(), counted + seen.sum()
        alike, foreground = alike + (same & either).sum(), foreground + either.sum()
    whole, inside = (
        float(part / all_) if all_ else 1.0
        for part, all_ in ((agreed, counted), (alike, foreground))
    )
    if whole < _LEAST_AGREEMENT or inside < _LEAST_FOREGROUND:
        raise InputError(
            f"the most probable class is nnU-Net's label at {whole:.1%} of all voxels "
            f"and {inside:.1%} of the foreground, not at {_LEAST_AGREEMENT:.0%} and "
            f"{_LEAST_FOREGROUND:.0%}: these are other labels, of another case, or "
            "smoothed so much that classes change"
        )
    return inside


def _reordering(case: StoredCase, target: PreprocessedCase) -> Order:
    grid, shape = target.grid, case.geometry.shape
    if grid is not None:
        try:
            order = reordering(case.geometry, grid)
        except InputError as error:
            raise InputError(f"soft labels and nnU-Net's images: {error}") from error
    else:  # nnU-Net keeps no geometry of formats that have none
        order = Reordering(tuple(range(len(shape))), ())
        if target.images_shape not in (shape, (1, *shape)):
            raise InputError(
                f"soft labels have {shape} voxels, nnU-Net's images "
                f"{target.images_shape}"
            )
    if len(shape) == 3:
        return order
    return lambda volume: order(volume)[np.newaxis]  # to nnU-Net an image is a slice


def _levels(values: npt.NDArray[Any], top: float) -> npt.NDArray[np.uint8]:
    """Values of 0..top as 0..255."""
    if values.dtype == np.uint8:
        return values
    scaled = np.rint(values * (CERTAIN / top))
    return np.clip(scaled, 0, CERTAIN).astype(np.uint8)


def _complete(soft: npt.NDArray[np.uint8], total: npt.NDArray[np.uint8]) -> None:
    """Give the most probable class (c, y, x) what rounding left of the sum (y, x)."""
    rest = total.astype(np.int16) - soft.sum(axis=0, dtype=np.int16)
    if rest.any():
        largest = soft.argmax(axis=0)[np.newaxis]
        value = np.take_along_axis(soft, largest, axis=0)[0] + rest
        np.put_along_axis(
            soft, largest, np.clip(value, 0, CERTAIN).astype(np.uint8)[np.newaxis], 0
        )
