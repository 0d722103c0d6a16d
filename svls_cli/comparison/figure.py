"""A figure of the reliability of several methods, side by side."""

from __future__ import annotations

from pathlib import Path

from svls_cli.comparison.result import Comparison
from svls_cli.evaluation.regions import REGION_NAMES
from svls_cli.figures import drawing, legend_below

# Colour (Okabe & Ito) and marker of each method: legible without colour vision.
_SERIES = (
    ("#0072B2", "o-"),
    ("#E69F00", "s-"),
    ("#009E73", "^-"),
    ("#D55E00", "v-"),
    ("#CC79A7", "D-"),
    ("#56B4E9", "P-"),
    ("#000000", "x-"),
)


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Draw the reliability of several methods, side by side in each region.

    Trials of a method are taken together.

    Raises
    ------
    InvalidParameterError
        As `check_figure`.
    """
    with drawing(path, 10, 4) as figure:
        panels = figure.subplots(1, 3, sharex=True, sharey=True)
        for axes, (region, name) in zip(panels, REGION_NAMES.items(), strict=True):
            axes.plot([0, 1], [0, 1], "--", color="#777777", lw=1)
            for at, method in enumerate(comparison.methods):
                color, marker = _SERIES[at % len(_SERIES)]
                confidence, accuracy = comparison.reliability(method, region)
                axes.plot(confidence, accuracy, marker, color=color, ms=4, label=method)
            axes.set(title=name, xlim=(0, 1), ylim=(0, 1))
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel("share that was right")
        panels[1].set_xlabel("probability of the most probable class")
        legend_below(figure, panels[0])
