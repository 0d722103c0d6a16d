"""Voxel grids: the position of an image's voxels in the patient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.errors import InputError

_GRID_TOLERANCE_MM = 1e-3
_GRID_TOLERANCE_COSINE = 1e-4
# Volume of a cell of unit edges below which its axes lie in a plane.
_SINGULAR = 1e-6


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
    plane_mm
        Place of a 2-D image along the third world axis, S, one number, mm; empty if
        its file does not tell.
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]
    plane_mm: tuple[float, ...] = ()

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
        if not self.may_share_plane(other):
            return f"plane_mm is {self.plane_mm} and {other.plane_mm}"
        return ""

    def may_share_plane(self, other: Geometry) -> bool:
        """Whether two 2-D images lie in one plane, as far as their files tell."""
        planes = zip(self.plane_mm, other.plane_mm, strict=False)
        return all(abs(a - b) <= _GRID_TOLERANCE_MM for a, b in planes)

    @classmethod
    def from_axes(
        cls,
        sizes: Sequence[int],
        axes: npt.ArrayLike,
        origin_mm: npt.ArrayLike,
        spacing_mm: npt.ArrayLike | None = None,
    ) -> Geometry:
        """The grid of an image whose header lists everything as (x, y, z).

        A 2-D image in a plane of 3-D space keeps its two axes, and its place, where
        that plane is an axial one. In any other plane it becomes a volume of one slice,
        because a 2-D grid could not tell where that is.

        Parameters
        ----------
        sizes
            Voxels per axis, 2 or 3.
        axes : (n, n), or (2, 3) and (3, 3) for a plane in 3-D space
            Direction of each axis in LPS space, a row each.
        origin_mm : (n) or (3)
            Centre of voxel 0, mm.
        spacing_mm : (n)
            Distance between voxel centres along each axis, in units of its length; by
            default that length. A negative one flips its axis.

        Raises
        ------
        InputError
            If a number is not finite, or axes have no length or lie in a plane.
        """
        vectors = np.array(axes, np.float64)
        origin = np.array(origin_mm, np.float64)
        plane = origin[2:] if len(sizes) == 2 else origin[:0]
        with np.errstate(all="ignore"):  # what is no number is found below
            lengths = np.linalg.norm(vectors, axis=1)
            spacing = np.array(lengths if spacing_mm is None else spacing_mm)
            if spacing_mm is not None:
                # Cosines keep their digits unless they are none.
                unit = abs(lengths - 1) <= _GRID_TOLERANCE_COSINE
                lengths = np.where(unit, 1, lengths) * np.sign(spacing)
                spacing = spacing * lengths
            cosines = vectors / lengths[:, np.newaxis]
            if len(sizes) == 2 and len(origin) == 3:
                if (abs(cosines[:2, 2]) <= _GRID_TOLERANCE_COSINE).all():
                    cosines, spacing = cosines[:2, :2], spacing[:2]
                    origin = origin[:2]
                else:
                    sizes, plane = (*sizes, 1), origin[:0]
                    if len(spacing) < 3 or not spacing[2]:
                        cosines = np.array([*cosines[:2], np.cross(*cosines[:2])])
                        spacing = np.array([*spacing[:2], 1.0])
        if not spacing.all():
            raise InputError(f"its voxels have no size: {spacing.tolist()} mm")
        if not all(np.isfinite(v).all() for v in (cosines, spacing, origin, plane)):
            raise InputError(
                f"its geometry is not finite: axes {cosines.tolist()}, spacing "
                f"{spacing.tolist()}, origin {origin.tolist()}"
            )
        if abs(np.linalg.det(cosines)) < _SINGULAR:
            raise InputError(f"its direction cosines are singular: {cosines.tolist()}")
        return cls(
            shape=tuple(int(n) for n in reversed(sizes)),
            spacing_mm=tuple(spacing[::-1].tolist()),
            origin_mm=tuple((origin[::-1] + 0.0).tolist()),
            # A row is a world axis; reversing all reverses rows and columns. No -0.
            direction=tuple((cosines.T.ravel()[::-1] + 0.0).tolist()),
            plane_mm=tuple((plane + 0.0).tolist()),
        )

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
        if not self.plane_mm:
            del fields["plane_mm"]
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
            plane_mm=tuple(float(x) for x in record.get("plane_mm", ())),
        )
        ndim = stored.ndim
        lengths = (len(stored.spacing_mm), len(stored.origin_mm), len(stored.direction))
        numbers = (*stored.spacing_mm, *stored.origin_mm, *stored.direction)
        numbers += stored.plane_mm
        if (
            ndim not in (2, 3)
            or lengths != (ndim, ndim, ndim**2)
            or len(stored.plane_mm) > (ndim == 2)
            or not all(map(math.isfinite, numbers))
            or min(*stored.shape, *stored.spacing_mm) <= 0
        ):
            raise ValueError(f"no geometry: {record}")
        return stored
