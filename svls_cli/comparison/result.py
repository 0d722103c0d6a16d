"""The result of a comparison: its numbers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from svls_cli.arrays import FloatArray
from svls_cli.batch.version import __version__
from svls_cli.comparison.differences import Difference, paired_difference
from svls_cli.comparison.recipes import Recipe
from svls_cli.comparison.scores import SCORES, Score
from svls_cli.metrics.averages import mean, or_none
from svls_cli.training.config import TrainingConfig


@dataclass(frozen=True)
class Trial:
    """One network that was trained and evaluated."""

    method: str  # how its labels were made, as `parse_recipe` reads it
    loss: str  # one of `LOSSES`
    seed: int  # seed of the training run
    report: Mapping[str, Any]  # `EvaluationReport.to_json` of its predictions

    @property
    def arm(self) -> tuple[str, str]:
        """What trials of different seeds have in common."""
        return self.method, self.loss

    @property
    def cases(self) -> dict[str, Mapping[str, Any]]:
        """Record of each case, by name."""
        return {record["case"]: record for record in self.report["cases"]}

    def mean(self, score: Score) -> float | None:
        """Mean over the cases in which a score is defined; None without any."""
        return or_none(mean([score.of(case) for case in self.report["cases"]]))

    def to_json(self) -> dict[str, Any]:
        """The means as written; a line of `--json` output."""
        return {
            "method": self.method,
            "loss": self.loss,
            "seed": self.seed,
            "cases": len(self.report["cases"]),
            "scores": {score.key: self.mean(score) for score in SCORES},
        }


@dataclass(frozen=True)
class Spread:
    """A mean over seeds, and the standard deviation."""

    mean: float | None  # mean over the seeds that have the value; None if none has
    deviation: float | None  # sample standard deviation; None for one seed

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread:
        """Spread of the values that are not None."""
        known = [value for value in values if value is not None]
        if not known:
            return cls(None, None)
        deviation = statistics.stdev(known) if len(known) > 1 else None
        return cls(statistics.fmean(known), deviation)

    def __str__(self) -> str:
        if self.mean is None:
            return "-"
        shown = f"{self.mean:.4f}"
        return shown if self.deviation is None else f"{shown} ± {self.deviation:.4f}"


@dataclass(frozen=True, eq=False)
class Comparison:
    """All trials, summarised by method and loss.

    Parameters
    ----------
    trials
        The trials, at least one; every method and loss with the same seeds and cases.
    recipes
        What the methods are.
    config
        Parameters of the runs, whose targets, losses and seeds are those of the trials.
    patients
        Patient of each case.
    """

    trials: tuple[Trial, ...]
    recipes: tuple[Recipe, ...]
    config: TrainingConfig
    patients: Mapping[str, str]

    @property
    def arms(self) -> list[tuple[str, str]]:
        """Methods and losses, in the order of the trials."""
        return list(dict.fromkeys(trial.arm for trial in self.trials))

    @property
    def methods(self) -> list[str]:
        """Methods, in the order of the trials."""
        return list(dict.fromkeys(trial.method for trial in self.trials))

    @property
    def losses(self) -> list[str]:
        """Losses, in the order of the trials."""
        return list(dict.fromkeys(trial.loss for trial in self.trials))

    def trials_of(self, arm: tuple[str, str]) -> list[Trial]:
        """Trials of one method and loss."""
        return [trial for trial in self.trials if trial.arm == arm]

    def spread(self, arm: tuple[str, str], score: Score) -> Spread:
        """Mean and deviation of a score over seeds."""
        return Spread.of([trial.mean(score) for trial in self.trials_of(arm)])

    @cached_property
    def differences(self) -> dict[tuple[tuple[str, str], Score], Difference]:
        """How each other method differs from the first one with the same loss."""
        found = {}
        for arm in self.arms:
            first = (self.methods[0], arm[1])
            for score in SCORES if arm != first else ():
                difference = paired_difference(
                    self._values(arm, score),
                    self._values(first, score),
                    self.patients_of_cases,
                    seed=0,
                )
                if difference is not None:
                    found[arm, score] = difference
        return found

    @property
    def raters(self) -> list[str]:
        """Raters that the cases are evaluated against."""
        cases = self.trials[0].report["cases"]
        return list(dict.fromkeys(rater for case in cases for rater in case["raters"]))

    @property
    def patients_of_cases(self) -> list[str]:
        """Patient of each validation case, in the order of the first trial's."""
        return [self.patients[case] for case in self.trials[0].cases]

    def _values(self, arm: tuple[str, str], score: Score) -> FloatArray:
        """(seeds, cases) scores."""
        names = self.trials[0].cases
        return np.array(
            [
                [score.of(cases[name]) for name in names]
                for cases in (trial.cases for trial in self.trials_of(arm))
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Parameters of the evaluation, means of all trials, and differences."""
        training = self.config.to_json()
        for name in ("target", "dice_weight", "seed"):  # of each trial
            del training[name]
        return {
            "tool_version": __version__,
            "evaluation": {
                name: value
                for name, value in self.trials[0].report["parameters"].items()
                if name not in ("prediction", "reference")
            },
            "training": training,
            "methods": [recipe.to_json() for recipe in self.recipes],
            "patients": len(set(self.patients_of_cases)),
            "raters": list(self.raters),
            "trials": [trial.to_json() for trial in self.trials],
            "differences": [
                {
                    "method": method,
                    "loss": loss,
                    "to": self.methods[0],
                    "score": score.key,
                    **difference.to_json(),
                }
                for ((method, loss), score), difference in self.differences.items()
            ],
        }

    def reliability(
        self, arm: tuple[str, str], region: str
    ) -> tuple[FloatArray, FloatArray]:
        """Confidence and accuracy (bins,) over all seeds, without empty bins."""
        curves = [trial.report["reliability"][region] for trial in self.trials_of(arm)]
        count = np.array([curve["count"] for curve in curves], np.float64)

        def mean_of(name: str) -> FloatArray:
            values = np.array([curve[name] for curve in curves], np.float64)
            total = np.where(count > 0, values, 0) * count
            means: FloatArray = total.sum(axis=0) / np.maximum(count.sum(axis=0), 1)
            return means

        used = count.sum(axis=0) > 0
        return mean_of("confidence")[used], mean_of("accuracy")[used]
