"""The few operations in which array libraries differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = Any  # of any library
_CPU = 1  # in DLPack's list of devices


def namespace(array: Array) -> Any:
    """The functions of an array's library, by the names of the array API standard."""
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    from array_api_compat import array_namespace

    return array_namespace(array)


def foreign(value: Any) -> bool:
    """Whether a value is an array of another library than NumPy."""
    return hasattr(value, "__dlpack_device__") and not isinstance(value, np.ndarray)


def as_numpy(array: Array) -> Array:
    """An array in main memory as NumPy sees it, not copied; any other as it is."""
    if not foreign(array) or array.__dlpack_device__()[0] != _CPU:
        return array
    return np.from_dlpack(array.detach() if hasattr(array, "detach") else array)


def as_type(xp: Any, array: Array, kind: npt.DTypeLike) -> Array:
    """The array as another type, named as in NumPy."""
    if np.dtype(kind) == np.float16 and array.dtype == xp.float64:
        return _nearest_half(xp, array)
    return xp.asarray(array, dtype=getattr(xp, np.dtype(kind).name))


def _nearest_half(xp: Any, exact: Array) -> Array:
    """The nearest halves, as NumPy rounds; others round to single precision before."""
    single = xp.asarray(exact, dtype=xp.float32)
    beyond = xp.sign(exact - xp.asarray(single, dtype=xp.float64)) * 2.0**-22
    half = xp.asarray(single, dtype=xp.float16)
    other = xp.asarray(single + single * beyond, dtype=xp.float16)
    missed = [xp.abs(exact - xp.asarray(h, dtype=xp.float64)) for h in (half, other)]
    return xp.where(missed[1] < missed[0], other, half)


def beside(xp: Any, table: npt.NDArray[Any], array: Array) -> Array:
    """A small NumPy array on the device of another array."""
    return xp.asarray(table, device=array.device)


def look_up(xp: Any, table: npt.NDArray[Any], indices: Array) -> Array:
    """``table[indices]``."""
    values = beside(xp, table, indices)
    return xp.reshape(
        xp.take(values, xp.reshape(indices, (-1,)), axis=0), indices.shape
    )


def repeat_edges(xp: Any, codes: Array, radius: Sequence[int], axis: int) -> Array:
    """``radius`` voxels more on either side of each axis from ``axis`` on."""
    for at, reach in enumerate(radius, start=axis):
        nearest = np.arange(-reach, codes.shape[at] + reach).clip(
            0, codes.shape[at] - 1
        )
        codes = xp.take(codes, beside(xp, nearest, codes), axis=at)
    return codes
