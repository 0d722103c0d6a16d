"""Scores of raters' smoothed label maps as forecasts of a case's other raters.

A soft label is ``p = (1 - strength) * f + strength * n``: f is what it is without
smoothing, and the neighbours' share n of a window does not depend on the strength. So
each window is applied once to each rater's map, and all strengths and targets are
scored from the shares of the labels that raters gave, sum_c f_c n_c and sum_c n_c^2:
the Brier score is a polynomial in the strength, and the NLL costs one logarithm a
forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import add

import numpy as np

from svls_cli.arrays import (
    BoolArray,
    Float32Array,
    FloatArray,
    IndexArray,
    Region,
    UIntArray,
)
from svls_cli.metrics.boundary_band import band_blocks
from svls_cli.metrics.calibration import CLIP
from svls_cli.soften.methods import Softening
from svls_cli.soften.regions import soften_part
from svls_cli.tuning.forecast_sums import ForecastSums
from svls_cli.tuning.targets import Forecasts, Fused, OneMap, Shares, Smoothed, Target

# (strengths,), (strengths,) and (strengths, c) sums.
Scored = tuple[FloatArray, FloatArray, FloatArray]


def forecast_scores(
    maps: Sequence[UIntArray],
    band: BoolArray,
    windows: Sequence[Softening],
    strengths: Sequence[float],
    *,
    n_classes: int,
    guide: Float32Array | None = None,
    threads: int = 1,
) -> tuple[ForecastSums, ...]:
    """Score windows and strengths on one case, block by block.

    ``maps`` (z, y, x) or (y, x) are class indices by each rater, ``n_classes`` where
    the rater ignores the voxel and so neither forecasts nor is forecast; ``band``, of
    the same shape, is the voxels that are scored. ``windows`` are of strength 1 on this
    grid; ``guide`` is the image, as `standardised` makes it, for those that take one.
    The result does not depend on the threads.

    Returns
    -------
    tuple of ForecastSums
        Sums over the band and the forecasts: one rater's map of each other rater, and,
        from three raters on, the mean of all other raters' maps of each rater. Empty
        if no voxel of the band has labels by two raters.

    References
    ----------
    .. [1] Islam & Glocker, "Spatially Varying Label Smoothing", IPMI 2021,
       arXiv:2104.05788.
    .. [2] Gneiting & Raftery, "Strictly Proper Scoring Rules, Prediction, and
       Estimation", JASA 102, 2007.
    """
    labelled = sum((indices < n_classes).astype(np.uint16) for indices in maps)
    scored = band & (labelled > 1)

    def score(block: Region) -> list[ForecastSums]:
        voxels = np.flatnonzero(scored[block])
        said = np.stack([indices[block].reshape(-1)[voxels] for indices in maps])
        targets: list[Target] = [OneMap(said, n_classes)]
        if len(maps) > 2:
            targets.append(Fused(said, n_classes))
        rows: list[list[Scored]] = [[] for _ in targets]
        for window in windows:
            shares = [_shares(m, block, voxels, window, n_classes, guide) for m in maps]
            own = np.stack([s.of(label) for s, label in zip(shares, said, strict=True)])
            for target, row in zip(targets, rows, strict=True):
                smoothed = target.smoothed(shares, own)
                row.append(_score(target.forecasts, smoothed, strengths, n_classes))
        return [
            ForecastSums(
                target.forecasts.counts(n_classes),
                *map(np.stack, zip(*row, strict=True)),
            )
            for target, row in zip(targets, rows, strict=True)
        ]

    with ThreadPoolExecutor(threads) as pool:
        blocks = list(pool.map(score, band_blocks(scored)))
    return tuple(reduce(add, parts) for parts in zip(*blocks, strict=True))


def _shares(
    indices: UIntArray,
    block: Region,
    voxels: IndexArray,
    window: Softening,
    n_classes: int,
    guide: Float32Array | None,
) -> Shares:
    """Neighbours' shares of one rater's map at these voxels of the block."""
    soft = soften_part(
        indices, block, window, n_classes=n_classes, dtype=np.float32, guide=guide
    )
    shares = Shares.zero(soft.classes, len(voxels), n_classes)
    flat = soft.soft.reshape(len(soft.classes), -1)
    np.take(flat, voxels, axis=1, out=shares.values[:-1])
    return shares


def _score(
    forecasts: Forecasts,
    smoothed: Smoothed,
    strengths: Sequence[float],
    n_classes: int,
) -> Scored:
    """NLL, Brier score and NLL by class of a block's forecasts by one window."""
    by_class = np.empty((len(strengths), n_classes))
    nll = np.empty(len(strengths))
    kept = forecasts.shares.astype(np.float32)[forecasts.level]
    for k, strength in enumerate(strengths):
        p = np.float32(1 - strength) * kept + np.float32(strength) * smoothed.near
        charge = _charge(p) * forecasts.weights
        nll[k] = charge.sum()
        by_class[k] = forecasts.by_class(charge, n_classes)
    return nll, _brier(forecasts, smoothed, np.array(strengths)), by_class


def _brier(
    forecasts: Forecasts, smoothed: Smoothed, strength: FloatArray
) -> FloatArray:
    """(strengths,) Brier scores: sums of sum_c p_c^2 - 2 p_y + 1 over all forecasts."""
    rest, weights = 1 - strength, forecasts.weights
    squares = rest**2 * forecasts.squares
    squares += 2 * rest * strength * smoothed.products
    squares += strength**2 * smoothed.squares
    hits = rest * float(forecasts.shares[forecasts.level] @ weights)
    hits += strength * float(smoothed.near.astype(np.float64) @ weights)
    result: FloatArray = squares - 2 * hits + weights.sum()
    return result


def _charge(p: Float32Array) -> Float32Array:
    """NLL of a probability: -ln(clip(p, 1e-3, 1))."""
    return -np.log(np.clip(p, CLIP, 1), dtype=np.float32)
