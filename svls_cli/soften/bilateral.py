"""Image-guided smoothing: neighbours count by how much they look like the voxel, too.

    w_j ~ k_j exp(-|I_j - I_i| / s),   j != i,   sum_j w_j = strength

k is the window of SVLS, I the image in standard deviations of its own. A difference of
more than 60 s counts as 60 s, so that the weights of a voxel unlike all its neighbours
are those of SVLS, and never 0/0. The standard deviation is the whole image's; beyond
its border, its edge voxels are repeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from svls_cli.arrays import (
    BoolArray,
    Float32Array,
    FloatArray,
    IndexArray,
    SoftArray,
    UIntArray,
)
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.values import distinct_values
from svls_cli.soften.levels import ROUNDING_MARGIN, levels
from svls_cli.soften.libraries import Array, as_type, namespace
from svls_cli.soften.methods import Softening
from svls_cli.soften.mixture import Labels, take_back
from svls_cli.soften.neighbours import crop, one_code

_LARGEST_DIFFERENCE = 60.0
# Neighbours looked at in one go: the arrays that work on them stay in cache.
_BATCH, _LEAST = 2**15, 32  # voxels at least
_PART = 2**22  # voxels that are taken in double precision at a time


def standardised(image: Array) -> Array:
    """The image in its own standard deviations from its mean; 0 if it is constant.

    Parameters
    ----------
    image : (z, y, x) or (y, x)
        Intensities of one channel, finite, of any library and type.

    Returns
    -------
    same shape, float32

    Raises
    ------
    InputError
        If a voxel is NaN or infinite.
    """
    xp = namespace(image)
    flat = xp.reshape(image, (-1,))
    count = flat.shape[0]
    parts = [slice(at, at + _PART) for at in range(0, count, _PART)]

    largest = 1.0  # number by which all are divided: squares of any are finite then

    def wide(part: slice) -> Array:
        return as_type(xp, flat[part], "float64") / largest

    ends = [float(end(wide(part))) for part in parts for end in (xp.min, xp.max)]
    if not all(map(math.isfinite, ends)):
        raise InputError("an image holds NaN or infinity; expected finite numbers")
    result = xp.zeros(count, dtype=xp.float32, device=image.device)
    if min(ends) < max(ends):
        largest = max(map(abs, ends))
        mean = sum(float(xp.sum(wide(part))) for part in parts) / count
        square = sum(float(xp.sum((wide(part) - mean) ** 2)) for part in parts) / count
        for part in parts:
            result[part] = as_type(xp, (wide(part) - mean) / square**0.5, "float32")
    return xp.reshape(result, image.shape)


def standardised_batch(softening: Softening, label_maps: Array, images: Array) -> Array:
    """The images of a batch of label maps, each standardised; None if there are none.

    Raises
    ------
    InputError
        If they have another shape than the label maps, or a NaN or infinity.
    InvalidParameterError
        If the method takes images and there are none, or there are and it does not.
    """
    if (images is not None) != (softening.intensity_scale is not None):
        needs = "takes no image" if images is not None else "needs the image"
        raise InvalidParameterError(
            f"the method {needs}: method bilateral takes one, and no other does"
        )
    if images is None:
        return None
    if images.shape != label_maps.shape:
        raise InputError(
            f"image and label map differ in shape: {tuple(images.shape[1:])} and "
            f"{tuple(label_maps.shape[1:])}"
        )
    return namespace(images).stack([standardised(image) for image in images])


def guided_sum(share: Array, guide: Array, softening: Softening, axis: int) -> Array:
    """Weighted sum over the neighbours of each voxel, not normalised.

    Parameters
    ----------
    share, guide : (z + 2 rz, y + 2 ry, x + 2 rx), or 2-D; after ``axis`` other axes
        Share of a class, and the image.
    softening
        The method, which takes an image.

    Returns
    -------
    (z, y, x)
        Sums at the voxels that the halo leaves.
    """
    assert softening.neighbours is not None
    assert softening.intensity_scale is not None
    xp, window = namespace(share), softening.neighbours.window()
    lengths = [
        n - size + 1 for n, size in zip(guide.shape[axis:], window.shape, strict=True)
    ]
    centre = guide[..., *crop(softening.neighbours.radius)]
    total: Array = 0.0
    for offset in map(tuple, np.argwhere(window).tolist()):
        at = tuple(slice(o, o + n) for o, n in zip(offset, lengths, strict=True))
        difference = xp.abs(guide[..., *at] - centre) / softening.intensity_scale
        alike = xp.exp(-xp.clip(difference, None, _LARGEST_DIFFERENCE))
        total = total + share[..., *at] * alike * float(window[offset])
    return total


def smooth_guided(
    region: UIntArray,
    guide: Float32Array,
    softening: Softening,
    classes: IndexArray,
    labels: Labels,
    soft: SoftArray,
) -> None:
    """Overwrite, in ``soft``, the voxels whose window holds more than one class.

    Each window's weights are summed by the number in the region, a class index or a
    code, and a table says how probable each class is there.

    Parameters
    ----------
    region, guide
        As in `soften_block`, halo included.
    classes : (k,)
        Class indices of ``soft``, ascending.
    labels
        What the numbers in the region stand for.
    soft : (k, z, y, x)
        Soft labels without smoothing.
    """
    assert softening.neighbours is not None
    assert softening.intensity_scale is not None
    radius = softening.neighbours.radius
    window = softening.neighbours.window().astype(np.float32)
    codes: UIntArray = distinct_values(region)
    table = _Table.of(codes, classes, labels)
    rows = np.searchsorted(codes, region)
    own = rows[crop(radius)]
    mixed = table.rated[own] & ~one_code(region[None], radius)[0]
    voxels, target = np.flatnonzero(mixed), soft.reshape(len(soft), -1)
    own, rows = own[mixed], rows.reshape(-1)
    scaled = guide.reshape(-1) / softening.intensity_scale
    # In such flat arrays: where a voxel's window starts, and what follows from there.
    inner = np.unravel_index(voxels, mixed.shape)
    starts = np.ravel_multi_index(inner, region.shape)
    steps = np.ravel_multi_index(tuple(np.indices(window.shape)), region.shape)
    batch = max(_LEAST, _BATCH // window.size)
    for first in range(0, len(starts), batch):
        here = slice(first, first + batch)
        near = starts[here, None] + steps.reshape(-1)
        # Unchecked, NumPy takes a third less time.
        weights = _alike(scaled.take(near, mode="clip")) * window.reshape(-1)
        sums = _sums(rows.take(near, mode="clip"), weights, len(codes))
        values = table.soft_labels(sums, own[here], softening.strength, soft.dtype)
        target[:, voxels[here]] = values.T


def _alike(intensities: Float32Array) -> Float32Array:
    """(n, window) how much each voxel of a window looks like the one in its middle."""
    intensities -= intensities[:, intensities.shape[1] // 2, None].copy()
    np.copysign(intensities, np.float32(-1), out=intensities)
    np.maximum(intensities, np.float32(-_LARGEST_DIFFERENCE), out=intensities)
    return np.exp(intensities, out=intensities)


def _sums(rows: IndexArray, weights: Float32Array, n_rows: int) -> FloatArray:
    """(n, rows) weight of each row of the table in windows (n, window)."""
    rows += n_rows * np.arange(len(rows))[:, None]
    sums = np.bincount(rows.reshape(-1), weights.reshape(-1), n_rows * len(rows))
    return sums.astype(np.float64, copy=False).reshape(len(rows), n_rows)


@dataclass(frozen=True, eq=False)
class _Table:
    """What the numbers of a region stand for, a row for each."""

    shares: FloatArray  # (codes, k) share of each class
    own: IndexArray  # (codes,) column of the class that a voxel counts as
    rated: BoolArray  # (codes,) not ignored

    @classmethod
    def of(cls, codes: UIntArray, classes: IndexArray, labels: Labels) -> _Table:
        hard = labels.hard(codes)
        shares = np.empty((len(codes), len(classes)))
        for k, index in enumerate(classes):
            shares[:, k] = labels.shares(codes, hard == index, index)
        own = np.searchsorted(classes, hard)
        return cls(shares, own, hard != labels.n_classes)

    def soft_labels(
        self, sums: FloatArray, own: IndexArray, strength: float, dtype: np.dtype[Any]
    ) -> SoftArray:
        """(n, k) soft labels of voxels by the weights of the codes around them.

        A voxel none of whose neighbours counts keeps its own share whole.
        """
        top = levels(dtype)
        valid = sums @ self.rated
        counted = valid > np.finfo(np.float64).tiny
        near = np.divide(top * strength, valid, out=np.zeros_like(valid), where=counted)
        kept = top - top * strength * counted
        exact = (sums @ self.shares) * near[:, None] + self.shares[own] * kept[:, None]
        if dtype.kind == "u":
            exact += 0.5 - top * ROUNDING_MARGIN
        # All classes but a voxel's own are rounded; its own takes the rest.
        values = exact.astype(np.result_type(dtype, np.int8))
        column = np.arange(len(own)), self.own[own]
        values[column] = 0
        rest = top - values.sum(axis=1, dtype=values.dtype)
        take_back(list(values.T), rest)
        values[column] = rest
        return values
