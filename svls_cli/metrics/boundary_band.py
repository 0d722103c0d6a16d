"""The voxels around boundaries, where soft labels differ from hard ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from svls_cli.arrays import BoolArray, Region, UIntArray
from svls_cli.errors import InvalidParameterError

# Edge of the blocks that a volume is worked on in, by number of axes.
_BLOCK_EDGE = {3: 64, 2: 512}


def boundary_band(
    maps: Sequence[UIntArray], *, n_classes: int, radius: Sequence[int]
) -> BoolArray:
    """Voxels whose window holds more than one label in any rater's map.

    Parameters
    ----------
    maps : (z, y, x) or (y, x) each
        Class index of each voxel; ``n_classes``, ignored, is no label.
    n_classes
        Classes of the data set.
    radius : one int per axis
        Voxels that the window, a box, reaches either side.

    Returns
    -------
    same shape, bool

    Examples
    --------
    >>> one, other = np.array([[0, 0, 0, 0, 1]]), np.array([[0, 0, 0, 0, 0]])
    >>> boundary_band([one, other], n_classes=2, radius=(1, 1)).astype(int)
    array([[0, 0, 0, 1, 1]])
    """
    band = np.zeros(maps[0].shape, bool)
    for labels in maps:
        # Ignored is the largest number for the minimum and the least for the maximum,
        # so that it makes no window mixed.
        least = _extreme(np.minimum, labels, radius)
        largest = _extreme(np.maximum, labels * (labels != n_classes), radius)
        band |= least < largest
    return band


def band_radius(
    band_mm: float,
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    *,
    in_plane: bool = False,
) -> tuple[int, ...]:
    """``band_mm`` in voxels: rounded, at least 1; 0 along an axis of one voxel.

    With ``in_plane`` it is 0 along the first of three axes, too: each slice has its own
    band.

    Examples
    --------
    >>> band_radius(2, (9, 9, 1), (2.5, 0.7, 0.7))
    (1, 3, 0)
    >>> band_radius(2, (9, 9, 9), (2.5, 0.7, 0.7), in_plane=True)
    (0, 3, 3)
    """
    radius = [
        min(n - 1, max(1, round(min(band_mm / mm, n))))
        for n, mm in zip(shape, spacing_mm, strict=True)
    ]
    if in_plane and len(radius) == 3:
        radius[0] = 0
    return tuple(radius)


def check_band_mm(band_mm: float) -> None:
    """Raise InvalidParameterError unless the band is positive and finite."""
    if not 0 < band_mm < math.inf:
        raise InvalidParameterError(
            f"band_mm must be positive and finite, found {band_mm}"
        )


def band_remark(band_mm: float, whole: Sequence[bool]) -> str | None:
    """Remark on a band that is no band, where each case's takes in all its voxels."""
    if not whole or not all(whole):
        return None
    return (
        f"the boundary band, {band_mm:g} mm either side, takes in all voxels of all "
        "cases: --band-mm makes it narrower"
    )


def band_blocks(band: BoolArray) -> Iterator[Region]:
    """Boxes that hold all voxels of a band, each as tight as its voxels allow.

    Examples
    --------
    >>> list(band_blocks(np.array([[False, True, True], [False, False, False]])))
    [(slice(0, 1, None), slice(1, 3, None))]
    """
    edge = _BLOCK_EDGE[band.ndim]
    for corner in itertools.product(*(range(0, n, edge) for n in band.shape)):
        inside = band[tuple(slice(at, at + edge) for at in corner)]
        if inside.any():
            box = zip(corner, bounding_box(inside), strict=True)
            yield tuple(slice(at + s.start, at + s.stop) for at, s in box)


def bounding_box(mask: BoolArray) -> Region:
    """Smallest box around a mask that is not empty."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)


def _extreme(pick: np.ufunc, labels: UIntArray, radius: Sequence[int]) -> UIntArray:
    """Minimum or maximum filter; shifted bytes are far faster than SciPy's doubles."""
    result = labels
    for axis, reach in enumerate(radius):
        source, result = result, result.copy()
        before = (slice(None),) * axis
        for shift in range(1, reach + 1):
            low, high = (*before, slice(None, -shift)), (*before, slice(shift, None))
            pick(result[low], source[high], out=result[low])
            pick(result[high], source[low], out=result[high])
    return result
