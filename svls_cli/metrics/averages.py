"""Averages over what is defined, and their intervals over cases."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import FloatArray

_RESAMPLES = 2000  # the ends of a 95 % interval then vary by a few hundredths of it


@dataclass(frozen=True)
class Estimate:
    """A mean over cases and its 95 % confidence interval.

    Parameters
    ----------
    mean, low, high
        Of the same unit as what was averaged.
    """

    mean: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return {"mean": self.mean, "low": self.low, "high": self.high}


def bootstrap(values: FloatArray, *, seed: int) -> Estimate:
    """Mean over cases with its percentile bootstrap interval.

    Parameters
    ----------
    values : (cases,)
        One number a case; for a paired comparison, the difference.
    seed
        Of the resampling.

    References
    ----------
    .. [1] Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    rng = np.random.default_rng(seed)
    means = rng.choice(values, (_RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Estimate(float(values.mean()), float(low), float(high))


def mean(values: npt.ArrayLike) -> float:
    """Mean of what is defined; NaN if nothing is."""
    found = np.asarray(values, np.float64)
    found = found[np.isfinite(found)]
    return float(found.mean()) if found.size else math.nan


def defined(value: float) -> float | None:
    """None for NaN."""
    return None if math.isnan(value) else float(value)


def whole(value: float) -> int | None:
    """A count; None for NaN."""
    return None if math.isnan(value) else int(value)
