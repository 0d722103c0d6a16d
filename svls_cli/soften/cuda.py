"""How the kernels of `svls.cu` are named, compiled and laid out on a CUDA device.

Nothing here needs one: a `Device` is anything that holds arrays and runs kernels. `gpu`
has the real one; the tests compile the same source for the host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Extent = tuple[int, int, int]

# Tiles by number of axes, the largest first; neighbouring threads stand along x.
_TILES: dict[int, tuple[Extent, ...]] = {
    3: ((8, 16, 32), (8, 8, 32), (4, 8, 32), (4, 4, 32)),
    2: ((64, 1, 64), (32, 1, 64), (16, 1, 64), (8, 1, 64)),
}
# Where shared memory is too small for the window.
_WIDE_TILE: dict[int, Extent] = {3: (16, 16, 32), 2: (64, 1, 64)}
# How many tiles should be at work on a multiprocessor, so that some compute while
# others wait for memory.
_TILES_AT_WORK = (4, 2, 1)
_C_TYPES = {
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned int",
    "float16": "Half",
    "float32": "float",
    "float64": "double",
}


@dataclass(frozen=True)
class Kernel:
    """An instance of a kernel in `svls.cu`.

    Parameters
    ----------
    name
        As a C++ expression, types and all.
    tile, radius
        The constants that it is compiled with.
    """

    name: str
    tile: Extent = (1, 1, 1)
    radius: Extent = (0, 0, 0)

    @classmethod
    def of(cls, name: str, *dtypes: npt.DTypeLike, **constants: Extent) -> Kernel:
        """``name`` for arrays of these types."""
        types = ", ".join(_C_TYPES[np.dtype(dtype).name] for dtype in dtypes)
        return cls(f"{name}<{types}>", **constants)

    @property
    def constants(self) -> tuple[str, ...]:
        """As options of a compiler."""
        values = {"TILE": self.tile, "RADIUS": self.radius}
        return tuple(
            f"-D{name}_{axis}={value}"
            for name, extent in values.items()
            for axis, value in zip("ZYX", extent, strict=True)
        )


class Device(Protocol):
    """Where arrays are and kernels run; raises MemoryError when memory runs out."""

    @property
    def shared_bytes(self) -> int:
        """Shared memory that one thread block may have."""

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        """An array on the device."""

    def upload(self, array: npt.NDArray[Any]) -> Any:
        """A copy on the device."""

    def download(self, array: Any) -> npt.NDArray[Any]:
        """A copy in main memory."""

    def launch(
        self,
        kernel: Kernel,
        blocks: int,
        arguments: Sequence[Any],
        *,
        shared_bytes: int = 0,
    ) -> None:
        """Run a kernel with this many thread blocks, of any number of threads.

        Arguments are arrays on the device, and NumPy scalars of the kernel's types.
        """

    def release(self) -> None:
        """Give back memory that is kept for later."""


def extent(values: Sequence[int], missing: int) -> Extent:
    """(z, y, x) of an array, (y, 1, x) of a 2-D one: planes follow the first axis.

    Examples
    --------
    >>> extent((200, 300), 1)
    (200, 1, 300)
    """
    first, *middle, last = values
    return (first, middle[0] if middle else missing, last)


def count_tiles(shape: Extent, tile: Extent) -> int:
    """How many tiles a box is cut into."""
    return math.prod(-(-n // t) for n, t in zip(shape, tile, strict=True))


@dataclass(frozen=True)
class Layout:
    """Memory that `soften` works on for one tile.

    Parameters
    ----------
    radius
        Of the window.
    kind
        Number type of the sums.
    ignores
        Whether some voxels are ignored.
    bits
        Values and classes of the block.
    """

    radius: Extent
    kind: np.dtype[Any]
    ignores: bool
    bits: int

    def bytes(self, tile: Extent) -> int:
        """As the kernel lays it out, rounded up to a multiple of 16."""
        voxels = math.prod(tile)
        widths = (t + 2 * r for t, r in zip(tile, self.radius, strict=True))
        window = math.prod(widths)
        sums = 2 * window + (2 if self.ignores else 1) * voxels
        words = window + voxels + -(-self.bits // 32) + 1  # bits of two kinds
        return -(-(self.kind.itemsize * sums + 4 * words) // 16) * 16

    def best_tile(self, ndim: int, shared_bytes: int) -> Extent:
        """The largest tile, which has the least halo, of which several fit.

        No window is too wide: the tile for the widest does not fit shared memory, and
        is worked on in the device's main memory.
        """
        for at_work in _TILES_AT_WORK:
            for tile in _TILES[ndim]:
                if self.bytes(tile) * at_work <= shared_bytes:
                    return tile
        return _WIDE_TILE[ndim]
