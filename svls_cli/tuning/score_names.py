"""Names of the scores that smoothing is chosen by, and of what is forecast."""

from __future__ import annotations

from typing import Literal, get_args

ScoreName = Literal["nll", "class_nll", "brier"]
SCORES: tuple[ScoreName, ...] = get_args(ScoreName)
SCORE_TITLES: dict[ScoreName, str] = {
    "nll": "NLL",
    "class_nll": "class NLL",
    "brier": "Brier score",
}
# What the labels are made from that are to be smoothed.
TargetName = Literal["one_map", "fused"]
