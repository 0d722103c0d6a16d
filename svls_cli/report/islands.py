"""Small separate parts of a class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import find_objects, generate_binary_structure, label

from svls_cli.arrays import UIntArray
from svls_cli.labels.classes import ClassTable


@dataclass(frozen=True)
class Islands:
    """The islands of one class: parts that are far smaller than the largest.

    Parameters
    ----------
    value
        Label value of the class.
    count
        Number of islands.
    voxels
        Voxels of the largest island.
    """

    value: int
    count: int
    voxels: int


def find_islands(indices: UIntArray, classes: ClassTable) -> list[Islands]:
    """The islands of every class but background.

    Parts are what is connected over faces, edges or corners; an island has less than a
    tenth of the voxels of its class's largest part.

    Parameters
    ----------
    indices : (z, y, x) or (y, x)
        Class indices; the number of classes where a voxel is ignored.
    classes
        The classes.

    Examples
    --------
    >>> row = np.array([[1] * 11 + [0, 1]], np.uint8)
    >>> find_islands(row, ClassTable.from_values([0, 5]))
    [Islands(value=5, count=1, voxels=1)]
    """
    numbers = indices.astype(np.min_scalar_type(len(classes) + 1))
    numbers += 1  # 0 is nothing to SciPy
    touching = generate_binary_structure(indices.ndim, indices.ndim)
    boxes = find_objects(numbers, max_label=len(classes))
    found = []
    for c, box in zip(classes.classes, boxes, strict=True):
        if c.value == 0 or box is None:
            continue
        parts, count = label(indices[box] == c.index, touching)
        if count > 1:
            sizes = np.bincount(parts.ravel())[1:]
            small = sizes[10 * sizes < sizes.max()]
            if small.size:
                found.append(Islands(c.value, len(small), int(small.max())))
    return found
