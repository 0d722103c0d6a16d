"""Tables that `svls-cli evaluate` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from svls_cli.cli.console import echo, least_to_most, say, table
from svls_cli.evaluation.regions import REGION_NAMES

if TYPE_CHECKING:
    from svls_cli.evaluation.report import Average, EvaluationReport

_OVERLAPS = {
    "dice": "Dice",
    "surface_dice": "surface Dice",
    "hd95_mm": "HD95 mm",
    "soft_dice": "soft Dice",
    "ged": "GED",
    "crps_ml": "CRPS mL",
}
_CALIBRATION = {
    "nll": "NLL",
    "brier": "Brier",
    "ece": "ECE",
    "rater_ece": "rater ECE",
    "tace": "TACE",
}


def show_evaluation(report: EvaluationReport) -> None:
    """Print overlaps by class, and calibration by region."""
    from svls_cli.metrics.averages import LEAST_GROUPS

    settings, patients = report.parameters, report.n_patients
    raters = least_to_most(len(case.raters) for case in report.scores)
    number, over = _counted(len(report.scores), "case"), "cases"
    if settings["patients"] is not None:
        number, over = f"{number} of {_counted(patients, 'patient')}", "patients"
    intervals = f"no 95 % intervals, which take at least {LEAST_GROUPS} {over}"
    if patients >= LEAST_GROUPS:
        intervals = (
            f"in brackets 95 % intervals over {over}, where at least {LEAST_GROUPS} "
            "have the score"
        )
    say(
        f"{number}, {raters} reference label map{'s' * (raters != '1')} each: means "
        f"over cases; {intervals}"
    )
    echo("")
    rows = [
        [str(each.value), each.name, *_cells(each.overlaps)] for each in report.classes
    ]
    rows.append(["mean", "", *_cells(report.overlaps)])
    if report.scaled:
        rows.append(["mean", "scaled", *_cells(report.scaled.overlaps)])
    table(["label", "name", *_OVERLAPS.values()], rows, keys=2)
    echo(f"surface Dice at {settings['tolerance_mm']:g} mm\n")
    # Against one rater, the ECE by rater is the ECE.
    shown = [name for name in _CALIBRATION if name != "rater_ece" or raters != "1"]
    table(
        ["calibration", *(_CALIBRATION[name] for name in shown)],
        [
            [f"{name}{suffix}", *(_cell(each.calibration[region][n]) for n in shown)]
            for region, name in REGION_NAMES.items()
            for each, suffix in ((report, ""), (report.scaled, ", scaled"))
            if each is not None
        ],
    )
    within = ", within slices" if settings["in_plane"] else ""
    say(
        f"{settings['bins']} bins; the band reaches {settings['band_mm']:g} mm either "
        f"side{within}"
    )
    if report.temperatures is not None:
        fitted = [fold.temperature for fold in report.temperatures.folds]
        of_all = report.temperatures.temperature
        region = REGION_NAMES[settings["temperature_scaling"]]
        say(
            f"scaled: p^(1/T), T of the least NLL ({region}) of other {over}: "
            f"{min(fitted):.3f} to {max(fitted):.3f}; {of_all:.3f} of all"
        )
    if report.published is not None:
        ece, tace = _cells(report.published)
        echo("")
        say(
            f"as the published code prints it: ECE {ece} of the foreground, TACE "
            f"{tace} of the whole volume, divided by the number of bins twice, so "
            f"{settings['bins']} times too small"
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number > 1)}"


def _cells(averages: Mapping[str, Average]) -> list[str]:
    return [_cell(average) for average in averages.values()]


def _cell(average: Average) -> str:
    if average.mean is None:
        return "-"
    shown = f"{average.mean:.4f}"
    if average.low is None:
        return shown
    return f"{shown} [{average.low:.4f}, {average.high:.4f}]"
