"""Positions of patches in a case."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from svls_cli.arrays import BoolArray, IndexArray, UIntArray, VoxelArray

# Voxels kept of each class and of a case: enough to choose from, few enough to keep
# for every case of a data set.
_KEPT_VOXELS, _KEPT_OF_CASE = 2000, 20_000


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Random voxels of a case that patches may be centred on."""

    # (n, axes) each: voxels of each foreground class that occurs.
    foreground: tuple[VoxelArray, ...]
    boundary: VoxelArray  # (n, axes) voxels beside another class

    @classmethod
    def of(cls, labels: UIntArray, *, ignore_label: int | None, name: str) -> Landmarks:
        """Draw voxels of a hard label map.

        ``labels`` (z, y, x) or (y, x) are label values. ``ignore_label`` is, like 0, no
        foreground, and voxels beside it are not on a boundary. The name seeds the draw:
        it always gives the same voxels.
        """
        rng = np.random.default_rng(zlib.crc32(name.encode("utf-8", "surrogateescape")))
        edges = np.flatnonzero(_beside_another(labels, ignore_label))
        flat = labels.reshape(-1)
        foreground = flat != 0  # np.isin takes ten times as long
        if ignore_label is not None:
            foreground &= flat != ignore_label
        inside = np.flatnonzero(foreground)
        values = flat[inside]
        classes = [inside[values == value] for value in np.unique(values)]
        limit = min(_KEPT_VOXELS, -(-_KEPT_OF_CASE // (len(classes) + 1)))

        def sample(voxels: IndexArray) -> VoxelArray:
            if len(voxels) > limit:
                voxels = np.sort(rng.choice(voxels, limit, replace=False))
            axes = np.unravel_index(voxels, labels.shape)
            return np.stack(axes, axis=1).astype(np.int32)

        return cls(tuple(map(sample, classes)), sample(edges))

    def centre(
        self,
        rng: np.random.Generator,
        *,
        foreground_share: float,
        boundary_share: float,
    ) -> Sequence[int] | None:
        """Draw a voxel to centre a patch on; None if it may lie anywhere."""
        kind = rng.random()
        if kind < foreground_share and self.foreground:
            chosen = self.foreground[rng.integers(len(self.foreground))]
        elif foreground_share <= kind < foreground_share + boundary_share:
            chosen = self.boundary
        else:
            return None
        if not len(chosen):
            return None
        voxel: list[int] = chosen[rng.integers(len(chosen))].tolist()
        return voxel


def corner_of(
    rng: np.random.Generator,
    shape: Sequence[int],
    patch_size: Sequence[int],
    centre: Sequence[int] | None,
) -> tuple[int, ...]:
    """First voxel of a patch around ``centre``, or anywhere if that is None.

    The patch lies within the volume. On an axis that is shorter than the patch, the
    volume lies in its middle and the first voxel is negative.
    """
    corner = []
    for axis, (n, size) in enumerate(zip(shape, patch_size, strict=True)):
        if size >= n:
            corner.append(-((size - n) // 2))
        elif centre is None:
            corner.append(int(rng.integers(n - size + 1)))
        else:
            corner.append(min(max(0, centre[axis] - size // 2), n - size))
    return tuple(corner)


def _beside_another(labels: UIntArray, ignore_label: int | None) -> BoolArray:
    """Voxels with a face neighbour of another label, neither of them ignored."""
    result = np.zeros(labels.shape, bool)
    for axis in range(labels.ndim):
        lower = (slice(None),) * axis + (slice(None, -1),)
        upper = (slice(None),) * axis + (slice(1, None),)
        differs = labels[lower] != labels[upper]
        if ignore_label is not None:
            differs &= labels[lower] != ignore_label
            differs &= labels[upper] != ignore_label
        result[lower] |= differs
        result[upper] |= differs
    return result
