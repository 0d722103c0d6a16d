"""The log of an epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class EpochLog:
    """The log of an epoch: a line of ``log.csv``.

    Parameters
    ----------
    epoch, step
        Number of epochs and steps done so far.
    seconds
        Time that the epoch took.
    learning_rate
        Learning rate of its last step.
    loss
        Mean training loss of its steps.
    validation_loss
        Cross-entropy with the target, over fixed patches of the validation cases; None
        without any.
    dice
        Dice of the same patches, taken together; mean over foreground classes, None
        without any.
    """

    epoch: int
    step: int
    seconds: float
    learning_rate: float
    loss: float
    validation_loss: float | None = None
    dice: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The log as saved."""
        return asdict(self)
