"""Forward passes of the network on a device: which one, precision and memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from svls_cli.errors import DeviceError, InvalidParameterError
from svls_cli.soften.devices import parse_device
from svls_cli.training.plan import Plan


def choose_device(name: str) -> torch.device:
    """A device by its name, as in `parse_device`; ``auto`` is a GPU where there is one.

    Raises
    ------
    InvalidParameterError
        If there is no such device.
    """
    device = parse_device(name)
    absent = device.kind == "auto" and not torch.cuda.is_available()
    if device.kind == "cpu" or absent:
        return torch.device("cpu")
    chosen = torch.device("cuda", device.number)
    try:
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidParameterError(f"device {name!r}: {reason}") from error
    return chosen


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
