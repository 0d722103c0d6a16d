"""Measures of agreement between raters, computed from their votes.

An undefined value (a class that neither rater drew, one rater only) is NaN here and is
left out of every mean.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from svls_cli.arrays import FloatArray, IntArray
from svls_cli.metrics.averages import mean
from svls_cli.raters.votes import Votes


def rater_pairs(n_raters: int) -> list[tuple[int, int]]:
    """All pairs of raters, in order.

    Examples
    --------
    >>> rater_pairs(3)
    [(0, 1), (0, 2), (1, 2)]
    """
    return list(itertools.combinations(range(n_raters), 2))


def class_voxels(votes: Votes, index: int) -> IntArray:
    """(raters,) voxels that each rater gave a class."""
    counts: IntArray = votes.counts @ (votes.rows == index)
    return counts


def pair_dice(votes: Votes, index: int) -> FloatArray:
    """(pairs,) Dice of one class for each pair of raters; NaN if neither drew it.

    Voxels that one of the two ignores do not count.

    References
    ----------
    .. [1] Dice, "Measures of the amount of ecologic association between species",
       Ecology 26(3), 1945.
    """
    pairs = rater_pairs(votes.rows.shape[1])
    dice = np.full(len(pairs), np.nan)
    for at, pair in enumerate(pairs):
        said = votes.rows[:, pair]
        rated = (said < votes.n_classes).all(axis=1)
        drawn, counts = said[rated] == index, votes.counts[rated]
        if both := int((counts @ drawn).sum()):
            dice[at] = 2 * int(counts @ drawn.all(axis=1)) / both
    return dice


def mean_pair_dice(votes: Votes) -> FloatArray:
    """(raters,) mean Dice of each rater with the others, over the disputed classes.

    0 for a rater who has nothing to compare.
    """
    disputed = np.unique(votes.rows[votes.disputed])
    disputed = disputed[disputed < votes.n_classes]
    raters = votes.rows.shape[1]
    dice = np.full((len(disputed), raters, raters), np.nan)
    for at, index in enumerate(disputed):
        for (r, s), value in zip(
            rater_pairs(raters), pair_dice(votes, index), strict=True
        ):
            dice[at, r, s] = dice[at, s, r] = value
    return np.nan_to_num([mean(dice[:, r]) for r in range(raters)])


def fleiss_kappa(votes: Votes, index: int | None = None) -> float:
    """Agreement beyond chance over all voxels that no rater ignores.

    Parameters
    ----------
    votes
        The raters' labels.
    index
        One class, measured against all others; all classes if None.

    Returns
    -------
    float
        1 if all agree; NaN for one rater, or if only one class occurs.

    References
    ----------
    .. [1] Fleiss, "Measuring nominal scale agreement among many raters", Psychological
       Bulletin 76(5), 1971.
    """
    raters = votes.rows.shape[1]
    rated = (votes.rows < votes.n_classes).all(axis=1)
    rows, counts = votes.rows[rated], votes.counts[rated].astype(np.float64)
    if raters < 2 or not counts.sum():
        return math.nan
    agreeing = np.zeros(len(rows))
    chance = 0.0
    if index is None:
        split = [rows == label for label in np.unique(rows)]
    else:
        split = [rows == index, rows != index]
    for given in split:
        said = given.sum(axis=1)
        agreeing += said * (said - 1.0)
        chance += (float(counts @ said) / (raters * counts.sum())) ** 2
    observed = float(counts @ agreeing) / (raters * (raters - 1) * counts.sum())
    if chance >= 1:
        return math.nan
    return float((observed - chance) / (1 - chance))


def row_entropy(shares: FloatArray) -> FloatArray:
    """(n,) entropy in bits of each row of probabilities (n, k).

    Examples
    --------
    >>> row_entropy(np.array([[0.5, 0.5], [1, 0]])).tolist()
    [1.0, 0.0]
    """
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: FloatArray = 0.0 - (shares * logs).sum(axis=1)
    return entropy


@dataclass(frozen=True)
class RaterQuality:
    """Quality of each rater against the consensus, (raters, k); NaN if undefined."""

    # Share of a class's consensus that the rater gave that class.
    sensitivity: FloatArray
    specificity: FloatArray  # share of all else that the rater did not give that class
    # (raters, k, k) share ``[rater, said, true]`` of a class's consensus that the rater
    # said.
    confusion: FloatArray


def rater_quality(votes: Votes, posterior: FloatArray) -> RaterQuality:
    """Measure raters by a probabilistic consensus, over all voxels.

    ``posterior`` (n, k) is the probability of each of ``votes.classes`` for each row.
    """
    classes, raters = votes.classes, votes.rows.shape[1]
    k = len(classes)
    expected = votes.counts[:, np.newaxis] * posterior
    sensitivity = np.full((raters, k), np.nan)
    specificity = np.full((raters, k), np.nan)
    confusion = np.full((raters, k, k), np.nan)
    for rater, said in enumerate(votes.rows.T):
        table = np.zeros((k + 1, k))
        np.add.at(table, np.searchsorted(classes, said), expected)
        table = table[:k]
        true = table.sum(axis=0)
        np.divide(table, true, out=confusion[rater], where=true > 0)
        hits = table.diagonal()
        np.divide(hits, true, out=sensitivity[rater], where=true > 0)
        rest = true.sum() - true
        wrong = table.sum(axis=1) - hits
        np.divide(rest - wrong, rest, out=specificity[rater], where=rest > 0)
    return RaterQuality(sensitivity, specificity, confusion)
