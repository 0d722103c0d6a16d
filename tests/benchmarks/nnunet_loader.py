"""A worker of nnU-Net's loader, on label maps and on soft labels.

    python tests/benchmarks/nnunet_loader.py [--rounds 5] [--patches 16]

nnU-Net's own loader cuts patches of 128 x 128 x 128 voxels out of cases of 160 x 192 x
192, as its preprocessing stores them, and augments them: for `nnUNetTrainer` the label
map, for `nnUNetTrainerSVLS` the soft labels. In turn in every round, on one thread,
with the same random numbers; medians of milliseconds a patch. Requires nnunetv2.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import (
    comp_blosc2_params,
    nnUNetDatasetBlosc2,
)
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from timing import option_parser, print_table, time_functions

from svls_cli import smooth
from svls_cli.nnunet.preprocessed import labels_digest
from svls_cli.nnunet.soft_files import Origin, write_soft_file
from svls_cli.nnunet.trainer import SoftLabelCases, nnUNetTrainerSVLS

CASES, CLASSES = 2, (3, 16)
ANGLE = (-0.52, 0.52)  # nnU-Net's 30 degrees
SCALES = [[1 / 2**level] * 3 for level in range(5)]


def write_cases(folder: Path, shape: tuple[int, ...], n_classes: int, edge: int) -> int:
    """Cases as nnU-Net's preprocessing leaves them, and their soft labels."""
    rng = np.random.default_rng(0)
    n_bytes = 0
    for at in range(CASES):
        labels = phantoms.organs(shape, n_classes)
        name = f"case_{at}"
        image = labels[np.newaxis] + rng.normal(size=(1, *shape)).astype(np.float32)
        kinds = ((image, 4), (labels, 2))
        sizes = [comp_blosc2_params((1, *shape), (edge,) * 3, n) for _, n in kinds]
        (blocks, chunks), (blocks_seg, chunks_seg) = sizes
        voxels = np.argwhere(labels)[::97]
        locations = np.concatenate([np.zeros((len(voxels), 1), int), voxels], axis=1)
        nnUNetDatasetBlosc2.save_case(
            image.astype(np.float32),
            labels[np.newaxis].astype(np.int16),
            {"class_locations": {1: locations}},
            str(folder / "cases" / name),
            chunks=chunks,
            blocks=blocks,
            chunks_seg=chunks_seg,
            blocks_seg=blocks_seg,
        )
        soft = smooth(labels, classes=range(n_classes), dtype="uint8")
        n_bytes += write_soft_file(
            folder / "soft" / f"{name}.b2nd",
            soft,
            patch_size=(edge,) * 3,
            origin=Origin("svls", labels_digest(folder / "cases", name), ""),
        )
    return n_bytes


def loader(
    dataset: Any, trainer: type[nnUNetTrainer], n_classes: int, edge: int
) -> nnUNetDataLoader:
    """nnU-Net's loader of batches of two."""
    transforms = trainer.get_training_transforms(
        (edge,) * 3, ANGLE, SCALES, (0, 1, 2), False, use_mask_for_norm=[False]
    )
    names = {"background": 0, **{f"class {i}": i for i in range(1, n_classes)}}
    return nnUNetDataLoader(
        dataset,
        2,
        (int(1.25 * edge),) * 3,
        (edge,) * 3,
        LabelManager(names, None),
        oversample_foreground_percent=0.33,
        transforms=transforms,
    )


def drawing(batches: nnUNetDataLoader, n_patches: int) -> Callable[[], None]:
    """Draws so many patches, the same ones each time."""

    def draw() -> None:
        np.random.seed(0)
        torch.manual_seed(0)
        for _ in range(n_patches // 2):
            next(batches)

    return draw


def main() -> None:
    parser = option_parser(__doc__, rounds=5)
    parser.add_argument("--patches", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    shape = phantoms.scaled(options.scale, 160, 192, 192)
    edge = min(phantoms.scaled(options.scale, 128)) // 16 * 16 or 16
    rows = []
    for n_classes in CLASSES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for part in ("cases", "soft"):
                (folder / part).mkdir()
            n_bytes = write_cases(folder, shape, n_classes, edge)
            stock = nnUNetDatasetBlosc2(str(folder / "cases"))
            soft = SoftLabelCases(stock, folder / "soft")
            loaders = {
                "stock": loader(stock, nnUNetTrainer, n_classes, edge),
                "soft": loader(soft, nnUNetTrainerSVLS, n_classes, edge),
            }
            n = options.patches
            seconds = time_functions(
                {key: drawing(each, n) for key, each in loaders.items()}, options.rounds
            )
        theirs, ours = (1000 * seconds[key] / n for key in ("stock", "soft"))
        size = f"{n_bytes / CASES / 1e6:.1f}"
        ratio = f"{ours / theirs:.2f}x"
        rows.append((str(n_classes), f"{theirs:.0f}", f"{ours:.0f}", ratio, size))
    print_table(
        f"Patches of {edge}^3, ms of one worker; MB of soft labels a case",
        ("classes", "label map", "soft labels", "ratio", "MB"),
        rows,
    )


if __name__ == "__main__":
    main()
