"""Names of the scores that smoothing is chosen by, and of what is forecast."""

from __future__ import annotations

from typing import Literal, get_args

ScoreName = Literal["nll", "brier", "class_nll"]
SCORES: tuple[ScoreName, ...] = get_args(ScoreName)
# What the labels are made from that are to be smoothed.
TargetName = Literal["one_map", "fused"]
