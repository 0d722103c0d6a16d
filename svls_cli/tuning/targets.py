"""What is forecast of a rater, and from what: one other rater's map, or all fused.

Without smoothing, a forecast f is the mean of the one-hot labels of the raters whom it
is made from. Smoothing is linear: the neighbours' share n of the fused map is the mean
of the raters' own. (Near voxels that some rater ignores that is not exact: here each
map is smoothed by itself, and the mean is over those who label the voxel.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from svls_cli.arrays import (
    BoolArray,
    Float32Array,
    FloatArray,
    IndexArray,
    IntArray,
    SoftArray,
    UIntArray,
)
from svls_cli.tuning.forecast_sums import ForecastCounts


@dataclass(frozen=True, eq=False)
class Shares:
    """Neighbours' share of each class at n voxels."""

    classes: IndexArray  # (k,) classes with a share somewhere
    values: Float32Array  # (k + 1, n) shares; the last row is 0, of all other classes
    rows: IndexArray  # (n_classes + 1,) row of each class; ``n_classes`` is ignored

    @classmethod
    def zero(cls, classes: IndexArray, n: int, n_classes: int) -> Shares:
        """Shares to be filled in."""
        rows = np.full(n_classes + 1, -1)
        rows[classes] = np.arange(len(classes))
        return cls(classes, np.zeros((len(classes) + 1, n), np.float32), rows)

    @classmethod
    def sum(cls, each: Sequence[Shares]) -> Shares:
        """Sum of several raters' shares."""
        classes = np.unique(np.concatenate([shares.classes for shares in each]))
        total = cls.zero(classes, each[0].values.shape[1], len(each[0].rows) - 1)
        for shares in each:
            total.values[total.rows[shares.classes]] += shares.values[:-1]
        return total

    def of(self, said: UIntArray) -> Float32Array:
        """(n,) share of the class that is said at each voxel."""
        share: Float32Array = self.values[self.rows[said], np.arange(len(said))]
        return share

    def squares(self, weights: IntArray | FloatArray) -> float:
        """Weighted sum over the voxels of the sum over classes of the squared share."""
        return float(np.einsum("kn,kn->n", self.values, self.values) @ weights)


@dataclass(frozen=True, eq=False)
class Smoothed:
    """What one window makes of all forecasts, before it is mixed by the strength."""

    near: Float32Array  # (f,) neighbours' share of the rater's label
    # Sums over the forecasts and classes of f_c n_c, and of n_c^2.
    products: float
    squares: float


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Forecasts without smoothing; equal ones may be one entry."""

    weights: IntArray  # (f,) number of forecasts that an entry stands for
    shares: FloatArray  # (l,) shares that occur
    level: IndexArray  # (f,) which of them the rater's label has
    # (m,) classes that a forecast's raters said: of which entry, and which class.
    entry: IndexArray
    classes: UIntArray
    squares: float  # sum over the forecasts and classes of the squared share

    def by_class(self, values: SoftArray, n_classes: int) -> FloatArray:
        """(c,) sums of (f,) values over the forecasts by raters who said the class."""
        sums: FloatArray = np.zeros(n_classes)
        sums += np.bincount(self.classes, values[self.entry], n_classes)
        return sums

    def counts(self, n_classes: int) -> ForecastCounts:
        """How many there are."""
        n_shares, weights = len(self.shares), self.weights
        at = self.level[self.entry] * n_classes + self.classes
        by_class = np.bincount(at, weights[self.entry], n_shares * n_classes)
        return ForecastCounts(
            self.shares,
            np.bincount(self.level, weights, n_shares).astype(np.int64),
            by_class.astype(np.int64).reshape(n_shares, n_classes),
            self.squares,
        )


class Target(Protocol):
    """One way of making forecasts, at n voxels of a case."""

    @property
    def forecasts(self) -> Forecasts:
        """The forecasts."""

    def smoothed(self, shares: Sequence[Shares], own: Float32Array) -> Smoothed:
        """The forecasts by one window.

        ``shares`` are each rater's; ``own`` (raters, n) the share of what the rater
        said at the voxel.
        """


class OneMap:
    """One rater's map as a forecast of each other rater.

    Parameters
    ----------
    said : (raters, n)
        Class that each rater gives each voxel; ``n_classes``: the rater ignores it.
    n_classes
        Classes of the data set.
    """

    def __init__(self, said: UIntArray, n_classes: int) -> None:
        labelled = said < n_classes
        differing: list[tuple[UIntArray, IndexArray]] = []
        agreeing = np.zeros(said.shape, np.int64)
        for rater, own in enumerate(said):
            differs = labelled & labelled[rater] & (said != own)
            raters, voxels = np.nonzero(differs)
            differing.append((said[raters, voxels], voxels))
            agreeing[rater] = ((said == own) & labelled[rater]).sum(axis=0)
        agreeing -= labelled  # nobody forecasts oneself
        self._agree: BoolArray = agreeing > 0
        self._differing = differing
        self._partners: IntArray = np.where(labelled, labelled.sum(axis=0) - 1, 0)
        own_class = [own[at] for own, (_, at) in zip(said, differing, strict=True)]
        same, n = said[self._agree], sum(map(len, own_class))
        self.forecasts = Forecasts(
            weights=np.concatenate([agreeing[self._agree], np.ones(n, np.int64)]),
            shares=np.array([0.0, 1.0]),
            level=np.repeat([1, 0], [len(same), n]),
            entry=np.arange(len(same) + n),
            classes=np.concatenate([same, *own_class]),
            squares=float(self._partners.sum()),
        )

    def smoothed(self, shares: Sequence[Shares], own: Float32Array) -> Smoothed:
        """As in `Target`."""
        differ = [
            each.values[each.rows[classes], voxels]
            for each, (classes, voxels) in zip(shares, self._differing, strict=True)
        ]
        return Smoothed(
            np.concatenate([own[self._agree], *differ]),
            products=float((own * self._partners).sum(dtype=np.float64)),
            squares=sum(
                each.squares(weights)
                for each, weights in zip(shares, self._partners, strict=True)
            ),
        )


class Fused:
    """The mean of all other raters' maps as a forecast of the one left out.

    Parameters
    ----------
    said, n_classes
        As in `OneMap`; each voxel is labelled by two raters or more.
    """

    def __init__(self, said: UIntArray, n_classes: int) -> None:
        raters = len(said)
        labelled = said < n_classes
        self._labelled: BoolArray = labelled
        self._said = said
        self._sources: IntArray = labelled.sum(axis=0) - 1
        agreeing = np.zeros(said.shape, np.int64)
        entry, classes = [], []
        number = np.cumsum(labelled.ravel()).reshape(said.shape) - 1
        for left_out, label in enumerate(said):
            told: list[UIntArray] = []
            for source in (*range(left_out), *range(left_out + 1, raters)):
                theirs = said[source]
                both = labelled[left_out] & labelled[source]
                agreeing[left_out] += both & (theirs == label)
                new = both & np.logical_and.reduce([theirs != each for each in told])
                entry.append(number[left_out][new])
                classes.append(theirs[new])
                told.append(theirs)
        # The shares that occur, of j among m sources, whatever this block holds.
        j, m = np.indices((raters, raters))
        shares, place = np.unique(
            np.minimum(j / np.maximum(m, 1), 1), return_inverse=True
        )
        level = place.reshape(raters, raters)[agreeing, self._sources]
        # Sum over those left out of |F - onehot|^2, by the sum F of all raters.
        squares = (agreeing * labelled).sum(axis=0) + labelled.sum(axis=0)
        self.forecasts = Forecasts(
            weights=np.ones(int(labelled.sum()), np.int64),
            shares=shares,
            level=level[labelled],
            entry=np.concatenate(entry),
            classes=np.concatenate(classes),
            squares=float(self._sum(squares, labelled.sum(axis=0))),
        )

    def smoothed(self, shares: Sequence[Shares], own: Float32Array) -> Smoothed:
        """As in `Target`."""
        total = Shares.sum(shares)
        all_of = np.stack([total.of(label) for label in self._said])
        near = all_of - own
        near /= self._sources
        weights = (self._sources - 1) / self._sources**2
        alone = 1 / self._sources**2
        squares = total.squares(weights)
        squares += sum(each.squares(alone) for each in shares)
        return Smoothed(
            near[self._labelled],
            products=self._sum(all_of.sum(axis=0), own.sum(axis=0)),
            squares=squares,
        )

    def _sum(self, products: FloatArray, own: FloatArray) -> float:
        """Sum over voxels of sum_s <A - a_s, B - b_s> / sources^2.

        A and B are sums over the raters of a_s and b_s; ``products`` is <A, B> and
        ``own`` the sum of <a_s, b_s>, (n,) each.
        """
        sums = ((self._sources - 1) * products + own) / self._sources**2
        return float(sums.sum(dtype=np.float64))
