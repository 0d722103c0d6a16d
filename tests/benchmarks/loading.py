"""Batches of soft-label patches through a DataLoader, by whoever can make them.

    python tests/benchmarks/loading.py [--rounds 5] [--patches 240] [--workers 2]

Our dataset draws patches of a store of BraTS-sized cases; the others make the same ones
in float32: read from one `.nii.gz` file per class, as whole volumes or by SimpleITK no
more than the patch; or the published method, on PyTorch, recomputes them from the
hard label map, a `.nii.gz` file or a memory-mapped array. Ours also as stored: bytes,
of which the device makes probabilities. All in turn in every round, by workers that run
already; medians of patches per second.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import phantoms
import SimpleITK as sitk
import torch
from published import soft_labels
from timing import option_parser, print_table, time_functions
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from svls_cli import find_cases, open_store, smooth_cases
from svls_cli.training import PatchSequence, SoftLabelDataset, as_probabilities

N_CLASSES = 4
Region = tuple[slice, ...]


@dataclass(frozen=True)
class Draw:
    """A patch: its case's files but for what follows the name, and where it lies."""

    stem: Path
    region: Region
    shape: tuple[int, ...]

    @property
    def wide(self) -> Region:
        """With the neighbours that its soft labels depend on."""
        return tuple(
            slice(max(0, s.start - 1), min(s.stop + 1, n))
            for s, n in zip(self.region, self.shape, strict=True)
        )

    @property
    def inner(self) -> Region:
        """Where it lies in all of that."""
        return tuple(
            slice(s.start - w.start, s.stop - w.start)
            for s, w in zip(self.region, self.wide, strict=True)
        )


Reader = Callable[[Draw], npt.NDArray[np.float32]]


class Patches(Dataset[dict[str, Tensor]]):
    """The patches that ours draws, by another reader."""

    def __init__(self, read: Reader, draws: Sequence[Draw]) -> None:
        self.read, self.draws = read, draws

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return {"target": torch.from_numpy(self.read(self.draws[number]))}


def read_whole(draw: Draw) -> npt.NDArray[np.float32]:
    """From the soft labels of each class, unpacked to the end, as most loaders do."""
    classes = []
    for index in range(N_CLASSES):
        image = sitk.ReadImage(f"{draw.stem}_{index}.nii.gz")
        classes.append(sitk.GetArrayViewFromImage(image)[draw.region].copy())
    return np.stack(classes)


def read_part(draw: Draw) -> npt.NDArray[np.float32]:
    """From the soft labels of each class, no more of them than must be unpacked."""
    paths = (Path(f"{draw.stem}_{index}.nii.gz") for index in range(N_CLASSES))
    return np.stack([phantoms.extract(path, draw.region) for path in paths])


def soften_file(draw: Draw) -> npt.NDArray[np.float32]:
    """From a file of the hard label map."""
    return soften(phantoms.extract(Path(f"{draw.stem}.nii.gz"), draw.wide), draw)


def soften_array(draw: Draw) -> npt.NDArray[np.float32]:
    """From an array of the hard label map, as good as in memory."""
    return soften(np.array(np.load(f"{draw.stem}.npy", mmap_mode="r")[draw.wide]), draw)


def soften(labels: npt.NDArray[np.uint8], draw: Draw) -> npt.NDArray[np.float32]:
    """The published method, where a patch lies in its surroundings."""
    return soft_labels(labels, N_CLASSES)[(slice(None), *draw.inner)]


def write_files(paths: Sequence[Path], folder: Path) -> None:
    """What the others read: hard and soft labels beside the store."""
    for path in paths:
        stem = folder / path.stem
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        np.save(f"{stem}.npy", labels)
        soft = soft_labels(labels, N_CLASSES)
        files = {stem.name: labels}
        files |= {f"{stem.name}_{index}": soft[index] for index in range(N_CLASSES)}
        for name, values in files.items():
            phantoms.write(folder / f"{name}.nii.gz", values)


def make_datasets(
    shape: Sequence[int], edge: int, n_cases: int, n_patches: int, folder: Path
) -> dict[str, Dataset[dict[str, Any]]]:
    """Everybody's, for the same cases and patches."""
    labels = phantoms.lesion(shape, N_CLASSES)
    paths = phantoms.write_cases(folder, labels, n_cases, step=7, suffix=".nrrd")
    write_files(paths, folder)
    for record in smooth_cases(find_cases(paths), folder / "a.zarr"):
        assert record.status == "done", record.reason
    store = open_store(folder / "a.zarr")
    size = (edge,) * len(shape)
    ours, stored = (
        PatchSequence(SoftLabelDataset(store, patch_size=size, stored=kept))
        for kept in (False, True)
    )
    draws = []
    for sample in map(ours.__getitem__, range(n_patches)):
        region = tuple(slice(at, at + edge) for at in sample["corner"].tolist())
        draws.append(Draw(folder / sample["case"], region, labels.shape))
    return {
        "ours": ours,
        "ours, as stored": stored,
        "whole .nii.gz": Patches(read_whole, draws),
        "part of .nii.gz": Patches(read_part, draws),
        "SVLS of .nii.gz": Patches(soften_file, draws),
        "SVLS of array": Patches(soften_array, draws),
    }


def check(datasets: dict[str, Dataset[dict[str, Any]]]) -> float:
    """The largest difference of anybody's soft labels from ours, on some patches."""
    largest = 0.0
    for number in range(2):
        ours = as_probabilities(datasets["ours"][number]["target"])
        for name, dataset in datasets.items():
            theirs = as_probabilities(dataset[number]["target"])
            difference = float((theirs - ours).abs().max())
            if difference > 1 / 255:
                raise RuntimeError(f"{name} has something else, by {difference:.3f}")
            largest = max(largest, difference)
    return largest


def time_loaders(
    datasets: dict[str, Dataset[dict[str, Any]]],
    counts: dict[str, int],
    n_workers: int,
    rounds: int,
) -> dict[str, float]:
    """Patches per second of each; workers start in the round that is not counted."""

    def draw(loader: DataLoader[dict[str, Any]]) -> None:
        for _ in loader:
            pass

    loaders = {
        name: DataLoader(
            dataset,
            batch_size=2,
            sampler=range(counts[name]),
            num_workers=n_workers,
            multiprocessing_context="spawn" if n_workers else None,
            persistent_workers=n_workers > 0,
        )
        for name, dataset in datasets.items()
    }
    contestants = {name: partial(draw, loader) for name, loader in loaders.items()}
    seconds = time_functions(contestants, rounds)
    return {name: counts[name] / s for name, s in seconds.items()}


def main() -> None:
    parser = option_parser(__doc__, rounds=5)
    parser.add_argument("--patches", type=int, default=240)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2, help="0: this process loads")
    options = parser.parse_args()
    torch.set_num_threads(1)  # as a worker has, also if there is none
    *shape, edge = phantoms.scaled(options.scale, 155, 240, 240, 96)
    with tempfile.TemporaryDirectory(prefix="svls-bench-") as name:
        datasets = make_datasets(
            shape, edge, options.cases, options.patches, Path(name)
        )
        difference = check(datasets)
        few = max(2, options.patches // 4)  # they take long, and hold for the others
        counts = {
            name: options.patches if name.startswith("ours") else few
            for name in datasets
        }
        rate = time_loaders(datasets, counts, options.workers, options.rounds)
    rows = [[n, f"{r:.1f}", f"{rate['ours'] / r:.2f}x"] for n, r in rate.items()]
    title = f"{edge}^3 patches of {N_CLASSES} classes, {options.workers} workers"
    print_table(f"{title}, medians", ["by", "patches/s", "ours to it"], rows)
    print(f"\nSoft labels differ by {difference:.4f} at most; bytes allow 0.0039.")


if __name__ == "__main__":
    main()
