"""What one epoch of a run came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class EpochLog:
    """One line of the log.

    Parameters
    ----------
    epoch, step
        Done so far.
    seconds
        Spent on this epoch.
    learning_rate
        At its end.
    loss
        Mean over its steps.
    validation_loss
        Cross-entropy with the target, over fixed patches of the validation cases; None
        without any.
    dice
        Of these patches taken together, mean over foreground classes; None likewise.
    """

    epoch: int
    step: int
    seconds: float
    learning_rate: float
    loss: float
    validation_loss: float | None = None
    dice: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
