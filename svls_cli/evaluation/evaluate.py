"""Comparing stored predictions with label maps, for many cases."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from svls_cli.arrays import FloatArray
from svls_cli.batch.records import Finished, Record
from svls_cli.batch.run import Batch, ignore, run_cases
from svls_cli.errors import InputError, InvalidParameterError, check_choice
from svls_cli.evaluation.evaluate_case import Measures
from svls_cli.evaluation.pairs import CaseEvaluator, CaseTemperatures, Pair
from svls_cli.evaluation.predictions import Predictions, find_predictions
from svls_cli.evaluation.references import References, find_references
from svls_cli.evaluation.report import EvaluationReport
from svls_cli.evaluation.scores import CaseEvaluation
from svls_cli.evaluation.temperature_scaling import (
    FITTED_REGIONS,
    Temperatures,
    check_patients,
)
from svls_cli.labels.cases import LABEL_MAPS, LabelFiles
from svls_cli.labels.classes import check_ignore_label
from svls_cli.labels.patients import find_patients, odd_grouping
from svls_cli.labels.values import listed
from svls_cli.metrics.boundary_band import band_remark


def evaluate_cases(
    prediction: str | Path,
    reference: str | Path | Iterable[str | Path],
    *,
    raters: Sequence[str] | None = None,
    pattern: str | None = None,
    lines: Iterable[str] = (),
    files: LabelFiles = LABEL_MAPS,
    ignore_label: int | None = None,
    tolerance_mm: float = 1.0,
    band_mm: float = 2.0,
    in_plane: bool = False,
    bins: int | None = None,
    paper_compat: bool = False,
    temperature_scaling: str | None = None,
    patients: str | None = None,
    seed: int = 0,
    batch: Batch | None = None,
) -> EvaluationReport:
    """Measure predicted cases against label maps of the same name.

    Overlaps and distances are those of the most probable class (of equal ones the
    first), soft Dice, GED and CRPS of the volume those of the probabilities.
    Calibration is measured over the whole volume, in the reference's foreground, and in
    the boundary band: voxels in whose box of ``band_mm`` either side some rater has
    more than one label. With several raters, each voxel is a forecast of each rater's
    label.

    Voxels that a rater ignores, or that the prediction gives no class, count nowhere.

    Parameters
    ----------
    prediction
        A soft-label store; or a folder of nnU-Net's predictions, saved with their
        probabilities.
    reference
        Label map files or folders, as `find_cases` takes them; or a soft-label store.
    raters
        Which of the reference store's raters; ``hard`` is the consensus. Default: all
        of them, or the hard label map where there are none.
    pattern, lines, files
        As in `find_cases`.
    ignore_label
        Label value of the reference that is not compared. Default: that of the
        reference store, or else of the prediction's.
    tolerance_mm
        Distance at which surfaces still agree, mm.
    band_mm
        Reach of the boundary band either side, mm; rounded to voxels, at least 1.
    in_plane
        Keep the boundary band within slices, the first of three axes.
    bins
        Number of bins of ECE and TACE; default: 15, or with ``paper_compat`` the
        published code's 10.
    paper_compat
        Also report what the published code prints for ECE and TACE.
    temperature_scaling
        Also give every score of the probabilities p^(1/T), renormalised, with the T
        (from 0.2 to 8) of the least NLL over the ``whole`` volume or in the boundary
        ``band``, each case weighing the same. T is held out: patients are dealt into
        five folds, or as many as there are, and each case is scaled with the
        temperature that fits the other folds' cases.
    patients
        CSV file or pattern that names each case's patient, as `find_patients` takes it.
        Several cases of one patient are not independent, so intervals are by bootstrap
        over patients, of whom they take at least six. Default: each case is a patient
        of its own.
    seed
        Seed of the bootstrap, and of the folds.
    batch
        As in `smooth_cases`.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of range.
    InputError
        If the classes differ, no case has both a prediction and a reference, or a case
        has no patient; or if temperatures are to be fitted to fewer than two patients.
    StoreError
        If a store is none that can be read.

    References
    ----------
    .. [1] Nikolov et al., 2021, arXiv:1809.04430 (surface Dice).
    .. [2] Maier-Hein, Reinke et al., "Metrics Reloaded", Nature Methods 21, 2024.
    .. [3] Guo et al., ICML 2017 (ECE, temperature scaling); Nixon et al.,
       arXiv:1904.01685 (TACE).
    .. [4] Kohl et al., NeurIPS 2018, arXiv:1806.05034 (GED).
    .. [5] Riera-Marin et al., 2025, arXiv:2505.08685 (CRPS; ECE by rater).
    """
    measures = Measures(tolerance_mm, band_mm, in_plane, bins, paper_compat)
    if seed < 0:
        raise InvalidParameterError(f"seed must be at least 0, found {seed}")
    if temperature_scaling is not None:
        check_choice("temperature_scaling", temperature_scaling, FITTED_REGIONS)
    predictions = find_predictions(prediction)
    references = find_references(
        reference, raters=raters, pattern=pattern, lines=lines, files=files
    )
    references.check_classes(predictions.classes)
    check_ignore_label(ignore_label, predictions.classes)
    ignored = (ignore_label, references.ignore_label, predictions.ignore_label)
    ignore_label = next((label for label in ignored if label is not None), None)
    pairs, others = _match(predictions, references)
    names = [pair.name for pair in pairs]
    owners = {} if patients is None else find_patients(names, patients)
    if odd := odd_grouping(owners):
        logging.getLogger(__name__).warning("patients %s: %s", patients, odd)
    if temperature_scaling is not None:
        check_patients({name: owners.get(name, name) for name in names})
    batch = batch or Batch()
    if batch.fail_fast and any(each.record.status == "failed" for each in others):
        pairs = []
    trained_on = [p.name for p in pairs if p.prediction.attributes.get("trained_on")]
    if trained_on:
        logging.getLogger(__name__).warning(
            "%d of %d cases were trained on, and say little of new ones: %s",
            len(trained_on),
            len(pairs),
            listed(trained_on, 3),
        )
    temperatures = None
    with batch.workers(len(pairs)) as workers:
        pairs, batch = batch.own(pairs), replace(batch, jobs=workers, part=None)
        if temperature_scaling and pairs:
            fit = CaseTemperatures(measures, ignore_label, temperature_scaling)
            fitted = run_cases(
                fit, pairs, replace(batch, on_record=ignore), doing="fit temperature"
            )
            pairs, failed, temperatures = _scaled(pairs, fitted, owners, batch, seed)
            others += failed
        evaluator = CaseEvaluator(measures, ignore_label)
        evaluated = run_cases(evaluator, pairs, batch, doing="evaluate")
    regions = [each.result.regions for each in evaluated if each.result is not None]
    whole = [each["band"].forecasts == each["whole"].forecasts for each in regions]
    if remark := band_remark(band_mm, whole):
        logging.getLogger(__name__).warning(remark)
    return EvaluationReport(
        parameters={
            "prediction": predictions.location,
            "reference": references.location,
            "raters": None if raters is None else list(raters),
            "ignore_label": ignore_label,
            **measures.to_json(),
            "temperature_scaling": temperature_scaling,
            "patients": patients,
            "seed": seed,
        },
        cases=sorted([*evaluated, *others], key=lambda each: each.record.case),
        seed=seed,
        patients=owners,
        temperatures=temperatures,
        trained_on=frozenset(trained_on),
    )


def _scaled(
    pairs: Sequence[Pair],
    fitted: Sequence[Finished[FloatArray]],
    patients: Mapping[str, str],
    batch: Batch,
    seed: int,
) -> tuple[list[Pair], list[Finished[CaseEvaluation]], Temperatures | None]:
    """Pairs with temperatures, the cases that failed, and the temperatures."""
    nll = {each.record.case: each.result for each in fitted if each.result is not None}
    records = [each.record for each in fitted if each.result is None]
    for record in records:
        batch.on_record(record)
    failed = [Finished[CaseEvaluation](record) for record in records]
    if not nll or (failed and batch.fail_fast):
        return [], failed, None
    temperatures = Temperatures.fit(nll, patients, seed=seed)
    warn = logging.getLogger(__name__).warning
    for edge in temperatures.at_the_edge:
        warn(
            "the NLL is least at a temperature of %g, the %s that is tried: the "
            "forecasts are far too %s, or too few to fit one",
            edge,
            *(("least", "unsure") if edge < 1 else ("largest", "sure")),
        )
    if any(pair.dtype == np.uint8 for pair in pairs):
        warn(
            "uint8 keeps no probability below .002, and what is 0 stays 0 at any "
            "temperature: predict with --dtype uint16 for temperature scaling"
        )
    by_case = temperatures.by_case
    scaled = [
        replace(pair, temperature=by_case[pair.name])
        for pair in pairs
        if pair.name in nll
    ]
    return scaled, failed, temperatures


def _match(
    predictions: Predictions, references: References
) -> tuple[list[Pair], list[Finished[CaseEvaluation]]]:
    """Cases that have both, and records of those that are damaged or lack one."""
    cases, damaged = predictions.cases, dict[str, str]()
    for where, found in (
        ("prediction", predictions.damaged),
        ("reference", references.damaged),
    ):
        for name, damage in found.items():
            damaged.setdefault(name, f"{where}: {damage}")
    both = [name for name in cases if name in references.cases]
    if not both and not damaged:
        raise InputError(
            f"no case of {predictions.location} has a reference of the same name in "
            f"{references.location}"
        )
    lonely = {
        **{name: "no reference" for name in cases if name not in references.cases},
        **{name: "no prediction" for name in references.cases if name not in cases},
    }
    records = [Record.failure(name, why) for name, why in damaged.items()]
    records += [
        Record.left_out(name, why)
        for name, why in lonely.items()
        if name not in damaged
    ]
    others = [Finished[CaseEvaluation](record) for record in records]
    return [Pair(cases[name], references.cases[name]) for name in both], others
