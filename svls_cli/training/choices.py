"""Names of what a network learns, of a run's checkpoints and of its cases."""

from __future__ import annotations

from typing import Literal, get_args

Target = Literal["soft", "hard", "rater"]
TARGETS: tuple[str, ...] = get_args(Target)
CHECKPOINTS = ("last", "best")
# The cases that a run does not train on, in the place of a file of their names.
VALIDATION = "validation"
