"""Choosing sigma, size and strength of SVLS by how raters differ."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from svls_cli.batch.records import Finished, Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.classes import ClassTable, check_ignore_label
from svls_cli.labels.patients import find_patients
from svls_cli.labels.raters import RatedCase, named_classes
from svls_cli.labels.values import listed
from svls_cli.metrics.boundary_band import band_remark
from svls_cli.tuning.candidates import (
    DEFAULT_INTENSITY_SCALES,
    DEFAULT_SIGMAS,
    DEFAULT_STRENGTHS,
    Candidates,
    Search,
)
from svls_cli.tuning.case_scores import CaseScorer, CaseScores
from svls_cli.tuning.choice import choose_candidate
from svls_cli.tuning.result import TuningResult
from svls_cli.tuning.score_names import ScoreName


def tune_smoothing(
    cases: Sequence[RatedCase],
    *,
    sigmas: Sequence[float] = DEFAULT_SIGMAS,
    strengths: Sequence[float] = DEFAULT_STRENGTHS,
    score: ScoreName = "nll",
    band_mm: float = 2.0,
    in_plane: bool = False,
    intensity_scales: Sequence[float] | None = None,
    patients: str | None = None,
    folds: int = 5,
    seed: int = 0,
    classes: ClassSpec | None = None,
    ignore_label: int | None = None,
    resample_to_first: bool = False,
    batch: Batch | None = None,
) -> TuningResult:
    """Choose the SVLS whose soft labels best forecast a rater who had no part in them.

    There are two answers, as what is best depends on what is smoothed. One map, as in
    `smooth_cases`: every ordered pair of raters r and s, with p the soft label of r's
    map. Fused maps, as in `fuse_cases`, of cases with three raters or more: every rater
    s, with p the soft label of the mean of all others. With y the label by s,
    NLL = -ln(clip(p_y, 1e-3, 1)) and Brier = sum_c (p_c - [c = y])^2. They are averaged
    over the forecasts and the voxels of the boundary band that are labelled; cases
    weigh the same.

    Parameters
    ----------
    cases
        Label maps of the raters, as `find_rated_cases` lists them; those with fewer
        than two raters are left out.
    sigmas
        Standard deviations, tried in voxels and in mm, with a window of three sigmas
        either side and with the published one of 3 voxels. Windows that do not suit the
        voxels of some case are left out.
    strengths
        Shares of the neighbours, in (0, 1]. The published method, sigma 1 voxel, size 3
        and strength 1/2, is always among the candidates, as are no smoothing and
        uniform label smoothing.
    score
        Score that decides: ``nll``, ``brier``, or ``class_nll``, the NLL with all
        classes of a case of one weight.
    band_mm
        The band: voxels in whose window of so many mm either side, rounded to voxels
        and at least 1, some rater has more than one label.
    in_plane
        Stay within slices: windows and band leave out the first axis of three.
    intensity_scales
        Intensity scales of image-guided smoothing, tried beside SVLS where the cases
        have images, as `pair_images` adds them.
    patients
        CSV file or pattern that names each case's patient, as `find_patients` takes it:
        folds and intervals keep the cases of a patient together. Default: each case is
        a patient of its own.
    folds
        Number of folds of the cross-validation, at most one per patient.
    seed
        Seed of the folds and of the bootstrap's resampling.
    classes
        Default: the label values of the cases that are used. How many there are
        matters to uniform label smoothing only.
    ignore_label
        Label value of voxels where a rater says nothing.
    resample_to_first
        Bring raters of other grids onto the first one's by nearest neighbour.
    batch
        As in `smooth_cases`.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of range.
    InputError
        If no case is left to choose by, or the patients cannot be told.

    References
    ----------
    .. [1] Islam & Glocker, "Spatially Varying Label Smoothing", IPMI 2021,
       arXiv:2104.05788.
    .. [2] Gneiting & Raftery, "Strictly Proper Scoring Rules, Prediction, and
       Estimation", JASA 102, 2007.
    """
    scales = _scales(cases, intensity_scales)
    search = Search(
        Candidates(tuple(sigmas), tuple(strengths), in_plane, scales),
        score,
        band_mm,
        folds,
        seed,
    )
    owners = find_patients([case.name for case in cases], patients)
    table = classes.table if classes else named_classes(cases)
    if ignore_label is None and classes:
        ignore_label = classes.ignore_label
    if table is not None:
        check_ignore_label(ignore_label, table)
    search, notes = _fitting(search, cases)
    scorer = CaseScorer(
        search.candidates, band_mm, table, ignore_label, resample_to_first
    )
    scored = _score_cases(cases, scorer, batch or Batch())
    used = [each.result for each in scored if each.result is not None]
    records = [each.record for each in scored]
    if not used:
        raise InputError(_nothing_left(records))
    if remark := band_remark(band_mm, [case.whole for case in used]):
        notes = (*notes, remark)
    if table is None:
        table = ClassTable.from_values({v for c in used for v in c.values.tolist()})
    choose = partial(choose_candidate, classes=table, search=search, patients=owners)
    fused = [case for case in used if case.fused is not None]
    return TuningResult(
        parameters={
            **search.to_json(),
            "patients": patients,
            "ignore_label": ignore_label,
            "resample_to_first": resample_to_first,
            "classes": table.to_json(),
        },
        classes=table,
        one_map=choose("one_map", used),
        fused=choose("fused", fused) if fused else None,
        left_out=tuple(r for r in records if r.status == "skipped"),
        failed=tuple(r for r in records if r.status == "failed"),
        notes=notes,
    )


def _scales(
    cases: Sequence[RatedCase], intensity_scales: Sequence[float] | None
) -> tuple[float, ...]:
    """The intensity scales to try: none without images."""
    with_image = [case.image is not None for case in cases]
    if any(with_image) and not all(with_image):
        raise InvalidParameterError("either all cases have images, or none")
    if not any(with_image):
        if intensity_scales is not None:
            raise InvalidParameterError("intensity_scales need the images of the cases")
        return ()
    given = DEFAULT_INTENSITY_SCALES if intensity_scales is None else intensity_scales
    if not given:
        raise InvalidParameterError("intensity_scales must hold at least one number")
    return tuple(given)


def _fitting(
    search: Search, cases: Sequence[RatedCase]
) -> tuple[Search, tuple[str, ...]]:
    """The search, of windows that suit all cases, and what is to be told of others."""
    spacings: list[tuple[float, ...]] = []
    for case in cases:
        if len(case.raters) > 1:
            with suppress(InputError):  # the case fails
                spacings.append(case.raters[0][1].geometry().spacing_mm)
    if search.candidates.in_plane:
        volumes = [each for each in spacings if len(each) > 2]
        if spacings and not volumes:
            raise InvalidParameterError(
                "--in-plane is for volumes, and these label maps are single slices: "
                "leave it out"
            )
        spacings = volumes
    candidates, notes = search.candidates.fitting(spacings)
    return replace(search, candidates=candidates), notes


def _score_cases(
    cases: Sequence[RatedCase], scorer: CaseScorer, batch: Batch
) -> list[Finished[CaseScores]]:
    """Scores in the order of the cases, whichever came first."""
    rated = [case for case in cases if len(case.raters) > 1]
    finished = [
        Finished[CaseScores](
            Record.left_out(case.name, "fewer than two raters", case.inputs)
        )
        for case in cases
        if len(case.raters) < 2
    ]
    with batch.workers(len(rated)) as workers:
        scorer = replace(scorer, threads=max(1, workers.jobs // max(1, len(rated))))
        batch = replace(batch, jobs=workers)
        finished += run_cases(scorer, rated, batch, doing="tune")
    order = {case.name: at for at, case in enumerate(cases)}
    return sorted(finished, key=lambda each: order[each.record.case])


def _nothing_left(records: Sequence[Record]) -> str:
    if not records:
        return "no cases to tune by"
    reasons = [f"{record.case}: {record.reason}" for record in records]
    return f"no case is left to tune by: {listed(reasons)}"
