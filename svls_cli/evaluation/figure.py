"""A figure of the reliability of predictions, by region."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from svls_cli.evaluation.regions import REGION_NAMES
from svls_cli.figures import REFERENCE, drawing, legend_below, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from svls_cli.evaluation.report import EvaluationReport


def draw_reliability(report: EvaluationReport, path: Path) -> None:
    """Draw how often the most probable class was right, by its probability.

    All cases are taken together; there must be one.

    Raises
    ------
    InvalidParameterError
        As `check_figure`.
    """
    with drawing(path, height_mm=90) as figure:
        rows = figure.subplots(
            2, 3, sharex=True, sharey="row", gridspec_kw={"height_ratios": [3, 1]}
        )
        for (curve, counts), region in zip(rows.T, REGION_NAMES, strict=True):
            _draw_region(curve, counts, report, region)
        rows[0, 0].set_ylabel("share that was right")
        rows[1, 0].set_ylabel("voxels")
        rows[1, 1].set_xlabel("probability of the most probable class")
        if report.scaled is not None:
            legend_below(figure, rows[0, 0])


def _draw_region(
    curve: Axes, counts: Axes, report: EvaluationReport, region: str
) -> None:
    curve.plot([0, 1], [0, 1], "--", **REFERENCE)
    _draw_curve(curve, report, region, label="as predicted", **series(0))
    if report.scaled is not None:
        label = "scaled by temperature"
        _draw_curve(curve, report.scaled, region, label=label, **series(1))
    ece = report.calibration[region]["ece"].mean
    shown = "" if ece is None else f"\nECE {ece:.4f}, mean over cases"
    if report.scaled is not None and ece is not None:
        shown += f"\nscaled {report.scaled.calibration[region]['ece'].mean:.4f}"
    ticks = (0.1, 0.3, 0.5, 0.7, 0.9)  # those of two panels must not touch
    curve.set(title=REGION_NAMES[region] + shown, xlim=(0, 1), ylim=(0, 1))
    curve.set(xticks=ticks, yticks=ticks)
    reliability = report.reliability(region)
    bins, used = len(reliability.count), reliability.count > 0
    edges = np.arange(bins)[used] / bins
    voxels = reliability.count[used]
    counts.bar(edges, voxels, 1 / bins, align="edge", color="#9A9A9A", ec="white")
    # Few voxels are uncertain, and these are the ones that matter.
    counts.set_yscale("log")
    counts.locator_params(axis="y", numticks=4)
    counts.set_ylim(bottom=0.5)


def _draw_curve(
    axes: Axes, report: EvaluationReport, region: str, **style: Any
) -> None:
    reliability = report.reliability(region)
    used = reliability.count > 0
    confidence = reliability.confidence[used] / reliability.count[used]
    accuracy = reliability.hits[used] / reliability.count[used]
    axes.plot(confidence, accuracy, clip_on=False, **style)
