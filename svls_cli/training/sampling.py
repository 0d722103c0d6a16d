"""Where in a case patches lie."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import UIntArray

Voxels = npt.NDArray[np.int32]
# Of a class and of a case: enough to choose from, few enough to keep for every case of
# a data set.
_KEPT_VOXELS, _KEPT_OF_CASE = 2000, 20_000


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Some voxels of a case that patches may be centred on.

    Parameters
    ----------
    foreground : (n, axes) each
        By class, those that occur.
    boundary : (n, axes)
        Voxels beside another class.
    """

    foreground: tuple[Voxels, ...]
    boundary: Voxels

    @classmethod
    def of(cls, labels: UIntArray, *, ignore_label: int | None, name: str) -> Landmarks:
        """Of a hard label map.

        Parameters
        ----------
        labels : (z, y, x) or (y, x)
            Label values.
        ignore_label
            No foreground, as 0 is none; and what is beside it is no boundary.
        name
            The case's: the same voxels are kept for it, whoever asks.
        """
        rng = np.random.default_rng(zlib.crc32(name.encode("utf-8", "surrogateescape")))
        edges = np.flatnonzero(_beside_another(labels, ignore_label))
        flat = labels.reshape(-1)
        kept = flat != 0  # np.isin takes ten times as long
        if ignore_label is not None:
            kept &= flat != ignore_label
        inside = np.flatnonzero(kept)
        values = flat[inside]
        classes = [inside[values == value] for value in np.unique(values)]
        kept_voxels = min(_KEPT_VOXELS, -(-_KEPT_OF_CASE // (len(classes) + 1)))

        def some(places: npt.NDArray[Any]) -> Voxels:
            if len(places) > kept_voxels:
                places = np.sort(rng.choice(places, kept_voxels, replace=False))
            place = np.unravel_index(places, labels.shape)
            return np.stack(place, axis=1).astype(np.int32)

        return cls(tuple(map(some, classes)), some(edges))

    def centre(
        self,
        rng: np.random.Generator,
        *,
        foreground_share: float,
        boundary_share: float,
    ) -> Sequence[int] | None:
        """A voxel to centre a patch on; None for anywhere."""
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
    """First voxel of a patch: around ``centre``, or anywhere; in the volume if it fits.

    On an axis that is shorter than the patch it is negative, and the volume in its
    middle.
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


def _beside_another(
    labels: UIntArray, ignore_label: int | None
) -> npt.NDArray[np.bool_]:
    """Voxels one of whose face neighbours has another label, neither ignored."""
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
