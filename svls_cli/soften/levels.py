"""Levels: probabilities as a store keeps them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import SoftArray
from svls_cli.errors import InvalidParameterError
from svls_cli.soften.choices import DTYPES

# Exact halves (an isolated voxel has 1/2) round in favour of the voxel's own class, so
# that it stays the argmax; far below the .5 of a level that rounding costs anyway.
ROUNDING_MARGIN = 4e-7


def levels(dtype: npt.DTypeLike) -> int:
    """Stored value of probability 1: the largest integer, or 1 for floats.

    Examples
    --------
    >>> levels("uint8"), levels("float32")
    (255, 1)
    """
    dtype = np.dtype(dtype)
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else 1


def checked_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The type, if soft labels can be stored as it.

    Raises
    ------
    InvalidParameterError
        If it is none of `DTYPES`.
    """
    try:
        found = np.dtype(dtype)
    except TypeError:  # PyTorch's own types are none of NumPy's
        found = None
    if found is None or found.name not in DTYPES:
        raise InvalidParameterError(
            f"dtype must be one of {', '.join(DTYPES)}, as text, found {found or dtype}"
        )
    return found


def uniform_levels(
    uniform: float, n_classes: int, dtype: np.dtype[Any]
) -> tuple[float, float]:
    """Levels of a voxel's own class and of each other under uniform label smoothing.

    Raises
    ------
    InvalidParameterError
        If ``dtype`` is too coarse for it.

    Examples
    --------
    >>> uniform_levels(0.1, 4, np.dtype("uint8"))
    (237, 6)
    """
    top = levels(dtype)
    other = top * uniform / n_classes
    if dtype.kind == "u":
        if 0 < other < 0.5:
            raise InvalidParameterError(
                f"alpha {uniform} over {n_classes} classes is below half a level of "
                f"{dtype}: it would be stored as one-hot; use a wider dtype"
            )
        other = min(int(other + 0.5), top // n_classes)  # leave the own class its part
    return top - other * (n_classes - 1), other


def quantise(probabilities: npt.NDArray[Any], dtype: npt.DTypeLike) -> SoftArray:
    """Round probabilities to levels, each by less than one, so that their sum is exact.

    The rest after rounding down goes to the classes that lost most by it. Given to the
    most probable class instead, it would make networks of many classes look surer than
    they are.

    Parameters
    ----------
    probabilities : (c, z, y, x) or (c, y, x), floats
        Summing to 1 over the classes, within their own rounding.
    dtype
        uint8, uint16, float16 or float32.

    Returns
    -------
    same shape, ``dtype``
        Levels: 0..255 for uint8, 0..65535 for uint16; floats as they are.

    Examples
    --------
    >>> quantise(np.array([[[0.5, 0.998]], [[0.3, 0.001]], [[0.2, 0.001]]]), "uint8")
    array([[[128, 255]],
    <BLANKLINE>
           [[ 76,   0]],
    <BLANKLINE>
           [[ 51,   0]]], dtype=uint8)
    """
    kind, top = np.dtype(dtype), levels(dtype)
    if kind.kind == "f":
        return probabilities.astype(kind)
    exact = probabilities.astype(np.float64)
    exact *= top / exact.sum(axis=0)
    whole = np.floor(exact)
    exact -= whole
    left = np.rint(top - whole.sum(axis=0)).astype(np.intp)
    order = np.argsort(-exact, axis=0, kind="stable")
    ranks = np.empty_like(order)
    positions = np.arange(len(order)).reshape(-1, *(1,) * (order.ndim - 1))
    np.put_along_axis(ranks, order, np.broadcast_to(positions, order.shape), axis=0)
    whole += ranks < left
    return whole.astype(kind)
