"""A figure of the reliability of several methods, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from svls_cli.comparison.result import Comparison
from svls_cli.evaluation.regions import REGION_NAMES
from svls_cli.figures import drawing, legend_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colour (Okabe & Ito) and marker of each method: legible without colour vision.
_SERIES = (
    ("#0072B2", "o"),
    ("#E69F00", "s"),
    ("#009E73", "^"),
    ("#D55E00", "v"),
    ("#CC79A7", "D"),
    ("#56B4E9", "P"),
    ("#000000", "x"),
)


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Draw the reliability of several methods, side by side in each region.

    Trials of a method are taken together; each loss has a row of its own.

    Raises
    ------
    InvalidParameterError
        As `check_figure`.
    """
    losses, least = comparison.losses, _least(comparison)
    with drawing(path, 10, 0.8 + 3.2 * len(losses)) as figure:
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
    axes.plot([0, 1], [0, 1], "--", color="#777777", lw=1)
    for at, method in enumerate(comparison.methods):
        again, style = divmod(at, len(_SERIES))
        color, marker = _SERIES[style]
        confidence, accuracy = comparison.reliability((method, loss), region)
        line = "--" if again else "-"
        axes.plot(
            confidence, accuracy, line, marker=marker, color=color, ms=4, label=method
        )
    ticks = (0.1, 0.3, 0.5, 0.7, 0.9)  # those of two panels must not touch
    axes.set(xticks=ticks, yticks=ticks)
    axes.spines[["top", "right"]].set_visible(False)
