"""Scores of forecasts, summed over voxels and raters.

A forecast is a soft label p at a voxel, made without rater s, and y is what s says
there:

- NLL = -ln(clip(p_y, 1e-3, 1)),
- Brier = sum_c (p_c - [c = y])^2.

By class, it belongs to each class that a rater said whom it was made from. (Not to y:
a score whose weights depend on the outcome is not proper, and would favour forecasts
that are too wide.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from svls_cli.arrays import FloatArray, IntArray
from svls_cli.metrics.calibration import CLIP


@dataclass(frozen=True, eq=False)
class ForecastCounts:
    """Forecasts before any smoothing, counted by their share of the rater's label."""

    shares: FloatArray  # (l,) shares that occur, such as 0 and 1 for one map
    forecasts: IntArray  # (l,) number of forecasts with that share
    by_class: IntArray  # (l, c) number of those that belong to the class
    squares: float  # sum over all forecasts and classes of the squared share

    @property
    def total(self) -> int:
        """Number of forecasts."""
        return int(self.forecasts.sum())

    @property
    def disagreement(self) -> float:
        """Mean over all forecasts of what they give to other labels."""
        return 1 - float(self.shares @ self.forecasts) / self.total

    def __add__(self, other: ForecastCounts) -> ForecastCounts:
        return ForecastCounts(
            self.shares,
            self.forecasts + other.forecasts,
            self.by_class + other.by_class,
            self.squares + other.squares,
        )


@dataclass(frozen=True, eq=False)
class ForecastSums:
    """NLL and Brier scores of windows and strengths, summed over forecasts."""

    counts: ForecastCounts  # the forecasts that were summed over
    # (windows, strengths) sums over all forecasts.
    nll: FloatArray
    brier: FloatArray
    # (windows, strengths, c) sums over the forecasts that belong to the class.
    nll_by_class: FloatArray

    def __add__(self, other: ForecastSums) -> ForecastSums:
        return ForecastSums(
            self.counts + other.counts,
            self.nll + other.nll,
            self.brier + other.brier,
            self.nll_by_class + other.nll_by_class,
        )

    def means(self) -> MeanScores:
        """Means over the forecasts, at least one."""
        return MeanScores(
            self.nll / self.counts.total,
            self.brier / self.counts.total,
            _mean_by_class(self.nll_by_class, self.counts),
        )


@dataclass(frozen=True, eq=False)
class MeanScores:
    """Mean scores of methods on one case."""

    # (...) means over all forecasts.
    nll: FloatArray
    brier: FloatArray
    # (..., c) means over the forecasts that belong to the class; NaN if there are none.
    nll_by_class: FloatArray

    @property
    def class_nll(self) -> FloatArray:
        """(...) class-balanced NLL: the mean over the classes that have forecasts.

        Background is one of them: else to spread a structure over it would cost
        nothing.
        """
        mean: FloatArray = np.nanmean(self.nll_by_class, axis=-1)
        return mean

    def windows(self, rows: Sequence[int]) -> MeanScores:
        """The scores of these windows, the first axis."""
        return MeanScores(self.nll[rows], self.brier[rows], self.nll_by_class[rows])


def uniform_scores(
    counts: ForecastCounts, *, alpha: float, n_classes: int
) -> MeanScores:
    """Scores of uniform label smoothing, in closed form; ``alpha`` 0 smooths nothing.

    Parameters
    ----------
    counts
        Forecasts, at least one.
    alpha
        Share that is spread over all classes.
    n_classes
        Number of classes of the data set; the case may have fewer.

    References
    ----------
    .. [1] Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
       CVPR 2016 (label smoothing).

    Examples
    --------
    >>> shares, forecasts = np.array([0.0, 1.0]), np.array([1, 3])  # 1 of 4 is wrong
    >>> counts = ForecastCounts(shares, forecasts, np.array([[1, 0], [2, 1]]), 4.0)
    >>> scores = uniform_scores(counts, alpha=0, n_classes=2)
    >>> float(scores.nll.round(3)), float(scores.brier)  # ln(1000) / 4, 2 / 4
    (1.727, 0.5)
    """
    each = alpha / n_classes
    p = (1 - alpha) * counts.shares + each
    charge = -np.log(np.clip(p, CLIP, 1))
    nll = charge @ counts.forecasts / counts.total
    squares = (1 - alpha) ** 2 * counts.squares / counts.total
    squares += 2 * (1 - alpha) * each + alpha * each
    brier = squares - 2 * (p @ counts.forecasts) / counts.total + 1
    return MeanScores(nll, brier, _mean_by_class(charge @ counts.by_class, counts))


def _mean_by_class(sums: FloatArray, counts: ForecastCounts) -> FloatArray:
    """(..., c) means over each class's forecasts; NaN where there are none."""
    number = counts.by_class.sum(axis=0)
    means = np.full(sums.shape, np.nan)
    np.divide(sums, number, out=means, where=number > 0)
    return means
