"""Comparing stored predictions with label maps, for many cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from svls_cli.batch.records import Outcome, Record, recorded
from svls_cli.batch.workers import Progress, Workers, no_progress
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.evaluation.evaluate_case import Measures, evaluate_case
from svls_cli.evaluation.references import Reference, References, find_references
from svls_cli.evaluation.report import EvaluationReport
from svls_cli.evaluation.scores import CaseEvaluation, Evaluated
from svls_cli.labels.classes import check_ignore_label
from svls_cli.store.reader import Store, StoredCase, open_store


@dataclass(frozen=True)
class _Pair:
    """A predicted case and its reference."""

    prediction: StoredCase
    reference: Reference

    @property
    def inputs(self) -> tuple[str, str]:
        return str(self.prediction.path), str(self.reference.source.path)


@dataclass(frozen=True)
class _Task:
    """What is done to each case."""

    measures: Measures
    ignore_label: int | None

    def __call__(self, pair: _Pair) -> Evaluated:
        found: list[CaseEvaluation] = []

        def work() -> Outcome:
            case = pair.prediction
            reference = pair.reference.read(
                case.geometry, case.classes, ignore_label=self.ignore_label
            )
            scores = evaluate_case(
                case,
                reference,
                dtype=case.attributes["dtype"],
                measures=self.measures,
            )
            if not scores.voxels:
                return Outcome(skipped="every voxel is ignored")
            found.append(scores)
            return Outcome()

        return Evaluated(recorded(pair.prediction.name, pair.inputs, work), *found)


def evaluate_cases(
    prediction: str | Path,
    reference: str | Path | Iterable[str | Path],
    *,
    raters: Sequence[str] | None = None,
    pattern: str | None = None,
    lines: Iterable[str] = (),
    ignore_label: int | None = None,
    tolerance_mm: float = 1.0,
    band_mm: float = 2.0,
    bins: int | None = None,
    paper_compat: bool = False,
    seed: int = 0,
    jobs: int | Workers | None = None,
    fail_fast: bool = False,
    progress: Progress = no_progress,
) -> EvaluationReport:
    """Measure the cases of a store against label maps of the same name.

    Overlaps and distances are those of the most probable class (of equal ones the
    first), soft Dice and GED those of the probabilities. Calibration is measured over
    the whole volume, in the reference's foreground, and in the boundary band: voxels
    in whose box of ``band_mm`` either side, rounded to voxels and at least 1, some
    rater has more than one label. With several raters, each voxel is a forecast of
    each rater's label.

    Voxels that a rater ignores, or that the prediction gives no class, count nowhere.

    Parameters
    ----------
    prediction
        A soft-label store.
    reference
        Label map files or folders, as `find_cases` takes them; or a soft-label store.
    raters
        Which of the reference store's raters; ``hard`` is the consensus. Default: all
        of them, or the hard label map where there are none.
    pattern, lines
        As in `find_cases`.
    ignore_label
        Label value of the reference that is not compared. Default: that of the
        reference store, or else of the prediction's.
    tolerance_mm
        Distance at which surfaces still agree, mm.
    band_mm
        Reach of the boundary band either side, mm.
    bins
        Of ECE and TACE; default: 15, or with ``paper_compat`` the published code's 10.
    paper_compat
        Also report what the published code prints for ECE and TACE.
    seed
        Of the bootstrap over cases.
    jobs, progress
        As in `smooth_cases`.
    fail_fast
        End with the first case that fails.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of range.
    InputError
        If the classes differ, or no case has both a prediction and a reference.
    StoreError
        If a store is none that can be read.

    References
    ----------
    .. [1] Nikolov et al., 2021, arXiv:1809.04430 (surface Dice).
    .. [2] Maier-Hein, Reinke et al., "Metrics Reloaded", Nature Methods 21, 2024.
    .. [3] Guo et al., ICML 2017 (ECE); Nixon et al., arXiv:1904.01685 (TACE).
    .. [4] Kohl et al., NeurIPS 2018, arXiv:1806.05034 (GED).
    """
    measures = Measures(tolerance_mm, band_mm, bins, paper_compat)
    if seed < 0:
        raise InvalidParameterError(f"seed must be at least 0, found {seed}")
    store = open_store(prediction)
    found = find_references(reference, raters=raters, pattern=pattern, lines=lines)
    found.check_classes(store.classes)
    check_ignore_label(ignore_label, store.classes)
    ignored = (ignore_label, found.ignore_label, store.config.ignore_label)
    task = _Task(measures, next((x for x in ignored if x is not None), None))
    pairs, lonely = _match(store, found)
    evaluated = _evaluate(pairs, task, jobs, fail_fast, progress)
    return EvaluationReport(
        parameters={
            "prediction": str(store.path),
            "reference": found.location,
            "raters": None if raters is None else list(raters),
            "ignore_label": task.ignore_label,
            **measures.to_json(),
            "seed": seed,
        },
        cases=sorted([*evaluated, *lonely], key=lambda each: each.record.case),
        seed=seed,
    )


def _match(store: Store, found: References) -> tuple[list[_Pair], list[Evaluated]]:
    """Cases that have both, and records of those that lack one."""
    cases = dict(store)
    both = [name for name in cases if name in found.cases]
    if not both:
        raise InputError(
            f"no case of {store.path} has a reference of the same name in "
            f"{found.location}"
        )
    reasons = {
        **{name: "no reference" for name in cases if name not in found.cases},
        **{name: "no prediction" for name in found.cases if name not in cases},
    }
    lonely = [
        Evaluated(Record(name, "skipped", why, (), None, 0.0))
        for name, why in reasons.items()
    ]
    return [_Pair(cases[name], found.cases[name]) for name in both], lonely


def _evaluate(
    pairs: Sequence[_Pair],
    task: _Task,
    jobs: int | Workers | None,
    fail_fast: bool,
    progress: Progress,
) -> list[Evaluated]:
    evaluated = []
    with (
        Workers.of(jobs, items=len(pairs)) as workers,
        closing(workers.map(task, pairs, crashed=_crashed)) as results,
    ):
        for each in progress(results, len(pairs), "evaluate"):
            evaluated.append(each)
            if fail_fast and each.record.status == "failed":
                break
    return evaluated


def _crashed(pair: _Pair, how: str) -> Evaluated:
    return Evaluated(Record.failure(pair.prediction.name, how, pair.inputs))
