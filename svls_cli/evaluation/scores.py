"""The scores of a prediction on one case.

An undefined value is NaN here and None in JSON, and is left out of every mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from svls_cli.evaluation.regions import REGIONS
from svls_cli.metrics.averages import mean, or_none
from svls_cli.metrics.calibration import Reliability

# Scores of a class over the whole volume, and of a class or a case in each region.
OVERLAPS = ("dice", "surface_dice", "hd95_mm", "soft_dice", "ged", "crps_ml")
CALIBRATION = ("nll", "brier", "ece", "rater_ece", "tace")


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class; means over the raters.

    Parameters
    ----------
    value, name
        Label value and name of the class.
    voxels, predicted_voxels
        Voxels that the raters gave the class, and voxels of which it is the most
        probable class.
    dice, surface_dice
        Overlap of the most probable class with the raters' labels; 0 if the class is
        predicted or drawn, but not both; NaN if neither.
    hd95_mm
        95th percentile of the distance between their surfaces, mm; the diagonal of the
        volume if the class is predicted or drawn, but not both; NaN if neither.
    soft_dice, ged
        Soft Dice and generalised energy distance of the probabilities; NaN if the class
        is neither drawn nor anywhere above 0.
    crps_ml
        CRPS of the volume, the sum of the probabilities, and the raters' volumes, mL;
        NaN if the class is neither drawn nor anywhere above 0, and for 2-D images.
    nll, tace
        Mean NLL where the raters said the class, and its TACE, by region; NaN if there
        are no such voxels.
    """

    value: int
    name: str
    voxels: float
    predicted_voxels: int
    dice: float
    surface_dice: float
    hd95_mm: float
    soft_dice: float
    ged: float
    crps_ml: float
    nll: Mapping[str, float]
    tace: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "name": self.name,
            "voxels": self.voxels,
            "predicted_voxels": self.predicted_voxels,
            **{name: or_none(getattr(self, name)) for name in OVERLAPS},
            "nll": {region: or_none(x) for region, x in self.nll.items()},
            "tace": {region: or_none(x) for region, x in self.tace.items()},
        }


@dataclass(frozen=True)
class RegionScores:
    """Calibration scores in a region; NaN if it is empty.

    Parameters
    ----------
    forecasts
        Number of forecasts: voxels of the region, each counted once for each rater.
    nll
        Mean of -ln(clip(p, 1e-3, 1)) for the class that the rater said.
    brier
        Mean of sum_c (p_c - [c is what the rater said])^2.
    tace
        Mean TACE of the classes other than background.
    by_rater
        Reliability of the most probable class, from which the ECE follows, by rater.
    """

    forecasts: int
    nll: float
    brier: float
    tace: float
    by_rater: Sequence[Reliability]

    @property
    def reliability(self) -> Reliability:
        """Reliability of the most probable class, of all raters together."""
        return reduce(add, self.by_rater)

    @property
    def ece(self) -> float:
        """Expected calibration error of the most probable class."""
        return self.reliability.ece

    @property
    def rater_ece(self) -> float:
        """Mean over the raters of the ECE against each."""
        return mean([each.ece for each in self.by_rater])

    def to_json(self) -> dict[str, Any]:
        return {
            "forecasts": self.forecasts,
            **{name: or_none(getattr(self, name)) for name in CALIBRATION},
            "reliability": self.reliability.to_json(),
        }


@dataclass(frozen=True)
class PublishedScores:
    """Scores as the published code prints them.

    Parameters
    ----------
    ece
        ECE in the foreground.
    tace
        TACE over the whole volume, divided by the number of bins twice; mean over the
        classes, without background, that have as many forecasts as there are bins.
    """

    ece: float
    tace: float

    def to_json(self) -> dict[str, float | None]:
        return {"ece": or_none(self.ece), "tace": or_none(self.tace)}


@dataclass(frozen=True)
class CaseEvaluation:
    """All scores of one case.

    Parameters
    ----------
    raters
        Names of the label maps that the prediction is compared with.
    voxels, ignored_voxels
        Voxels that count, each once however many raters there are, and voxels that a
        rater ignores or that have no prediction.
    classes
        Scores of each class but background, label value 0.
    regions
        Calibration by the name of the region.
    published
        Scores as the published code prints them; None unless asked for.
    temperature, scaled
        Temperature fitted on other patients' cases, and the scores of the prediction
        scaled by it; None unless asked for.
    """

    raters: tuple[str, ...]
    voxels: int
    ignored_voxels: int
    classes: tuple[ClassScores, ...]
    regions: Mapping[str, RegionScores]
    published: PublishedScores | None = None
    temperature: float | None = None
    scaled: CaseEvaluation | None = None

    def class_mean(self, name: str) -> float:
        """Mean over the classes of one of `OVERLAPS`."""
        return mean([getattr(c, name) for c in self.classes])

    def to_json(self) -> dict[str, Any]:
        """The scores as reported; undefined values are None."""
        published = {"paper": self.published.to_json()} if self.published else {}
        scaled = {}
        if self.scaled:
            scaled = {"temperature": self.temperature, "scaled": self.scaled.to_json()}
        return {
            "raters": list(self.raters),
            "voxels": self.voxels,
            "ignored_voxels": self.ignored_voxels,
            **{name: or_none(self.class_mean(name)) for name in OVERLAPS},
            "regions": {name: self.regions[name].to_json() for name in REGIONS},
            **published,
            "classes": [c.to_json() for c in self.classes],
            **scaled,
        }
