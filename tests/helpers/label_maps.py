"""Label maps and images that tests make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

# Direction cosines of a tilted scan.
OBLIQUE = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()

LabelMap = npt.NDArray[Any]


def blobs(shape: Sequence[int], n_classes: int, *, seed: int = 0) -> LabelMap:
    """Smooth random regions of every class, as anatomy has them."""
    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.normal(size=shape), 2) for _ in range(n_classes)]
    return np.argmax(fields, axis=0).astype(np.uint8)


def write_image(
    path: Path,
    array: LabelMap,
    *,
    spacing: Sequence[float] | None = None,
    origin: Sequence[float] | None = None,
    direction: Sequence[float] | None = None,
) -> Path:
    """An image file; geometry in SimpleITK's (x, y, z) order."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing or (1.0,) * array.ndim)
    image.SetOrigin(origin or (0.0,) * array.ndim)
    if direction is not None:
        image.SetDirection(direction)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path
