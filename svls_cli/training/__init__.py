"""Training on soft-label stores, with PyTorch and MONAI (extra ``train``).

`SoftLabelDataset` and the losses work in any training loop; `svls_cli.train` and
`svls_cli.predict_cases` are what the commands do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svls_cli.training.config import TrainingConfig as TrainingConfig
    from svls_cli.training.dataset import SoftLabelDataset as SoftLabelDataset
    from svls_cli.training.image_cache import CachedImage as CachedImage
    from svls_cli.training.image_cache import find_images as find_images
    from svls_cli.training.image_cache import unpack_images as unpack_images
    from svls_cli.training.losses import as_probabilities as as_probabilities
    from svls_cli.training.losses import soft_cross_entropy as soft_cross_entropy
    from svls_cli.training.losses import soft_dice_loss as soft_dice_loss
    from svls_cli.training.sequence import PatchSequence as PatchSequence
    from svls_cli.training.softening import soften_labels as soften_labels
    from svls_cli.training.transforms import SoftenLabelsd as SoftenLabelsd

# Imported at first use: parameters can be checked without PyTorch.
_HOME = {
    "CachedImage": "image_cache",
    "PatchSequence": "sequence",
    "SoftLabelDataset": "dataset",
    "SoftenLabelsd": "transforms",
    "TrainingConfig": "config",
    "as_probabilities": "losses",
    "find_images": "image_cache",
    "soft_cross_entropy": "losses",
    "soft_dice_loss": "losses",
    "soften_labels": "softening",
    "unpack_images": "image_cache",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
