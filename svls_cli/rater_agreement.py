"""Measuring how far raters agree, for many cases."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from svls_cli.agreement_report import AgreementReport
from svls_cli.compiling import crashed
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.rater_maps import read_rater_maps
from svls_cli.labels.raters import RatedCase
from svls_cli.records import Outcome, Record, recorded
from svls_cli.soften.case_agreement import CaseAgreement
from svls_cli.soften.measuring import measure_agreement
from svls_cli.soften.surface import check_tolerance_mm
from svls_cli.soften.votes import tally
from svls_cli.workers import Progress, Workers, no_progress


@dataclass(frozen=True)
class _Measured:
    """What became of a case."""

    record: Record
    agreement: CaseAgreement | None = None


def measure_cases(
    cases: Sequence[RatedCase],
    *,
    classes: ClassTable | None = None,
    ignore_label: int | None = None,
    resample_to_first: bool = False,
    tolerance_mm: float = 1.0,
    jobs: int | Workers | None = None,
    progress: Progress = no_progress,
) -> tuple[AgreementReport | None, list[Record]]:
    """Measure how far the raters of every case agree.

    Parameters
    ----------
    cases
        What `find_rated_cases` found.
    classes
        Default: the label values of each case.
    ignore_label, resample_to_first
        As in `fuse_cases`.
    tolerance_mm
        Distance at which surfaces still agree, mm.
    jobs, progress
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
    task = partial(
        _measure,
        classes=classes,
        ignore_label=ignore_label,
        resample_to_first=resample_to_first,
        tolerance_mm=tolerance_mm,
    )
    with (
        Workers.of(jobs, items=len(cases)) as workers,
        closing(workers.map(task, cases, crashed=_crashed)) as found,
    ):
        measured = list(progress(found, len(cases), "measure"))
    measured.sort(key=lambda each: each.record.case)
    agreements = [each.agreement for each in measured if each.agreement is not None]
    failed = [each.record for each in measured if each.agreement is None]
    return AgreementReport(agreements) if agreements else None, failed


def _measure(
    case: RatedCase,
    *,
    classes: ClassTable | None,
    ignore_label: int | None,
    resample_to_first: bool,
    tolerance_mm: float,
) -> _Measured:
    found: list[CaseAgreement] = []

    def work() -> Outcome:
        given = read_rater_maps(
            case,
            classes,
            ignore_label=ignore_label,
            resample_to_first=resample_to_first,
        )
        votes = tally(given.maps, n_classes=len(given.classes))
        found.append(
            measure_agreement(
                case.name,
                votes,
                given.raters,
                given.classes,
                given.geometry,
                tolerance_mm=tolerance_mm,
            )
        )
        return Outcome()

    record = recorded(case.name, case.inputs, work)
    return _Measured(record, *found)


def _crashed(case: RatedCase, how: str) -> _Measured:
    return _Measured(crashed(case, how))
