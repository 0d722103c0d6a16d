"""The U-Net: MONAI's DynUNet."""

from __future__ import annotations

from typing import Any

import torch
from monai.networks.nets.dynunet import DynUNet

from svls_cli.training.levels import Levels, choose_levels
from svls_cli.training.plan import Plan

_MOST_FILTERS = 320


def planned_network(plan: Plan) -> torch.nn.Module:
    """Build the network of a plan, its weights drawn from the plan's seed."""
    torch.manual_seed(plan.config.seed)
    return build_network(
        channels=len(plan.channels),
        classes=len(plan.classes),
        levels=choose_levels(plan.patch_size, plan.spacing_mm),
        filters=plan.config.filters,
    )


def build_network(
    *, channels: int, classes: int, levels: Levels, filters: int
) -> torch.nn.Module:
    """A U-Net with instance normalisation, its weights drawn from torch's generator.

    ``filters`` is the number of filters of the first level; each level doubles it.
    """
    doubling = [
        min(filters * 2**level, _MOST_FILTERS) for level in range(len(levels.strides))
    ]
    network: Any = DynUNet(
        spatial_dims=len(levels.strides[0]),
        in_channels=channels,
        out_channels=classes,
        kernel_size=levels.kernels,
        strides=levels.strides,
        upsample_kernel_size=levels.strides[1:],
        filters=doubling,
        norm_name=("INSTANCE", {"affine": True}),
    )
    built: torch.nn.Module = network
    return built
