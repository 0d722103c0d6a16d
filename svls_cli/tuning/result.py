"""The result of tuning: scores, the choice, and how certain it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from svls_cli.batch.records import Record
from svls_cli.batch.version import __version__
from svls_cli.labels.classes import ClassTable
from svls_cli.metrics.averages import Estimate
from svls_cli.soften.methods import Method
from svls_cli.tuning.candidates import method_options
from svls_cli.tuning.score_names import SCORE_TITLES, ScoreName, TargetName

_COMMANDS: dict[TargetName, tuple[str, str]] = {
    "one_map": ("smooth", "LABELS"),
    "fused": ("fuse-raters", "RATERS..."),
}


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


@dataclass(frozen=True)
class TargetResult:
    """The smoothing of one kind of labels: of one map, or of fused ones.

    Parameters
    ----------
    target
        ``one_map``: each rater's map forecasts each other rater. ``fused``: the mean of
        all other raters' maps forecasts the one left out.
    score
        Score that decides.
    cases
        Cases that the choice was made by.
    baselines
        Scores without smoothing, and of uniform label smoothing with alpha 0.1, 0.2 and
        0.3.
    published
        Scores of SVLS with sigma 1 voxel, size 3, strength 1/2.
    candidates
        Scores of every window and strength that was tried.
    best_of
        The best candidate in mm, in voxels, and with size 3.
    best
        The best candidate over all cases. Its scores are slightly optimistic, as the
        same cases chose it.
    held_out
        Cross-validated scores; None with one patient.
    per_class
        NLL by class, in the order of the classes.
    warnings
        Reasons to doubt the choice.
    """

    target: TargetName
    score: ScoreName
    cases: tuple[UsedCase, ...]
    baselines: tuple[Score, ...]
    published: Score
    candidates: tuple[Score, ...]
    best_of: dict[str, Score]
    best: Score
    held_out: HeldOut | None
    per_class: tuple[ClassNll, ...]
    warnings: tuple[str, ...]

    @property
    def settled(self) -> bool:
        """Whether the choice is better than published: its held-out gain's interval."""
        return self.held_out is not None and self.held_out.gains[self.score].low > 0

    @property
    def recommended(self) -> Method:
        """The best candidate where that is settled, else SVLS as published."""
        return self.best.method if self.settled else self.published.method

    @property
    def verdict(self) -> str:
        """What to do, in a line."""
        if self.held_out is None:
            return "one patient only, nothing is held out: keep the defaults"
        if not self.settled:
            return "no better than published: keep the defaults"
        title = SCORE_TITLES[self.score]
        return f"better {title} than published on patients that did not choose it"

    @property
    def command(self) -> str:
        """The command that makes labels with the recommended method."""
        command, inputs = _COMMANDS[self.target]
        options = method_options(self.recommended, defaults=self.settled)
        if self.recommended.needs_image:
            options += " --images IMAGES"
        return " ".join(
            filter(None, ("svls-cli", command, options, inputs, "OUT.zarr"))
        )

    def to_json(self) -> dict[str, Any]:
        """This part of the report."""
        return {
            "recommendation": {
                "method": self.recommended.to_json(),
                "settled": self.settled,
                "verdict": self.verdict,
                "command": self.command,
            },
            "best": self.best.to_json(),
            "held_out": self.held_out.to_json() if self.held_out else None,
            "warnings": list(self.warnings),
            "published": self.published.to_json(),
            "baselines": [score.to_json() for score in self.baselines],
            "best_of": {k: score.to_json() for k, score in self.best_of.items()},
            "per_class": [asdict(row) for row in self.per_class],
            "candidates": [score.to_json() for score in self.candidates],
            "cases": [asdict(case) for case in self.cases],
        }


@dataclass(frozen=True)
class TuningResult:
    """What to smooth one rater's maps with, and what the maps of several, fused.

    Parameters
    ----------
    parameters
        Parameters of the search.
    classes
        Classes of the data set.
    one_map
        Smoothing for labels of one map.
    fused
        Smoothing for fused labels; None if no case has three raters, as one of two
        that is left out leaves one map.
    left_out, failed
        Cases that do not tell how raters differ, and cases with an error.
    """

    parameters: dict[str, Any]
    classes: ClassTable
    one_map: TargetResult
    fused: TargetResult | None
    left_out: tuple[Record, ...]
    failed: tuple[Record, ...]

    @property
    def targets(self) -> tuple[TargetResult, ...]:
        """The results there are."""
        return (self.one_map, self.fused) if self.fused else (self.one_map,)

    def to_json(self) -> dict[str, Any]:
        """The whole result, as `svls-cli tune --report` writes it."""
        return {
            "tool_version": __version__,
            "parameters": self.parameters,
            "one_map": self.one_map.to_json(),
            "fused": self.fused.to_json() if self.fused else None,
            "left_out": [_without_result(record) for record in self.left_out],
            "failed": [_without_result(record) for record in self.failed],
        }


def _without_result(record: Record) -> dict[str, Any]:
    return {"case": record.case, "reason": record.reason, "inputs": list(record.inputs)}
