"""The memory that a training takes, before it is taken."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

from svls_cli.errors import DeviceError
from svls_cli.training.plan import Plan

# Arrays of all filters and voxels that a step holds at least: measured were 19 to 40.
_HELD = 16
# Limits of containers, and of jobs of a cluster: version 2 of cgroups, and 1.
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")


def check_memory(plan: Plan) -> None:
    """Check that a step may fit into this machine's memory.

    The system does not refuse what is too much: it kills the process later.

    Raises
    ------
    DeviceError
        If it cannot fit.
    """
    config = plan.config
    voxels = config.batch_size * math.prod(plan.patch_size)
    needed, available = 4 * _HELD * config.filters * voxels, memory_bytes()
    if needed > available:
        patch = " x ".join(map(str, plan.patch_size))
        raise DeviceError(
            f"a batch of {config.batch_size} patches of {patch} voxels takes at least "
            f"{needed / 1e9:.1f} GB with {config.filters} filters, and there are "
            f"{available / 1e9:.1f} GB of memory: use a smaller patch, batch or network"
        )


def memory_bytes() -> float:
    """Memory that this process may have; infinite where the system does not tell."""
    limits = [math.inf]
    with suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in _LIMITS:
        with suppress(OSError, ValueError):  # "max" is no number
            limits.append(int(Path("/sys/fs/cgroup", name).read_text()))
    return min(limits)
