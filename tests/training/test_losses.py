"""Losses against soft labels."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.losses import DiceLoss

from svls_cli.errors import InputError
from svls_cli.training import as_probabilities, soft_cross_entropy, soft_dice_loss


def random_soft(seed: int, *shape: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.softmax(2 * torch.randn(shape, generator=rng), dim=1)


@pytest.mark.parametrize(
    ("dtype", "top"), [(torch.uint8, 255), (torch.int32, 65535), (torch.float16, 1)]
)
def test_probabilities_of_what_is_stored(dtype: torch.dtype, top: int) -> None:
    stored = torch.tensor([0, top]).to(dtype)
    found = as_probabilities(stored)
    assert found.dtype == torch.float32
    assert found.tolist() == [0, 1]


@given(st.integers(0, 2**31))
def test_cross_entropy_is_torch_s(seed: int) -> None:
    logits, target = torch.randn(2, 3, 4, 5, 6), random_soft(seed, 2, 3, 4, 5, 6)
    theirs = torch.nn.functional.cross_entropy(logits, target)
    torch.testing.assert_close(soft_cross_entropy(logits, target), theirs)


def test_ignored_voxels_carry_no_loss() -> None:
    logits, target = torch.randn(1, 3, 8, 8), random_soft(0, 1, 3, 8, 8)
    whole = soft_cross_entropy(logits[..., :4], target[..., :4])
    target[..., 4:] = 0
    for loss in (soft_cross_entropy, soft_dice_loss):
        varied = logits.clone().requires_grad_()
        loss(varied, target).backward()
        assert varied.grad is not None
        assert not varied.grad[..., 4:].any()
        assert varied.grad[..., :4].any()
    torch.testing.assert_close(soft_cross_entropy(logits, target), whole)


def test_nothing_but_ignored_voxels() -> None:
    logits = torch.randn(1, 3, 8, 8, requires_grad=True)
    for loss in (soft_cross_entropy, soft_dice_loss):
        value = loss(logits, torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
        value.backward()
        assert value.item() == 0


def test_dice_by_hand() -> None:
    # p = (.75, .25) at one voxel, q = (1, 0): 1 - (1.75 - .25) / 1.75
    logits = torch.log(torch.tensor([[[[0.75]], [[0.25]]]]))
    target = torch.tensor([[[[255]], [[0]]]], dtype=torch.uint8)
    assert soft_dice_loss(logits, target).item() == pytest.approx(1 - 1.5 / 1.75)


def test_dice_on_hard_labels_is_monai_s() -> None:
    logits = torch.randn(2, 3, 6, 6)
    hard = torch.nn.functional.one_hot(torch.randint(3, (2, 6, 6)), 3).movedim(-1, 1)
    theirs = DiceLoss(softmax=True, batch=True, smooth_nr=0, smooth_dr=0)
    # On hard labels |p| + |q| - |p - q| is 2 p q: the usual soft Dice.
    expected = theirs(logits, hard.float())
    torch.testing.assert_close(soft_dice_loss(logits, hard.float()), expected)


def test_dice_on_soft_labels_is_monai_s() -> None:
    logits, target = torch.randn(2, 3, 6, 6), random_soft(0, 2, 3, 6, 6)
    target[:, :, :2] = 0  # no loss there
    theirs = DiceLoss(soft_label=True, batch=True, smooth_nr=0, smooth_dr=0)
    weight = (target.sum(dim=1, keepdim=True) > 0).to(torch.uint8)
    expected = theirs(logits.softmax(dim=1) * weight, target)
    torch.testing.assert_close(soft_dice_loss(logits, target), expected)


@given(st.integers(0, 2**31))
def test_dice_is_least_at_the_soft_label_itself(seed: int) -> None:
    target = random_soft(seed, 1, 3, 4, 4)
    at = soft_dice_loss(torch.log(target), target)
    assert at.item() == pytest.approx(0, abs=1e-5)
    other = random_soft(seed + 1, 1, 3, 4, 4)
    assert soft_dice_loss(torch.log(other), target) >= at


def test_dice_does_not_prefer_a_surer_prediction_as_the_usual_one_does() -> None:
    target = torch.tensor([[[[0.75, 0.25]], [[0.25, 0.75]]]])
    usual = DiceLoss(softmax=True, batch=True, smooth_nr=0, smooth_dr=0)
    honest, surer = torch.log(target), 10 * torch.log(target)
    # Each class: 2 (.75^2 + .25^2) / 2 at the label itself, 2 * .75 / 2 when sure.
    assert usual(honest, target).item() == pytest.approx(1 - 0.625)
    assert usual(surer, target).item() == pytest.approx(1 - 0.75, abs=1e-4)
    assert soft_dice_loss(honest, target) < soft_dice_loss(surer, target)


def test_classes_without_labels_are_left_out() -> None:
    logits, target = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    target[:, 0] = 1
    expected = 1 - (4 + 4 / 3 - (4 - 4 / 3)) / (4 + 4 / 3)
    assert soft_dice_loss(logits, target).item() == pytest.approx(expected)
    assert np.isfinite(expected)


@pytest.mark.parametrize("loss", [soft_cross_entropy, soft_dice_loss])
@pytest.mark.parametrize(
    "shape", [(1, 1, 4, 4, 4), (1, 3, 4, 4, 4), (3, 4, 4, 4), (2, 4, 4, 4, 4)]
)
def test_shapes_must_be_the_same(loss: Any, shape: tuple[int, ...]) -> None:
    logits = torch.zeros(2, 3, 4, 4, 4)
    with pytest.raises(InputError, match=r"found \(2, 3, 4, 4, 4\) and "):
        loss(logits, torch.ones(shape))


@pytest.mark.parametrize("dynamic", [False, True])
def test_losses_are_compiled(dynamic: bool) -> None:
    logits, target = torch.randn(2, 3, 4, 5), random_soft(0, 2, 3, 4, 5)
    compiled: Any = torch.compile(
        soft_cross_entropy, backend="eager", fullgraph=True, dynamic=dynamic
    )
    assert torch.equal(compiled(logits, target), soft_cross_entropy(logits, target))
