"""Fusion of several raters: the classes behind each combination of their labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from svls_cli.arrays import FloatArray, IntArray, UIntArray
from svls_cli.errors import InputError, InvalidParameterError, check_choice
from svls_cli.labels.rater_maps import RaterMaps
from svls_cli.labels.raters import RatedCase
from svls_cli.labels.sources import SoftLabels
from svls_cli.labels.values import listed, look_up
from svls_cli.raters.choices import (
    FUSIONS,
    MEASURED_WEIGHTS,
    TIES,
    FusionName,
    MeasuredWeights,
    Ties,
)
from svls_cli.raters.measures import mean_pair_dice
from svls_cli.raters.staple import staple
from svls_cli.raters.votes import Votes, tally
from svls_cli.soften.mixture import Mixture

# A posterior below this is rounding: single precision has no digits for it beside 1.
_LEAST_SHARE = 1e-7


@dataclass(frozen=True)
class Fusion:
    """Method that fuses the label maps of several raters into one.

    Parameters
    ----------
    name
        ``mean``: the weighted mean of the one-hot maps, or of soft labels as they are,
        which smoothed is the paper's multi-rater SVLS. ``majority``: the label with the
        most weight. ``staple``: the posterior of STAPLE, estimated where the raters
        disagree. For both a soft label is the class with the largest share.
    weights
        None: all raters that annotated the case count the same. A weight for each
        rater's name. ``dice``: a rater's mean Dice with the others in this case.
        ``staple``: the mean of STAPLE's sensitivities of the rater in this case.
    ties
        Which of the labels with most weight is the hard one: the one with the
        ``lowest`` or ``highest`` value. Never a label that no rater gave.

    Raises
    ------
    InvalidParameterError
        If a name is unknown, or weights are invalid or do not apply.
    """

    name: FusionName = "mean"
    weights: Mapping[str, float] | MeasuredWeights | None = None
    ties: Ties = "lowest"

    def __post_init__(self) -> None:
        check_choice("fusion", self.name, FUSIONS)
        if self.ties not in TIES:
            raise InvalidParameterError(
                f"ties must be {' or '.join(TIES)}, found {self.ties!r}"
            )
        if self.weights is not None and self.name == "staple":
            raise InvalidParameterError(
                "weights do not apply to fusion staple, which weighs the raters itself"
            )
        if isinstance(self.weights, str) and self.weights not in MEASURED_WEIGHTS:
            raise InvalidParameterError(
                f"weights must be {', '.join(MEASURED_WEIGHTS)} or a number for each "
                f"rater, found {self.weights!r}"
            )
        if isinstance(self.weights, Mapping):
            bad = [w for w in self.weights.values() if not 0 <= w < math.inf]
            if bad or not any(self.weights.values()):
                found = listed([f"{r} {w}" for r, w in self.weights.items()])
                raise InvalidParameterError(
                    f"weights must be finite, >= 0 and not all 0, found {found}"
                )

    def check_raters(self, raters: Sequence[str]) -> None:
        """Raise InvalidParameterError unless the weights name exactly these raters."""
        if not isinstance(self.weights, Mapping):
            return
        if unnamed := [rater for rater in raters if rater not in self.weights]:
            raise InvalidParameterError(f"weights lack rater {listed(unnamed)}")
        if unknown := [rater for rater in self.weights if rater not in raters]:
            raise InvalidParameterError(
                f"weights name {listed(unknown)}; the raters are {listed(raters)}"
            )

    def to_json(self) -> dict[str, Any]:
        """The parameters as stored."""
        weights: Any = self.weights or "equal"
        if isinstance(self.weights, Mapping):
            weights = {rater: float(w) for rater, w in sorted(self.weights.items())}
        return {"name": self.name, "weights": weights, "ties": self.ties}


@dataclass(frozen=True)
class Fused:
    """Fused label map of one case."""

    # (z, y, x) or (y, x) codes of ``mixture``; class indices if there is none.
    labels: UIntArray
    # None if every voxel has one class: all raters agree, or a majority decided.
    mixture: Mixture | None
    # Share of each rater, in the order of the votes; None for STAPLE, in which it
    # differs between classes.
    weights: tuple[float, ...] | None

    def raters_json(self, raters: Sequence[str]) -> list[dict[str, Any]]:
        """``name`` and ``weight`` of each rater, as stored."""
        weights = self.weights or (None,) * len(raters)
        return [
            {"name": rater, "weight": weight}
            for rater, weight in zip(raters, weights, strict=True)
        ]

    def hard(self, labels: UIntArray) -> UIntArray:
        """Consensus class index of each voxel of a part of ``labels``."""
        return labels if self.mixture is None else look_up(self.mixture.hard, labels)


def fuse_maps(drawn: RaterMaps, fusion: Fusion) -> Fused:
    """Fuse the labels of one case; soft ones count by their shares in ``mean`` alone.

    Raises
    ------
    InputError
        As `fuse`.
    """
    labels: list[UIntArray | SoftLabels] = list(drawn.maps)
    if fusion.name == "mean":
        labels = [
            drawn.soft.get(rater, own)
            for rater, own in zip(drawn.raters, drawn.maps, strict=True)
        ]
    return fuse(tally(labels, n_classes=len(drawn.classes)), drawn.raters, fusion)


def fuse(votes: Votes, raters: Sequence[str], fusion: Fusion) -> Fused:
    """Fuse the label maps of one case.

    ``raters`` are in the order of the columns of ``votes.rows``.

    Raises
    ------
    InputError
        If all raters of this case have weight 0.

    References
    ----------
    .. [1] Islam & Glocker, "Spatially Varying Label Smoothing", IPMI 2021,
       arXiv:2104.05788, section 2.3 (mSVLS).
    .. [2] Warfield, Zou & Wells, IEEE Trans. Med. Imaging 23(7), 2004 (STAPLE).
    """
    classes = votes.classes
    weights: FloatArray | None = None
    if fusion.name == "staple":
        table = staple_shares(votes)
    else:
        weights = rater_weights(votes, raters, fusion)
        table = mean_shares(votes, weights)
    hard = _winner(table, votes, fusion.ties)
    shares = None if weights is None else tuple(weights.tolist())
    agreed = not votes.soft and not votes.disputed.any()
    if fusion.name == "majority" or agreed:
        dtype = np.min_scalar_type(votes.n_classes)
        return Fused(look_up(hard.astype(dtype), votes.codes), None, shares)
    mixture = Mixture.from_table(table, classes, hard, n_classes=votes.n_classes)
    return Fused(votes.codes, mixture, shares)


def rater_weights(votes: Votes, raters: Sequence[str], fusion: Fusion) -> FloatArray:
    """(raters,) weights of one case; they sum to 1 over those who annotated it.

    Raises
    ------
    InputError
        If all raters of this case have weight 0.
    """
    if fusion.weights == "dice":
        weights = mean_pair_dice(votes)
    elif fusion.weights == "staple":
        weights = _staple_quality(votes)
    elif isinstance(fusion.weights, Mapping):
        weights = np.array([fusion.weights[rater] for rater in raters], np.float64)
    else:
        weights = np.ones(len(raters))
    if not weights.any():
        if isinstance(fusion.weights, Mapping):
            raise InputError(f"every rater of this case has weight 0: {listed(raters)}")
        weights = np.ones(len(raters))
    shares: FloatArray = weights / weights.sum()
    return shares


def mean_shares(votes: Votes, weights: FloatArray) -> FloatArray:
    """(n, k) weighted mean of the raters' labels for each row and class.

    Raters who ignore a voxel leave their weight to the others.
    """
    classes = votes.classes
    table = np.zeros((len(votes.rows), len(classes)))
    for at, (hard, weight) in enumerate(zip(votes.rows.T, weights, strict=True)):
        if at in votes.soft:
            said, shares = votes.soft[at]
            table += (weight * shares[:, classes])[said]
        else:
            rated = np.flatnonzero(hard < votes.n_classes)
            table[rated, np.searchsorted(classes, hard[rated])] += weight
    total = table.sum(axis=1, keepdims=True)
    np.divide(table, total, out=table, where=total > 0)
    return table


def staple_shares(votes: Votes) -> FloatArray:
    """(n, k) posterior of STAPLE: estimated on disputed rows, certain on the others."""
    table = mean_shares(votes, np.ones(votes.rows.shape[1]))
    disputed = votes.disputed
    if disputed.any():
        local, rows = _local(votes)
        estimate = staple(rows, votes.counts[disputed], n_classes=len(local))
        posterior = np.where(estimate.posterior < _LEAST_SHARE, 0, estimate.posterior)
        posterior /= posterior.sum(axis=1, keepdims=True)
        columns = np.searchsorted(votes.classes, local)
        table[np.ix_(disputed, columns)] = posterior
    return table


def _staple_quality(votes: Votes) -> FloatArray:
    """(raters,) mean sensitivity of each rater over the disputed classes."""
    disputed = votes.disputed
    if not disputed.any():
        return np.ones(votes.rows.shape[1])
    local, rows = _local(votes)
    estimate = staple(rows, votes.counts[disputed], n_classes=len(local))
    quality: FloatArray = estimate.confusion.diagonal(axis1=1, axis2=2).mean(axis=1)
    return quality


def _local(votes: Votes) -> tuple[IntArray, IntArray]:
    """Classes of the disputed rows, and these rows as indices into the classes."""
    rows = votes.rows[votes.disputed]
    local = np.unique(rows)
    local = local[local < votes.n_classes]
    return local, np.searchsorted(local, rows)


def _winner(table: FloatArray, votes: Votes, ties: Ties) -> IntArray:
    """Most probable label that a rater gave, per row; ``n_classes`` if nobody did."""
    classes = votes.classes
    if not len(classes):
        return np.full(len(table), votes.n_classes)
    candidates = (votes.rows[:, :, np.newaxis] == classes).any(axis=1)
    for said, shares in votes.soft.values():
        candidates |= (shares[:, classes] > 0)[said]
    rank = np.where(candidates, table, -1)
    # Sums of weights in another order differ in their last digits: that is a tie.
    best = rank >= np.maximum(rank.max(axis=1, keepdims=True), 0) * (1 - 1e-9)
    if ties == "lowest":
        column = best.argmax(axis=1)
    else:
        column = best.shape[1] - 1 - best[:, ::-1].argmax(axis=1)
    return np.where(table.any(axis=1), classes[column], votes.n_classes)


def check_weights(cases: Sequence[RatedCase], fusion: Fusion) -> None:
    """Raise InvalidParameterError unless weights by name are those of these raters."""
    everyone = dict.fromkeys(rater for case in cases for rater, _ in case.raters)
    fusion.check_raters(list(everyone))
