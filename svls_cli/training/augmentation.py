"""Random augmentation of patches, without interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

# How often each change of the image is made, and how large it is at most.
_SCALED, _SHIFTED, _NOISY, _LARGEST = 0.5, 0.5, 0.25, 0.1


class Augmentation:
    """Random mirroring of a sample; random scale, shift and noise of its image.

    Soft labels are moved, never interpolated. (MONAI's transforms of the same kind copy
    metadata with every change, which takes longer than a small patch in the network.)

    Parameters
    ----------
    mirrored
        Spatial axes that may be mirrored.
    """

    def __init__(self, mirrored: Sequence[int]) -> None:
        self._mirrored = tuple(mirrored)
        self._random = np.random.default_rng()

    def set_random_state(self, seed: int) -> None:
        """Seed the next changes."""
        self._random = np.random.default_rng(seed)

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Return a changed sample; its ``affine`` ignores the mirroring."""
        flips = self._random.random(len(self._mirrored)) < 0.5
        axes = [1 + at for at, flip in zip(self._mirrored, flips, strict=True) if flip]
        moved = {key: sample[key].flip(axes) for key in ("image", "target", "weight")}
        return {**sample, **moved, "image": self._changed(moved["image"])}

    def _changed(self, image: Tensor) -> Tensor:
        scaled, shifted, noisy = self._random.random(3) < (_SCALED, _SHIFTED, _NOISY)
        scale, shift = self._random.uniform(-_LARGEST, _LARGEST, 2)
        deviation = self._random.uniform(0, _LARGEST)
        image = image * (1 + scale * scaled) + shift * shifted
        if noisy:
            noise = self._random.standard_normal(image.shape, np.float32)
            image = image + deviation * torch.from_numpy(noise)
        return image
