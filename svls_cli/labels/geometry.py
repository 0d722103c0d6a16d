"""Where the voxels of an image lie in the patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


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
        return len(self.shape)

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the spatial axes in array order."""
        return ("z", "y", "x")[-self.ndim :]

    def to_json(self) -> dict[str, Any]:
        """As stored: this class's fields, plus the world they live in."""
        fields = {name: list(value) for name, value in asdict(self).items()}
        return {**fields, "space": "LPS", "axes": list(self.axes)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Geometry:
        return cls(
            shape=tuple(int(n) for n in record["shape"]),
            spacing_mm=tuple(float(x) for x in record["spacing_mm"]),
            origin_mm=tuple(float(x) for x in record["origin_mm"]),
            direction=tuple(float(x) for x in record["direction"]),
        )
