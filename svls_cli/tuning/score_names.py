"""Names of the scores that smoothing is chosen by."""

from __future__ import annotations

from typing import Literal, get_args

ScoreName = Literal["nll", "brier"]
SCORES: tuple[str, ...] = get_args(ScoreName)
