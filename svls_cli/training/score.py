"""Scores of a run on the cases that it did not train on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from svls_cli.batch.run import Batch
from svls_cli.evaluation.evaluate import evaluate_cases
from svls_cli.evaluation.report import EvaluationReport
from svls_cli.store.objects import disk_folder
from svls_cli.training.predict import predict_validation
from svls_cli.training.run_folder import RunFolder
from svls_cli.training.run_state import RunState


def score_run(
    run: str | Path,
    store: str | Path,
    images: str | Path | Iterable[str | Path],
    *,
    pattern: str | None = None,
    device: str = "auto",
    batch: Batch | None = None,
) -> EvaluationReport:
    """Predict a run's validation cases with its last weights, and evaluate them.

    The predictions are a store, ``validation.zarr`` in the run's folder. Cases that it
    holds already are not predicted again.

    Parameters
    ----------
    run
        Folder that `train` wrote.
    store
        The store that the run was trained on, whose label maps are the reference: its
        raters', or the hard ones where there are none.
    images, pattern
        As in `train`.
    device, batch
        As in `train`.

    Raises
    ------
    InputError
        If the run has no validation cases, or one of them fails.
    InvalidParameterError, StoreError
        As `predict_cases`.
    """
    folder = RunFolder(disk_folder(run))
    predict_validation(
        folder,
        images,
        folder.predictions,
        pattern=pattern,
        device=device,
        batch=batch,
    )
    plan = RunState.load(folder.checkpoint("last")).plan
    return evaluate_cases(
        folder.predictions, store, patients=plan.config.patients, batch=batch
    )
