"""Scores of a network on the validation cases."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from svls_cli.training.data import Data
from svls_cli.training.forward import enough_memory, predict_logits, uses_amp
from svls_cli.training.losses import soft_cross_entropy
from svls_cli.training.plan import Plan
from svls_cli.training.sequence import PatchSequence

# Number of passes over the cases, and the largest number of patches.
_PASSES, _PATCHES = 2, 100


@dataclass(frozen=True)
class Validation:
    """Loss and Dice on the same patches after each epoch."""

    plan: Plan
    data: Data
    # Of the validation cases; kept, so that each is searched for landmarks once.
    patches: PatchSequence

    @classmethod
    def of(cls, plan: Plan, data: Data) -> Validation:
        """Validation of a run, its patches read in this process."""
        here = Data(data.cases, data.images)  # workers would not keep landmarks
        return cls(plan, here, here.patches(plan, plan.validation))

    @torch.no_grad()
    def scores(
        self, network: torch.nn.Module, device: torch.device
    ) -> dict[str, float | None]:
        """Mean ``loss``; ``dice`` of all patches together, averaged over classes."""
        network.eval()
        plan, losses = self.plan, []
        overlap = torch.zeros(3, len(plan.classes), device=device)
        numbers = range(min(_PASSES * len(self.patches), _PATCHES))
        for batch in self.data.batches(self.patches, numbers, plan.config.batch_size):
            with enough_memory():
                image, target = batch["image"].to(device), batch["target"].to(device)
                logits = predict_logits(network, image, amp=uses_amp(plan, device))
                losses.append(float(soft_cross_entropy(logits, target)))
                overlap += _overlap(logits, target)
        counts = zip(plan.classes.classes, *overlap.tolist(), strict=True)
        dice = [2 * b / (p + d) for c, b, p, d in counts if c.value != 0 and p + d]
        return {
            "loss": sum(losses) / len(losses),
            "dice": sum(dice) / len(dice) if dice else None,
        }


def _overlap(logits: Tensor, target: Tensor) -> Tensor:
    """Voxels of both, of the prediction and of the target, by class, (3, classes)."""
    counts = (target != 0).any(dim=1)
    n_classes = logits.shape[1]

    def by_class(classes: Tensor) -> Tensor:
        return torch.bincount(classes, minlength=n_classes)

    predicted, drawn = logits.argmax(dim=1)[counts], target.argmax(dim=1)[counts]
    both = predicted[predicted == drawn]
    return torch.stack([by_class(both), by_class(predicted), by_class(drawn)]).float()
