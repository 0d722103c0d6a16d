"""Means of defined values, and bootstrap intervals over cases."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import FloatArray

_RESAMPLES = 2000  # the ends of a 95 % interval then vary by a few hundredths of it
# Fewest groups (patients) that a 95 % interval is given for: if all of five gained,
# that could still be chance, with p = 2 / 2^5 > .05.
LEAST_GROUPS = 6


@dataclass(frozen=True)
class Estimate:
    """A mean over cases and its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """The record in a report."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def bootstrap(
    values: FloatArray, *, seed: int, groups: Sequence[Hashable] | None = None
) -> Estimate:
    """Mean over cases with its percentile bootstrap interval.

    Parameters
    ----------
    values : (cases,)
        One number per case; for a paired comparison, the difference.
    seed
        Seed of the resampling.
    groups : (cases,)
        Whose each case is: groups are drawn with all their cases, which are not
        independent of one another. By default each case is a group of its own.

    References
    ----------
    .. [1] Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    .. [2] Davison & Hinkley, "Bootstrap Methods and their Application", 1997, section
       3.8 (groups).
    """
    rng = np.random.default_rng(seed)
    numbers: dict[Hashable, int] = {}
    owner = [numbers.setdefault(each, len(numbers)) for each in groups or ()]
    if len(numbers) == len(owner):  # each case is a group, or nothing is grouped
        means = rng.choice(values, (_RESAMPLES, len(values))).mean(axis=1)
    else:
        sums, sizes = np.bincount(owner, values), np.bincount(owner)
        drawn = rng.integers(len(sums), size=(_RESAMPLES, len(sums)))
        means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Estimate(float(values.mean()), float(low), float(high))


def mean(values: npt.ArrayLike) -> float:
    """Mean of the finite values; NaN if there are none."""
    array = np.asarray(values, np.float64)
    finite = array[np.isfinite(array)]
    return float(finite.mean()) if finite.size else math.nan


def or_none(value: float) -> float | None:
    """The value as a float; None for NaN."""
    return None if math.isnan(value) else float(value)


def count_or_none(value: float) -> int | None:
    """The value as an int; None for NaN."""
    return None if math.isnan(value) else int(value)
