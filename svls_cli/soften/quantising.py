"""Probabilities as a store keeps them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.soften.mixture import SoftArray, levels, take_back


def quantise(probabilities: npt.NDArray[Any], dtype: npt.DTypeLike) -> SoftArray:
    """Levels of each class; each voxel's sum is exact, its most probable class has the
    rest.

    Parameters
    ----------
    probabilities : (c, z, y, x) or (c, y, x), floats
        Summing to 1 over the classes.
    dtype
        uint8, uint16, float16 or float32.

    Returns
    -------
    same shape, ``dtype``
        As levels: 0..255 for uint8, 0..65535 for uint16, 0..1 for floats.

    Examples
    --------
    >>> quantise(np.array([[[0.5, 0.998]], [[0.3, 0.001]], [[0.2, 0.001]]]), "uint8")
    array([[[127, 255]],
    <BLANKLINE>
           [[ 77,   0]],
    <BLANKLINE>
           [[ 51,   0]]], dtype=uint8)
    """
    kind, top = np.dtype(dtype), levels(dtype)
    own = probabilities.argmax(axis=0, keepdims=True)
    if kind.kind == "f":
        values = probabilities.astype(kind).astype(np.float32)
    else:
        values = np.floor(probabilities * top + 0.5).astype(np.int32)
    np.put_along_axis(values, own, 0, axis=0)
    rest = top - values.sum(axis=0)
    take_back(list(values), rest)
    np.put_along_axis(values, own, rest[np.newaxis], axis=0)
    return values.astype(kind)
