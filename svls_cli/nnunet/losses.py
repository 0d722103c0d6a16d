"""nnU-Net's loss for soft labels."""

from __future__ import annotations

import torch
from nnunetv2.utilities.ddp_allgather import AllGatherGrad
from torch import Tensor, nn

from svls_cli.training.losses import soft_cross_entropy

# As in nnU-Net.
_SMOOTH = 1e-5


class SoftLabelLoss(nn.Module):
    """Cross-entropy and Dice on soft labels; on label maps nnU-Net's own loss.

    Where the soft labels are one-hot, it is nnU-Net's loss. (That one takes the first
    channel of soft labels for a label map.)

    Parameters
    ----------
    stock
        nnU-Net's own loss, for targets of one channel: validation stays what it is.
    batch_dice
        Whether Dice is that of all cases of a batch together.
    ddp
        Whether the batch is spread over processes.
    """

    def __init__(self, stock: nn.Module, *, batch_dice: bool, ddp: bool) -> None:
        super().__init__()
        self.stock = stock
        self.batch_dice, self.ddp = batch_dice, ddp

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits (b, c, z, y, x); ``target`` alike, or (b, 1, z, y, x)."""
        if target.shape[1] == 1:
            loss: Tensor = self.stock(logits, target)
            return loss
        return soft_cross_entropy(logits, target) - self._dice(logits, target.float())

    def _dice(self, logits: Tensor, q: Tensor) -> Tensor:
        """Mean over classes but background, as in `soft_dice_loss` (DML1)."""
        counts = q.sum(dim=1, keepdim=True)  # 0 where the voxel is ignored
        p = torch.softmax(logits.float(), dim=1)[:, 1:] * counts
        q = q[:, 1:]
        axes = tuple(range(2, q.ndim))
        sums = torch.stack([(p + q).sum(dim=axes), (p - q).abs().sum(dim=axes)])
        if self.batch_dice:
            if self.ddp:
                sums = AllGatherGrad.apply(sums).sum(0)
            sums = sums.sum(dim=1)
        size, gap = sums
        dice: Tensor = (size - gap + _SMOOTH) / (size + _SMOOTH)
        return dice.mean()
