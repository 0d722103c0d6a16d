"""Agreement between the raters of one case, by every measure.

An undefined value is NaN here and None in JSON. With one rater there is no agreement:
everything but the sizes is undefined.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from svls_cli.arrays import FloatArray
from svls_cli.metrics.averages import count_or_none, mean, or_none
from svls_cli.raters.measures import rater_pairs


@dataclass(frozen=True, eq=False)
class ClassAgreement:
    """Agreement on one class that some rater of the case drew.

    Parameters
    ----------
    value, name
        Label value and name of the class.
    pair_dice, pair_surface_dice : (pairs,)
        In the order of `rater_pairs`; NaN if neither drew it.
    kappa
        Fleiss' kappa of the class against all others.
    sizes : (raters,)
        Volume in mm3; area in mm2 in 2-D.
    disputed_voxels
        Voxels that some rater gave the class and another did not; NaN for one rater.
    sensitivity, specificity : (raters,)
        Sensitivity and specificity of each rater against the consensus by STAPLE.
    """

    value: int
    name: str
    pair_dice: FloatArray
    pair_surface_dice: FloatArray
    kappa: float
    sizes: FloatArray
    disputed_voxels: float
    sensitivity: FloatArray
    specificity: FloatArray

    @property
    def dice(self) -> float:
        """Mean Dice over the pairs of raters."""
        return mean(self.pair_dice)

    @property
    def surface_dice(self) -> float:
        """Mean surface Dice over the pairs of raters."""
        return mean(self.pair_surface_dice)

    @property
    def volume_spread(self) -> float:
        """Standard deviation of the raters' sizes / their mean; NaN for one rater."""
        if len(self.sizes) < 2:
            return math.nan
        return float(self.sizes.std() / self.sizes.mean())


@dataclass(frozen=True, eq=False)
class CaseAgreement:
    """Result of `measure_agreement`.

    Parameters
    ----------
    case
        Name of the case.
    raters
        Names of the raters.
    tolerance_mm
        Tolerance of the surface Dice, mm.
    size_name
        ``volume_mm3``, or ``area_mm2`` in 2-D.
    kappa
        Fleiss' kappa over all classes and voxels.
    rated_voxels
        Voxels that some rater gave another class than background, label value 0.
    disputed_voxels
        Voxels on which two raters differ; NaN for one rater.
    entropy_bits
        Mean entropy of the raters' labels over the rated voxels.
    classes
        Agreement on each class that some rater drew, without background.
    confusion_values : (k,)
        Label values of the axes of ``confusion``, background included.
    confusion : (raters, k, k)
        Share ``[rater, said, true]`` of a class's consensus that the rater said.
    """

    case: str
    raters: tuple[str, ...]
    tolerance_mm: float
    size_name: str
    kappa: float
    rated_voxels: int
    disputed_voxels: float
    entropy_bits: float
    classes: tuple[ClassAgreement, ...]
    confusion_values: tuple[int, ...]
    confusion: FloatArray

    @property
    def disputed_share(self) -> float:
        """Share of the rated voxels that are disputed."""
        return self.disputed_voxels / (self.rated_voxels or math.nan)

    def class_mean(self, name: str) -> float:
        """Mean of one measure over the classes."""
        return mean([getattr(c, name) for c in self.classes])

    def rater_mean(self, name: str, rater: int) -> float:
        """Mean over the classes of a rater's ``sensitivity`` or ``specificity``."""
        return mean([getattr(c, name)[rater] for c in self.classes])

    def rater_dice(self, rater: int) -> float:
        """Mean over the classes of a rater's mean Dice with the others."""
        own = [rater in pair for pair in rater_pairs(len(self.raters))]
        return mean([mean(c.pair_dice[own]) for c in self.classes])

    def to_json(self) -> dict[str, Any]:
        """The record in a report; undefined values are None."""
        tables = zip(self.raters, self.confusion, strict=True)
        return {
            "case": self.case,
            "raters": list(self.raters),
            "kappa": or_none(self.kappa),
            "rated_voxels": self.rated_voxels,
            "disputed_voxels": count_or_none(self.disputed_voxels),
            "disputed_share": or_none(self.disputed_share),
            "entropy_bits": or_none(self.entropy_bits),
            "dice": or_none(self.class_mean("dice")),
            "surface_dice": or_none(self.class_mean("surface_dice")),
            "classes": [self._class_json(c) for c in self.classes],
            "confusion": {
                "values": list(self.confusion_values),
                "said_true": {
                    rater: [[or_none(x) for x in row] for row in table]
                    for rater, table in tables
                },
            },
        }

    def _class_json(self, c: ClassAgreement) -> dict[str, Any]:
        def by_rater(values: FloatArray) -> dict[str, float | None]:
            return dict(zip(self.raters, map(or_none, values), strict=True))

        pairs = rater_pairs(len(self.raters))
        return {
            "value": c.value,
            "name": c.name,
            "dice": or_none(c.dice),
            "surface_dice": or_none(c.surface_dice),
            "kappa": or_none(c.kappa),
            "volume_spread": or_none(c.volume_spread),
            "disputed_voxels": count_or_none(c.disputed_voxels),
            self.size_name: by_rater(c.sizes),
            "sensitivity": by_rater(c.sensitivity),
            "specificity": by_rater(c.specificity),
            "pairs": [
                {
                    "raters": [self.raters[r], self.raters[s]],
                    "dice": or_none(c.pair_dice[at]),
                    "surface_dice": or_none(c.pair_surface_dice[at]),
                }
                for at, (r, s) in enumerate(pairs)
            ],
        }
