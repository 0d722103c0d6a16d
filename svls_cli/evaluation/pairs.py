"""Predicted cases with their references, and the work on each in a worker process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from svls_cli.arrays import FloatArray
from svls_cli.batch.records import Outcome
from svls_cli.evaluation.evaluate_case import Measures, evaluate_case
from svls_cli.evaluation.predictions import PredictedCase
from svls_cli.evaluation.references import Reference
from svls_cli.evaluation.scores import CaseEvaluation
from svls_cli.evaluation.temperature_scaling import (
    ScaledPrediction,
    case_nll,
    scaling_blocks,
)
from svls_cli.labels.rater_maps import RaterMaps


@dataclass(frozen=True)
class Pair:
    """A predicted case and its reference."""

    prediction: PredictedCase
    reference: Reference
    temperature: float | None = None  # by which the prediction is scaled as well

    @property
    def name(self) -> str:
        """The case's name."""
        return self.prediction.name

    @property
    def inputs(self) -> tuple[str, str]:
        """The two paths, as records name them."""
        return str(self.prediction.path), self.reference.path

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type in which the probabilities are stored."""
        dtype: np.dtype[Any] = np.dtype(self.prediction.attributes["dtype"])
        return dtype

    def read(self, ignore_label: int | None) -> RaterMaps:
        """Read the reference's label maps, on the prediction's grid and classes."""
        case = self.prediction
        return self.reference.read(
            case.geometry, case.classes, ignore_label=ignore_label
        )


@dataclass(frozen=True)
class CaseEvaluator:
    """Scores one case, in a worker process."""

    measures: Measures
    ignore_label: int | None  # label value of the reference that is not compared

    def __call__(self, pair: Pair) -> Outcome[CaseEvaluation]:
        """Read the reference and measure the prediction against it."""
        case, reference = pair.prediction, pair.read(self.ignore_label)
        scores = evaluate_case(
            case, reference, dtype=pair.dtype, measures=self.measures
        )
        if not scores.voxels:
            return Outcome(skipped="every voxel is ignored")
        note = "; ".join(reference.notes) or None
        if pair.temperature is None:
            return Outcome(result=scores, note=note)
        blocks = scaling_blocks(case.geometry, len(case.classes), pair.dtype)
        scaled = evaluate_case(
            ScaledPrediction(case, pair.temperature),
            reference,
            dtype=np.float32,
            measures=self.measures,
            blocks=blocks,
        )
        scores = replace(scores, temperature=pair.temperature, scaled=scaled)
        return Outcome(result=scores, note=note)


@dataclass(frozen=True)
class CaseTemperatures:
    """Measures the mean NLL of a case at each temperature, in a worker process."""

    measures: Measures
    ignore_label: int | None  # label value of the reference that is not compared
    region: str  # one of `FITTED_REGIONS`

    def __call__(self, pair: Pair) -> Outcome[FloatArray]:
        """Read the reference and measure the scaled predictions against it."""
        reference = pair.read(self.ignore_label)
        inside = self.measures.band(reference) if self.region == "band" else None
        nll = case_nll(pair.prediction, reference, inside, dtype=pair.dtype)
        return Outcome(result=nll)
