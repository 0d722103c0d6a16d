"""Cross-validation: choose a candidate on some cases, score it on the others."""

from __future__ import annotations

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


def cross_validate(scores: FloatArray, *, folds: int, seed: int) -> list[Fold]:
    """K-fold cross-validation over cases.

    Parameters
    ----------
    scores : (cases, candidates)
        Scores, at least two cases; less is better.
    folds
        Number of folds, at least 2; with fewer cases, one fold per case.
    seed
        Seed of the order in which cases are dealt out.

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
    >>> [(f.cases, f.chosen) for f in cross_validate(scores, folds=3, seed=0)]
    [((2,), 0), ((0,), 1), ((1,), 1)]
    """
    n = len(scores)
    shuffled = np.random.default_rng(seed).permutation(n)
    return [
        Fold(tuple(sorted(part.tolist())), least_mean(np.delete(scores, part, axis=0)))
        for part in np.array_split(shuffled, min(folds, n))
    ]


def held_out(scores: FloatArray, folds: list[Fold]) -> FloatArray:
    """Score of each case under the candidate that was chosen without it, (cases,)."""
    chosen = np.empty(len(scores), np.intp)
    for fold in folds:
        chosen[list(fold.cases)] = fold.chosen
    return scores[np.arange(len(scores)), chosen]
