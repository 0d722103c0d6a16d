"""How far the surfaces of masks agree, within a tolerance in millimetres."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

from svls_cli.errors import InputError, InvalidParameterError

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

# Coordinates are multiples of the spacing, rounded: a distance that is the tolerance
# on paper can be larger in its last digits.
_ROUNDING = 1 + 1e-9


def surface_dice(
    a: BoolArray, b: BoolArray, *, spacing_mm: Sequence[float], tolerance_mm: float
) -> float:
    """Share of two masks' surfaces that lies within a tolerance of the other's.

    The surface is the voxels of a mask that have a face neighbour outside of it; what
    lies outside of the array is outside of the mask. Distances are between voxel
    centres, and every surface voxel counts the same, as in MONAI and nnU-Net; the
    publication weighs surface elements by their area.

    Parameters
    ----------
    a, b : (z, y, x) or (y, x)
        The masks.
    spacing_mm : one float per axis
        Distance between voxel centres, mm.
    tolerance_mm
        Distance that still counts as agreement, mm.

    Returns
    -------
    float
        0 to 1; 0 if one mask is empty, NaN if both are.

    Raises
    ------
    InputError
        If the shapes differ.
    InvalidParameterError
        If the tolerance is negative or not finite, or the spacing does not fit.

    References
    ----------
    .. [1] Nikolov et al., "Clinically Applicable Segmentation of Head and Neck Anatomy
       for Radiotherapy", J. Med. Internet Res. 23(7), 2021, arXiv:1809.04430.

    Examples
    --------
    >>> a = np.array([[1, 1, 0, 0]], bool)
    >>> b = np.array([[1, 1, 1, 1]], bool)
    >>> surface_dice(a, b, spacing_mm=(1, 0.5), tolerance_mm=0.5)  # 5 of 6 voxels
    0.8333333333333334
    """
    found = pair_surface_dice((a, b), spacing_mm=spacing_mm, tolerance_mm=tolerance_mm)
    return float(found[0])


def pair_surface_dice(
    masks: Sequence[BoolArray], *, spacing_mm: Sequence[float], tolerance_mm: float
) -> FloatArray:
    """(pairs,) `surface_dice` of all pairs, in the order of `itertools.combinations`.

    Parameters
    ----------
    masks : (z, y, x) or (y, x) each
        One per rater.
    spacing_mm : one float per axis
        Distance between voxel centres, mm.
    tolerance_mm
        Distance that still counts as agreement, mm.

    Raises
    ------
    InputError
        If the shapes differ.
    InvalidParameterError
        If the tolerance is negative or not finite, or the spacing does not fit.

    Examples
    --------
    >>> masks = np.array([[[1, 1, 0]], [[1, 0, 0]], [[0, 0, 0]]], bool)
    >>> pair_surface_dice(masks, spacing_mm=(1, 1), tolerance_mm=0).round(3).tolist()
    [0.667, 0.0, 0.0]
    """
    check_tolerance_mm(tolerance_mm)
    if len({mask.shape for mask in masks}) > 1:
        raise InputError(f"shapes differ: {', '.join(str(m.shape) for m in masks)}")
    if any(len(spacing_mm) != mask.ndim for mask in masks) or not all(
        0 < mm < math.inf for mm in spacing_mm
    ):
        raise InvalidParameterError(
            f"spacing_mm must be a positive number per axis, found {tuple(spacing_mm)}"
        )
    if not any(mask.any() for mask in masks):
        return np.full(math.comb(len(masks), 2), np.nan)
    box = _bounding_box(masks)
    surfaces = [_Surface.of(mask[box], spacing_mm) for mask in masks]
    pairs = itertools.combinations(surfaces, 2)
    return np.array([_dice(a, b, tolerance_mm) for a, b in pairs], np.float64)


def check_tolerance_mm(tolerance_mm: float) -> None:
    """Raise InvalidParameterError unless it is a distance."""
    if not 0 <= tolerance_mm < math.inf:
        raise InvalidParameterError(
            f"tolerance_mm must be finite and >= 0, found {tolerance_mm}"
        )


def _bounding_box(masks: Sequence[BoolArray]) -> tuple[slice, ...]:
    """Around all masks, of which one is not empty."""
    union = np.logical_or.reduce(masks)
    box = []
    for axis in range(union.ndim):
        others = tuple(other for other in range(union.ndim) if other != axis)
        found = np.flatnonzero(union.any(axis=others))
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)


@dataclass(frozen=True, eq=False)
class _Surface:
    """The surface of one mask.

    Parameters
    ----------
    edge : (z, y, x) or (y, x)
        Its voxels.
    spacing_mm : (ndim,)
        Distance between voxel centres, mm.
    tree
        Of their centres.
    """

    edge: BoolArray
    spacing_mm: FloatArray
    tree: cKDTree

    @classmethod
    def of(cls, mask: BoolArray, spacing_mm: Sequence[float]) -> _Surface:
        edge = mask & ~binary_erosion(mask)
        spacing = np.asarray(spacing_mm, np.float64)
        # Asked a few times only: building it fast is worth more than balance.
        tree = cKDTree(
            np.argwhere(edge) * spacing, balanced_tree=False, compact_nodes=False
        )
        return cls(edge, spacing, tree)

    def beyond(self, other: _Surface, tolerance_mm: float) -> int:
        """Voxels that are farther than the tolerance from the other surface."""
        # What is on both surfaces needs no search.
        points = np.argwhere(self.edge & ~other.edge) * self.spacing_mm
        distances, _ = other.tree.query(
            points, distance_upper_bound=tolerance_mm * _ROUNDING
        )
        return int(np.isinf(distances).sum())


def _dice(a: _Surface, b: _Surface, tolerance_mm: float) -> float:
    voxels = int(a.tree.n + b.tree.n)
    if not (a.tree.n and b.tree.n):
        return 0.0 if voxels else math.nan
    far = a.beyond(b, tolerance_mm) + b.beyond(a, tolerance_mm)
    return (voxels - far) / voxels
