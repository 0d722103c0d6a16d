"""The published method as its authors run it: PyTorch, one-hot, grouped convolution.

Transcribed from the formula (Islam & Glocker, IPMI 2021); run as a script it is what a
user would write to store soft labels today.
"""

import sys

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional


def kernel(size: int, sigma: float, axes: int) -> torch.Tensor:
    """Gaussian neighbours, normalised, and a centre as heavy as all of them."""
    square = (torch.arange(size, dtype=torch.float64) - size // 2) ** 2
    distance = torch.zeros(())
    for _ in range(axes):
        distance = distance[..., None] + square
    gauss = torch.exp(-distance / (2 * sigma**2))
    centre = (size // 2,) * axes
    gauss[centre] = 0
    gauss /= gauss.sum()
    gauss[centre] = 1
    return (gauss / gauss.sum()).float()


def soften(
    indices: torch.Tensor, n_classes: int, *, size: int = 3, sigma: float = 1.0
) -> torch.Tensor:
    """(b, c, z, y, x) probabilities, all classes at once; or without z."""
    axes = indices.ndim - 1
    every = torch.arange(n_classes, device=indices.device)
    onehot = (indices[..., None] == every).movedim(-1, 1).float()
    padded = functional.pad(onehot, (size // 2,) * 2 * axes, mode="replicate")
    weight = kernel(size, sigma, axes).to(indices.device)
    weight = weight.expand(n_classes, 1, *weight.shape).contiguous()
    convolve = functional.conv3d if axes == 3 else functional.conv2d
    soft: torch.Tensor = convolve(padded, weight, groups=n_classes)
    return soft


def soft_labels(
    labels: npt.NDArray[np.uint8], n_classes: int, *, size: int = 3, sigma: float = 1.0
) -> npt.NDArray[np.float32]:
    """(c, z, y, x) of one volume, as NumPy arrays."""
    indices = torch.from_numpy(labels)[None]
    return np.asarray(soften(indices, n_classes, size=size, sigma=sigma)[0])


def main(n_classes: int, out: str, *paths: str) -> None:
    """The user's script: read, soften, save with Zarr's defaults."""
    import SimpleITK as sitk
    import zarr

    for number, path in enumerate(paths):
        labels = sitk.GetArrayFromImage(sitk.ReadImage(path)).astype(np.uint8)
        zarr.save(f"{out}/{number}.zarr", soft_labels(labels, n_classes))


if __name__ == "__main__":
    torch.set_num_threads(2)
    main(int(sys.argv[1]), *sys.argv[2:])
