"""A figure of the reliability of several methods, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from svls_cli.comparison.result import Comparison
from svls_cli.evaluation.regions import REGION_NAMES
from svls_cli.figures import REFERENCE, drawing, legend_below, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Draw the reliability of several methods, side by side in each region.

    Trials of a method are taken together; each loss has a row of its own.

    Raises
    ------
    InvalidParameterError
        As `check_figure`.
    """
    losses, least = comparison.losses, _least(comparison)
    with drawing(path, height_mm=12 + 58 * len(losses)) as figure:
        panels = figure.subplots(
            len(losses), 3, sharex=True, sharey=True, squeeze=False
        )
        for row, loss in zip(panels, losses, strict=True):
            for axes, (region, name) in zip(row, REGION_NAMES.items(), strict=True):
                _draw(axes, comparison, loss, region)
                axes.set(xlim=(least, 1), ylim=(least, 1))
                axes.set_title(f"{name}, {loss}" if len(losses) > 1 else name)
            row[0].set_ylabel("share that was right")
        panels[-1][1].set_xlabel("probability of the most probable class")
        legend_below(figure, panels[0][0])


def _least(comparison: Comparison) -> float:
    """Tenth from which the axes of all panels begin; of two classes, it is a half."""
    curves = [
        values
        for loss in comparison.losses
        for method in comparison.methods
        for region in REGION_NAMES
        for values in comparison.reliability((method, loss), region)
    ]
    return min(float(np.floor(10 * np.concatenate(curves).min())) / 10, 0.9)


def _draw(axes: Axes, comparison: Comparison, loss: str, region: str) -> None:
    axes.plot([0, 1], [0, 1], "--", **REFERENCE)
    for number, method in enumerate(comparison.methods):
        confidence, accuracy = comparison.reliability((method, loss), region)
        axes.plot(confidence, accuracy, label=method, clip_on=False, **series(number))
    ticks = (0.1, 0.3, 0.5, 0.7, 0.9)  # those of two panels must not touch
    axes.set(xticks=ticks, yticks=ticks)
