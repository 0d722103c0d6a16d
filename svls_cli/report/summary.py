"""The numbers of a case, as the index shows and keeps them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.evaluation.evaluate_case import Measures, evaluate_case
from svls_cli.evaluation.scores import CaseEvaluation
from svls_cli.metrics.averages import or_none
from svls_cli.raters.case_agreement import CaseAgreement
from svls_cli.raters.measuring import measure_agreement
from svls_cli.report.islands import find_islands
from svls_cli.report.reading import CaseContent

# Region whose calibration the index shows.
REGION = "band"


@dataclass(frozen=True)
class CaseSummary:
    """The numbers of a case; undefined ones are None.

    Parameters
    ----------
    case
        Name of the case.
    shape, spacing_mm
        Its voxel grid.
    sizes
        Volume of each class in the hard label map, mL, by its label value as text; area
        in mm2 of a 2-D image. Classes without a voxel are left out.
    ignored_share
        Share of the voxels that the hard label map ignores.
    entropy_bits
        Mean entropy of the soft labels over voxels that may be foreground.
    raters, missing
        Raters who annotated it, and raters of the store who did not.
    dice, surface_dice, disputed_share
        Agreement of the raters, as `measure_agreement` has it.
    islands
        `Islands` of each class, as dictionaries.
    scores
        Means over the classes, and calibration in the boundary band, of a prediction.
    notes
        What else a reader should know.
    """

    case: str
    shape: list[int]
    spacing_mm: list[float]
    sizes: dict[str, float]
    ignored_share: float
    entropy_bits: float | None
    raters: list[str]
    missing: list[str]
    dice: float | None
    surface_dice: float | None
    disputed_share: float | None
    islands: list[dict[str, int]]
    scores: dict[str, float | None] | None
    notes: list[str]

    @property
    def is_flat(self) -> bool:
        """Whether it is a 2-D image."""
        return len(self.shape) == 2

    def to_json(self) -> dict[str, Any]:
        """The record as kept."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> CaseSummary:
        """Rebuild a summary from its record.

        Raises
        ------
        TypeError
            If it is none.
        """
        return cls(**record)


@dataclass(frozen=True, eq=False)
class Measured:
    """All numbers of a case."""

    summary: CaseSummary
    agreement: CaseAgreement | None  # of two raters or more
    evaluation: CaseEvaluation | None  # of a prediction


def measure_case(content: CaseContent, measures: Measures) -> Measured:
    """Measure a case by the functions of `fuse-raters --report` and `evaluate`."""
    source, grid = content.source, content.grid
    counts = _counts(content)
    agreement, evaluation = None, None
    if content.raters is not None and len(content.raters.raters) > 1:
        agreement = measure_agreement(
            source.name,
            content.votes,
            content.raters.raters,
            content.classes,
            grid,
            tolerance_mm=measures.tolerance_mm,
        )
    if source.prediction is not None:
        evaluation = evaluate_case(
            source.prediction,
            content.reference,
            dtype=source.prediction.attributes["dtype"],
            measures=measures,
        )
    summary = CaseSummary(
        case=source.name,
        shape=list(grid.shape),
        spacing_mm=list(grid.spacing_mm),
        sizes=_sizes(content, counts),
        ignored_share=float(counts[-1] / counts.sum()),
        entropy_bits=or_none(content.soft.mean_bits),
        raters=list(source.case.raters),
        missing=list(source.missing),
        **_agreed(agreement),
        islands=[asdict(i) for i in find_islands(content.hard, content.classes)],
        scores=None if evaluation is None else _scores(evaluation),
        notes=list(source.notes),
    )
    return Measured(summary, agreement, evaluation)


def size_unit(*, flat: bool) -> str:
    """Unit of the sizes of classes."""
    return "mm²" if flat else "mL"


def _counts(content: CaseContent) -> npt.NDArray[np.int64]:
    """Voxels of each class, and last those that are ignored."""
    counts = np.zeros(len(content.classes) + 1, np.int64)
    for part in content.hard:  # counting widens each voxel to 8 bytes
        counts += np.bincount(part.ravel(), minlength=len(counts))
    return counts


def _sizes(content: CaseContent, counts: npt.NDArray[np.int64]) -> dict[str, float]:
    spacing_mm = content.grid.spacing_mm
    voxel = math.prod(spacing_mm) / (1000 if len(spacing_mm) == 3 else 1)
    return {
        str(c.value): int(counts[c.index]) * voxel
        for c in content.classes.classes
        if c.value and counts[c.index]
    }


def _agreed(agreement: CaseAgreement | None) -> dict[str, float | None]:
    if agreement is None:
        return dict.fromkeys(("dice", "surface_dice", "disputed_share"))
    return {
        "dice": or_none(agreement.class_mean("dice")),
        "surface_dice": or_none(agreement.class_mean("surface_dice")),
        "disputed_share": or_none(agreement.disputed_share),
    }


def _scores(evaluation: CaseEvaluation) -> dict[str, float | None]:
    overlaps = ("dice", "surface_dice", "hd95_mm")
    band = evaluation.regions[REGION]
    return {
        **{name: or_none(evaluation.class_mean(name)) for name in overlaps},
        **{name: or_none(getattr(band, name)) for name in ("nll", "ece")},
    }
