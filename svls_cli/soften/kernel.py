"""The SVLS kernel, whole and factored by axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from svls_cli.arrays import FloatArray
from svls_cli.errors import InvalidParameterError

# Beyond this a window no longer describes a boundary, and its halo dwarfs the block.
MAX_SIZE = 129
# Below this its square has no digits; the nearest neighbours have all weight anyway.
_MIN_SIGMA = 1e-100


@dataclass(frozen=True)
class NeighbourWeights:
    """The neighbours' share of an SVLS kernel, factored into one window per axis.

    The Gaussian is separable once the centre is in: with ``G_a = 1 + F_a`` along axis
    ``a``, all neighbours are ``G_z G_y G_x - 1 = F_z + G_z F_y + G_z G_y F_x``. Each
    term is positive, so no sigma makes them cancel. `offsets` holds ``F_a / total`` and
    `total` turns it back into ``F_a``.

    Parameters
    ----------
    offsets : per spatial axis, (radius,) float64
        Weight of the voxels 1, 2, ... away along that axis, either side; scaled so that
        all neighbours of the window sum to 1.
    total
        Sum of the neighbours' Gaussian where the centre has 1; 0 for a sigma so small
        that it has no digits left.
    """

    offsets: tuple[FloatArray, ...]
    total: float

    @property
    def radius(self) -> tuple[int, ...]:
        """Voxels the window reaches along each axis."""
        return tuple(len(w) for w in self.offsets)

    def window(self) -> FloatArray:
        """(*size) weight of each neighbour, 0 at the centre; they sum to 1."""
        near, wider = np.zeros(()), np.ones(())
        for column in self.offsets:
            along = np.concatenate([column[::-1], [0.0], column])
            centre = np.zeros_like(along)
            centre[len(column)] = 1
            near = np.multiply.outer(near, centre) + np.multiply.outer(wider, along)
            wider = np.multiply.outer(wider, centre + self.total * along)
        return near


def svls_kernel(
    sigma_vox: Sequence[float], *, size: Sequence[int], strength: float = 0.5
) -> FloatArray:
    """Weights that turn a one-hot neighbourhood into a soft label.

    Parameters
    ----------
    sigma_vox : one float per spatial axis
        Standard deviation of the neighbour weights, voxels, array order (z, y, x).
    size : one odd int per spatial axis
        Window in voxels; 1 leaves an axis out.
    strength
        Share of the soft label that comes from the neighbours, in [0, 1]; 0.5 as
        published.

    Returns
    -------
    (*size) float64
        Sums to 1; the centre is ``1 - strength``.

    Raises
    ------
    InvalidParameterError
        If a size is even, a sigma is not positive, the lengths differ, or no axis is
        left.

    References
    ----------
    .. [1] Islam & Glocker, "Spatially Varying Label Smoothing", IPMI 2021,
       arXiv:2104.05788.

    Examples
    --------
    >>> svls_kernel((1, 1, 1), size=(3, 3, 3))[1, 1].round(6)
    array([0.030823, 0.5     , 0.030823])
    """
    check_strength(strength)
    _check_window(sigma_vox, size)
    exponent = np.zeros(tuple(size))
    for axis, (sigma, n) in enumerate(zip(sigma_vox, size, strict=True)):
        offset = np.arange(n) - n // 2
        along = [1] * len(size)
        along[axis] = n
        exponent = exponent + (0.5 * (offset / sigma) ** 2).reshape(along)
    centre = tuple(n // 2 for n in size)
    exponent[centre] = np.inf
    weights: FloatArray = np.exp(exponent.min() - exponent)
    weights *= strength / weights.sum()
    weights[centre] = 1 - strength
    return weights


def neighbour_weights(
    sigma_vox: Sequence[float], *, size: Sequence[int]
) -> NeighbourWeights:
    """The neighbours of `svls_kernel`, factored by axis.

    Parameters
    ----------
    sigma_vox, size
        As in `svls_kernel`.

    Raises
    ------
    InvalidParameterError
        As `svls_kernel`.

    Examples
    --------
    >>> weights = neighbour_weights((1, 1), size=(3, 3))
    >>> (weights.offsets[1] / 2).round(6)  # strength 1/2: the face of the 2-D kernel
    array([0.077807])
    """
    _check_window(sigma_vox, size)
    exponents = [
        0.5 * (np.arange(1, n // 2 + 1) / sigma) ** 2
        for sigma, n in zip(sigma_vox, size, strict=True)
    ]
    smallest = min(float(e[0]) for e in exponents if len(e))
    total = 0.0
    wider = 1.0  # what the axes before this one multiply it by: their G
    for e in exponents:
        total += wider * 2 * float(np.exp(smallest - e).sum())
        wider *= 1 + 2 * float(np.exp(-e).sum())
    offsets = tuple(np.exp(smallest - e) / total for e in exponents)
    return NeighbourWeights(offsets, total * math.exp(-smallest))


def auto_size(sigma_vox: Sequence[float]) -> tuple[int, ...]:
    """Window that holds three standard deviations either side, at least one voxel.

    A sigma from mm carries the rounding of the file's spacing; a millionth of a voxel
    too much must not widen the window.

    Raises
    ------
    InvalidParameterError
        If a sigma is not positive, or so wide a window is too large.

    Examples
    --------
    >>> auto_size((0.4, 1, 1))
    (5, 7, 7)
    """
    check_sigma(sigma_vox)
    reach = [3 * sigma - 1e-6 for sigma in sigma_vox]
    if max(reach) > MAX_SIZE // 2:
        raise InvalidParameterError(
            f"sigma is {max(sigma_vox):.4g} voxels, which wants a window larger than "
            f"{MAX_SIZE} voxels, the largest there is"
        )
    return tuple(2 * max(1, math.ceil(r)) + 1 for r in reach)


def check_sigma(sigma_vox: Sequence[float]) -> None:
    """Raise InvalidParameterError unless every sigma is positive and finite."""
    for sigma in sigma_vox:
        if not _MIN_SIGMA <= sigma < math.inf:
            raise InvalidParameterError(
                f"sigma must be positive (at least {_MIN_SIGMA}) and finite, found "
                f"{sigma}"
            )


def check_strength(strength: float) -> None:
    """Raise InvalidParameterError unless 0 <= strength <= 1."""
    if not 0 <= strength <= 1:
        raise InvalidParameterError(f"strength must lie in [0, 1], found {strength}")


def _check_window(sigma_vox: Sequence[float], size: Sequence[int]) -> None:
    if len(sigma_vox) != len(size):
        raise InvalidParameterError(
            f"sigma has {len(sigma_vox)} values and size {len(size)}: give one per axis"
        )
    check_sigma(sigma_vox)
    for n in size:
        if not 1 <= n <= MAX_SIZE or n % 2 != 1:
            raise InvalidParameterError(
                f"size must be odd and in 1..{MAX_SIZE} voxels, found {n}"
            )
    if max(size) < 3:
        raise InvalidParameterError("size 1 along every axis leaves no neighbours")
