"""Scores of one rater's smoothed label map as a forecast of a case's other raters.

A soft label is ``p = (1 - strength) * onehot + strength * n``, and the neighbours'
share n of a window does not depend on the strength. So each window is applied once, and
all strengths are scored from n_own, n_y and sum_c n_c^2: the Brier score is a
polynomial in the strength, and the NLL costs one logarithm a voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import (
    BoolArray,
    Float32Array,
    FloatArray,
    IndexArray,
    IntArray,
    Region,
    UIntArray,
)
from svls_cli.metrics.boundary_band import band_blocks
from svls_cli.metrics.calibration import CLIP
from svls_cli.soften.methods import Softening
from svls_cli.soften.regions import soften_part
from svls_cli.tuning.pair_scores import PairCounts, PairScores


def forecast_scores(
    maps: Sequence[UIntArray],
    band: BoolArray,
    windows: Sequence[Softening],
    strengths: Sequence[float],
    *,
    n_classes: int,
    threads: int = 1,
) -> PairScores:
    """Score windows and strengths on one case, block by block.

    ``maps`` (z, y, x) or (y, x) are class indices by each rater, ``n_classes`` where
    the rater ignores the voxel and so neither forecasts nor is forecast; ``band``, of
    the same shape, is the voxels that are scored. ``windows`` are SVLS of strength 1 on
    this grid. The result does not depend on the threads.

    Returns
    -------
    PairScores
        Sums over the band and all ordered pairs of raters.

    References
    ----------
    .. [1] Islam & Glocker, "Spatially Varying Label Smoothing", IPMI 2021,
       arXiv:2104.05788.
    .. [2] Gneiting & Raftery, "Strictly Proper Scoring Rules, Prediction, and
       Estimation", JASA 102, 2007.
    """

    def score(block: Region) -> PairScores:
        total = PairScores.zero(len(windows), len(strengths), n_classes)
        inside = band[block]
        labels = [indices[block] for indices in maps]
        for rater, indices in enumerate(maps):
            forecast = _Forecast.of(labels, inside, rater, n_classes)
            if forecast.partners.any():
                total += forecast.score(indices, block, windows, strengths)
        return total

    total = PairScores.zero(len(windows), len(strengths), n_classes)
    with ThreadPoolExecutor(threads) as pool:
        for part in pool.map(score, band_blocks(band)):
            total += part
    return total


@dataclass(frozen=True, eq=False)
class _Forecast:
    """One rater's voxels in a block, and what the other raters said there."""

    # (n,) flat index in the block, the rater's class, number of other raters who said
    # the same class, and number who said any.
    voxels: IndexArray
    own: UIntArray
    agreeing: IntArray
    partners: IntArray
    # (m,) for each other rater who said another class: which of the n voxels, and the
    # class.
    differing: IndexArray
    said: UIntArray
    n_classes: int

    @classmethod
    def of(
        cls, labels: Sequence[UIntArray], band: BoolArray, rater: int, n_classes: int
    ) -> _Forecast:
        voxels = np.flatnonzero(band & (labels[rater] != n_classes))
        own = labels[rater].reshape(-1)[voxels]
        agreeing, partners = np.zeros((2, len(voxels)), np.int64)
        differing, said = [], []
        for other in (*labels[:rater], *labels[rater + 1 :]):
            theirs = other.reshape(-1)[voxels]
            differs = (theirs != own) & (theirs != n_classes)
            agreeing += theirs == own
            partners += theirs != n_classes
            differing.append(np.flatnonzero(differs))
            said.append(theirs[differs])
        return cls(
            voxels,
            own,
            agreeing,
            partners,
            np.concatenate(differing),
            np.concatenate(said),
            n_classes,
        )

    def score(
        self,
        indices: UIntArray,
        block: Region,
        windows: Sequence[Softening],
        strengths: Sequence[float],
    ) -> PairScores:
        """Scores summed over the block; ``indices`` is the rater's whole map."""
        total = PairScores.zero(len(windows), len(strengths), self.n_classes)
        for at, window in enumerate(windows):
            shares, rows = self._shares(indices, block, window)
            own = shares[rows[self.own], np.arange(len(self.own))]
            occurs = rows[self.said] >= 0
            said = np.where(occurs, shares[rows[self.said], self.differing], 0)
            total.brier[at] = self._brier(shares, own, said, np.array(strengths))
            for k, strength in enumerate(strengths):
                nll, class_nll = self._nll(own, said, strength)
                total.nll[at, k], total.class_nll[at, k] = nll, class_nll
        return PairScores(self._counts(), total.nll, total.brier, total.class_nll)

    def _counts(self) -> PairCounts:
        agreed = self._by_class(self.own, self.agreeing).astype(np.int64)
        either = np.concatenate([self.own[self.differing], self.said])
        return PairCounts(agreed, np.bincount(either, minlength=self.n_classes))

    def _shares(
        self, indices: UIntArray, block: Region, window: Softening
    ) -> tuple[Float32Array, IndexArray]:
        """Neighbours' shares (k, n), and the row of each class; -1 if all are 0."""
        soft = soften_part(
            indices, block, window, n_classes=self.n_classes, dtype=np.float32
        )
        rows = np.full(self.n_classes, -1)
        rows[soft.classes] = np.arange(len(soft.classes))
        flat: Float32Array = soft.soft.reshape(len(soft.classes), -1)
        return flat.take(self.voxels, axis=1), rows

    def _brier(
        self,
        shares: Float32Array,
        own: Float32Array,
        said: Float32Array,
        strength: FloatArray,
    ) -> FloatArray:
        """(strengths,) Brier scores: sums of sum_c p_c^2 - 2 p_y + 1 over all pairs."""
        squares = np.einsum("kn,kn->n", shares, shares)
        rest = 1 - strength
        pairs = float(self.partners.sum())
        own_share, own_square, own_agreed = (
            float(weight @ values.astype(np.float64))
            for weight, values in (
                (self.partners, own),
                (self.partners, squares),
                (self.agreeing, own),
            )
        )
        squared = (
            rest**2 * pairs + 2 * rest * strength * own_share + strength**2 * own_square
        )
        hits = rest * float(self.agreeing.sum()) + strength * (
            own_agreed + float(said.sum(dtype=np.float64))
        )
        result: FloatArray = squared - 2 * hits + pairs
        return result

    def _nll(
        self, own: Float32Array, said: Float32Array, strength: float
    ) -> tuple[float, FloatArray]:
        """NLL summed over all pairs, and (c,) over the pairs that said each class."""
        agreed = _charge(np.float32(1 - strength) + np.float32(strength) * own)
        agreed *= self.agreeing
        differed = _charge(np.float32(strength) * said)
        class_nll = self._by_class(self.own, agreed)
        class_nll += self._by_class(self.own[self.differing], differed)
        nll = float(class_nll.sum())
        return nll, class_nll + self._by_class(self.said, differed)

    def _by_class(self, classes: UIntArray, weights: npt.NDArray[Any]) -> FloatArray:
        sums = np.bincount(classes, weights, minlength=self.n_classes)
        return sums.astype(np.float64, copy=False)


def _charge(p: Float32Array) -> Float32Array:
    """NLL of a probability: -ln(clip(p, 1e-3, 1))."""
    return -np.log(np.clip(p, CLIP, 1), dtype=np.float32)
