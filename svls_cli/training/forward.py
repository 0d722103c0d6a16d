"""Forward passes of the network on a device: precision and memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from svls_cli.errors import DeviceError
from svls_cli.training.plan import Plan


def predict_logits(network: torch.nn.Module, image: Tensor, *, amp: bool) -> Tensor:
    """Logits (b, classes, z, y, x) of images (b, c, z, y, x) on the same device."""
    with torch.autocast(image.device.type, torch.bfloat16, enabled=amp):
        logits: Tensor = network(image)
    return logits.float()


@contextmanager
def enough_memory() -> Iterator[None]:
    """Raise DeviceError if the memory of the GPU or the CPU is too small."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        gpu = isinstance(error, torch.OutOfMemoryError)
        # On the CPU it is a RuntimeError like any other.
        if not (gpu or isinstance(error, MemoryError) or "alloc" in str(error)):
            raise
        owner = "GPU" if gpu else "CPU"
        raise DeviceError(
            f"the {owner}'s memory is too small: use a smaller patch, batch or network"
        ) from error


def uses_amp(plan: Plan, device: torch.device) -> bool:
    """Whether to compute in bfloat16."""
    return plan.config.amp and device.type == "cuda"
