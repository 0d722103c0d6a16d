"""Array types, named by what they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
# Single precision, where memory and speed matter more than digits.
Float32Array = npt.NDArray[np.float32]
# What indexes another array: voxels of a flat one, or classes.
IndexArray = npt.NDArray[np.intp]
# Voxels by their coordinates, (n, axes).
VoxelArray = npt.NDArray[np.int32]
# Label maps, class indices and codes: the smallest unsigned type that holds them.
UIntArray = npt.NDArray[np.unsignedinteger[Any]]
# Soft labels of one of the stored types, or floats on the way there.
SoftArray = npt.NDArray[Any]
# A box of voxels: one slice per axis.
Region = tuple[slice, ...]
