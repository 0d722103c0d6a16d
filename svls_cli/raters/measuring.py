"""Measuring how far the raters of one case agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects

from svls_cli.arrays import BoolArray, Region
from svls_cli.batch.records import Outcome, Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.errors import InputError
from svls_cli.labels.classes import ClassTable, LabelClass
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.rater_maps import read_rater_maps
from svls_cli.labels.raters import RatedCase, named_classes
from svls_cli.metrics.surface import check_tolerance_mm, pair_surface_dice
from svls_cli.raters.case_agreement import CaseAgreement, ClassAgreement
from svls_cli.raters.fusion import mean_shares, staple_shares
from svls_cli.raters.measures import (
    RaterQuality,
    class_voxels,
    fleiss_kappa,
    pair_dice,
    rater_quality,
    row_entropy,
)
from svls_cli.raters.report import AgreementReport
from svls_cli.raters.votes import Votes, tally


def measure_agreement(
    case: str,
    votes: Votes,
    raters: Sequence[str],
    classes: ClassTable,
    geometry: Geometry,
    *,
    tolerance_mm: float,
) -> CaseAgreement:
    """Measure how far the raters of a case agree.

    ``raters`` are in the order of the columns of ``votes.rows``, ``classes`` are those
    that these index, and ``geometry`` is the voxel grid of ``votes.codes``.

    Raises
    ------
    InputError
        If the raters or the grid are not those of the votes.
    InvalidParameterError
        If the tolerance is negative or not finite.

    References
    ----------
    .. [1] Fleiss, Psychological Bulletin 76(5), 1971 (kappa).
    .. [2] Nikolov et al., 2021, arXiv:1809.04430 (surface Dice).
    .. [3] Warfield, Zou & Wells, IEEE Trans. Med. Imaging 23(7), 2004 (sensitivity and
       specificity by STAPLE).
    """
    check_tolerance_mm(tolerance_mm)
    if votes.rows.shape[1] != len(raters) or votes.codes.shape != geometry.shape:
        raise InputError(
            f"case {case}: {votes.rows.shape[1]} label maps of shape "
            f"{votes.codes.shape}, expected {len(raters)} of {geometry.shape}"
        )
    alone = len(raters) < 2
    # A table without a background has no label value 0 that could be left out.
    drawn = [c for c in classes.classes if c.value and c.index in votes.classes]
    rated = np.isin(votes.rows, [c.index for c in drawn]).any(axis=1)
    entropy = row_entropy(mean_shares(votes, np.ones(len(raters))))[rated]
    voxels = int(votes.counts @ rated)
    quality = _quality(votes)
    boxes = find_objects(votes.codes)
    return CaseAgreement(
        case=case,
        raters=tuple(raters),
        tolerance_mm=float(tolerance_mm),
        size_name="area_mm2" if geometry.ndim == 2 else "volume_mm3",
        kappa=fleiss_kappa(votes),
        rated_voxels=voxels,
        disputed_voxels=math.nan if alone else float(votes.counts @ votes.disputed),
        entropy_bits=math.nan
        if alone or not voxels
        else float(votes.counts[rated] @ entropy / voxels),
        classes=tuple(
            _measure_class(c, votes, quality, geometry, boxes, tolerance_mm)
            for c in drawn
        ),
        confusion_values=tuple(classes.values[votes.classes].tolist()),
        confusion=quality.confusion,
    )


def _quality(votes: Votes) -> RaterQuality:
    measured = rater_quality(votes, staple_shares(votes))
    if votes.rows.shape[1] > 1:
        return measured
    # One rater is the consensus: to be like oneself says nothing.
    rates = np.full_like(measured.sensitivity, np.nan)
    return RaterQuality(rates, rates, np.full_like(measured.confusion, np.nan))


def _measure_class(
    label: LabelClass,
    votes: Votes,
    quality: RaterQuality,
    geometry: Geometry,
    boxes: Sequence[Region | None],
    tolerance_mm: float,
) -> ClassAgreement:
    said = votes.rows == label.index
    others = ~said & (votes.rows < votes.n_classes)
    disputed = said.any(axis=1) & others.any(axis=1)
    alone = said.shape[1] < 2
    codes = votes.codes[_class_box(said.any(axis=1), boxes, geometry.ndim)]
    masks = [] if alone else [mine[codes] for mine in said.T]
    voxels = class_voxels(votes, label.index)
    column = int(np.searchsorted(votes.classes, label.index))
    return ClassAgreement(
        value=label.value,
        name=label.name,
        pair_dice=pair_dice(votes, label.index),
        pair_surface_dice=pair_surface_dice(
            masks, spacing_mm=geometry.spacing_mm, tolerance_mm=tolerance_mm
        ),
        kappa=fleiss_kappa(votes, label.index),
        sizes=np.multiply(voxels, math.prod(geometry.spacing_mm), dtype=np.float64),
        disputed_voxels=math.nan if alone else float(votes.counts @ disputed),
        sensitivity=quality.sensitivity[:, column],
        specificity=quality.specificity[:, column],
    )


def _class_box(
    holds: BoolArray, boxes: Sequence[Region | None], ndim: int
) -> tuple[slice, ...]:
    """Around the codes that hold a class; ``boxes`` are those of code 1, 2, ..."""
    # Code 0, mostly background, has no box: the surface Dice crops further anyway.
    if holds[0]:
        return (slice(None),) * ndim
    parts = [box for code, box in enumerate(boxes, 1) if holds[code] and box]
    return tuple(
        slice(min(s.start for s in axis), max(s.stop for s in axis))
        for axis in zip(*parts, strict=True)
    )


@dataclass(frozen=True)
class AgreementMeasurer:
    """Measures one case, in a worker process; parameters as in `measure_cases`."""

    classes: ClassTable | None
    ignore_label: int | None
    resample_to_first: bool
    tolerance_mm: float

    def __call__(self, case: RatedCase) -> Outcome[CaseAgreement]:
        """Read the raters' label maps and measure how far they agree."""
        drawn = read_rater_maps(
            case,
            self.classes,
            ignore_label=self.ignore_label,
            resample_to_first=self.resample_to_first,
        )
        agreement = measure_agreement(
            case.name,
            tally(drawn.maps, n_classes=len(drawn.classes)),
            drawn.raters,
            drawn.classes,
            drawn.geometry,
            tolerance_mm=self.tolerance_mm,
        )
        return Outcome(result=agreement)


def measure_cases(
    cases: Sequence[RatedCase],
    *,
    classes: ClassTable | None = None,
    ignore_label: int | None = None,
    resample_to_first: bool = False,
    tolerance_mm: float = 1.0,
    batch: Batch | None = None,
) -> tuple[AgreementReport | None, list[Record]]:
    """Measure how far the raters of every case agree.

    Parameters
    ----------
    cases
        Label maps of the raters, as `find_rated_cases` lists them.
    classes
        Default: the label values of each case; of labels with names alone, as one
        mask per class, all names.
    ignore_label, resample_to_first
        As in `fuse_cases`.
    tolerance_mm
        Distance at which surfaces still agree, mm.
    batch
        As in `smooth_cases`.

    Returns
    -------
    report, failed
        None if no case could be measured; and the records of those that could not.

    Raises
    ------
    InvalidParameterError
        If the tolerance is negative or not finite.
    """
    check_tolerance_mm(tolerance_mm)
    classes = classes or named_classes(cases)
    measurer = AgreementMeasurer(classes, ignore_label, resample_to_first, tolerance_mm)
    measured = run_cases(measurer, cases, batch or Batch(), doing="measure")
    measured.sort(key=lambda each: each.record.case)
    agreements = [each.result for each in measured if each.result is not None]
    failed = [each.record for each in measured if each.result is None]
    return AgreementReport(agreements) if agreements else None, failed
