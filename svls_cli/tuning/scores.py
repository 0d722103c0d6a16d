"""Scores of methods over cases, by fold, by class and by case."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from svls_cli.metrics.averages import LEAST_GROUPS, Estimate
from svls_cli.soften.methods import Method
from svls_cli.tuning.score_names import ScoreName


@dataclass(frozen=True)
class Score:
    """Mean scores of one method over cases of equal weight.

    Parameters
    ----------
    method
        The method, with its parameters.
    nll, brier
        As `svls_cli.tuning.forecast_sums` defines them, over all voxels of the band.
    class_nll
        The NLL with all classes of a case of one weight: the mean over its classes,
        background included, of the NLL where a rater whom the forecast is made from
        said the class.
    """

    method: Method
    nll: float
    class_nll: float
    brier: float

    def of(self, name: ScoreName) -> float:
        """The score of this name."""
        value: float = getattr(self, name)
        return value

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "method": self.method.to_json()}


@dataclass(frozen=True)
class FoldChoice:
    """One fold of the cross-validation.

    Parameters
    ----------
    held_out
        Names of the cases that the fold holds out.
    chosen
        The method that all other cases chose, and its mean scores on the fold's cases.
    """

    held_out: tuple[str, ...]
    chosen: Score

    def to_json(self) -> dict[str, Any]:
        return {"held_out": list(self.held_out), **self.chosen.to_json()}


@dataclass(frozen=True)
class HeldOut:
    """Scores of a chosen method on patients that had no part in the choice.

    Parameters
    ----------
    scores
        Each score of the method that was chosen without the patient, with 95 %
        intervals over patients.
    gains
        Score of SVLS as published minus that, case by case; above 0, choosing helped.
    folds
        The choice of each fold.
    patients
        Number of patients.
    """

    scores: dict[ScoreName, Estimate]
    gains: dict[ScoreName, Estimate]
    folds: tuple[FoldChoice, ...]
    patients: int

    @property
    def few(self) -> bool:
        """Whether there are too few patients to settle anything."""
        return self.patients < LEAST_GROUPS

    def settles(self, score: ScoreName) -> bool:
        """Whether the choice is better than published, beyond chance."""
        return not self.few and self.gains[score].low > 0

    def to_json(self) -> dict[str, Any]:
        return {
            **{name: each.to_json() for name, each in self.scores.items()},
            "gain": {name: each.to_json() for name, each in self.gains.items()},
            "patients": self.patients,
            "folds": [fold.to_json() for fold in self.folds],
        }


@dataclass(frozen=True)
class ClassNll:
    """Mean NLL where a forecasting rater said a class, over the cases that have it.

    Parameters
    ----------
    value, name
        Label value and name of the class.
    cases
        Number of cases whose raters say it in their boundary band.
    onehot, ls, published, best
        NLL without smoothing, of uniform label smoothing with alpha 0.1, SVLS as
        published and the best candidate; None if no case has the class.
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
    case, patient
        Name of the case, and its patient.
    raters, band_voxels
        Number of raters, and of voxels in the boundary band.
    forecasts
        Number of forecasts, over the raters and the voxels of the band.
    disagreement
        What forecasts without smoothing give to other labels than the rater's: of one
        map, the share of forecasts that are wrong.
    nll_published, nll_best
        NLL of SVLS as published, and of the best candidate.
    """

    case: str
    patient: str
    raters: int
    band_voxels: int
    forecasts: int
    disagreement: float
    nll_published: float
    nll_best: float
