"""Which slices of a voxel grid are shown, and which way up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import Region
from svls_cli.labels.geometry import Geometry
from svls_cli.store.ome import straightened

# World axes in array order, and how their ends are called: towards it, away from it.
_ENDS = {"S": ("S", "I"), "P": ("P", "A"), "L": ("L", "R")}
_NAMES = {"S": "axial", "P": "coronal", "L": "sagittal"}
# As radiologists look at slices: from the feet, from the front, from the left.
_DOWN_AND_RIGHT = {"axial": ("P", "L"), "coronal": ("I", "L"), "sagittal": ("I", "P")}
# Slices this much thicker than pixels are what was scanned.
_THICK = 1.25


@dataclass(frozen=True)
class Plane:
    """The slices of a voxel grid across one axis, as they are shown.

    Parameters
    ----------
    name
        ``axial``, ``coronal`` or ``sagittal``, whichever is nearest.
    axis
        Array axis that the slices are numbered along; None for a 2-D image.
    across
        Array axes that run down and to the right.
    flipped
        Whether these are shown backwards.
    sides
        Letters of the patient's sides: top, right, bottom, left.
    pixel_mm
        Distance of rows and of columns, mm.
    """

    name: str
    axis: int | None
    across: tuple[int, int]
    flipped: tuple[bool, bool]
    sides: tuple[str, str, str, str]
    pixel_mm: tuple[float, float]

    def region(self, number: int, grid: Geometry) -> Region:
        """The voxels of one slice."""
        return tuple(
            slice(number, number + 1) if axis == self.axis else slice(0, n)
            for axis, n in enumerate(grid.shape)
        )

    def shown(self, voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The voxels (..., z, y, x) or (..., y, x) of a slice as rows and columns."""
        n = 2 if self.axis is None else 3
        first = voxels.ndim - n
        rows, columns = (axis + first for axis in self.across)
        turned = np.moveaxis(voxels, (rows, columns), (-2, -1))
        if self.axis is not None:
            turned = turned.squeeze(axis=first)
        backwards = tuple(
            at for at, flip in zip((-2, -1), self.flipped, strict=True) if flip
        )
        return np.flip(turned, backwards)


def plane_of(grid: Geometry) -> Plane:
    """The plane in which a grid is looked at: the axial one, or that of thick slices.

    Examples
    --------
    >>> grid = Geometry((9, 9), (1.0, 2.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    >>> plane_of(grid).sides, plane_of(grid).flipped
    (('A', 'L', 'P', 'R'), (False, False))
    """
    n = grid.ndim
    columns = np.reshape(straightened(grid).direction, (n, n)).T
    worlds = [("S", "P", "L")[-n:][int(np.abs(column).argmax())] for column in columns]
    towards = [
        _ENDS[world][0 if column.sum() > 0 else 1]
        for world, column in zip(worlds, columns, strict=True)
    ]
    axis = _through(grid, worlds) if n == 3 else None
    name = "axial" if axis is None else _NAMES[worlds[axis]]
    across, flipped, sides = [], [], []
    for end in _DOWN_AND_RIGHT[name]:
        world = next(key for key, ends in _ENDS.items() if end in ends)
        across.append(worlds.index(world))
        flipped.append(towards[across[-1]] != end)
        sides.append((end, next(e for e in _ENDS[world] if e != end)))
    (bottom, top), (right, left) = sides
    return Plane(
        name,
        axis,
        (across[0], across[1]),
        (flipped[0], flipped[1]),
        (top, right, bottom, left),
        (grid.spacing_mm[across[0]], grid.spacing_mm[across[1]]),
    )


def _through(grid: Geometry, worlds: list[str]) -> int:
    """The axis along which slices lie: the thick one, or else from feet to head."""
    if grid.shape.count(1) == 1:
        return grid.shape.index(1)
    second, thickest = sorted(grid.spacing_mm)[-2:]
    if thickest > _THICK * second:
        return grid.spacing_mm.index(thickest)
    return worlds.index("S")


def choose_slices(weights: npt.ArrayLike, count: int) -> tuple[int, ...]:
    """The slices of the largest weights, spread apart, in order.

    Parameters
    ----------
    weights : (slices,)
        How much there is to see in each slice; those of 0 are not chosen, unless all
        are: then the middle one is.
    count
        How many slices there are at most.

    Examples
    --------
    >>> choose_slices([0, 1, 5, 4, 1, 2, 0], 2)
    (2, 5)
    >>> choose_slices([0, 0, 0], 2)
    (1,)
    """
    left = np.array(weights, np.float64)
    used = np.flatnonzero(left > 0)
    if not used.size:
        return (len(left) // 2,)
    reach = int(used[-1] - used[0] + 1) // (2 * count)
    chosen: list[int] = []
    while len(chosen) < count and left.max() > 0:
        best = int(left.argmax())
        chosen.append(best)
        left[max(0, best - reach) : best + reach + 1] = 0
    return tuple(sorted(chosen))
