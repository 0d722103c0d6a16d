"""Label maps of a size and roughness that real ones have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.ndimage import maximum_filter, minimum_filter

LabelMap = npt.NDArray[np.uint8]


def scaled(scale: float, *shape: int) -> tuple[int, ...]:
    """A shape shrunk, but not to nothing."""
    return tuple(max(8, int(n * scale)) for n in shape)


def write(path: Path, values: npt.NDArray[Any]) -> Path:
    """A compressed image file."""
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path), useCompression=True)
    return path


def extract(path: Path, region: tuple[slice, ...]) -> npt.NDArray[Any]:
    """A region of an image file, no more of it read than must be."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetExtractIndex([s.start for s in reversed(region)])
    reader.SetExtractSize([s.stop - s.start for s in reversed(region)])
    values: npt.NDArray[Any] = sitk.GetArrayFromImage(reader.Execute())
    return values


def write_cases(
    folder: Path, labels: LabelMap, n: int, *, step: int = 0, suffix: str = ".nii.gz"
) -> list[Path]:
    """Label maps of which each lies some voxels further on."""
    return [
        write(folder / f"case_{at:03d}{suffix}", np.roll(labels, step * at, axis=1))
        for at in range(n)
    ]


def lesion(shape: Sequence[int], n_classes: int) -> LabelMap:
    """Shells within shells, as in brain tumour data: few classes, little boundary."""
    z, y, x = _grid(shape)
    bumps = 0.02 * (np.cos(17 * z + 9 * y) + np.cos(13 * x - 11 * y))
    distance = np.sqrt((z - 0.1) ** 2 + (y + 0.1) ** 2 + (x - 0.2) ** 2) + bumps
    labels = np.zeros(shape, np.uint8)
    for value, radius in enumerate(np.linspace(0.42, 0.18, n_classes - 1), start=1):
        labels[distance < radius] = value
    return labels


def organs(shape: Sequence[int], n_classes: int) -> LabelMap:
    """Regions that share borders and fill half the volume: many classes."""
    z, y, x = _grid(shape)
    rng = np.random.default_rng(0)
    nearest = np.full(shape, np.inf, np.float32)
    labels = np.zeros(shape, np.uint8)
    for value, seed in enumerate(rng.uniform(-0.9, 0.9, (n_classes - 1, 3)), start=1):
        distance = (z - seed[0]) ** 2 + (y - seed[1]) ** 2 + (x - seed[2]) ** 2
        closer = distance < nearest
        nearest[closer] = distance[closer]
        labels[closer] = value
    labels[z**2 + y**2 + x**2 > 0.55] = 0
    return labels


def balls(shape: Sequence[int], n_classes: int) -> LabelMap:
    """Balls on a lattice, the same ones whatever the number of classes among them."""
    period = max(4, min(shape) // 5)
    square: npt.NDArray[Any] = np.zeros(shape, np.float32)
    cell = np.zeros(shape, np.int64)
    for axis, n in enumerate(shape):
        along = [1] * len(shape)
        along[axis] = n
        at, offset = np.divmod(np.arange(n), period)
        square = square + ((offset - period / 2) ** 2).reshape(along)
        cell = 7 * cell + at.reshape(along)
    label = (1 + cell % (n_classes - 1)).astype(np.uint8)
    return np.where(square < (0.35 * period) ** 2, label, np.uint8(0))


def boundary_share(labels: LabelMap) -> float:
    """Share of voxels whose 3x3x3 neighbourhood holds another class."""
    return float((maximum_filter(labels, 3) != minimum_filter(labels, 3)).mean())


def _grid(shape: Sequence[int]) -> list[npt.NDArray[np.float32]]:
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))
