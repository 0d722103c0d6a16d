"""A figure of the learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svls_cli.figures import drawing, series
from svls_cli.training.epoch_log import EpochLog

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_curves(history: Sequence[EpochLog], path: Path) -> None:
    """Draw losses and validation Dice by epoch."""
    with drawing(path, height_mm=65) as figure:
        losses, overlap = figure.subplots(1, 2, sharex=True)
        epochs = [log.epoch for log in history]
        _draw(losses, epochs, [log.loss for log in history], "training", 0)
        validated = [log for log in history if log.validation_loss is not None]
        if validated:
            at = [log.epoch for log in validated]
            held: list[Any] = [log.validation_loss for log in validated]
            _draw(losses, at, held, "validation", 1)
        losses.set(xlabel="epoch", ylabel="loss", title="cross-entropy with the target")
        losses.set_ylim(bottom=0)
        losses.set_xlim(0.5, epochs[-1] + 0.5)
        losses.legend()
        scored = [log for log in history if log.dice is not None]
        if scored:
            dice: list[Any] = [log.dice for log in scored]
            _draw(overlap, [log.epoch for log in scored], dice, "validation", 1)
        else:
            overlap.text(
                0.5,
                0.5,
                "no validation cases",
                ha="center",
                transform=overlap.transAxes,
            )
        overlap.set(xlabel="epoch", ylabel="Dice", title="Dice of validation patches")
        overlap.set_ylim(0, 1)


def _draw(
    axes: Axes,
    epochs: Sequence[int],
    values: Sequence[float],
    name: str,
    number: int,
) -> None:
    # Not a marker for each epoch: they would hide the curve.
    every = len(epochs) // 20 + 1
    axes.plot(
        epochs, values, label=name, markevery=every, clip_on=False, **series(number)
    )
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
