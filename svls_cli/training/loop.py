"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from itertools import islice
from time import perf_counter

import torch
from torch import Tensor

from svls_cli.batch.workers import Progress, no_progress
from svls_cli.errors import InputError
from svls_cli.training.augmentation import Augmentation
from svls_cli.training.checkpoint import Checkpoint
from svls_cli.training.data import Data
from svls_cli.training.dataset import Sample
from svls_cli.training.epoch_log import EpochLog
from svls_cli.training.forward import enough_memory, predict_logits, uses_amp
from svls_cli.training.losses import soft_cross_entropy, soft_dice_loss
from svls_cli.training.network import planned_network
from svls_cli.training.plan import Plan
from svls_cli.training.run_state import RunState
from svls_cli.training.validation import Validation

# Largest norm of a gradient, as in nnU-Net: rarely reached, and then it saves the run.
_LARGEST_GRADIENT = 12.0


def train_network(
    plan: Plan,
    data: Data,
    *,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    progress: Progress = no_progress,
) -> Generator[Checkpoint]:
    """Train the network of a plan; each epoch runs when its checkpoint is asked for.

    A run is resumed from its checkpoint, if there is one.

    Yields
    ------
    Checkpoint
        The state after each epoch.

    Raises
    ------
    InputError
        If the loss is no longer a finite number.
    DeviceError
        If the device's memory is too small.
    """
    config = plan.config
    network, optimizer = _restored(plan, checkpoint, device)
    history = list(checkpoint.history) if checkpoint is not None else []
    step = len(history) * config.steps_per_epoch
    batches = _batches(plan, data, first_step=step)
    validation = Validation.of(plan, data) if plan.validation else None
    for epoch in range(len(history), config.epochs):
        start, total = perf_counter(), torch.zeros(2, device=device)
        network.train()
        epoch_batches = islice(batches, config.steps_per_epoch)
        label = f"epoch {epoch + 1}/{config.epochs}"
        for batch in progress(epoch_batches, config.steps_per_epoch, label):
            rate = config.learning_rate * (1 - step / config.steps) ** 0.9
            for group in optimizer.param_groups:
                group["lr"] = rate
            with enough_memory():
                total += _step(network, optimizer, batch, plan, device)
            step += 1
        scores = validation.scores(network, device) if validation else {}
        if not math.isfinite(sum(total.tolist(), scores.get("loss") or 0)):
            raise InputError(
                f"the loss is no longer a finite number in epoch {epoch + 1}; lower "
                f"the learning rate ({config.learning_rate})"
            )
        log = EpochLog(
            epoch + 1,
            step,
            seconds=perf_counter() - start,
            learning_rate=rate,
            loss=float(total[0]) / config.steps_per_epoch,
            validation_loss=scores.get("loss"),
            dice=scores.get("dice"),
        )
        history.append(log)
        state = RunState(plan, tuple(history))
        yield Checkpoint(state, network.state_dict(), optimizer.state_dict())


def _restored(
    plan: Plan, checkpoint: Checkpoint | None, device: torch.device
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Network and optimizer, new or as they were at a checkpoint."""
    network = (
        planned_network(plan) if checkpoint is None else checkpoint.trained_network()
    )
    network = network.to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=plan.config.learning_rate,
        weight_decay=plan.config.weight_decay,
    )
    if checkpoint is not None:
        try:
            optimizer.load_state_dict(dict(checkpoint.optimizer))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                "the checkpoint's optimizer is not its network's"
            ) from error
    return network, optimizer


def _batches(plan: Plan, data: Data, *, first_step: int) -> Iterator[Sample]:
    """Batches of all steps from the first on, the same ones in a resumed run."""
    config, axes = plan.config, len(plan.patch_size)
    change = Augmentation(config.mirrored(axes)) if config.augment else None
    patches = data.patches(plan, plan.train, seed=config.seed, transform=change)
    numbers = range(first_step * config.batch_size, config.steps * config.batch_size)
    return iter(data.batches(patches, numbers, config.batch_size))


def _step(
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Sample,
    plan: Plan,
    device: torch.device,
) -> Tensor:
    """Take one step; return its loss and the norm of its gradient, (2,)."""
    loss = _loss(network, batch, plan, device)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
    optimizer.step()
    return torch.stack([loss.detach(), norm])


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
