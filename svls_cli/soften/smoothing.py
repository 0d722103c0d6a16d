"""Soft labels of a block of voxels: the engine.

A voxel whose window holds one class only keeps its one-hot vector, and that is 95-99 %
of voxels. So a block is cut into tiles; tiles of one class are filled in, and for the
others each class present in them is smoothed by itself, axis by axis.

All classes but a voxel's own are computed; its own takes the rest. So the sum is exact
in every number type, and a voxel away from boundaries is exactly one-hot.

Several raters are no other matter: SVLS is linear, so their weighted mean is smoothed
once, and a voxel whose window holds one combination of their labels keeps its mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from svls_cli.arrays import BoolArray, Float32Array, SoftArray, UIntArray
from svls_cli.labels.values import distinct_values
from svls_cli.soften.bilateral import smooth_guided
from svls_cli.soften.kernel import NeighbourWeights
from svls_cli.soften.levels import ROUNDING_MARGIN, checked_dtype, levels
from svls_cli.soften.methods import Softening
from svls_cli.soften.mixture import (
    Labels,
    MixedLabels,
    Mixture,
    labels_of,
    take_back,
)
from svls_cli.soften.neighbours import FloatKind, crop, neighbour_sum, one_code

# Voxels (halo included) smoothed in one go: the arrays that work on them stay in cache.
_BATCH_VOXELS = 48_000


@dataclass(frozen=True)
class SoftBlock:
    """Soft labels of a block; classes that are 0 throughout are left out.

    Parameters
    ----------
    classes : (k,)
        Which classes, ascending.
    soft : (k, z, y, x)
        Theirs, as levels: 0..255 for uint8, 0..65535 for uint16, 0..1 for floats.
    constant
        Known to be the same at every voxel.
    """

    classes: npt.NDArray[np.intp]
    soft: SoftArray
    constant: bool = False


def soften_block(
    region: UIntArray,
    softening: Softening,
    *,
    n_classes: int,
    dtype: npt.DTypeLike,
    mixture: Mixture | None = None,
    guide: Float32Array | None = None,
) -> SoftBlock:
    """Soft labels of the inner part of a label region; `soften_dense` gives the same.

    Parameters
    ----------
    region : (z + 2 rz, y + 2 ry, x + 2 rx), or 2-D
        Class index of each voxel, ``n_classes`` where it is ignored; with a halo of
        ``softening.radius`` voxels, edge voxels repeated at the volume's borders.
    softening
        The method on this grid.
    n_classes
        Classes of the data set.
    dtype
        uint8, uint16, float16 or float32.
    mixture
        What the numbers in ``region`` stand for, if they are codes of several raters'
        labels instead of class indices.
    guide : as ``region``
        The image, as `standardised` makes it, for a method that takes one.

    Returns
    -------
    SoftBlock
        Each voxel's vector sums to exactly `levels` for integers; to 0 if ignored.

    Raises
    ------
    InvalidParameterError
        If ``dtype`` is none of these, or too coarse for uniform label smoothing.

    References
    ----------
    .. [1] Islam & Glocker, "Spatially Varying Label Smoothing", IPMI 2021,
       arXiv:2104.05788.
    """
    radius = softening.radius or (0,) * region.ndim
    inner = np.ascontiguousarray(region[crop(radius)])
    dtype = checked_dtype(dtype)
    labels = labels_of(mixture, n_classes, dtype, uniform=softening.uniform)
    codes = distinct_values(region).astype(np.intp)
    classes = labels.classes(codes)
    soft = np.empty((len(classes), *inner.shape), dtype)
    for k, index in enumerate(classes):
        labels.fill(inner, index, out=soft[k])
    if softening.neighbours is None or len(codes) == 1:
        return SoftBlock(classes, soft)
    if guide is not None:
        smooth_guided(region, guide, softening, classes, labels, soft)
    else:
        ignores = labels.ignores(codes)
        smoother = _Smoother(softening, softening.neighbours, classes, labels, ignores)
        smoother.apply(region, soft)
    return SoftBlock(classes, soft)


@dataclass(frozen=True)
class _Smoother:
    """SVLS of the classes of one block, which ``ignores`` some voxels or none."""

    softening: Softening
    weights: NeighbourWeights
    classes: npt.NDArray[np.intp]
    labels: Labels
    ignores: bool

    def apply(self, region: UIntArray, soft: SoftArray) -> None:
        """Overwrite, in ``soft``, the tiles whose windows hold more than one class."""
        radius, shape = self.weights.radius, soft.shape[1:]
        tile = tile_shape(shape, radius)
        missing = [(0, -n % t) for n, t in zip(shape, tile, strict=True)]
        target = soft
        if any(after for _, after in missing):
            region = np.pad(region, missing, mode="edge")
            target = np.pad(soft, [(0, 0), *missing])
        tiles = _as_tiles(target, tile)
        window = tuple(t + 2 * r for t, r in zip(tile, radius, strict=True))
        step = tuple(slice(None, None, t) for t in tile)
        windows = sliding_window_view(region, window)[step]
        mixed = np.nonzero(_mixed(region, tile, window))
        batch = max(1, _BATCH_VOXELS // math.prod(window))
        for start in range(0, len(mixed[0]), batch):
            chosen = tuple(axis[start : start + batch] for axis in mixed)
            for k, values in self._soften(windows[chosen], soft.dtype):
                tiles[k][chosen] = values
        if target is not soft:
            soft[...] = target[:, *(slice(n) for n in shape)]

    def _soften(
        self, windows: UIntArray, dtype: np.dtype[Any]
    ) -> list[tuple[int, SoftArray]]:
        """Row and soft labels of each class in a batch of tiles, halo included."""
        top, labels = levels(dtype), self.labels
        hard = labels.hard(windows)
        tiles = np.ascontiguousarray(self._inner(hard))
        kind, scale, centre = self._scale(hard, top)
        half = np.float32(0.5 - top * ROUNDING_MARGIN)
        present = labels.classes(distinct_values(windows).astype(np.intp))
        # Wider, and signed, if the others may round up to more than there is.
        enough = not labels.mixed and len(present) < top * (1 - self.softening.strength)
        wide = dtype if enough else np.result_type(dtype, np.int8)
        rest = np.full(tiles.shape, top, wide)
        softened: list[tuple[BoolArray, SoftArray]] = []
        for index in present:
            shares = labels.shares(windows, hard == index, index)
            share = neighbour_sum(shares, self.weights, kind)
            share *= scale
            if labels.mixed:
                share += self._inner(shares) * centre
            if dtype.kind == "u":
                share += half
            own = tiles == index
            values = share.astype(dtype)
            values *= _as_numbers(~own)
            rest -= values
            softened.append((own, values))
        if not enough and rest.min() < 0:
            take_back([values for _, values in softened], rest)
        for own, values in softened:
            values += (rest * _as_numbers(own)).astype(dtype, copy=False)
        if isinstance(labels, MixedLabels):
            self._keep_means(
                labels, windows, present, [values for _, values in softened]
            )
        rows = np.searchsorted(self.classes, present).tolist()
        return list(zip(rows, [values for _, values in softened], strict=True))

    def _keep_means(
        self,
        labels: MixedLabels,
        windows: UIntArray,
        classes: npt.NDArray[np.intp],
        soft: list[SoftArray],
    ) -> None:
        """Overwrite, in ``soft``, the voxels whose window holds one combination."""
        inner = self._inner(windows)
        # Where one class has all it is the one-hot vector already.
        disputed = labels.disputed(inner)
        if not disputed.any():
            return
        kept = np.flatnonzero(disputed & one_code(windows, self.weights.radius))
        codes = inner.reshape(-1)[kept]
        for index, values in zip(classes, soft, strict=True):
            values.reshape(-1)[kept] = labels.alone(index)[codes]

    def _scale(self, hard: UIntArray, top: int) -> tuple[FloatKind, Any, Any]:
        """Number type to compute in; factors of the neighbour sum and of the centre.

        A voxel none of whose neighbours counts keeps its own share whole.

        In a block that ignores voxels, far neighbours may have to share all weight, and
        theirs may have no digits in single precision.
        """
        full = top * self.softening.strength
        if not self.ignores:
            return np.float32, np.float32(full), np.float32(top - full)
        rated = hard != self.labels.n_classes
        valid = neighbour_sum(rated, self.weights, np.float64)
        counted = (valid > np.finfo(np.float64).tiny) & self._inner(rated)
        scale = np.divide(full, valid, out=np.zeros_like(valid), where=counted)
        return np.float64, scale, np.where(counted, top - full, top)

    def _inner(self, windows: SoftArray) -> SoftArray:
        """What the halo leaves of a batch of windows."""
        return windows[(slice(None), *crop(self.weights.radius))]


def tile_shape(shape: Sequence[int], radius: Sequence[int]) -> tuple[int, ...]:
    """Tiles small enough to skip much, large enough that their halo costs little."""
    edge = 16 if max(radius) <= 2 and len(shape) == 3 else 32
    return tuple(-(-n // -(-n // edge)) for n in shape)


def _mixed(region: UIntArray, tile: Sequence[int], window: Sequence[int]) -> BoolArray:
    """Which tiles see more than one class, halo included."""
    low = high = region
    for axis, (step, width) in enumerate(zip(tile, window, strict=True)):
        every = (slice(None),) * axis + (slice(None, None, step),)
        low = sliding_window_view(low, width, axis=axis)[every].min(axis=-1)
        high = sliding_window_view(high, width, axis=axis)[every].max(axis=-1)
    return np.not_equal(low, high)


def _as_numbers(truth: BoolArray) -> npt.NDArray[np.uint8]:
    """0 and 1, which NumPy multiplies several times faster than False and True."""
    return truth.view(np.uint8)


def _as_tiles(blocks: SoftArray, tile: Sequence[int]) -> SoftArray:
    """View (k, z, y, x) as (k, tiles z, tiles y, tiles x, tile z, tile y, tile x)."""
    split: list[int] = [blocks.shape[0]]
    for n, t in zip(blocks.shape[1:], tile, strict=True):
        split += [n // t, t]
    axes = range(1, len(split))
    return blocks.reshape(split).transpose(0, *axes[::2], *axes[1::2])
