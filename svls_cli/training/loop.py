"""The training loop."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from svls_cli.errors import DeviceError, InputError
from svls_cli.store.reader import StoredCase
from svls_cli.training.augmentation import Augmentation
from svls_cli.training.checkpoint import Checkpoint, Plan
from svls_cli.training.dataset import Sample, SoftLabelDataset
from svls_cli.training.epoch_log import EpochLog
from svls_cli.training.image_cache import CachedImage
from svls_cli.training.losses import soft_cross_entropy, soft_dice_loss
from svls_cli.workers import Progress, no_progress

# As nnU-Net: rarely reached, and then it saves the run.
_LARGEST_GRADIENT = 12.0
# Validation patches: passes over the cases, and no more patches than.
_VALIDATION_PASSES, _VALIDATION_PATCHES = 2, 100


@dataclass(frozen=True)
class Data:
    """The cases of a plan, and their images.

    Parameters
    ----------
    cases, images
        By name.
    loaders
        Processes that read patches ahead; 0: this one does.
    """

    cases: Mapping[str, StoredCase]
    images: Mapping[str, CachedImage]
    loaders: int = 0

    def dataset(
        self, plan: Plan, names: tuple[str, ...], **more: Any
    ) -> SoftLabelDataset:
        """Patches of some of the cases."""
        return SoftLabelDataset(
            {name: self.cases[name] for name in names},
            {name: self.images[name] for name in names},
            patch_size=plan.patch_size,
            target=plan.config.target,
            foreground_share=plan.config.foreground_share,
            boundary_share=plan.config.boundary_share,
            **more,
        )

    def batches(self, dataset: SoftLabelDataset, numbers: range, size: int) -> Any:
        """Patches by their numbers, in batches."""
        return DataLoader(
            dataset,
            batch_size=size,
            sampler=numbers,
            num_workers=self.loaders,
            # Forked processes deadlock in libraries that start threads.
            multiprocessing_context="spawn" if self.loaders else None,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # leaves the global one, of weights, alone
        )


def train_network(
    plan: Plan,
    data: Data,
    *,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    progress: Progress = no_progress,
) -> Generator[Checkpoint]:
    """Train; a checkpoint after each epoch, the work is done while they are read.

    Parameters
    ----------
    plan
        What to train.
    data
        On what.
    device
        Where.
    checkpoint
        Go on from here.
    progress
        Shows how far an epoch is.

    Raises
    ------
    InputError
        If the loss is no number any more.
    DeviceError
        If the device's memory is too small.
    """
    config = plan.config
    network = plan.network().to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    history: list[EpochLog] = []
    if checkpoint is not None:
        network.load_state_dict(checkpoint.network)
        optimizer.load_state_dict(dict(checkpoint.optimizer))
        history = list(checkpoint.history)
    mirrored = [at + len(plan.patch_size) for at in config.mirrored]
    augmentation = None
    if config.augment:
        augmentation = Augmentation([at for at in mirrored if at >= 0])
    dataset = data.dataset(plan, plan.train, seed=config.seed, transform=augmentation)
    step = len(history) * config.steps_per_epoch
    numbers = range(step * config.batch_size, config.steps * config.batch_size)
    batches = iter(data.batches(dataset, numbers, config.batch_size))
    for epoch in range(len(history), config.epochs):
        start, total = perf_counter(), torch.zeros((), device=device)
        network.train()
        of_epoch = islice(batches, config.steps_per_epoch)
        doing = f"epoch {epoch + 1}/{config.epochs}"
        for batch in progress(of_epoch, config.steps_per_epoch, doing):
            rate = config.learning_rate * (1 - step / config.steps) ** 0.9
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = _loss(network, batch, plan, device)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
            optimizer.step()
            total += loss.detach()
            step += 1
        mean = float(total) / config.steps_per_epoch
        if mean != mean:
            raise InputError(
                f"the loss is no number any more in epoch {epoch + 1}; lower the "
                f"learning rate ({config.learning_rate})"
            )
        log = EpochLog(
            epoch + 1,
            step,
            seconds=perf_counter() - start,
            learning_rate=rate,
            loss=mean,
            **_validate(network, plan, data, device),
        )
        history.append(log)
        yield Checkpoint(
            plan, tuple(history), network.state_dict(), optimizer.state_dict()
        )


def predict_logits(network: torch.nn.Module, image: Tensor, *, amp: bool) -> Tensor:
    """(b, classes, z, y, x) of an image (b, c, z, y, x) on the network's device."""
    try:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=amp):
            logits: Tensor = network(image)
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            "the GPU's memory is too small: take a smaller patch, batch or network"
        ) from error
    return logits.float()


def uses_amp(plan: Plan, device: torch.device) -> bool:
    """Whether to compute in bfloat16."""
    return plan.config.amp and device.type == "cuda"


def _loss(
    network: torch.nn.Module, batch: Sample, plan: Plan, device: torch.device
) -> Tensor:
    image = batch["image"].to(device, non_blocking=True)
    target = batch["target"].to(device, non_blocking=True)  # as stored: few bytes
    logits = predict_logits(network, image, amp=uses_amp(plan, device))
    loss = soft_cross_entropy(logits, target)
    if plan.config.dice_weight:
        loss = loss + plan.config.dice_weight * soft_dice_loss(logits, target)
    return loss


@torch.no_grad()
def _validate(
    network: torch.nn.Module, plan: Plan, data: Data, device: torch.device
) -> dict[str, float | None]:
    """Loss and Dice on the same patches after each epoch."""
    if not plan.validation:
        return {}
    network.eval()
    dataset = data.dataset(plan, plan.validation)
    count = min(_VALIDATION_PASSES * len(dataset), _VALIDATION_PATCHES)
    losses, overlap = [], torch.zeros(3, len(plan.classes), device=device)
    here = Data(data.cases, data.images)
    for batch in here.batches(dataset, range(count), plan.config.batch_size):
        target = batch["target"].to(device)
        logits = predict_logits(
            network, batch["image"].to(device), amp=uses_amp(plan, device)
        )
        losses.append(float(soft_cross_entropy(logits, target)))
        overlap += _overlap(logits, target)
    both, predicted, drawn = overlap.tolist()
    dice = [
        2 * b / (p + d)
        for c, b, p, d in zip(plan.classes.classes, both, predicted, drawn, strict=True)
        if c.value != 0 and p + d
    ]
    return {
        "validation_loss": sum(losses) / len(losses),
        "dice": sum(dice) / len(dice) if dice else None,
    }


def _overlap(logits: Tensor, target: Tensor) -> Tensor:
    """(3, classes) voxels of both, of the prediction, and of the target."""
    counts = (target != 0).any(dim=1)
    n_classes = logits.shape[1]

    def by_class(classes: Tensor) -> Tensor:
        return torch.bincount(classes, minlength=n_classes)

    predicted, drawn = logits.argmax(dim=1)[counts], target.argmax(dim=1)[counts]
    both = predicted[predicted == drawn]
    return torch.stack([by_class(both), by_class(predicted), by_class(drawn)]).float()
