"""STAPLE: the most probable truth behind several raters, and how good each rater is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from svls_cli.arrays import FloatArray, IntArray

# Largest change of a posterior probability in the last step.
_TOLERANCE = 1e-10
# A step takes microseconds to milliseconds; near ties convergence is slow.
_MAX_STEPS = 10_000


@dataclass(frozen=True)
class Staple:
    """Result of `staple`."""

    # (n, k) probability of each class for each combination of labels; rows sum to 1.
    posterior: FloatArray
    # (raters, k, k) probability that a rater says ``[rater, said, true]``; columns sum
    # to 1.
    confusion: FloatArray
    steps: int
    converged: bool  # whether the posterior came to rest within the steps allowed


def staple(rows: IntArray, counts: IntArray, *, n_classes: int) -> Staple:
    """Multi-label STAPLE by expectation maximisation, in double precision.

    The posterior of a voxel depends on its combination of labels only, so each
    combination is worked on once, weighted by its voxels. The prior of a class is its
    share of all labels given, as in ITK; there is no spatial term.

    Which voxels take part is the caller's choice. Over a whole image the background
    swamps all else, and its size moves the result; over the voxels on which the raters
    disagree (Rohlfing et al.) it does not; but three raters or fewer disagree in too
    few ways to tell who is right there, and the likelihood has a wrong maximum.

    Parameters
    ----------
    rows : (n, raters)
        Class index by each rater, 0 to ``n_classes - 1``; ``n_classes`` where a rater
        gives none.
    counts : (n,)
        Number of voxels of each combination.
    n_classes
        Number of classes that can be true: k.

    Returns
    -------
    Staple

    References
    ----------
    .. [1] Warfield, Zou & Wells, "Simultaneous Truth and Performance Level Estimation
       (STAPLE)", IEEE Trans. Med. Imaging 23(7), 2004.
    .. [2] Rohlfing, Russakoff & Maurer, "Expectation maximization strategies for
       multi-atlas multi-label segmentation", IPMI 2003.

    Examples
    --------
    Two good raters and one who swaps the classes half of the time:

    >>> rows = np.array([[0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]])
    >>> result = staple(rows, np.array([25, 25, 25, 25]), n_classes=2)
    >>> result.posterior.round(3).tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    >>> result.confusion[2].round(3).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    weights = counts.astype(np.float64)
    votes = np.stack([(rows == index).sum(axis=1) for index in range(n_classes)], 1)
    prior = weights @ votes
    prior /= prior.sum() or 1.0
    # As in ITK the votes themselves are the first guess: where the likelihood has
    # several maxima, they lead to a higher one than nearly perfect raters do.
    posterior = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)
    confusion = np.zeros((rows.shape[1], n_classes, n_classes))
    change, steps = np.inf, 0
    while change > _TOLERANCE and steps < _MAX_STEPS:
        confusion = _fitted(rows, weights[:, np.newaxis] * posterior, confusion)
        before, posterior = posterior, _expected(rows, prior, confusion)
        change = float(np.abs(posterior - before).max(initial=0.0))
        steps += 1
    return Staple(posterior, confusion, steps, converged=change <= _TOLERANCE)


def _expected(rows: IntArray, prior: FloatArray, confusion: FloatArray) -> FloatArray:
    """E-step: posterior of every combination."""
    k = len(prior)
    likelihood = np.repeat(prior[np.newaxis], len(rows), axis=0)
    for said, table in zip(rows.T, confusion, strict=True):
        silent = np.vstack([table, np.ones(k)])  # a rater without a label says nothing
        likelihood *= silent[said]
        # Many raters multiply many small numbers; only their ratios matter.
        likelihood /= np.maximum(likelihood.max(axis=1, keepdims=True), 1e-300)
    total = likelihood.sum(axis=1, keepdims=True)
    posterior: FloatArray = np.divide(
        likelihood, total, out=likelihood, where=total > 0
    )
    return posterior


def _fitted(rows: IntArray, expected: FloatArray, before: FloatArray) -> FloatArray:
    """M-step: confusion of every rater, unchanged for a class that is nowhere true."""
    k = expected.shape[1]
    result = before.copy()
    for rater, said in enumerate(rows.T):
        counts = np.zeros((k + 1, k))
        np.add.at(counts, said, expected)
        total = counts[:k].sum(axis=0)
        np.divide(counts[:k], total, out=result[rater], where=total > 0)
    return result
