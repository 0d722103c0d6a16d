"""Random augmentation of patches, by MONAI, without interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import (
    RandGaussianNoised,
    RandScaleIntensityd,
    RandShiftIntensityd,
)
from monai.transforms.spatial.dictionary import RandFlipd


class Augmentation:
    """Random mirroring of a sample; random scale, shift and noise of its image.

    Soft labels are moved, never interpolated.

    Parameters
    ----------
    mirrored
        Spatial axes that may be mirrored.
    """

    def __init__(self, mirrored: Sequence[int]) -> None:
        together = ["image", "target", "weight"]
        flips = [RandFlipd(together, prob=0.5, spatial_axis=at) for at in mirrored]
        self._changes: Any = Compose(
            [
                *flips,
                RandScaleIntensityd("image", factors=0.1, prob=0.5),
                RandShiftIntensityd("image", offsets=0.1, prob=0.5),
                RandGaussianNoised("image", prob=0.25, std=0.1),
            ]
        )

    def set_random_state(self, seed: int) -> None:
        """Seed the next changes."""
        self._changes.set_random_state(seed=seed)

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Return a changed sample; its ``affine`` ignores the mirroring."""
        changed = self._changes(sample)
        return {key: _plain(value) for key, value in changed.items()}


def _plain(value: Any) -> Any:
    """Drop MONAI's own metadata, which would travel with every patch."""
    return value.as_tensor().contiguous() if isinstance(value, MetaTensor) else value
