"""Scores of forecasts, summed over voxels and ordered pairs of raters.

For rater r and every other rater s of a case, the soft label p of r's map is a forecast
of s's label y at a voxel:

- NLL = -ln(clip(p_y, 1e-3, 1)),
- Brier = sum_c (p_c - [c = y])^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from svls_cli.arrays import FloatArray, IntArray
from svls_cli.metrics.calibration import CLIP


@dataclass(frozen=True, eq=False)
class PairCounts:
    """Ordered pairs of raters, counted over voxels by class."""

    agreed: IntArray  # (c,) pairs of which both said the class
    # (c,) pairs of which one said the class and the other another; such a pair counts
    # for two classes.
    differed: IntArray

    @property
    def pairs(self) -> int:
        """Number of pairs over all voxels."""
        return int(self.agreed.sum() + self.differed.sum() // 2)

    @property
    def per_class(self) -> IntArray:
        """(c,) pairs of which at least one rater said the class."""
        return self.agreed + self.differed

    def __add__(self, other: PairCounts) -> PairCounts:
        return PairCounts(self.agreed + other.agreed, self.differed + other.differed)


@dataclass(frozen=True, eq=False)
class PairScores:
    """NLL and Brier scores of windows and strengths, summed over pairs of raters."""

    counts: PairCounts  # the pairs that were summed over
    # (windows, strengths) sums over all pairs.
    nll: FloatArray
    brier: FloatArray
    # (windows, strengths, c) sums over the pairs of which at least one rater said the
    # class.
    class_nll: FloatArray

    @classmethod
    def zero(cls, windows: int, strengths: int, n_classes: int) -> PairScores:
        """Sums over no pairs."""
        nobody = np.zeros(n_classes, np.int64)
        nll, brier = np.zeros((2, windows, strengths))
        class_nll = np.zeros((windows, strengths, n_classes))
        return cls(PairCounts(nobody, nobody), nll, brier, class_nll)

    def __add__(self, other: PairScores) -> PairScores:
        return PairScores(
            self.counts + other.counts,
            self.nll + other.nll,
            self.brier + other.brier,
            self.class_nll + other.class_nll,
        )


@dataclass(frozen=True, eq=False)
class MeanScores:
    """Mean scores of one method on one case."""

    # Means over voxels and pairs.
    nll: float
    brier: float
    # (c,) means over the pairs of which at least one rater said the class; NaN if there
    # are none.
    class_nll: FloatArray


def uniform_scores(counts: PairCounts, *, alpha: float, n_classes: int) -> MeanScores:
    """Scores of uniform label smoothing, in closed form; ``alpha`` 0 is one-hot.

    Parameters
    ----------
    counts
        Pairs of raters, at least one.
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
    >>> counts = PairCounts(np.array([2, 1]), np.array([1, 1]))  # 1 pair of 4 differs
    >>> scores = uniform_scores(counts, alpha=0, n_classes=2)
    >>> round(scores.nll, 3), scores.brier  # ln(1000) / 4, 2 / 4
    (1.727, 0.5)
    """
    other = alpha / n_classes
    own = 1 - alpha + other
    agree, differ = (-math.log(max(p, CLIP)) for p in (own, other))
    agreed, pairs = int(counts.agreed.sum()), counts.pairs
    nll = (agree * agreed + differ * (pairs - agreed)) / pairs
    squares = own**2 + (n_classes - 1) * other**2
    hits = own * agreed + other * (pairs - agreed)
    class_nll = agree * counts.agreed + differ * counts.differed
    return MeanScores(
        nll, squares + 1 - 2 * hits / pairs, mean_per_class(class_nll, counts)
    )


def mean_per_class(sums: FloatArray, counts: PairCounts) -> FloatArray:
    """(..., c) means over each class's pairs; NaN where there are none."""
    means = np.full(sums.shape, np.nan)
    np.divide(sums, counts.per_class, out=means, where=counts.per_class > 0)
    return means
