"""`train`: from a store and a folder of images to a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svls_cli.batch.run import Batch
from svls_cli.errors import InputError, InvalidParameterError, StoreError
from svls_cli.labels.values import listed
from svls_cli.soften.devices import parse_device
from svls_cli.store.objects import Folder, disk_folder
from svls_cli.store.reader import Store, StoredCase, open_store
from svls_cli.training.config import TrainingConfig
from svls_cli.training.epoch_log import EpochLog
from svls_cli.training.image_cache import find_images, unpack_images
from svls_cli.training.libraries import check_libraries, libraries
from svls_cli.training.memory import check_memory
from svls_cli.training.plan import plan_training
from svls_cli.training.run_folder import RunFolder

if TYPE_CHECKING:
    from svls_cli.training.checkpoint import Checkpoint


def train(
    store: str | Folder,
    images: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    config: TrainingConfig | None = None,
    pattern: str | None = None,
    cache: str | Path | None = None,
    overwrite: bool = False,
    loaders: int = 0,
    device: str = "auto",
    tensorboard: bool = False,
    on_epoch: Callable[[EpochLog], None] | None = None,
    batch: Batch | None = None,
) -> list[EpochLog]:
    """Train a U-Net on the soft labels of a store.

    Parameters
    ----------
    store
        A soft-label store.
    images, pattern
        As in `find_scans`; every case of the store needs an image on its own grid.
    out
        The run's folder: ``last.pt`` and ``best.pt`` (of the highest validation Dice),
        weights with the whole configuration; ``log.csv``; ``curves.png``.
    config
        Default: `TrainingConfig`.
    cache
        Folder for unpacked images, kept for other runs; by default one in ``out``,
        removed when the run is finished.
    overwrite
        Start again, and replace the run in ``out`` once the first epoch is done. By
        default a run that was ended goes on, and so does a finished one if ``config``
        has more epochs.
    loaders
        Number of processes that read patches ahead; 0: this one reads them.
    device
        ``auto`` is an NVIDIA GPU where there is one; ``cpu``; ``gpu`` or ``cuda``;
        ``cuda:1`` is the second.
    tensorboard
        Also write events for TensorBoard.
    on_epoch
        Called with the log of each epoch as soon as it is finished.
    batch
        Workers that unpack images, and progress, as in `smooth_cases`.

    Returns
    -------
    list of EpochLog
        One per epoch that was done now.

    Raises
    ------
    InvalidParameterError
        If a parameter does not fit the store, or a library is not installed.
    InputError
        If a case has no image, images are broken or do not fit, or ``out`` holds a run
        with other parameters, or something else, or an image is a label map that the
        store was made from. Nothing there is changed then.
    StoreError
        If the store is none that can be read, or has damaged cases.
    DeviceError
        If the memory is too small.
    """
    check_libraries()
    parse_device(device)
    if tensorboard and find_spec("tensorboard") is None:
        raise InvalidParameterError(
            "--tensorboard requires tensorboard: pip install tensorboard"
        )
    config, folder = config or TrainingConfig(), RunFolder(disk_folder(out))
    unpacked_in = folder.cache if cache is None else disk_folder(cache)
    opened, cases = _open(store)
    scans = find_images(cases, images, pattern=pattern)
    plan = plan_training(opened, cases, scans, config)
    state = folder.check(plan, overwrite=overwrite)
    # All arguments are right: now it is worth the seconds that PyTorch takes.
    with libraries():
        from svls_cli.training.checkpoint import Checkpoint
        from svls_cli.training.data import Data
        from svls_cli.training.forward import choose_device
        from svls_cli.training.loop import train_network
    where = choose_device(device)
    if where.type == "cpu":
        check_memory(plan)
    writer = _summary_writer() if tensorboard else None
    batch, logs = batch or Batch(), list[EpochLog]()
    checkpoint = None
    folder.begin(plan)
    if state is not None:
        checkpoint = Checkpoint.load(folder.checkpoint("last"))
        folder.derive(checkpoint)  # the run may have been ended before it did
    if state is None or len(state.history) < config.epochs:
        unpacked = unpack_images(
            cases, scans, unpacked_in, window=config.window, batch=batch
        )
        known = frozenset(unpacked[name].hash for name in plan.train)
        plan = replace(plan, train_voxels=known)
        data = Data(cases, unpacked, loaders)
        events = None
        for each in train_network(
            plan, data, device=where, checkpoint=checkpoint, progress=batch.progress
        ):
            if overwrite and len(each.history) == 1:
                folder.clear_run()  # not before: inputs or memory may have failed
            if writer is not None and events is None:
                events = writer(str(folder.tensorboard))
            log = _keep(each, folder, events)
            logs.append(log)
            if on_epoch is not None:
                on_epoch(log)
    if cache is None:
        folder.clear_cache()
    return logs


def _open(store: str | Folder) -> tuple[Store, dict[str, StoredCase]]:
    """A store and its cases, none of them damaged."""
    opened = open_store(store)
    if damaged := [f"{name}: {why}" for name, why in opened.incomplete().items()]:
        raise StoreError(
            f"{store}: cases are damaged; run the command that made the store again, "
            f"or remove their folders: {listed(damaged)}"
        )
    cases = dict(opened)
    if not cases:
        raise InputError(f"{store}: the store has no complete case")
    return opened, cases


def _summary_writer() -> Callable[[str], Any]:
    with libraries():
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter


def _keep(checkpoint: Checkpoint, folder: RunFolder, events: Any) -> EpochLog:
    """Everything that one epoch leaves."""
    folder.keep(checkpoint)
    log = checkpoint.history[-1]
    if events is not None:
        for name, value in log.to_json().items():
            if value is not None and name not in ("epoch", "step"):
                events.add_scalar(name, value, log.step)
        events.flush()
    return log
