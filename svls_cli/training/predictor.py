"""A trained network at work on the images of cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.inferers.utils import sliding_window_inference
from torch import Tensor

from svls_cli.batch.records import Outcome
from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import input_record
from svls_cli.labels.raters import HARD
from svls_cli.labels.scans import Scan
from svls_cli.soften.levels import quantise
from svls_cli.soften.smoothing import SoftBlock
from svls_cli.store.destination import Destination
from svls_cli.store.writer import CaseWriter
from svls_cli.training.checkpoint import Checkpoint
from svls_cli.training.forward import (
    choose_device,
    enough_memory,
    predict_logits,
    uses_amp,
)
from svls_cli.training.image_cache import Scaling
from svls_cli.training.levels import (
    LARGEST_SPACING_RATIO,
    RESAMPLERS,
    shown_mm,
    spacing_ratio,
)
from svls_cli.training.plan import Plan


@dataclass(frozen=True)
class Predictor:
    """A trained network."""

    plan: Plan
    network: torch.nn.Module  # on ``device``, in evaluation mode
    device: torch.device
    # As in `predict_cases`.
    overlap: float
    batch_size: int

    @classmethod
    def load(
        cls, weights: Path, device: str, overlap: float, batch_size: int
    ) -> Predictor:
        """The network of a checkpoint, on a device of this name.

        Raises
        ------
        InputError
            If the checkpoint is damaged, or none.
        InvalidParameterError
            If there is no such device.
        """
        where, loaded = choose_device(device), Checkpoint.load(weights)
        network = loaded.trained_network().to(where).eval()
        return cls(loaded.plan, network, where, overlap, batch_size)

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
        if fault := plan.channel_fault(scan):
            raise InputError(fault)
        geometry, voxels = scan.read()
        probabilities = self.predictor.probabilities(voxels)
        with destination.writing(scan.name, geometry) as writer:
            _write(writer, probabilities, destination.config.dtype)
            size = writer.finish(inputs, trained_on=plan.was_trained_on(voxels))
        return Outcome(output, size, note=_unlike_training(geometry, plan))


def _unlike_training(geometry: Geometry, plan: Plan) -> str | None:
    """A note if the voxels are much longer or shorter than in training."""
    if spacing_ratio([geometry.spacing_mm, plan.spacing_mm]) <= LARGEST_SPACING_RATIO:
        return None
    return (
        f"voxels of {shown_mm(geometry.spacing_mm)}; the network was trained on "
        f"{shown_mm(plan.spacing_mm)}: resample the image to that with {RESAMPLERS}, "
        "and the prediction back"
    )


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
