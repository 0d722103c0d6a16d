"""Scores of probabilities, from how often each was forecast and came true.

A stored probability is one of few levels, p = k / levels. So "how often was level k
forecast, and how often was it right" holds all that the scores need, whatever the size
of the volume, and adds up over blocks, raters and cases. Integer stores lose nothing;
floats are rounded to 65,535 levels, which moves a probability by 7.7e-6 at most.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import FloatArray, IntArray

# The least probability that a forecast is charged for. One-hot would have an infinite
# NLL without it; uint8 stores steps of .004.
CLIP = 1e-3
# Adaptive bins hold forecasts above this, as published.
THRESHOLD = 1e-3


@dataclass(frozen=True, eq=False)
class LevelCounts:
    """Forecasts of an event, by their probability."""

    count: IntArray  # (levels + 1,) number of forecasts of ``p = k / levels``
    hits: IntArray  # (levels + 1,) number of these that came true

    @cached_property
    def p(self) -> FloatArray:
        """(levels + 1,) the probabilities."""
        return np.arange(len(self.count)) / (len(self.count) - 1)

    @property
    def nll(self) -> float:
        """Negative log-likelihood: sum of -ln(clip(p, 1e-3, 1)) over what came true."""
        return float(self.hits @ -np.log(np.maximum(self.p, CLIP)))

    @property
    def brier(self) -> float:
        """Brier score: sum of (p - [it came true])^2."""
        missed = self.count - self.hits
        return float(missed @ self.p**2 + self.hits @ (1 - self.p) ** 2)


@dataclass(frozen=True, eq=False)
class Reliability:
    """Forecasts in bins of equal width."""

    # (bins,) number of forecasts with ``i / bins < p <= (i + 1) / bins``.
    count: IntArray
    confidence: FloatArray  # (bins,) sum of p over these
    hits: IntArray  # (bins,) number of these that came true

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(
            self.count + other.count,
            self.confidence + other.confidence,
            self.hits + other.hits,
        )

    @property
    def ece(self) -> float:
        """Expected calibration error; NaN without forecasts. Empty bins weigh nothing.

        References
        ----------
        .. [1] Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
        """
        total = self.count.sum()
        if not total:
            return math.nan
        return float(np.abs(self.hits - self.confidence).sum() / total)

    def to_json(self) -> dict[str, Any]:
        """Counts and means of each bin; the means of an empty bin are None."""

        def means(sums: npt.NDArray[Any]) -> list[float | None]:
            return [
                float(total / n) if n else None
                for total, n in zip(sums, self.count, strict=True)
            ]

        return {
            "count": self.count.tolist(),
            "confidence": means(self.confidence),
            "accuracy": means(self.hits),
        }


def reliability(forecasts: LevelCounts, *, bins: int) -> Reliability:
    """Sort forecasts into bins of equal width, p = 0 into none, as published.

    Examples
    --------
    >>> half = LevelCounts(np.array([0, 4, 2]), np.array([0, 1, 2]))  # p = 0, 1/2, 1
    >>> bars = reliability(half, bins=2)
    >>> bars.count.tolist(), bars.hits.tolist(), round(bars.ece, 3)
    ([4, 2], [1, 2], 0.167)
    """
    levels = len(forecasts.count) - 1
    # In whole numbers: i / bins < k / levels <= (i + 1) / bins, without rounding.
    edges = np.arange(bins + 1) * levels // bins

    def in_bins(by_level: IntArray) -> IntArray:
        return np.diff(np.cumsum(by_level)[edges])

    confidence = in_bins(forecasts.count * np.arange(levels + 1)) / levels
    return Reliability(in_bins(forecasts.count), confidence, in_bins(forecasts.hits))


def tace(forecasts: LevelCounts, *, bins: int) -> float:
    """Thresholded adaptive calibration error of one class; NaN without forecasts.

    The forecasts of p > 1e-3 in the order of p, cut into bins of exactly the same
    count: one that lies across an edge, or is one of several of the same p, counts for
    both bins in proportion. The mean over bins of |mean p - share that came true|.

    References
    ----------
    .. [1] Nixon et al., "Measuring Calibration in Deep Learning", CVPR Workshops 2019,
       arXiv:1904.01685.

    Examples
    --------
    >>> half = LevelCounts(np.array([9, 4, 2]), np.array([0, 1, 2]))  # p = 0, 1/2, 1
    >>> round(tace(half, bins=3), 3)
    0.167
    """
    total = int(_above(forecasts).count.sum())
    if not total:
        return math.nan
    edges = np.linspace(0, total, bins + 1)
    return float(_gaps(forecasts, edges).sum() / total)


def published_tace(forecasts: LevelCounts, *, bins: int) -> float:
    """`tace` of one class over ``bins``, which is what the published code prints.

    The published code weighs each bin by its share, and takes the mean over bins of
    that. Its bins are a whole number of voxels, and the last takes the rest. NaN where
    it divides by 0: with fewer forecasts than bins. The order in which it sorts
    forecasts of the same p is undefined; here they share the bins that they reach.

    References
    ----------
    .. [1] Islam & Glocker, "Spatially Varying Label Smoothing", IPMI 2021,
       arXiv:2104.05788; `tace_eval` of the code published with it.
    """
    total = int(_above(forecasts).count.sum())
    if total < bins:
        return math.nan
    edges = np.append(np.arange(bins) * (total // bins), total).astype(np.float64)
    return float(_gaps(forecasts, edges).sum() / total / bins)


def _above(forecasts: LevelCounts) -> LevelCounts:
    """Forecasts of a probability above the threshold; the others count 0."""
    above = forecasts.p > THRESHOLD
    return LevelCounts(forecasts.count * above, forecasts.hits * above)


def _gaps(forecasts: LevelCounts, edges: FloatArray) -> FloatArray:
    """(bins,) |sum of p - number that came true| between edges in the order of p."""
    chosen = _above(forecasts)
    (used,) = np.nonzero(chosen.count)
    count, hits = chosen.count[used], chosen.hits[used]
    ranks = np.append(0, np.cumsum(count))

    def between(weights: npt.NDArray[Any]) -> FloatArray:
        sums = np.append(0, np.cumsum(weights))
        return np.diff(np.interp(edges, ranks, sums))

    return np.abs(between(count * forecasts.p[used]) - between(hits))
