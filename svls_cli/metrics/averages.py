"""Means of defined values, and bootstrap intervals over cases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import FloatArray

_RESAMPLES = 2000  # the ends of a 95 % interval then vary by a few hundredths of it


@dataclass(frozen=True)
class Estimate:
    """A mean over cases and its 95 % confidence interval."""

    mean: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """The record in a report."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def bootstrap(values: FloatArray, *, seed: int) -> Estimate:
    """Mean over cases with its percentile bootstrap interval.

    Parameters
    ----------
    values : (cases,)
        One number per case; for a paired comparison, the difference.
    seed
        Seed of the resampling.

    References
    ----------
    .. [1] Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    rng = np.random.default_rng(seed)
    means = rng.choice(values, (_RESAMPLES, len(values))).mean(axis=1)
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
