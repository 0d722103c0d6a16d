"""Names of the fusions, and of what weights and ties go by."""

from __future__ import annotations

from typing import Literal, get_args

FusionName = Literal["mean", "majority", "staple"]
FUSIONS: tuple[str, ...] = get_args(FusionName)
# Weights that are measured case by case.
MeasuredWeights = Literal["staple", "dice"]
MEASURED_WEIGHTS: tuple[str, ...] = get_args(MeasuredWeights)
Ties = Literal["lowest", "highest"]
TIES: tuple[str, ...] = get_args(Ties)
