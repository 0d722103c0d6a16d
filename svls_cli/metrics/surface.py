"""Distances between the surfaces of masks, in millimetres."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

from svls_cli.arrays import BoolArray, FloatArray
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.metrics.boundary_band import bounding_box

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
    dice = pair_surface_dice((a, b), spacing_mm=spacing_mm, tolerance_mm=tolerance_mm)
    return float(dice[0])


def pair_surface_dice(
    masks: Sequence[BoolArray], *, spacing_mm: Sequence[float], tolerance_mm: float
) -> FloatArray:
    """(pairs,) `surface_dice` of all pairs, in the order of `itertools.combinations`.

    Parameters
    ----------
    masks : (z, y, x) or (y, x) each
        One per rater.
    spacing_mm, tolerance_mm
        As in `surface_dice`.

    Raises
    ------
    InputError, InvalidParameterError
        As `surface_dice`.

    Examples
    --------
    >>> masks = np.array([[[1, 1, 0]], [[1, 0, 0]], [[0, 0, 0]]], bool)
    >>> pair_surface_dice(masks, spacing_mm=(1, 1), tolerance_mm=0).round(3).tolist()
    [0.667, 0.0, 0.0]
    """
    _check(masks, spacing_mm, tolerance_mm)
    if not any(mask.any() for mask in masks):
        return np.full(math.comb(len(masks), 2), np.nan)
    box = bounding_box(np.logical_or.reduce(masks))
    surfaces = [_Surface.of(mask[box], spacing_mm) for mask in masks]
    pairs = itertools.combinations(surfaces, 2)
    return np.array([_dice(a, b, tolerance_mm) for a, b in pairs], np.float64)


@dataclass(frozen=True)
class SurfaceScores:
    """Agreement and distance of the surfaces of two masks.

    Parameters
    ----------
    dice
        `surface_dice`.
    hd95_mm
        95 % of the voxels of either surface are nearer to the other than this, mm: the
        larger of the 95th percentiles of both directions. NaN unless both masks hold
        something.
    """

    dice: float
    hd95_mm: float


def surface_scores(
    a: BoolArray, b: BoolArray, *, spacing_mm: Sequence[float], tolerance_mm: float
) -> SurfaceScores:
    """Surface Dice and 95th percentile Hausdorff distance of two masks.

    Parameters, surfaces and distances are those of `surface_dice`; percentiles lie
    between two distances in proportion.

    Raises
    ------
    InputError, InvalidParameterError
        As `surface_dice`.

    References
    ----------
    .. [1] Nikolov et al., 2021, arXiv:1809.04430 (surface Dice).
    .. [2] Maier-Hein, Reinke et al., "Metrics Reloaded", Nature Methods 21, 2024.

    Examples
    --------
    >>> a = np.array([[1, 1, 0, 0]], bool)
    >>> b = np.array([[1, 1, 1, 1]], bool)
    >>> surface_scores(a, b, spacing_mm=(1, 1), tolerance_mm=1)
    SurfaceScores(dice=0.8333333333333334, hd95_mm=1.8499999999999996)
    """
    _check((a, b), spacing_mm, tolerance_mm)
    if not (a.any() and b.any()):
        return SurfaceScores(0.0 if a.any() or b.any() else math.nan, math.nan)
    box = bounding_box(np.logical_or(a, b))
    first, second = (_Surface.of(mask[box], spacing_mm) for mask in (a, b))
    distances_mm = first.distances(second), second.distances(first)
    hd95_mm = max(float(np.percentile(each, 95)) for each in distances_mm)
    return SurfaceScores(_share_within(distances_mm, tolerance_mm), hd95_mm)


def check_tolerance_mm(tolerance_mm: float) -> None:
    """Raise InvalidParameterError unless the tolerance is finite and not negative."""
    if not 0 <= tolerance_mm < math.inf:
        raise InvalidParameterError(
            f"tolerance_mm must be finite and >= 0, found {tolerance_mm}"
        )


def _check(
    masks: Sequence[BoolArray], spacing_mm: Sequence[float], tolerance_mm: float
) -> None:
    check_tolerance_mm(tolerance_mm)
    if len({mask.shape for mask in masks}) > 1:
        raise InputError(f"shapes differ: {', '.join(str(m.shape) for m in masks)}")
    if any(len(spacing_mm) != mask.ndim for mask in masks) or not all(
        0 < mm < math.inf for mm in spacing_mm
    ):
        raise InvalidParameterError(
            f"spacing_mm must be a positive number per axis, found {tuple(spacing_mm)}"
        )


@dataclass(frozen=True, eq=False)
class _Surface:
    """The surface of one mask."""

    edge: BoolArray  # flattened: whether each voxel of the array is on the surface
    # (n,) indices into ``edge`` of the voxels on the surface.
    indices: npt.NDArray[np.intp]
    tree: cKDTree  # search tree of their centres, mm

    @classmethod
    def of(cls, mask: BoolArray, spacing_mm: Sequence[float]) -> _Surface:
        edge = (mask & ~binary_erosion(mask)).ravel()
        indices = np.flatnonzero(edge)  # several times faster than in three axes
        voxels = np.column_stack(np.unravel_index(indices, mask.shape))
        # Queried a few times only: fast building is worth more than balance.
        tree = cKDTree(
            voxels * np.asarray(spacing_mm, np.float64),
            balanced_tree=False,
            compact_nodes=False,
        )
        return cls(edge, indices, tree)

    def distances(self, other: _Surface, *, within_mm: float = math.inf) -> FloatArray:
        """(n,) distances to the other surface, mm; infinite beyond ``within_mm``."""
        distances_mm = np.zeros(self.tree.n)
        # Voxels on both surfaces need no search.
        apart = ~other.edge[self.indices]
        distances_mm[apart], _ = other.tree.query(
            self.tree.data[apart], distance_upper_bound=within_mm
        )
        return distances_mm


def _dice(a: _Surface, b: _Surface, tolerance_mm: float) -> float:
    if not (a.tree.n and b.tree.n):
        return 0.0 if a.tree.n or b.tree.n else math.nan
    within = tolerance_mm * _ROUNDING
    distances_mm = a.distances(b, within_mm=within), b.distances(a, within_mm=within)
    return _share_within(distances_mm, tolerance_mm)


def _share_within(distances_mm: Sequence[FloatArray], tolerance_mm: float) -> float:
    """Share of the voxels of two surfaces within the tolerance of the other."""
    within = tolerance_mm * _ROUNDING
    near = sum(int((each <= within).sum()) for each in distances_mm)
    return near / sum(map(len, distances_mm))
