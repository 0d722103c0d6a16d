"""Soft labels through nnU-Net's augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from torch import Tensor
from torch.nn.functional import interpolate

from svls_cli.nnunet.soft_files import CERTAIN


def with_soft_labels(
    stock: Any,
    *,
    keep_labels: bool,
    ignores: bool,
    scales: Sequence[Sequence[float]] | None,
) -> Any:
    """Add soft labels to transforms that end before deep supervision's downsampling.

    Parameters
    ----------
    stock
        nnU-Net's own transforms.
    keep_labels
        Whether these look at the label map, too.
    ignores
        Whether there may be ignored voxels.
    scales
        Share of the patch's size, per axis, at each of the network's outputs; None if
        it has one.
    """
    first = SplitTarget(keep_labels=keep_labels, ignores=ignores)
    last = SoftTarget(scales, ignores=ignores)
    return ComposeTransforms([first, *stock.transforms, last])


class SplitTarget(BasicTransform):  # type: ignore[misc]
    """Takes the patch of a `LabelsWithSoft` apart.

    ``segmentation`` keeps the label map; ``regression_target``, which is moved and
    interpolated as images are, becomes the probabilities and, as one channel more, the
    share that is ignored, if any may be. What lies outside of the volume, -1 to
    nnU-Net, has none of all these.
    """

    def __init__(self, *, keep_labels: bool, ignores: bool) -> None:
        super().__init__()
        self.keep_labels, self.ignores = keep_labels, ignores

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Split ``segmentation`` (1 + c, z, y, x)."""
        both = data_dict.pop("segmentation")
        soft = both[1:].float() / CERTAIN
        outside = soft[:1] < 0
        soft.clamp_(min=0)
        if self.ignores:
            ignored = (1 - soft.sum(dim=0, keepdim=True)).masked_fill_(outside, 0)
            soft = torch.cat([soft, ignored.clamp_(min=0)])
        data_dict["regression_target"] = soft
        if self.keep_labels:
            data_dict["segmentation"] = both[:1]
        return data_dict


class SoftTarget(BasicTransform):  # type: ignore[misc]
    """Makes probabilities the target, at each scale of deep supervision.

    What is missing to 1 came from outside of the volume and is background, as nnU-Net
    has it; the ignored share is left out. A coarser scale has the means of areas.
    """

    def __init__(
        self, scales: Sequence[Sequence[float]] | None, *, ignores: bool
    ) -> None:
        super().__init__()
        self.scales, self.ignores = scales, ignores

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Replace ``segmentation`` by float16 (c, z, y, x), or a list of these."""
        target = data_dict.pop("regression_target")
        missing = 1 - target.sum(dim=0)
        target = target[:-1] if self.ignores else target
        target[0] += missing.clamp_(min=0)
        if self.scales is None:
            data_dict["segmentation"] = target.half()
        else:
            data_dict["segmentation"] = [_means(target, s) for s in self.scales]
        return data_dict


def _means(target: Tensor, scale: Sequence[float]) -> Tensor:
    """Means of areas (c, z, y, x), so many as nnU-Net's own downsampling has labels."""
    shape = [round(n * s) for n, s in zip(target.shape[1:], scale, strict=True)]
    if list(target.shape[1:]) == shape:
        return target.half()
    return interpolate(target[None], shape, mode="area")[0].half()
