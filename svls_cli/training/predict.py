"""From images to a store of class probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from svls_cli.batch.records import Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.batch.workers import ThisProcess
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.scans import Scan, find_scans
from svls_cli.soften.devices import parse_device
from svls_cli.store.destination import open_destination, store_to_replace
from svls_cli.store.objects import folder_at
from svls_cli.store.schema import PREDICTION, StoreConfig
from svls_cli.training.libraries import check_libraries, libraries
from svls_cli.training.plan import Plan
from svls_cli.training.run_folder import RunFolder
from svls_cli.training.run_state import RunState


def predict_cases(
    run: str | Path,
    images: str | Path | Iterable[str | Path] | Mapping[str, Scan],
    out: str | Path,
    *,
    checkpoint: str = "last",
    pattern: str | None = None,
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
    images, pattern
        As in `find_scans`; or the scans that it returned.
    out
        The store.
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
        If the run has no such checkpoint, or there are no images.
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
    weights = RunFolder(Path(run)).checkpoint(checkpoint)
    plan = RunState.load(weights).plan
    scans = images
    if not isinstance(scans, Mapping):
        scans = find_scans(scans, pattern=pattern, n_channels=len(plan.channels))
    _check_some(scans, plan)
    config = StoreConfig(
        {
            "name": PREDICTION,
            "target": plan.config.target,
            "weights": sha256(weights.read_bytes()).hexdigest(),
            "overlap": float(overlap),
        },
        plan.classes,
        None,
        dtype,
    )
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


def _check_some(scans: Mapping[str, Scan], plan: Plan) -> None:
    """Raise InputError if no image has the channels that the network expects."""
    faults = {name: plan.channel_fault(scan) for name, scan in scans.items()}
    if all(faults.values()):
        name = next(iter(faults))
        raise InputError(f"no image can be used; {name}: {faults[name]}")
