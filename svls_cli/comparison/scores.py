"""The scores that a comparison shows, and where an evaluation's report keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from svls_cli.evaluation.regions import REGION_NAMES

# Names as in `svls_cli.evaluation.scores`, and as the paper heads its columns.
_OVERLAPS = {
    "dice": "DSC",
    "surface_dice": "Surface DSC",
    "soft_dice": "Soft DSC",
    "ged": "GED",
    "crps_ml": "CRPS mL",
}
_CALIBRATION = {"nll": "NLL", "brier": "Brier", "ece": "ECE", "tace": "TACE"}


@dataclass(frozen=True)
class Score:
    """A score of one case."""

    name: str  # as in a report
    label: str  # heading of its column
    region: str | None = None  # of a calibration score
    scaled: bool = False  # whether by the held-out temperature

    def of(self, case: Mapping[str, Any]) -> float:
        """The score in a case's record; NaN if undefined."""
        scores = case["scaled"] if self.scaled else case
        if self.region is not None:
            scores = scores["regions"][self.region]
        value = scores[self.name]
        return np.nan if value is None else float(value)

    @property
    def key(self) -> str:
        """Name in a comparison's JSON.

        Examples
        --------
        >>> Score("nll", "NLL", "band", scaled=True).key
        'band.nll.scaled'
        """
        region = "" if self.region is None else f"{self.region}."
        return f"{region}{self.name}{'.scaled' * self.scaled}"


# The scores of each table, by its title.
TABLES: dict[str, tuple[Score, ...]] = {
    "overlap, volume and temperature": (
        *(Score(name, label) for name, label in _OVERLAPS.items()),
        Score("temperature", "T"),
    ),
    **{
        f"calibration in the {title}": tuple(
            Score(name, f"{label}, T" if scaled else label, region, scaled)
            for name, label in _CALIBRATION.items()
            for scaled in (False, True)
        )
        for region, title in REGION_NAMES.items()
    },
}
# Those, and one that is nearly the ECE.
SCORES = (
    *(score for scores in TABLES.values() for score in scores),
    *(
        Score("rater_ece", "", region, scaled)
        for region in REGION_NAMES
        for scaled in (False, True)
    ),
)
