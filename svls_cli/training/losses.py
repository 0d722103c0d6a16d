"""Losses on soft labels; voxels whose soft label is all 0 are left out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from svls_cli.errors import InputError
from svls_cli.soften.levels import levels

_EPSILON = 1e-6


def as_probabilities(target: Tensor) -> Tensor:
    """Convert soft labels as stored to float32 probabilities, on the same device.

    Parameters
    ----------
    target : any shape
        uint8 (255 is certain), uint16 as int32 (65535 is certain), or floats, which are
        probabilities already.
    """
    if target.dtype.is_floating_point:
        return target.float()
    stored = np.uint8 if target.dtype == torch.uint8 else np.uint16
    return target.float() / levels(stored)


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with soft labels, the mean over voxels that have one.

    Parameters
    ----------
    logits : (b, c, z, y, x) or (b, c, y, x)
        Logits of the network.
    target : same shape
        Soft labels as stored, or probabilities.

    Returns
    -------
    () float32
        0 if no voxel has a soft label.

    Raises
    ------
    InputError
        If the shapes are not the same.

    Examples
    --------
    >>> target = torch.tensor([[[0, 255, 0], [255, 0, 0]]], dtype=torch.uint8)
    >>> soft_cross_entropy(torch.zeros(1, 2, 3), target)  # the last voxel is ignored
    tensor(0.6931)
    """
    p = _probabilities_like(logits, target)
    loss = -(p * torch.log_softmax(logits.float(), dim=1)).sum()
    return loss / p.sum().clamp(min=1.0)


def soft_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Dice semimetric loss: 1 - (|p| + |q| - |p - q|) / (|p| + |q|), mean over classes.

    On hard labels it is the usual soft Dice loss. On soft labels it is least where
    prediction and label are equal, which the usual one is not. Sums run over the whole
    batch; classes that the labels do not have are left out.

    Parameters
    ----------
    logits, target
        As in `soft_cross_entropy`.

    Raises
    ------
    InputError
        If the shapes are not the same.

    References
    ----------
    .. [1] Wang et al., "Dice Semimetric Losses", MICCAI 2023, arXiv:2303.16296
       (DML1).
    """
    q = _probabilities_like(logits, target)
    counts = (q.sum(dim=1, keepdim=True) > 0).float()
    p = torch.softmax(logits.float(), dim=1) * counts
    axes = [axis for axis in range(p.ndim) if axis != 1]
    size, gap = (p + q).sum(dim=axes), (p - q).abs().sum(dim=axes)
    present = q.sum(dim=axes) > 0
    dice = (size - gap) / size.clamp(min=_EPSILON)
    return 1 - dice[present].mean() if bool(present.any()) else dice.sum() * 0


def _probabilities_like(logits: Tensor, target: Tensor) -> Tensor:
    """Probabilities of the logits' shape, which PyTorch would stretch others to."""
    if logits.shape != target.shape:
        raise InputError(
            "logits and target must have the same shape, found "
            f"{tuple(logits.shape)} and {tuple(target.shape)}"
        )
    return as_probabilities(target)
