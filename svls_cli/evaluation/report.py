"""How good predictions are over all cases: numbers for programs, means for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from svls_cli.batch.records import Record
from svls_cli.batch.version import __version__
from svls_cli.evaluation.regions import REGIONS
from svls_cli.evaluation.scores import (
    CALIBRATION,
    OVERLAPS,
    CaseEvaluation,
    ClassScores,
    Evaluated,
)
from svls_cli.files import write_report
from svls_cli.metrics.averages import bootstrap, defined
from svls_cli.metrics.calibration import Reliability

Cell = str | int | float | None


@dataclass(frozen=True)
class Average:
    """A mean over the cases in which a value is defined, and its 95 % interval.

    Parameters
    ----------
    mean
        All cases weigh the same; None if there are none.
    low, high
        Percentile bootstrap over cases; None for fewer than two.
    cases
        How many.
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
        The class.
    overlaps
        By name.
    nll, tace
        By region.
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
    """What `evaluate_cases` finds.

    Parameters
    ----------
    parameters
        What was asked for.
    cases
        All, by name: evaluated, skipped because the prediction or the reference lacks
        them, and failed.
    seed
        Of the bootstrap.
    """

    parameters: Mapping[str, Any]
    cases: Sequence[Evaluated]
    seed: int = 0

    @cached_property
    def scores(self) -> tuple[CaseEvaluation, ...]:
        """Of the cases that were evaluated."""
        return tuple(case.scores for case in self.cases if case.scores is not None)

    @property
    def skipped(self) -> tuple[Record, ...]:
        """Cases that were not compared."""
        return self._of_status("skipped")

    @property
    def failed(self) -> tuple[Record, ...]:
        """Cases with an error."""
        return self._of_status("failed")

    @cached_property
    def overlaps(self) -> dict[str, Average]:
        """Means over classes, then over cases."""
        return {name: self._average(_class_mean(name)) for name in OVERLAPS}

    @cached_property
    def calibration(self) -> dict[str, dict[str, Average]]:
        """By region."""
        return {
            region: {name: self._average(_in(region, name)) for name in CALIBRATION}
            for region in REGIONS
        }

    @cached_property
    def published(self) -> dict[str, Average] | None:
        """What the published code prints, if it was asked for."""
        if not self.parameters["paper_compat"]:
            return None
        return {name: self._average(_published(name)) for name in ("ece", "tace")}

    @cached_property
    def classes(self) -> list[ClassAverages]:
        """Without background."""
        first = self.scores[0].classes if self.scores else ()
        return [self._class(at, label) for at, label in enumerate(first)]

    def reliability(self, region: str) -> Reliability:
        """Of all cases together; at least one."""
        return reduce(add, (case.regions[region].reliability for case in self.scores))

    def to_json(self) -> dict[str, Any]:
        """As written; undefined values are None."""
        calibration = {
            region: {name: asdict(each) for name, each in averages.items()}
            for region, averages in self.calibration.items()
        }
        published = {
            name: asdict(each) for name, each in (self.published or {}).items()
        }
        reliability = {region: self.reliability(region).to_json() for region in REGIONS}
        return {
            "tool_version": __version__,
            "parameters": dict(self.parameters),
            "summary": {
                "cases": len(self.scores),
                **{name: asdict(each) for name, each in self.overlaps.items()},
                "regions": calibration,
                **({"paper": published} if published else {}),
            },
            "classes": [each.to_json() for each in self.classes],
            "reliability": reliability if self.scores else None,
            "cases": [case.to_json() for case in self.cases],
        }

    def csv_rows(self) -> list[list[Cell]]:
        """A header, then for each case its means and one row per class."""
        columns = [(name, region) for region in REGIONS for name in CALIBRATION]
        start: list[Cell] = ["case", "value", "name", "raters", *OVERLAPS]
        rows = [[*start, *(f"{name}[{region}]" for name, region in columns)]]
        for case in self.cases:
            if case.scores is None:
                continue
            name, raters = case.record.case, len(case.scores.raters)
            means = [defined(case.scores.class_mean(each)) for each in OVERLAPS]
            whole = [
                defined(_in(region, each)(case.scores)) for each, region in columns
            ]
            rows.append([name, None, "mean", raters, *means, *whole])
            for label in case.scores.classes:
                own = [defined(getattr(label, each)) for each in OVERLAPS]
                parts = [_of_class(label, each, region) for each, region in columns]
                rows.append([name, label.value, label.name, raters, *own, *parts])
        return rows

    def write(self, path: Path) -> None:
        """Write a ``.json`` or ``.csv`` file, whole or not at all.

        Raises
        ------
        InvalidParameterError
            If the suffix is another, or the file cannot be written there.
        """
        write_report(self, path)

    def _of_status(self, status: str) -> tuple[Record, ...]:
        records = (case.record for case in self.cases)
        return tuple(record for record in records if record.status == status)

    def _average(self, value: Callable[[CaseEvaluation], float]) -> Average:
        found = np.array([value(case) for case in self.scores], np.float64)
        found = found[np.isfinite(found)]
        if len(found) < 2:
            return Average(
                float(found[0]) if len(found) else None, None, None, len(found)
            )
        estimate = bootstrap(found, seed=self.seed)
        return Average(estimate.mean, estimate.low, estimate.high, len(found))

    def _class(self, at: int, label: ClassScores) -> ClassAverages:
        def average(name: str, region: str | None = None) -> Average:
            def value(case: CaseEvaluation) -> float:
                found = getattr(case.classes[at], name)
                return float(found if region is None else found[region])

            return self._average(value)

        return ClassAverages(
            label.value,
            label.name,
            {name: average(name) for name in OVERLAPS},
            nll={region: average("nll", region) for region in REGIONS},
            tace={region: average("tace", region) for region in REGIONS},
        )


def _class_mean(name: str) -> Callable[[CaseEvaluation], float]:
    return lambda case: case.class_mean(name)


def _in(region: str, name: str) -> Callable[[CaseEvaluation], float]:
    return lambda case: float(getattr(case.regions[region], name))


def _published(name: str) -> Callable[[CaseEvaluation], float]:
    return lambda case: float(getattr(case.published, name))


def _of_class(label: ClassScores, name: str, region: str) -> float | None:
    """Brier and ECE are of all classes together."""
    by_region = getattr(label, name, None)
    return None if by_region is None else defined(by_region[region])
