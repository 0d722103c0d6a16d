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

# Which classes (c) the patch has, between the first transform and the last.
_PRESENT = "present_classes"


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
    interpolated as images are, becomes the probabilities of the classes that the patch
    has and, as one channel more, the share that is ignored, if any may be. What lies
    outside of the volume, -1 to nnU-Net, has none of all these.
    """

    def __init__(self, *, keep_labels: bool, ignores: bool) -> None:
        super().__init__()
        self.keep_labels, self.ignores = keep_labels, ignores

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Split ``segmentation`` (1 + c, z, y, x)."""
        both = data_dict.pop("segmentation")
        if self.keep_labels:
            data_dict["segmentation"] = both[:1]
        stored = both[1:]
        present = stored.flatten(1).amax(dim=1) > 0
        present[0] = True  # background, if only beyond the volume
        kept = stored if bool(present.all()) else stored[present]
        soft = kept.float().clamp_(min=0).div_(CERTAIN)
        if self.ignores:
            ignored = 1 - soft.sum(dim=0, keepdim=True)
            ignored.masked_fill_(stored[:1] < 0, 0).clamp_(min=0)
            soft = torch.cat([soft, ignored])
        return {**data_dict, "regression_target": soft, _PRESENT: present}


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
        soft, present = data_dict.pop("regression_target"), data_dict.pop(_PRESENT)
        missing = 1 - soft.sum(dim=0)
        soft = soft[:-1] if self.ignores else soft
        soft[0] += missing.clamp_(min=0)
        if self.scales is None:
            data_dict["segmentation"] = _of_all(soft, present)
            return data_dict
        targets, size = [], soft.shape[1:]
        for scale in self.scales:
            # As many voxels as nnU-Net's own downsampling has labels.
            shape = [round(n * s) for n, s in zip(size, scale, strict=True)]
            soft = _means(soft, shape)
            targets.append(_of_all(soft, present))
        data_dict["segmentation"] = targets
        return data_dict


def _means(soft: Tensor, shape: Sequence[int]) -> Tensor:
    """Means of areas; those of a coarser scale are means of the finer one's."""
    if list(soft.shape[1:]) == list(shape):
        return soft
    return interpolate(soft[None], list(shape), mode="area")[0]


def _of_all(soft: Tensor, present: Tensor) -> Tensor:
    """Float16 (c, z, y, x) of all classes, of which only some are ``present`` (c)."""
    result = torch.zeros((len(present), *soft.shape[1:]), dtype=torch.float16)
    result[present] = soft.half()
    return result
