"""From images to a store of class probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from svls_cli.batch.records import Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.batch.workers import ThisProcess
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.names import composed
from svls_cli.labels.scans import Scan, find_scans
from svls_cli.soften.devices import parse_device
from svls_cli.store.destination import (
    existing_store,
    open_destination,
    store_to_replace,
)
from svls_cli.store.objects import folder_at
from svls_cli.store.schema import PREDICTION, StoreConfig
from svls_cli.training.choices import VALIDATION
from svls_cli.training.image_cache import find_images
from svls_cli.training.libraries import check_libraries, libraries
from svls_cli.training.plan import Plan
from svls_cli.training.run_folder import RunFolder
from svls_cli.training.run_state import RunState
from svls_cli.training.splitting import read_names


def predict_cases(
    run: str | Path,
    images: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    cases: str | Path | Iterable[str] | None = None,
    checkpoint: str = "last",
    pattern: str | None = None,
    lines: Iterable[str] = (),
    overlap: float = 0.5,
    batch_size: int = 1,
    dtype: str = "uint8",
    device: str = "auto",
    overwrite: bool = False,
    batch: Batch | None = None,
) -> list[Record]:
    """Predict class probabilities of images, in the form of soft labels.

    A window of the patch's size slides over the image, and its predictions are averaged
    with Gaussian weights. The most probable class is the case's hard label map. Cases
    that the store holds already, from the same weights and files, are skipped.

    Parameters
    ----------
    run
        Folder that `train` wrote.
    images, pattern, lines
        As in `find_scans`.
    out
        The store.
    cases
        Names of the cases to predict, or a file with a name per line; ``"validation"``
        stands for those that the run did not train on. Default: all images.
    checkpoint
        ``last``, or ``best``: of the highest validation Dice.
    overlap
        Overlap of neighbouring windows as a share of the patch, in [0, 1).
    batch_size
        Number of windows at a time.
    dtype
        As in `smooth_cases`.
    device
        As in `train`.
    overwrite, batch
        As in `smooth_cases`; the work is done by this process, whatever ``batch.jobs``.

    Returns
    -------
    list of Record
        One per case.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of its range.
    InputError
        If the run has no such checkpoint, there are no images, or one of ``cases`` has
        none.
    StoreError
        If ``out`` is no soft-label store, or one made with other parameters.
    """
    if not 0 <= overlap < 1:
        raise InvalidParameterError(f"overlap must lie in [0, 1), found {overlap}")
    if batch_size < 1:
        raise InvalidParameterError(
            f"batch_size must be at least 1, found {batch_size}"
        )
    check_libraries()
    parse_device(device)
    if Path(run).is_file():
        raise InputError(f"{run}: a file; expected the folder of a run")
    weights = RunFolder(Path(run)).checkpoint(checkpoint)
    plan = RunState.load(weights).plan
    where: dict[str, Any] = {"pattern": pattern, "lines": lines}
    if cases is None:
        scans = find_scans(images, n_channels=len(plan.channels), **where)
    else:
        scans = find_images(_names(cases, plan), images, **where)
    _check_some(scans, plan)
    config = _config(weights, plan, overlap=overlap, dtype=dtype)
    # The network is here, not in other processes.
    batch = replace(batch or Batch(), jobs=ThisProcess())
    target = folder_at(out)
    replaced = store_to_replace(target, config.made_by) if overwrite else None
    with open_destination(
        target, config, replace=replaced, dry_run=False, remote=False
    ) as destination:
        # All arguments are right: now it is worth the seconds that PyTorch takes.
        with libraries():
            from svls_cli.training.predictor import CasePredictor, Predictor
        predictor = Predictor.load(weights, device, overlap, batch_size)
        finished = run_cases(
            CasePredictor(predictor, destination),
            list(scans.values()),
            batch,
            doing="predict",
        )
        records = [each.record for each in finished]
        destination.take_place(records, fail_fast=batch.fail_fast)
    return records


def predict_validation(
    run: RunFolder,
    images: str | Path | Iterable[str | Path],
    out: Path,
    *,
    pattern: str | None = None,
    device: str = "auto",
    batch: Batch | None = None,
) -> None:
    """Predict the cases that a run did not train on, with its last weights.

    Parameters are those of `predict_cases`. A store of earlier weights is replaced.

    Raises
    ------
    InputError
        If a case fails; and as `predict_cases`.
    InvalidParameterError, StoreError
        As `predict_cases`.
    """
    settings: dict[str, Any] = {"overlap": 0.5, "dtype": "uint16"}  # finer than scores
    weights = run.checkpoint("last")
    config = _config(weights, RunState.load(weights).plan, **settings)
    existing = existing_store(out)
    records = predict_cases(
        run.path,
        images,
        out,
        cases="validation",
        pattern=pattern,
        device=device,
        overwrite=existing is not None and existing.config.hash != config.hash,
        batch=replace(batch or Batch(), fail_fast=True),
        **settings,
    )
    for record in records:
        if record.status == "failed":
            raise InputError(f"{record.case}: {record.reason}")


def _config(weights: Path, plan: Plan, *, overlap: float, dtype: str) -> StoreConfig:
    """Configuration of a store of predictions."""
    method = {
        "name": PREDICTION,
        "target": plan.config.target,
        "weights": sha256(weights.read_bytes()).hexdigest(),
        "overlap": float(overlap),
    }
    return StoreConfig(method, plan.classes, None, dtype)


def _check_some(scans: Mapping[str, Scan], plan: Plan) -> None:
    """Raise InputError if no image has the channels that the network expects."""
    faults = {name: plan.channel_fault(scan) for name, scan in scans.items()}
    if all(faults.values()):
        name = next(iter(faults))
        raise InputError(f"no image can be used; {name}: {faults[name]}")


def _names(cases: str | Path | Iterable[str], plan: Plan) -> list[str]:
    if cases == VALIDATION:
        names, where = list(plan.validation), "the run held out"
    elif not isinstance(cases, str | Path):
        names, where = [composed(name) for name in cases], "cases names"
    elif Path(cases).is_file():
        names, where = read_names(Path(cases)), f"{cases} names"
    else:
        raise InvalidParameterError(
            f"cases {str(cases)!r} is neither {VALIDATION!r} nor a file of names"
        )
    if not names:
        raise InputError(f"no cases to predict: {where} none")
    return names
