"""Cross-validation: choose a candidate on some cases, score it on the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from svls_cli.arrays import FloatArray


@dataclass(frozen=True)
class Fold:
    """Cases that are held out, and the candidate that the others chose."""

    cases: tuple[int, ...]  # rows of the held-out cases in the score table
    chosen: int  # column of the chosen candidate


def least_mean(scores: FloatArray) -> int:
    """Column of the candidate with the least mean; of equal ones the first.

    ``scores`` are (cases, candidates), of at least one case; less is better.
    """
    return int(np.argmin(scores.mean(axis=0)))


def cross_validate(
    scores: FloatArray, *, folds: int, seed: int, patients: Sequence[str]
) -> list[Fold]:
    """K-fold cross-validation over patients.

    Parameters
    ----------
    scores : (cases, candidates)
        Scores; less is better.
    folds
        Number of folds, at least 2; with fewer patients, one fold per patient.
    seed
        Seed of the order in which patients are dealt out.
    patients : (cases,)
        Patient of each case, two patients or more; all cases of one are in one fold.

    Returns
    -------
    list of Fold
        Each case is held out once and has no part in that fold's choice.

    References
    ----------
    .. [1] Stone, "Cross-Validatory Choice and Assessment of Statistical Predictions",
       JRSS B 36, 1974.

    Examples
    --------
    >>> scores = np.array([[0.0, 1.0], [0.0, 1.0], [5.0, 1.0]])
    >>> found = cross_validate(scores, folds=3, seed=0, patients=("a", "b", "c"))
    >>> [(fold.cases, fold.chosen) for fold in found]
    [((2,), 0), ((0,), 1), ((1,), 1)]
    """
    names = list(dict.fromkeys(patients))
    owner = np.array([names.index(patient) for patient in patients])
    shuffled = np.random.default_rng(seed).permutation(len(names))
    found = []
    for part in np.array_split(shuffled, min(folds, len(names))):
        inside = np.isin(owner, part)
        cases = tuple(np.flatnonzero(inside).tolist())
        found.append(Fold(cases, least_mean(scores[~inside])))
    return found


def held_out(scores: FloatArray, folds: list[Fold]) -> FloatArray:
    """Score of each case under the candidate that was chosen without it, (cases,)."""
    chosen = np.empty(len(scores), np.intp)
    for fold in folds:
        chosen[list(fold.cases)] = fold.chosen
    return scores[np.arange(len(scores)), chosen]
