"""Paired differences between two trainings, with intervals over patients and seeds."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from svls_cli.arrays import FloatArray
from svls_cli.metrics.averages import LEAST_GROUPS

_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval; None where patients are too few for one."""

    value: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, value: float, resampled: FloatArray) -> Interval:
        """The interval that holds 95 % of the resampled values."""
        low, high = np.percentile(resampled, (2.5, 97.5))
        return cls(value, float(low), float(high))

    def excludes(self, value: float) -> bool:
        """Whether the whole interval lies on one side of a value."""
        if self.low is None or self.high is None:
            return False
        return self.low > value or self.high < value

    def to_json(self) -> dict[str, float | None]:
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Difference:
    """How a score differs from that of another training.

    Parameters
    ----------
    difference
        The score minus the other's.
    ratio
        The score over the other's; None if that is 0, or may be for other patients.
    patients
        Number of patients in which both have the score.
    """

    difference: Interval
    ratio: Interval | None
    patients: int

    @property
    def settled(self) -> bool:
        """Whether the interval of the difference does not hold 0."""
        return self.difference.excludes(0.0)

    def to_json(self) -> dict[str, Any]:
        return {
            "difference": self.difference.to_json(),
            "ratio": self.ratio.to_json() if self.ratio else None,
            "patients": self.patients,
        }


def paired_difference(
    ours: FloatArray, theirs: FloatArray, patients: Sequence[Hashable], *, seed: int
) -> Difference | None:
    """The difference of two means over cases and seeds, with bootstrap intervals.

    Patients are drawn with all their cases, and seeds with both trainings of that seed,
    each with replacement: the interval tells what other patients and other seeds would
    have given.

    Parameters
    ----------
    ours, theirs : (seeds, cases)
        Scores of both trainings, NaN where undefined; such cases are left out.
    patients : (cases,)
        Patient of each case.
    seed
        Seed of the resampling.

    Returns
    -------
    Difference or None
        None if no case has both scores for every seed.

    References
    ----------
    .. [1] Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 8.

    Examples
    --------
    >>> ours, theirs = np.array([[0.8, 0.9]]), np.array([[1.0, 1.0]])
    >>> round(paired_difference(ours, theirs, ["a", "b"], seed=0).ratio.value, 3)
    0.85
    """
    known = np.isfinite(np.concatenate([ours, theirs])).all(axis=0)
    if not known.any():
        return None
    numbers: dict[Hashable, int] = {}
    owner = [
        numbers.setdefault(patient, len(numbers))
        for patient, used in zip(patients, known, strict=True)
        if used
    ]
    sizes = np.bincount(owner)
    sums = [
        np.stack([np.bincount(owner, row) for row in scores[:, known]])
        for scores in (ours, theirs)
    ]
    mean, other = (float(each.sum()) / (len(each) * len(owner)) for each in sums)
    difference, ratio = mean - other, mean / other if other > 0 else None
    if len(sizes) < LEAST_GROUPS:
        alone = None if ratio is None else Interval(ratio, None, None)
        return Difference(Interval(difference, None, None), alone, len(sizes))
    rng = np.random.default_rng(seed)
    drawn_patients, drawn_seeds = _draw(rng, len(sizes)), _draw(rng, len(ours))
    cases = drawn_patients @ sizes * len(ours)
    ours_again, theirs_again = (
        np.einsum("rs,sp,rp->r", drawn_seeds, each, drawn_patients) / cases
        for each in sums
    )
    known_ratio = None
    if ratio is not None and theirs_again.min() > 0:
        known_ratio = Interval.of(ratio, ours_again / theirs_again)
    return Difference(
        Interval.of(difference, ours_again - theirs_again), known_ratio, len(sizes)
    )


def _draw(rng: np.random.Generator, n: int) -> FloatArray:
    """(resamples, n) how often each of n is drawn in n draws."""
    counts = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)
    return counts.astype(np.float64)
