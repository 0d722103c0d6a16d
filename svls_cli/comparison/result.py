"""What a comparison of methods finds: a table, a figure, all numbers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from svls_cli.batch.version import __version__
from svls_cli.evaluation.regions import REGION_NAMES
from svls_cli.files import replacing, write_json

OVERLAPS = {"dice": "DSC", "surface_dice": "Surface DSC"}
CALIBRATION = {"ece": "ECE", "tace": "TACE", "nll": "NLL", "brier": "Brier"}


@dataclass(frozen=True)
class Trial:
    """One network, trained and evaluated.

    Parameters
    ----------
    method
        As it was asked for.
    seed
        Of the run.
    report
        `EvaluationReport.to_json` of its predictions.
    """

    method: str
    seed: int
    report: Mapping[str, Any]

    def overlap(self, name: str) -> float | None:
        """Mean over cases."""
        mean: float | None = self.report["summary"][name]["mean"]
        return mean

    def calibration(self, region: str, name: str) -> float | None:
        """Mean over cases."""
        mean: float | None = self.report["summary"]["regions"][region][name]["mean"]
        return mean

    def to_json(self) -> dict[str, Any]:
        """Its means."""
        return {
            "method": self.method,
            "seed": self.seed,
            "cases": self.report["summary"]["cases"],
            **{name: self.overlap(name) for name in OVERLAPS},
            "regions": {
                region: {name: self.calibration(region, name) for name in CALIBRATION}
                for region in REGION_NAMES
            },
        }


@dataclass(frozen=True)
class Spread:
    """A mean over seeds, and their standard deviation.

    Parameters
    ----------
    mean
        None if no seed has the value.
    deviation
        Of the sample; None for one seed.
    """

    mean: float | None
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread:
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
    """All trials.

    Parameters
    ----------
    trials
        At least one; every method with the same seeds.
    """

    trials: tuple[Trial, ...]

    @property
    def methods(self) -> list[str]:
        """In the order in which they were asked for."""
        return list(dict.fromkeys(trial.method for trial in self.trials))

    def of(self, method: str) -> list[Trial]:
        """One method's trials."""
        return [trial for trial in self.trials if trial.method == method]

    def table(self, region: str) -> tuple[list[str], list[list[str]]]:
        """Header and a row per method."""
        header = ["method", *OVERLAPS.values(), *CALIBRATION.values()]
        return header, [self._row(method, region) for method in self.methods]

    def _row(self, method: str, region: str) -> list[str]:
        trials = self.of(method)
        overlaps = [Spread.of([t.overlap(n) for t in trials]) for n in OVERLAPS]
        calibration = [
            Spread.of([t.calibration(region, n) for t in trials]) for n in CALIBRATION
        ]
        return [method, *map(str, (*overlaps, *calibration))]

    def markdown(self) -> str:
        """The paper's table, for each region."""
        first = self.trials[0]
        given, seeds = first.report["parameters"], len(self.of(first.method))
        cases = first.report["summary"]["cases"]
        lines = [
            "# Comparison of soft labels",
            "",
            f"{cases} validation case{'s' * (cases > 1)}, {seeds} seed"
            f"{'s' * (seeds > 1)}: mean over cases, then ± standard deviation over "
            f"seeds. Surface DSC at {given['tolerance_mm']:g} mm, {given['bins']} "
            f"bins; the boundary band reaches {given['band_mm']:g} mm either side. "
            "DSC is better when higher, all else when lower.",
        ]
        for region, name in REGION_NAMES.items():
            header, rows = self.table(region)
            lines += ["", f"## Calibration in the {name}", ""]
            lines += [_line(header), _line(["---"] * len(header))]
            lines += [_line(row) for row in rows]
        lines += ["", "![Reliability](comparison.png)", ""]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """As written."""
        return {
            "tool_version": __version__,
            "parameters": {
                key: self.trials[0].report["parameters"][key]
                for key in ("tolerance_mm", "band_mm", "bins")
            },
            "trials": [trial.to_json() for trial in self.trials],
        }

    def reliability(self, method: str, region: str) -> tuple[Any, Any]:
        """Confidence and accuracy of each bin that is not empty, over all seeds."""
        curves = [trial.report["reliability"][region] for trial in self.of(method)]
        count = np.array([curve["count"] for curve in curves], np.float64)

        def mean(name: str) -> Any:
            values = np.array([curve[name] for curve in curves], np.float64)
            total = np.where(count > 0, values, 0) * count
            return total.sum(axis=0) / np.maximum(count.sum(axis=0), 1)

        used = count.sum(axis=0) > 0
        return mean("confidence")[used], mean("accuracy")[used]

    def write(self, folder: Path) -> None:
        """``comparison.json``, ``comparison.md`` and ``comparison.png``."""
        from svls_cli.comparison.figure import draw_comparison

        write_json(self.to_json(), folder / "comparison.json")
        with replacing(folder / "comparison.md") as part:
            part.write_text(self.markdown(), encoding="utf-8")
        draw_comparison(self, folder / "comparison.png")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
