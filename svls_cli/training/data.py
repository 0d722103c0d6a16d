"""The cases of a plan, as batches of patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader

from svls_cli.store.reader import StoredCase
from svls_cli.training.dataset import SoftLabelDataset
from svls_cli.training.image_cache import CachedImage
from svls_cli.training.plan import Plan
from svls_cli.training.sequence import PatchSequence


@dataclass(frozen=True)
class Data:
    """The cases of a plan, and their images."""

    cases: Mapping[str, StoredCase]
    images: Mapping[str, CachedImage]
    # Number of processes that read patches ahead; 0 reads them in this process.
    loaders: int = 0

    def patches(
        self, plan: Plan, names: tuple[str, ...], *, seed: int = 0, **more: Any
    ) -> PatchSequence:
        """Patches of the named cases; ``more`` as in `SoftLabelDataset`."""
        dataset = SoftLabelDataset(
            {name: self.cases[name] for name in names},
            {name: self.images[name] for name in names},
            patch_size=plan.patch_size,
            target=plan.config.target,
            foreground_share=plan.config.foreground_share,
            boundary_share=plan.config.boundary_share,
            stored=True,
            **more,
        )
        return PatchSequence(dataset, seed=seed)

    def batches(self, patches: PatchSequence, numbers: range, size: int) -> Any:
        """Batches of the patches with these numbers."""
        return DataLoader(
            patches,
            batch_size=size,
            sampler=numbers,
            num_workers=self.loaders,
            # Forked processes deadlock in libraries that start threads.
            multiprocessing_context="spawn" if self.loaders else None,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # leaves the global one to the weights
        )
