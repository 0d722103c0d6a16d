"""The result of tuning: scores, the choice, and how certain it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from svls_cli.batch.records import Record
from svls_cli.batch.version import __version__
from svls_cli.labels.classes import ClassTable
from svls_cli.metrics.averages import Estimate
from svls_cli.soften.methods import Method
from svls_cli.tuning.candidates import smooth_options


@dataclass(frozen=True)
class Score:
    """Mean scores of one method over cases of equal weight.

    Parameters
    ----------
    method
        The method, with its parameters.
    nll, brier
        As `svls_cli.tuning.pair_scores` defines them.
    """

    method: Method
    nll: float
    brier: float

    def to_json(self) -> dict[str, Any]:
        scores = {"nll": self.nll, "brier": self.brier}
        return {"method": self.method.to_json(), **scores}


@dataclass(frozen=True)
class FoldChoice:
    """One fold of the cross-validation.

    Parameters
    ----------
    held_out
        Names of the cases that the fold holds out.
    method
        The method that all other cases chose.
    nll, brier
        Mean scores of that method on the fold's cases.
    """

    held_out: tuple[str, ...]
    method: Method
    nll: float
    brier: float

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "method": self.method.to_json()}


@dataclass(frozen=True)
class HeldOut:
    """Scores of a chosen method on cases that had no part in the choice.

    Parameters
    ----------
    nll, brier
        Scores of the method that was chosen without the case.
    nll_gain, brier_gain
        Score of SVLS as published minus that, case by case; above 0, choosing helped.
    folds
        The choice of each fold.
    """

    nll: Estimate
    brier: Estimate
    nll_gain: Estimate
    brier_gain: Estimate
    folds: tuple[FoldChoice, ...]

    def to_json(self) -> dict[str, Any]:
        names = ("nll", "brier", "nll_gain", "brier_gain")
        estimates = {name: getattr(self, name).to_json() for name in names}
        return {**estimates, "folds": [fold.to_json() for fold in self.folds]}


@dataclass(frozen=True)
class ClassNll:
    """Mean NLL where one of two raters said a class, over the cases that have it.

    Parameters
    ----------
    value, name
        Label value and name of the class.
    cases
        Number of cases whose raters say it in their boundary band.
    onehot, ls, published, best
        NLL of one-hot, uniform label smoothing with alpha 0.1, SVLS as published and
        the recommended method; None if no case has the class.
    """

    value: int
    name: str
    cases: int
    onehot: float | None
    ls: float | None
    published: float | None
    best: float | None


@dataclass(frozen=True)
class UsedCase:
    """A case that the choice was made by.

    Parameters
    ----------
    case
        Name of the case.
    raters, band_voxels
        Number of raters, and of voxels in the boundary band.
    pairs
        Number of ordered pairs of raters, summed over the voxels of the band.
    disagreement
        Share of the pairs that differ.
    nll_published, nll_best
        NLL of SVLS as published, and of the recommended method.
    """

    case: str
    raters: int
    band_voxels: int
    pairs: int
    disagreement: float
    nll_published: float
    nll_best: float


@dataclass(frozen=True)
class TuningResult:
    """The recommended smoothing, and the scores that it was chosen by.

    Parameters
    ----------
    parameters
        Parameters of the search.
    classes
        Classes of the data set.
    cases
        Cases that the choice was made by.
    left_out, failed
        Cases that do not tell how raters differ, and cases with an error.
    baselines
        Scores of one-hot, and of uniform label smoothing with alpha 0.1, 0.2 and 0.3.
    published
        Scores of SVLS with sigma 1 voxel, size 3, strength 1/2.
    candidates
        Scores of every window and strength that was tried.
    best_of
        The best candidate in mm, in voxels, and with size 3.
    best
        The best candidate over all cases: the recommendation. Its scores are slightly
        optimistic, as the same cases chose it.
    held_out
        Cross-validated score; None for one case.
    per_class
        NLL by class, in the order of ``classes``.
    warnings
        Reasons to doubt the recommendation.
    """

    parameters: dict[str, Any]
    classes: ClassTable
    cases: tuple[UsedCase, ...]
    left_out: tuple[Record, ...]
    failed: tuple[Record, ...]
    baselines: tuple[Score, ...]
    published: Score
    candidates: tuple[Score, ...]
    best_of: dict[str, Score]
    best: Score
    held_out: HeldOut | None
    per_class: tuple[ClassNll, ...]
    warnings: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command that smooths with the recommended method."""
        return f"svls-cli smooth {smooth_options(self.best.method)} LABELS OUT.zarr"

    def to_json(self) -> dict[str, Any]:
        """The whole result, as `svls-cli tune --report` writes it."""
        return {
            "tool_version": __version__,
            "parameters": self.parameters,
            "recommendation": {**self.best.to_json(), "command": self.command},
            "held_out": self.held_out.to_json() if self.held_out else None,
            "warnings": list(self.warnings),
            "published": self.published.to_json(),
            "baselines": [score.to_json() for score in self.baselines],
            "best_of": {k: score.to_json() for k, score in self.best_of.items()},
            "per_class": [asdict(row) for row in self.per_class],
            "candidates": [score.to_json() for score in self.candidates],
            "cases": [asdict(case) for case in self.cases],
            "left_out": [_without_result(record) for record in self.left_out],
            "failed": [_without_result(record) for record in self.failed],
        }


def _without_result(record: Record) -> dict[str, Any]:
    return {"case": record.case, "reason": record.reason, "inputs": list(record.inputs)}
