"""The scores of one prediction against the label maps of its case."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

from svls_cli.arrays import BoolArray, Region, UIntArray
from svls_cli.errors import InvalidParameterError
from svls_cli.evaluation.counting import (
    CaseCounts,
    ClassCounts,
    Prediction,
    count_levels,
)
from svls_cli.evaluation.regions import REGIONS
from svls_cli.evaluation.scores import (
    CaseEvaluation,
    ClassScores,
    PublishedScores,
    RegionScores,
)
from svls_cli.labels.classes import LabelClass
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.rater_maps import RaterMaps
from svls_cli.metrics.averages import mean
from svls_cli.metrics.boundary_band import band_radius, boundary_band, check_band_mm
from svls_cli.metrics.calibration import published_tace, reliability, tace
from svls_cli.metrics.distributions import (
    generalised_energy_distance,
    soft_dice,
    volume_crps,
)
from svls_cli.metrics.surface import check_tolerance_mm, surface_scores
from svls_cli.store.layout import Layout

DEFAULT_BINS = 15  # as in Guo et al.
PUBLISHED_BINS = 10


@dataclass(frozen=True)
class Measures:
    """Parameters of the scores, as in `evaluate_cases`.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of range.
    """

    tolerance_mm: float = 1.0
    band_mm: float = 2.0
    in_plane: bool = False
    bins: int | None = None
    paper_compat: bool = False

    def __post_init__(self) -> None:
        check_tolerance_mm(self.tolerance_mm)
        check_band_mm(self.band_mm)
        if self.n_bins < 1:
            raise InvalidParameterError(f"bins must be at least 1, found {self.bins}")

    @property
    def n_bins(self) -> int:
        """Number of bins, the default filled in."""
        if self.bins is not None:
            return self.bins
        return PUBLISHED_BINS if self.paper_compat else DEFAULT_BINS

    def band(self, reference: RaterMaps) -> BoolArray:
        """The boundary band of a case."""
        grid = reference.geometry
        radius = band_radius(
            self.band_mm, grid.shape, grid.spacing_mm, in_plane=self.in_plane
        )
        n_classes = len(reference.classes)
        return boundary_band(reference.maps, n_classes=n_classes, radius=radius)

    def to_json(self) -> dict[str, Any]:
        """The parameters as reported."""
        return {
            "tolerance_mm": self.tolerance_mm,
            "band_mm": self.band_mm,
            "in_plane": self.in_plane,
            "bins": self.n_bins,
            "paper_compat": self.paper_compat,
        }


def evaluate_case(
    prediction: Prediction,
    reference: RaterMaps,
    *,
    dtype: npt.DTypeLike,
    measures: Measures,
    blocks: Iterable[tuple[Region, Sequence[slice]]] | None = None,
) -> CaseEvaluation:
    """Measure a prediction against the label maps of one or more raters.

    The prediction is soft labels of type ``dtype`` on the reference's grid, with its
    classes. ``blocks`` are regions, each with the groups of classes that are read
    together, by default the chunks of a store; the scores do not depend on them.

    Raises
    ------
    StoreError
        If the prediction holds values that are no probabilities, or is damaged.
    """
    grid, classes = reference.geometry, reference.classes
    counts = CaseCounts(
        reference.maps,
        measures.band(reference),
        n_classes=len(classes),
        background=next((c.index for c in classes.classes if c.value == 0), None),
        n_levels=count_levels(dtype),
    )
    for region, groups in blocks or chunks(grid, len(classes), dtype):
        counts.add(prediction, region, groups)
    return _scores(counts, reference, measures)


def chunks(
    grid: Geometry, n_classes: int, dtype: npt.DTypeLike
) -> Iterable[tuple[Region, Sequence[slice]]]:
    """Blocks of a store, each with the groups of classes that share a chunk."""
    itemsize = np.dtype(dtype).itemsize
    layout = Layout.choose(grid.shape, n_classes=n_classes, itemsize=itemsize)
    step = layout.chunk_classes
    groups = [slice(at, min(at + step, n_classes)) for at in range(0, n_classes, step)]
    for shard in layout.shards():
        for _, region in layout.blocks(shard):
            yield tuple(region), groups


def _scores(
    counts: CaseCounts, reference: RaterMaps, measures: Measures
) -> CaseEvaluation:
    bins = measures.n_bins
    surfaces = _Surfaces.of(counts, reference.geometry, measures.tolerance_mm)
    nll, brier = (dict.fromkeys(REGIONS, 0.0) for _ in range(2))
    scored, published = [], []
    for label in reference.classes.classes:  # one class in memory at a time
        class_counts = counts.of_class(label.index)
        for region in REGIONS:
            nll[region] += class_counts.forecasts(region).nll
            brier[region] += class_counts.forecasts(region).brier
        if label.index != counts.background:
            scored.append(_class_scores(label, class_counts, counts, surfaces, bins))
            published.append(published_tace(class_counts.forecasts("whole"), bins=bins))
    regions = {
        region: RegionScores(
            forecasts=int(pairs),
            nll=nll[region] / pairs if pairs else math.nan,
            brier=brier[region] / pairs if pairs else math.nan,
            tace=mean([c.tace[region] for c in scored]),
            by_rater=tuple(reliability(c, bins=bins) for c in counts.highest(region)),
        )
        for region, pairs in zip(REGIONS, counts.pairs.tolist(), strict=True)
    }
    paper = PublishedScores(regions["foreground"].ece, mean(published))
    return CaseEvaluation(
        reference.raters,
        voxels=counts.voxels,
        ignored_voxels=counts.argmax.size - counts.voxels,
        classes=tuple(scored),
        regions=regions,
        published=paper if measures.paper_compat else None,
    )


def _class_scores(
    label: LabelClass,
    class_counts: ClassCounts,
    counts: CaseCounts,
    surfaces: _Surfaces,
    bins: int,
) -> ClassScores:
    overlaps = counts.overlaps[label.index]
    drawn, predicted = overlaps.diagonal(), int(counts.predicted[label.index])
    size = drawn + predicted
    dice = np.full(len(drawn), np.nan)
    np.divide(2 * counts.agreed[:, label.index], size, out=dice, where=size > 0)
    surface_dice, hd95_mm = surfaces.scores(label.index)
    p, spacing_mm = class_counts.forecasts("whole").p, surfaces.grid.spacing_mm
    voxel_ml = math.prod(spacing_mm) / 1000 if len(spacing_mm) == 3 else math.nan
    said = counts.labels[:, label.index]
    forecasts = {region: class_counts.forecasts(region) for region in REGIONS}
    return ClassScores(
        value=label.value,
        name=label.name,
        voxels=float(drawn.mean()),
        predicted_voxels=predicted,
        dice=mean(dice),
        surface_dice=surface_dice,
        hd95_mm=hd95_mm,
        soft_dice=soft_dice(class_counts.count, class_counts.hits, overlaps),
        ged=generalised_energy_distance(
            class_counts.count, class_counts.hits, overlaps
        ),
        crps_ml=volume_crps(float(class_counts.count @ p) * voxel_ml, drawn * voxel_ml),
        nll={
            region: forecasts[region].nll / n if n else math.nan
            for region, n in zip(REGIONS, said.tolist(), strict=True)
        },
        tace={region: tace(each, bins=bins) for region, each in forecasts.items()},
    )


@dataclass(frozen=True)
class _Surfaces:
    """The surfaces of the classes, in the prediction and by each rater."""

    counts: CaseCounts
    grid: Geometry
    tolerance_mm: float  # distance at which surfaces still agree, mm
    # Bounding box of each class in the prediction, and by each rater.
    predicted: list[Region | None]
    drawn: list[list[Region | None]]

    @classmethod
    def of(cls, counts: CaseCounts, grid: Geometry, tolerance_mm: float) -> _Surfaces:
        predicted = _boxes(counts.argmax, counts.n_classes)
        drawn = [_boxes(labels, counts.n_classes) for labels in counts.maps]
        return cls(counts, grid, tolerance_mm, predicted, drawn)

    def scores(self, index: int) -> tuple[float, float]:
        """Mean surface Dice and HD95 (mm) of a class over the raters."""
        pairs = [
            self._pair(index, labels, boxes[index])
            for labels, boxes in zip(self.counts.maps, self.drawn, strict=True)
        ]
        return mean([dice for dice, _ in pairs]), mean([hd95 for _, hd95 in pairs])

    def _pair(
        self, index: int, labels: UIntArray, drawn: Region | None
    ) -> tuple[float, float]:
        boxes = [box for box in (self.predicted[index], drawn) if box is not None]
        if not boxes:
            return math.nan, math.nan
        box = tuple(
            slice(min(s.start for s in sides), max(s.stop for s in sides))
            for sides in zip(*boxes, strict=True)
        )
        argmax = self.counts.argmax[box]
        scores = surface_scores(
            argmax == index,
            (labels[box] == index) & (argmax != self.counts.n_classes),
            spacing_mm=self.grid.spacing_mm,
            tolerance_mm=self.tolerance_mm,
        )
        only_one = math.isnan(scores.hd95_mm) and not math.isnan(scores.dice)
        return scores.dice, self._diagonal_mm if only_one else scores.hd95_mm

    @property
    def _diagonal_mm(self) -> float:
        """Largest distance between two voxels, mm."""
        sides = zip(self.grid.shape, self.grid.spacing_mm, strict=True)
        return math.hypot(*((n - 1) * mm for n, mm in sides))


def _boxes(indices: UIntArray, n_classes: int) -> list[Region | None]:
    """Bounding box of each class's voxels; None if there are none."""
    numbers = indices.astype(np.min_scalar_type(n_classes + 1))
    numbers += 1  # 0 is nothing to SciPy
    boxes: list[Region | None] = find_objects(numbers, max_label=n_classes)
    return boxes
