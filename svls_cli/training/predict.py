"""From images to a store of class probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.inferers.utils import sliding_window_inference
from torch import Tensor

from svls_cli.batch.records import Outcome, Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.batch.workers import ThisProcess
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import input_record
from svls_cli.labels.raters import HARD
from svls_cli.labels.scans import Scan, find_scans
from svls_cli.soften.levels import quantise
from svls_cli.soften.smoothing import SoftBlock
from svls_cli.store.destination import Destination, open_destination, store_to_replace
from svls_cli.store.objects import folder_at
from svls_cli.store.schema import PREDICTION, StoreConfig
from svls_cli.store.writer import CaseWriter
from svls_cli.training.checkpoint import Checkpoint, RunFolder
from svls_cli.training.forward import enough_memory, predict_logits, uses_amp
from svls_cli.training.image_cache import Scaling
from svls_cli.training.network import LARGEST_SPACING_RATIO, spacing_ratio
from svls_cli.training.plan import Plan
from svls_cli.training.train import choose_device


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
    where = choose_device(device)
    weights = RunFolder(Path(run)).checkpoint(checkpoint)
    loaded = Checkpoint.load(weights)
    scans = images
    if not isinstance(scans, Mapping):
        count = len(loaded.plan.channels)
        scans = find_scans(scans, pattern=pattern, n_channels=count)
    config = StoreConfig(
        {
            "name": PREDICTION,
            "target": loaded.plan.config.target,
            "weights": sha256(weights.read_bytes()).hexdigest(),
            "overlap": float(overlap),
        },
        loaded.plan.classes,
        None,
        dtype,
    )
    network = loaded.trained_network().to(where).eval()
    predictor = Predictor(loaded.plan, network, where, overlap, batch_size)
    # The network is here, not in other processes.
    batch = replace(batch or Batch(), jobs=ThisProcess())
    target = folder_at(out)
    replaced = store_to_replace(target, config.made_by) if overwrite else None
    with open_destination(
        target, config, replace=replaced, dry_run=False, remote=False
    ) as destination:
        finished = run_cases(
            CasePredictor(predictor, destination),
            list(scans.values()),
            batch,
            doing="predict",
        )
        records = [each.record for each in finished]
        destination.take_place(records, fail_fast=batch.fail_fast)
    return records


@dataclass(frozen=True)
class Predictor:
    """A trained network."""

    plan: Plan
    network: torch.nn.Module  # on ``device``, in evaluation mode
    device: torch.device
    # As in `predict_cases`.
    overlap: float
    batch_size: int

    @torch.no_grad()
    def probabilities(self, voxels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Probabilities (classes, z, y, x) of an image (c, z, y, x) as read from files.

        Raises
        ------
        InputError
            If it has another number of channels or axes than the network.
        DeviceError
            If the device's memory is too small.
        """
        plan = self.plan
        channels, axes = len(plan.channels), len(plan.patch_size)
        if (len(voxels), voxels.ndim - 1) != (channels, axes):
            raise InputError(
                f"{len(voxels)} channels of {voxels.ndim - 1} axes; the network was "
                f"trained on {channels} of {axes}"
            )
        scaled = Scaling.of(voxels).within(plan.config.window).apply(voxels)
        with enough_memory():
            averaged: Any = sliding_window_inference(
                torch.from_numpy(scaled)[None],
                roi_size=plan.patch_size,
                sw_batch_size=self.batch_size,
                predictor=self._softmax,
                overlap=self.overlap,
                mode="gaussian",
                sw_device=self.device,
                device="cpu",  # all classes of a whole volume
            )
        result: npt.NDArray[np.float32] = averaged[0].numpy()
        if not np.isfinite(result).all():
            raise InputError("what the network predicts for it is no number")
        return result

    def _softmax(self, windows: Tensor) -> Tensor:
        amp = uses_amp(self.plan, self.device)
        return torch.softmax(predict_logits(self.network, windows, amp=amp), dim=1)


@dataclass(frozen=True)
class CasePredictor:
    """Predicts one case and puts it into a store."""

    predictor: Predictor
    destination: Destination

    def __call__(self, scan: Scan) -> Outcome[None]:
        """Predict a case and store it, whole or not at all."""
        destination, plan = self.destination, self.predictor.plan
        inputs, output = [*map(input_record, scan.paths)], destination.output(scan.name)
        if destination.holds(scan.name, inputs):
            return Outcome(output, skipped="already complete")
        _check_channels(scan, plan.channels)
        geometry, voxels = scan.read()
        probabilities = self.predictor.probabilities(voxels)
        with destination.writing(scan.name, geometry) as writer:
            _write(writer, probabilities, destination.config.dtype)
            size = writer.finish(inputs)
        return Outcome(output, size, note=_unlike_training(geometry, plan))


def _check_channels(scan: Scan, expected: Sequence[str]) -> None:
    if len(expected) != len(scan.channels):
        raise InputError(
            f"{len(scan.channels)} channels; the network was trained on {len(expected)}"
        )
    if len(expected) > 1 and expected != scan.channels:
        raise InputError(
            f"channels {', '.join(scan.channels)}; the network was trained on "
            f"{', '.join(expected)}"
        )


def _unlike_training(geometry: Geometry, plan: Plan) -> str | None:
    """A note if the voxels are much longer or shorter than in training."""
    if spacing_ratio([geometry.spacing_mm, plan.spacing_mm]) <= LARGEST_SPACING_RATIO:
        return None
    actual, expected = (
        " x ".join(f"{mm:.3g}" for mm in spacing)
        for spacing in (geometry.spacing_mm, plan.spacing_mm)
    )
    return f"voxels of {actual} mm; the network was trained on {expected} mm"


def _write(
    writer: CaseWriter, probabilities: npt.NDArray[np.float32], dtype: str
) -> None:
    """Quantise and write probabilities block by block, one shard after the other."""

    def encode(chunk: tuple[int, ...], voxels: list[slice]) -> Any:
        soft = quantise(probabilities[:, *voxels], np.dtype(dtype))
        (present,) = np.nonzero(soft.reshape(len(soft), -1).any(axis=1))
        hard = soft.argmax(axis=0).astype(np.min_scalar_type(len(soft)))
        return writer.encode(chunk, SoftBlock(present, soft[present]), {HARD: hard})

    for shard in writer.layout.shards():
        blocks = writer.layout.blocks(shard)
        writer.write_shard(shard, (encode(chunk, voxels) for chunk, voxels in blocks))
