"""Levels of the U-Net, chosen by patch size and spacing; without PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# DynUNet has at least three: on short patches, some levels do not halve.
_LEAST_LEVELS, _MOST_LEVELS = 3, 6
# Least number of voxels that halving may leave of an axis.
_LEAST_VOXELS = 4
# Ratio of spacings beyond which sizes in voxels say little of sizes in mm.
LARGEST_SPACING_RATIO = 1.5
# What brings images to another spacing.
RESAMPLERS = "SimpleITK's Resample or MONAI's Spacing"


def spacing_ratio(spacings_mm: Sequence[Sequence[float]]) -> float:
    """Largest ratio of the spacings of two images along the same axis.

    Parameters
    ----------
    spacings_mm
        Voxel spacing of each image, mm per axis; at least one image.

    Examples
    --------
    >>> spacing_ratio([(1, 1, 3), (1, 2, 3)])
    2.0
    """
    ratios: list[float] = [max(a) / min(a) for a in zip(*spacings_mm, strict=True)]
    return max(ratios)


def shown_mm(spacing_mm: Sequence[float]) -> str:
    """A spacing for messages.

    Examples
    --------
    >>> shown_mm((3, 0.9765625, 0.9765625))
    '3 x 0.977 x 0.977 mm'
    """
    return " x ".join(f"{mm:.3g}" for mm in spacing_mm) + " mm"


@dataclass(frozen=True)
class Levels:
    """Kernel sizes and strides of each level of a U-Net."""

    # One number per spatial axis and level; the first level's stride is 1.
    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]


def choose_levels(patch_size: Sequence[int], spacing_mm: Sequence[float]) -> Levels:
    """Choose the levels of a U-Net by patch size and spacing, as nnU-Net does.

    Each axis is halved while it is long enough. An axis of more than twice the finest
    spacing is neither convolved nor halved until the others have caught up. An axis of
    one voxel is never convolved, so a patch of one slice makes a 2-D network.

    Parameters
    ----------
    patch_size
        Voxels per axis; more than one in all.
    spacing_mm
        Voxel spacing of the images, mm per axis.

    References
    ----------
    .. [1] Isensee et al., "nnU-Net", Nature Methods 18, 2021.

    Examples
    --------
    >>> choose_levels((8, 32, 32), (3, 1, 1)).strides
    ((1, 1, 1), (1, 2, 2), (2, 2, 2), (1, 2, 2))
    """
    size, spacing = list(patch_size), list(spacing_mm)
    kernels, strides = [], []
    stride: tuple[int, ...] = (1,) * len(size)
    while True:
        finest = min(mm for mm, n in zip(spacing, size, strict=True) if n > 1)
        fine = [mm <= 2 * finest for mm in spacing]
        kernels.append(
            tuple(3 if f and n > 1 else 1 for f, n in zip(fine, size, strict=True))
        )
        strides.append(stride)
        stride = tuple(
            2 if f and n % 2 == 0 and n // 2 >= _LEAST_VOXELS else 1
            for f, n in zip(fine, size, strict=True)
        )
        enough = len(strides) >= _LEAST_LEVELS
        if (enough and max(stride) == 1) or len(strides) == _MOST_LEVELS:
            return Levels(tuple(kernels), tuple(strides))
        size = [n // s for n, s in zip(size, stride, strict=True)]
        spacing = [mm * s for mm, s in zip(spacing, stride, strict=True)]


def plan_patch(shape: Sequence[int], *, voxels: int = 96**3) -> tuple[int, ...]:
    """A patch that fits into a volume and a network.

    Its sides are multiples of 8, or of 4, 2 or 1 on axes shorter than that.

    Parameters
    ----------
    shape
        Shape of the smallest volume.
    voxels
        Largest number of voxels, unless every axis is at its shortest.

    Examples
    --------
    >>> plan_patch((35, 51, 36)), plan_patch((155, 240, 240)), plan_patch((1, 60, 60))
    ((32, 48, 32), (96, 96, 96), (1, 56, 56))
    """
    units = _units(shape)
    sides = [n - n % unit for n, unit in zip(shape, units, strict=True)]
    while True:
        longest = sides.index(max(sides))
        if math.prod(sides) <= voxels or sides[longest] <= units[longest]:
            return tuple(sides)
        sides[longest] -= units[longest]


def enclosing_patch(shape: Sequence[int]) -> tuple[int, ...]:
    """The smallest patch that a volume and its network fit into.

    Its sides are multiples of the same numbers as those of `plan_patch`.

    Parameters
    ----------
    shape
        Shape of the largest volume.

    Examples
    --------
    >>> enclosing_patch((35, 51, 36)), enclosing_patch((1, 60, 64))
    ((40, 56, 40), (1, 64, 64))
    """
    return tuple(-(-n // u) * u for n, u in zip(shape, _units(shape), strict=True))


def _units(shape: Sequence[int]) -> list[int]:
    """What the sides of a patch are multiples of, so that levels can halve them."""
    return [next(u for u in (8, 4, 2, 1) if u <= n) for n in shape]
