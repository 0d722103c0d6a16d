"""The result of a comparison of methods: its numbers, and a table of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from svls_cli.arrays import FloatArray
from svls_cli.batch.version import __version__
from svls_cli.evaluation.regions import REGION_NAMES

# Columns of the paper's table, by the name of the score.
_OVERLAPS = {"dice": "DSC", "surface_dice": "Surface DSC"}
_CALIBRATION = {"ece": "ECE", "tace": "TACE", "nll": "NLL", "brier": "Brier"}


@dataclass(frozen=True)
class Trial:
    """One network that was trained and evaluated."""

    method: str  # the method of its soft labels, as `parse_method` reads it
    seed: int  # seed of the training run
    report: Mapping[str, Any]  # `EvaluationReport.to_json` of its predictions

    def overlap(self, name: str) -> float | None:
        """Mean of an overlap score over cases; None if undefined."""
        mean: float | None = self.report["summary"][name]["mean"]
        return mean

    def calibration(self, region: str, name: str) -> float | None:
        """Mean of a calibration score in a region over cases; None if undefined."""
        mean: float | None = self.report["summary"]["regions"][region][name]["mean"]
        return mean

    def to_json(self) -> dict[str, Any]:
        """The means as written; a line of `--json` output."""
        return {
            "method": self.method,
            "seed": self.seed,
            "cases": self.report["summary"]["cases"],
            **{name: self.overlap(name) for name in _OVERLAPS},
            "regions": {
                region: {name: self.calibration(region, name) for name in _CALIBRATION}
                for region in REGION_NAMES
            },
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
    """All trials, summarised by method.

    Parameters
    ----------
    trials
        The trials, at least one; every method with the same seeds.
    """

    trials: tuple[Trial, ...]

    @property
    def methods(self) -> list[str]:
        """Methods, in the order of the trials."""
        return list(dict.fromkeys(trial.method for trial in self.trials))

    def trials_of(self, method: str) -> list[Trial]:
        """Trials of one method."""
        return [trial for trial in self.trials if trial.method == method]

    def table(self, region: str) -> tuple[list[str], list[list[str]]]:
        """Header, and a row of means and spreads for each method, in one region."""
        header = ["method", *_OVERLAPS.values(), *_CALIBRATION.values()]
        return header, [self._row(method, region) for method in self.methods]

    def _row(self, method: str, region: str) -> list[str]:
        trials = self.trials_of(method)
        overlaps = [Spread.of([t.overlap(n) for t in trials]) for n in _OVERLAPS]
        calibration = [
            Spread.of([t.calibration(region, n) for t in trials]) for n in _CALIBRATION
        ]
        return [method, *map(str, (*overlaps, *calibration))]

    @property
    def meaning(self) -> str:
        """What the numbers of the tables are, in words."""
        first = self.trials[0]
        parameters, cases = first.report["parameters"], first.report["summary"]["cases"]
        seeds = len(self.trials_of(first.method))
        return (
            f"{cases} validation case{'s' * (cases > 1)}, {seeds} seed"
            f"{'s' * (seeds > 1)}: mean over cases, then ± standard deviation over "
            f"seeds. Surface DSC at {parameters['tolerance_mm']:g} mm, "
            f"{parameters['bins']} bins; the boundary band reaches "
            f"{parameters['band_mm']:g} mm either side. "
            "DSC is better when higher, all else when lower."
        )

    def markdown(self) -> str:
        """The paper's table for each region, as Markdown."""
        lines = ["# Comparison of soft labels", "", self.meaning]
        for region, name in REGION_NAMES.items():
            header, rows = self.table(region)
            lines += ["", f"## Calibration in the {name}", ""]
            lines += [_line(header), _line(["---"] * len(header))]
            lines += [_line(row) for row in rows]
        lines += ["", "![Reliability](comparison.png)", ""]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The parameters of the evaluation, and the means of all trials."""
        return {
            "tool_version": __version__,
            "parameters": {
                key: self.trials[0].report["parameters"][key]
                for key in ("tolerance_mm", "band_mm", "bins")
            },
            "trials": [trial.to_json() for trial in self.trials],
        }

    def reliability(self, method: str, region: str) -> tuple[FloatArray, FloatArray]:
        """Confidence and accuracy (bins,) over all seeds, without empty bins."""
        curves = [
            trial.report["reliability"][region] for trial in self.trials_of(method)
        ]
        count = np.array([curve["count"] for curve in curves], np.float64)

        def mean(name: str) -> FloatArray:
            values = np.array([curve[name] for curve in curves], np.float64)
            total = np.where(count > 0, values, 0) * count
            means: FloatArray = total.sum(axis=0) / np.maximum(count.sum(axis=0), 1)
            return means

        used = count.sum(axis=0) > 0
        return mean("confidence")[used], mean("accuracy")[used]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
