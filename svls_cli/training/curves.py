"""A figure of the learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from svls_cli.figures import drawing
from svls_cli.training.epoch_log import EpochLog


def draw_curves(history: Sequence[EpochLog], path: Path) -> None:
    """Draw losses and validation Dice by epoch."""
    with drawing(path, 9, 4, dpi=120) as figure:
        losses, overlap = figure.subplots(1, 2)
        epochs = [log.epoch for log in history]
        _draw(losses, epochs, [log.loss for log in history], "training", "#0072B2")
        validated = [log for log in history if log.validation_loss is not None]
        if validated:
            at = [log.epoch for log in validated]
            held: list[Any] = [log.validation_loss for log in validated]
            _draw(losses, at, held, "validation", "#D55E00")
        losses.set(xlabel="epoch", ylabel="loss", title="cross-entropy with the target")
        losses.set_ylim(bottom=0)
        losses.legend(frameon=False)
        scored = [log for log in history if log.dice is not None]
        if scored:
            dice: list[Any] = [log.dice for log in scored]
            _draw(overlap, [log.epoch for log in scored], dice, "validation", "#D55E00")
        overlap.set(xlabel="epoch", ylabel="Dice", title="Dice of validation patches")
        overlap.set_ylim(0, 1)


def _draw(
    axes: Any, epochs: Sequence[int], values: Sequence[float], name: str, color: str
) -> None:
    marker = "o" if len(epochs) < 20 else ""
    axes.plot(epochs, values, color=color, label=name, marker=marker, ms=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.get_major_locator().set_params(integer=True)
