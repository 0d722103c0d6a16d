"""What the processes of a distributed run draw; imports little, as each has to."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.utils.data import DataLoader

from svls_cli.store.reader import open_store
from svls_cli.training.dataset import SoftLabelDataset

Patch = tuple[str, int, int, int]


def anywhere(store: Any, **options: Any) -> SoftLabelDataset:
    """Patches that are too small, and lie too freely, to be the same by chance."""
    shares = {"foreground_share": 0.0, "boundary_share": 0.0}
    given = {"patch_size": (4, 4, 4), "patches_per_case": 10, **shares, **options}
    return SoftLabelDataset(store, **given)


def patches(batches: Iterable[dict[str, Any]]) -> list[Patch]:
    """Case and place of each patch of some batches."""
    return [
        (name, *corner)
        for batch in batches
        for name, corner in zip(batch["case"], batch["corner"].tolist(), strict=True)
    ]


def draw_as_rank(rank: int, store: str, folder: str, contexts: tuple[str, ...]) -> None:
    """Draw an epoch by 2 workers of each kind, as one of 2 ranks with one seed."""
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    data, found = anywhere(open_store(store)), {}
    for context in contexts:
        torch.manual_seed(0)
        loader = DataLoader(
            data, 4, shuffle=True, num_workers=2, multiprocessing_context=context
        )
        found[context] = patches(loader)
    (Path(folder) / f"{rank}.json").write_text(json.dumps(found))
    distributed.barrier()
    distributed.destroy_process_group()
