"""The report of an evaluation: scores of each case, and their means over cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, reduce
from itertools import compress
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from svls_cli.batch.records import Finished, Record
from svls_cli.batch.version import __version__
from svls_cli.evaluation.regions import REGIONS
from svls_cli.evaluation.scores import (
    CALIBRATION,
    OVERLAPS,
    CaseEvaluation,
    ClassScores,
)
from svls_cli.evaluation.temperature_scaling import Temperatures
from svls_cli.files import Cell, write_report
from svls_cli.metrics.averages import LEAST_GROUPS, bootstrap, or_none
from svls_cli.metrics.calibration import Reliability


@dataclass(frozen=True)
class Average:
    """A mean over the cases in which a value is defined, and its 95 % interval.

    Parameters
    ----------
    mean
        Mean with the same weight for each case; None if there are no cases.
    low, high
        Percentile bootstrap over patients; None for fewer than `LEAST_GROUPS`.
    cases
        Number of cases.
    """

    mean: float | None
    low: float | None
    high: float | None
    cases: int


@dataclass(frozen=True)
class ClassAverages:
    """The means of one class.

    Parameters
    ----------
    value, name
        Label value and name of the class.
    overlaps
        Means of the overlap scores, by name.
    nll, tace
        Means of NLL and TACE, by region.
    """

    value: int
    name: str
    overlaps: Mapping[str, Average]
    nll: Mapping[str, Average]
    tace: Mapping[str, Average]

    def to_json(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "name": self.name,
            **{name: asdict(each) for name, each in self.overlaps.items()},
            "nll": {region: asdict(each) for region, each in self.nll.items()},
            "tace": {region: asdict(each) for region, each in self.tace.items()},
        }


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """The result of `evaluate_cases`.

    Parameters
    ----------
    parameters
        Parameters of the evaluation.
    cases
        All cases, sorted by name: evaluated, skipped because the prediction or the
        reference lacks them, and failed.
    seed
        Seed of the bootstrap.
    patients
        Patient of each case. Default: each case is a patient of its own.
    temperatures
        Temperatures by which the scaled scores were made; None without these.
    trained_on
        Names of the cases that the network that predicted them was trained on.
    """

    parameters: Mapping[str, Any]
    cases: Sequence[Finished[CaseEvaluation]]
    seed: int = 0
    patients: Mapping[str, str] = field(default_factory=dict)
    temperatures: Temperatures | None = None
    trained_on: frozenset[str] = frozenset()

    @cached_property
    def scores(self) -> tuple[CaseEvaluation, ...]:
        """Scores of the cases that were evaluated."""
        return tuple(case.result for case in self.cases if case.result is not None)

    @cached_property
    def _patients(self) -> list[str]:
        evaluated = (each.record.case for each in self.cases if each.result is not None)
        return [self.patients.get(name, name) for name in evaluated]

    @property
    def n_patients(self) -> int:
        """Number of patients whose cases were evaluated."""
        return len(set(self._patients))

    @property
    def noted(self) -> tuple[Record, ...]:
        """Records of the cases that were evaluated with a remark."""
        return tuple(r for r in self._with_status("done") if r.reason)

    @property
    def skipped(self) -> tuple[Record, ...]:
        """Cases that were not compared."""
        return self._with_status("skipped")

    @property
    def failed(self) -> tuple[Record, ...]:
        """Cases with an error."""
        return self._with_status("failed")

    @cached_property
    def overlaps(self) -> dict[str, Average]:
        """Means over classes, then over cases."""
        return {
            name: self._average([case.class_mean(name) for case in self.scores])
            for name in OVERLAPS
        }

    @cached_property
    def calibration(self) -> dict[str, dict[str, Average]]:
        """Means over cases, by region and name."""
        by_region = {r: [case.regions[r] for case in self.scores] for r in REGIONS}
        return {
            region: {name: self._average_of(scores, name) for name in CALIBRATION}
            for region, scores in by_region.items()
        }

    @cached_property
    def published(self) -> dict[str, Average] | None:
        """Means of the scores that the published code prints; None unless asked for."""
        if not self.parameters["paper_compat"]:
            return None
        scores = [case.published for case in self.scores]
        return {name: self._average_of(scores, name) for name in ("ece", "tace")}

    @cached_property
    def classes(self) -> list[ClassAverages]:
        """Means of each class but background."""
        first = self.scores[0].classes if self.scores else ()
        return [self._class(at, label) for at, label in enumerate(first)]

    @cached_property
    def scaled(self) -> EvaluationReport | None:
        """The report of the scaled predictions; None unless asked for."""
        if self.temperatures is None:
            return None
        cases = [
            Finished(case.record, case.result and case.result.scaled)
            for case in self.cases
        ]
        return replace(self, cases=cases, temperatures=None)

    def reliability(self, region: str) -> Reliability:
        """Reliability of all cases together; requires at least one."""
        return reduce(add, (case.regions[region].reliability for case in self.scores))

    def to_json(self) -> dict[str, Any]:
        """The report as written; undefined values are None."""
        scaling = {}
        if self.scaled and self.temperatures:
            scaling = {**self.temperatures.to_json(), **self.scaled._means()}
        return {
            "tool_version": __version__,
            "parameters": dict(self.parameters),
            **self._means(),
            **({"temperature_scaling": scaling} if scaling else {}),
            "cases": self.case_records(),
        }

    def _means(self) -> dict[str, Any]:
        calibration = {
            region: {name: asdict(each) for name, each in averages.items()}
            for region, averages in self.calibration.items()
        }
        published = {
            name: asdict(each) for name, each in (self.published or {}).items()
        }
        reliability = None
        if self.scores:
            reliability = {r: self.reliability(r).to_json() for r in REGIONS}
        return {
            "summary": {
                "cases": len(self.scores),
                "patients": self.n_patients,
                "trained_on": len(self.trained_on),
                **{name: asdict(each) for name, each in self.overlaps.items()},
                "regions": calibration,
                **({"paper": published} if published else {}),
            },
            "classes": [each.to_json() for each in self.classes],
            "reliability": reliability,
        }

    def csv_rows(self) -> list[list[Cell]]:
        """A header, then for each case its means and one row per class.

        ``scaled`` is no; the rows of scaled predictions, with yes, follow.
        """
        columns = [(name, region) for region in REGIONS for name in CALIBRATION]
        start = ["case", "value", "name", "raters", "scaled", "temperature", *OVERLAPS]
        rows: list[list[Cell]] = [
            [*start, *(f"{name}[{region}]" for name, region in columns)]
        ]
        found = [(each.record.case, each.result) for each in self.cases if each.result]
        stored = [(name, "no", None, scores) for name, scores in found]
        scaled = [(name, "yes", each.temperature, each.scaled) for name, each in found]
        for case, *which, scores in (*stored, *scaled):
            if scores is None:
                continue
            made = [len(scores.raters), *which]
            means = [or_none(scores.class_mean(each)) for each in OVERLAPS]
            regions = scores.regions
            whole = [
                or_none(getattr(regions[region], each)) for each, region in columns
            ]
            rows.append([case, None, "mean", *made, *means, *whole])
            for label in scores.classes:
                own = [or_none(getattr(label, each)) for each in OVERLAPS]
                parts = [_class_score(label, each, region) for each, region in columns]
                rows.append([case, label.value, label.name, *made, *own, *parts])
        return rows

    def write(self, path: Path) -> None:
        """Write a ``.json`` or ``.csv`` file, whole or not at all.

        Raises
        ------
        InvalidParameterError
            If ``path`` has another suffix or cannot be written.
        """
        write_report(self, path)

    def case_records(self) -> list[dict[str, Any]]:
        """Each case's record with its scores, if it has any: the lines of `--json`."""
        return [
            case.record.to_json()
            | (case.result.to_json() if case.result else {})
            | ({"patient": p} if (p := self.patients.get(case.record.case)) else {})
            | ({"trained_on": True} if case.record.case in self.trained_on else {})
            for case in self.cases
        ]

    def _with_status(self, status: str) -> tuple[Record, ...]:
        records = (case.record for case in self.cases)
        return tuple(record for record in records if record.status == status)

    def _average_of(self, scores: Sequence[Any], name: str) -> Average:
        return self._average([getattr(each, name) for each in scores])

    def _average(self, of_cases: Sequence[float]) -> Average:
        """Average of the finite ones of numbers in the order of `scores`."""
        values = np.array(of_cases, np.float64)
        defined = np.isfinite(values)
        values, groups = values[defined], list(compress(self._patients, defined))
        if len(set(groups)) < LEAST_GROUPS:
            mean = float(values.mean()) if len(values) else None
            return Average(mean, None, None, len(values))
        estimate = bootstrap(values, seed=self.seed, groups=groups)
        return Average(estimate.mean, estimate.low, estimate.high, len(values))

    def _class(self, at: int, label: ClassScores) -> ClassAverages:
        scores = [case.classes[at] for case in self.scores]
        return ClassAverages(
            label.value,
            label.name,
            {name: self._average_of(scores, name) for name in OVERLAPS},
            nll={r: self._average([each.nll[r] for each in scores]) for r in REGIONS},
            tace={r: self._average([each.tace[r] for each in scores]) for r in REGIONS},
        )


def _class_score(label: ClassScores, name: str, region: str) -> float | None:
    """A class's score in a region; None for Brier and ECE, which are of all."""
    by_region = getattr(label, name, None)
    return None if by_region is None else or_none(by_region[region])
