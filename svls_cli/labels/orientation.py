"""The same voxels in another order: axes swapped and flipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry

# Cosine from which on two axes run along each other.
_PARALLEL = 0.99


@dataclass(frozen=True)
class Reordering:
    """Axes in another order, some of them backwards."""

    order: tuple[int, ...]  # for each axis of the result the axis that it was before
    flipped: tuple[int, ...]  # axes of the result that run backwards

    def __call__(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A view of a volume (z, y, x) in the new order."""
        return np.flip(volume.transpose(self.order), self.flipped)

    def undone(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A view of a volume in the new order as it was before."""
        return np.flip(volume, self.flipped).transpose(np.argsort(self.order))


def reordering(source: Geometry, target: Geometry) -> Reordering:
    """How the voxels of one grid become those of another.

    Raises
    ------
    InputError
        If the grids do not have the same voxels.

    Examples
    --------
    >>> rows = Geometry((4, 9), (2.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    >>> columns = Geometry((9, 4), (1.0, 2.0), (0.0, 6.0), (0.0, -1.0, 1.0, 0.0))
    >>> reordering(columns, columns)
    Reordering(order=(0, 1), flipped=())
    """
    if source.ndim != target.ndim:
        raise InputError(f"different grids: of {source.ndim} and {target.ndim} axes")
    axes, moved = _vectors(source), source
    cosines = _vectors(target) @ axes.T
    order, flipped = np.argmax(abs(cosines), axis=1).tolist(), tuple[int, ...]()
    if abs(cosines).max(axis=1).min() > _PARALLEL:  # or no order makes them one grid
        flipped = tuple(at for at, axis in enumerate(order) if cosines[at, axis] < 0)
        moved = _moved(source, axes, order, flipped)
    if difference := moved.difference(target):
        raise InputError(f"different grids: {difference}")
    return Reordering(tuple(order), flipped)


def to_ras(grid: Geometry) -> Reordering:
    """How the voxels of a volume become those of one whose axes run to S, A and R.

    That is how nnU-Net's reorienting readers, and others, bring a scan to RAS, whose
    axes they list as (x, y, z): each axis goes to the world axis that it is nearest to.

    Examples
    --------
    >>> to_ras(Geometry((4, 5, 6), (1.0,) * 3, (0.0,) * 3, (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    Reordering(order=(0, 1, 2), flipped=(1, 2))
    """
    world = np.diag([1.0, -1.0, -1.0])  # (S, A, R) in a grid's own (S, P, L)
    cosines = world @ _vectors(grid).T
    order = np.argmax(abs(cosines), axis=1).tolist()
    flipped = tuple(at for at, axis in enumerate(order) if cosines[at, axis] < 0)
    return Reordering(tuple(order), flipped)


def _vectors(grid: Geometry) -> npt.NDArray[np.float64]:
    """Direction of each axis, a row each."""
    return np.reshape(grid.direction, (grid.ndim, grid.ndim)).T


def _moved(
    grid: Geometry,
    axes: npt.NDArray[np.float64],
    order: Sequence[int],
    flipped: Sequence[int],
) -> Geometry:
    signs = [-1 if at in flipped else 1 for at in range(grid.ndim)]
    shape = [grid.shape[axis] for axis in order]
    spacing = [grid.spacing_mm[axis] for axis in order]
    rows = np.array(
        [sign * axes[axis] for sign, axis in zip(signs, order, strict=True)]
    )
    origin = np.array(grid.origin_mm)
    for at in flipped:
        origin = origin - rows[at] * spacing[at] * (shape[at] - 1)
    return replace(
        grid,
        shape=tuple(shape),
        spacing_mm=tuple(spacing),
        origin_mm=tuple(origin.tolist()),
        direction=tuple(rows.T.ravel().tolist()),
    )
