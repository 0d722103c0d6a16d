"""Random numbers of samples: others in every epoch, worker and rank."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import distributed

Rank = tuple[int, ...]


def sample_generator(index: int, rank: Rank) -> np.random.Generator:
    """A generator for one sample, seeded by PyTorch's own of this process.

    `torch.manual_seed` repeats it, and a worker of a `DataLoader` has another one in
    every epoch. Ranks that share a seed differ by their rank.
    """
    drawn = int(torch.randint(2**63 - 1, (), device="cpu"))
    return np.random.default_rng((drawn, index, *rank))


def distributed_rank() -> Rank | None:
    """Rank in `torch.distributed`; None where this process has not initialised it."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), 0, 0
    return None


def launched_rank() -> Rank:
    """Rank that a launcher wrote into the environment, which workers inherit, or 0s.

    torchrun and MPI scripts set RANK; Slurm and Lightning the others, of which none
    alone is sure to tell all processes apart.
    """
    if (rank := _variable("RANK")) is not None:
        return rank, 0, 0
    names = ("SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")
    return tuple(_variable(name) or 0 for name in names)


def _variable(name: str) -> int | None:
    value = os.environ.get(name, "")
    return int(value) if value.isascii() and value.isdigit() else None
