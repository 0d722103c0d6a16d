"""nnU-Net's loss for soft labels, beside nnU-Net's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

from svls_cli.nnunet.losses import SoftLabelLoss

CLASSES, IGNORED = 4, 4


def losses(*, batch_dice: bool, ignores: bool) -> tuple[DC_and_CE_loss, SoftLabelLoss]:
    """nnU-Net's own loss, as its trainer builds it, and ours around it."""
    stock = DC_and_CE_loss(
        {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": False},
        {},
        ignore_label=IGNORED if ignores else None,
        dice_class=MemoryEfficientSoftDiceLoss,
    )
    return stock, SoftLabelLoss(stock, batch_dice=batch_dice, ddp=False)


def onehot(labels: torch.Tensor) -> torch.Tensor:
    """Float16 (b, c, ...) of labels (b, 1, ...); ignored voxels get nothing."""
    classes = torch.arange(CLASSES).reshape(1, -1, *(1,) * (labels.ndim - 2))
    return (labels == classes).half()


@given(st.integers(0, 2**31), st.booleans(), st.booleans(), st.sampled_from([2, 3]))
@settings(max_examples=30)
def test_one_hot_labels_give_nnunet_s_loss(
    seed: int, batch_dice: bool, ignores: bool, axes: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    voxels = (9, 8, 7)[:axes]
    logits = 3 * torch.randn(2, CLASSES, *voxels, generator=rng)
    top = CLASSES + ignores
    labels = torch.randint(0, top, (2, 1, *voxels), generator=rng).short()
    stock, ours = losses(batch_dice=batch_dice, ignores=ignores)
    mine, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    soft, hard = ours(mine, onehot(labels)), stock(theirs, labels)
    torch.testing.assert_close(soft, hard, rtol=1e-5, atol=1e-5)
    soft.backward()
    hard.backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_label_maps_get_nnunet_s_loss() -> None:
    stock, ours = losses(batch_dice=True, ignores=False)
    logits, labels = torch.randn(2, CLASSES, 8, 8), torch.ones(2, 1, 8, 8).short()
    assert ours(logits, labels) == stock(logits, labels)


def test_it_is_least_where_prediction_and_soft_label_agree() -> None:
    _, ours = losses(batch_dice=False, ignores=False)
    soft = torch.softmax(torch.randn(1, CLASSES, 6, 6, 6), dim=1)
    logits = soft.log().requires_grad_()
    best = ours(logits, soft)
    for step in (0.1, -0.1):
        assert ours(logits + step * torch.randn_like(logits), soft) > best
    # Hard labels pull it away: of nnU-Net's own Dice this would not hold.
    stock = losses(batch_dice=False, ignores=False)[0]
    assert stock.dc(3 * logits, soft) < stock.dc(logits, soft)


def test_voxels_without_a_label_carry_no_loss() -> None:
    _, ours = losses(batch_dice=False, ignores=True)
    logits = torch.randn(2, CLASSES, 6, 6, requires_grad=True)
    soft = torch.softmax(torch.randn(2, CLASSES, 6, 6), dim=1)
    soft[..., 3:] = 0
    ours(logits, soft).backward()
    assert logits.grad is not None
    assert logits.grad[..., :3].any()
    assert not logits.grad[..., 3:].any()


@pytest.mark.parametrize("batch_dice", [True, False])
def test_nothing_but_ignored_voxels(batch_dice: bool) -> None:
    _, ours = losses(batch_dice=batch_dice, ignores=True)
    logits = torch.randn(2, CLASSES, 6, 6, requires_grad=True)
    loss = ours(logits, torch.zeros(2, CLASSES, 6, 6))
    loss.backward()
    assert torch.isfinite(loss)
    assert not logits.grad.any()
