"""Names of what a network learns, and of a run's checkpoints."""

from __future__ import annotations

from typing import Literal, get_args

Target = Literal["soft", "hard", "rater"]
TARGETS: tuple[str, ...] = get_args(Target)
CHECKPOINTS = ("last", "best")
