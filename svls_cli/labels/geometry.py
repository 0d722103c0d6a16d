"""Voxel grids: the position of an image's voxels in the patient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_GRID_TOLERANCE_MM = 1e-3
_GRID_TOLERANCE_COSINE = 1e-4


@dataclass(frozen=True)
class Geometry:
    """Voxel grid in physical space; everything in array order, (z, y, x) or (y, x).

    The physical point of voxel ``i`` is ``origin_mm + direction @ (spacing_mm * i)``.
    World axes are listed in array order too: LPS coordinates read backwards, (S, P, L).

    Parameters
    ----------
    shape
        Voxels per axis.
    spacing_mm
        Distance between voxel centres per axis, mm.
    origin_mm
        Centre of voxel 0, mm, per world axis.
    direction
        Direction cosines, row-major, 9 numbers (4 in 2-D): row = world axis.
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.shape)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the spatial axes in array order."""
        return ("z", "y", "x")[-self.ndim :]

    def is_close(self, other: Geometry, *, relative: float) -> bool:
        """Whether all voxels coincide, within a share of the image's extent."""
        extent = max(
            *(n * mm for n, mm in zip(self.shape, self.spacing_mm, strict=True)),
            *(abs(mm) for mm in self.origin_mm),
        )
        corners = (grid._corners() for grid in (self, other))
        return self.shape == other.shape and all(
            math.dist(mine, theirs) <= relative * extent
            for mine, theirs in zip(*corners, strict=True)
        )

    def difference(self, other: Geometry) -> str:
        """First difference of two grids beyond a file format's rounding, or "".

        Spacing and origin may differ by 1e-3 mm, direction cosines by 1e-4: files of
        one scan that went through several programs often differ by 1e-7.

        Examples
        --------
        >>> grid = Geometry((9, 9), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> moved = Geometry((9, 9), (1.0, 1.0), (0.0, 5.0), (1.0, 0.0, 0.0, 1.0))
        >>> grid.difference(moved)
        'origin_mm is (0.0, 0.0) and (0.0, 5.0)'
        """
        tolerances = {
            "shape": 0.0,
            "spacing_mm": _GRID_TOLERANCE_MM,
            "origin_mm": _GRID_TOLERANCE_MM,
            "direction": _GRID_TOLERANCE_COSINE,
        }
        for name, tolerance in tolerances.items():
            mine, theirs = getattr(self, name), getattr(other, name)
            if len(mine) != len(theirs) or any(
                abs(a - b) > tolerance for a, b in zip(mine, theirs, strict=True)
            ):
                return f"{name} is {mine} and {theirs}"
        return ""

    def _corners(self) -> list[tuple[float, ...]]:
        """Physical points of the first voxel and of the far end of each axis."""
        points = [self.origin_mm]
        for axis, (n, mm) in enumerate(zip(self.shape, self.spacing_mm, strict=True)):
            column = self.direction[axis :: self.ndim]
            points.append(
                tuple(
                    o + d * mm * n for o, d in zip(self.origin_mm, column, strict=True)
                )
            )
        return points

    def to_json(self) -> dict[str, Any]:
        """The fields as stored, with the physical space that they refer to."""
        fields = {name: list(value) for name, value in asdict(self).items()}
        world = ("S", "P", "L")[-self.ndim :]
        return {
            **fields,
            "space": "LPS",
            "axes": list(self.axes),
            "world_axes": list(world),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Geometry:
        """Rebuild a geometry from its stored fields.

        Raises
        ------
        ValueError, KeyError, TypeError, OverflowError
            If they are no geometry.
        """
        stored = cls(
            shape=tuple(int(n) for n in record["shape"]),
            spacing_mm=tuple(float(x) for x in record["spacing_mm"]),
            origin_mm=tuple(float(x) for x in record["origin_mm"]),
            direction=tuple(float(x) for x in record["direction"]),
        )
        ndim = stored.ndim
        lengths = (len(stored.spacing_mm), len(stored.origin_mm), len(stored.direction))
        numbers = (*stored.spacing_mm, *stored.origin_mm, *stored.direction)
        if (
            ndim not in (2, 3)
            or lengths != (ndim, ndim, ndim**2)
            or not all(map(math.isfinite, numbers))
            or min(*stored.shape, *stored.spacing_mm) <= 0
        ):
            raise ValueError(f"no geometry: {record}")
        return stored
