"""A block of voxels on a CUDA device: the tables and launches that soften it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import UIntArray
from svls_cli.soften.cuda import Device, Extent, Kernel, Layout, count_tiles, extent
from svls_cli.soften.levels import ROUNDING_MARGIN, levels
from svls_cli.soften.methods import Softening
from svls_cli.soften.mixture import Mixture
from svls_cli.soften.smoothing import SoftBlock, soften_block, tile_shape
from svls_cli.soften.value_table import ValueTable

# Kernels count voxels with 32 bits.
_MAX_VOXELS = 2**31 - 2**24
# Voxels for each thread block of a kernel that does little with each.
_VOXELS_PER_BLOCK = 2048
_MAX_BLOCKS = 2**16
# What the tiles of one launch may work on where shared memory is too small.
_SCRATCH_BYTES = 2**28
_NULL = np.uint64(0)


def soften_by_way_of(
    device: Device,
    region: UIntArray,
    softening: Softening,
    *,
    n_classes: int,
    dtype: npt.DTypeLike,
    mixture: Mixture | None = None,
) -> SoftBlock:
    """`soften_block` of a region in main memory, worked on by a device.

    Where the device has no room for the whole result, halves of it are made one after
    the other, and halves of these; what not even single planes fit is the CPU's. The
    bytes are the same, whoever makes them.

    Parameters
    ----------
    device
        Does the work.
    region, softening, n_classes, dtype, mixture
        As in `soften_block`.

    Raises
    ------
    InvalidParameterError
        As `soften_block`.
    DeviceError
        If the device fails.
    """
    meaning: dict[str, Any] = {
        "n_classes": n_classes,
        "dtype": dtype,
        "mixture": mixture,
    }
    parts: list[npt.NDArray[Any]] = []
    try:
        block = DeviceBlock(device, device.upload(region), softening, **meaning)
        waiting = [(0, block.shape[0])]
        while waiting:
            start, stop = waiting.pop()
            try:
                parts.append(device.download(block.soften(start, stop)))
            except MemoryError:
                if stop - start == 1:
                    raise
                device.release()
                middle = (start + stop) // 2
                waiting += [(middle, stop), (start, middle)]
    except MemoryError:
        device.release()
        return soften_block(region, softening, **meaning)
    soft = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    return SoftBlock(block.classes, soft)


class DeviceBlock:
    """A label region on a device, ready to be softened.

    Parameters
    ----------
    device
        Where ``region`` is.
    region, softening, n_classes, dtype, mixture
        As in `soften_block`.

    Attributes
    ----------
    classes : (k,)
        As in `SoftBlock`, in main memory.
    shape
        Of the inner part.

    Raises
    ------
    InvalidParameterError
        As `soften_block`.
    MemoryError
        If the device cannot hold what is needed.
    """

    def __init__(
        self,
        device: Device,
        region: Any,
        softening: Softening,
        *,
        n_classes: int,
        dtype: npt.DTypeLike,
        mixture: Mixture | None = None,
    ) -> None:
        if region.size > _MAX_VOXELS:
            raise MemoryError(f"{region.size} voxels in one block")
        radius = softening.radius or (0,) * region.ndim
        self.shape = tuple(n - 2 * r for n, r in zip(region.shape, radius, strict=True))
        self._device, self._region, self._softening = device, region, softening
        self._extent, self._radius = extent(self.shape, 1), extent(radius, 0)
        codes = n_classes + 1 if mixture is None else len(mixture.hard)
        found = self._find_codes(max(codes, 2 ** min(16, 8 * region.dtype.itemsize)))
        self._table = ValueTable.of(
            found.astype(region.dtype),
            softening,
            n_classes=n_classes,
            dtype=dtype,
            mixture=mixture,
        )
        self.classes = self._table.classes
        row_of = np.zeros(int(found[-1]) + 1, np.int32)
        row_of[found] = np.arange(len(found))
        self._row_of, self._stored = map(device.upload, (row_of, self._table.stored))

    def soften(self, start: int, stop: int) -> Any:
        """Soft labels of some planes of the inner part, on the device.

        Parameters
        ----------
        start, stop
            Along the first axis.

        Returns
        -------
        (k, stop - start, y, x), or without z
            Levels of each class.

        Raises
        ------
        MemoryError
            If the device cannot hold it.
        """
        shape = (len(self.classes), stop - start, *self.shape[1:])
        soft = self._device.empty(shape, self._stored.dtype)
        if math.prod(shape):
            neighbours = self._softening.neighbours
            several = len(self._table.own) > 1
            work = self._smooth if neighbours and several else self._fill
            work(start, stop, soft)
        return soft

    @property
    def _counts(self) -> tuple[np.int32, np.int32]:
        return np.int32(len(self._table.own)), np.int32(len(self.classes))

    def _find_codes(self, codes: int) -> npt.NDArray[np.intp]:
        """Which numbers the region holds, ascending."""
        found = self._device.upload(np.zeros(-(-codes // 32), np.uint32))
        size = self._region.size
        kernel = Kernel.of("find_codes", self._region.dtype)
        self._device.launch(
            kernel, _blocks(size), (self._region, np.int32(size), found)
        )
        bits = self._device.download(found).astype("<u4").view(np.uint8)
        return np.flatnonzero(np.unpackbits(bits, bitorder="little"))

    def _fill(self, start: int, stop: int, soft: Any) -> None:
        _, *plane = self._extent
        sizes = map(np.int32, (*plane, start, stop))
        tables = (self._row_of, self._stored, *self._counts)
        types = (self._region.dtype, soft.dtype)
        self._device.launch(
            Kernel.of("fill", *types, radius=self._radius),
            _blocks((stop - start) * math.prod(plane)),
            (self._region, *sizes, *tables, soft),
        )

    def _smooth(self, start: int, stop: int, soft: Any) -> None:
        window, device = self._window, self._device
        nz, ny, nx = self._extent
        blocks = count_tiles((stop - start, ny, nx), window.tile)
        scratch, scratch_bytes, shared_bytes = _NULL, 0, window.bytes
        if window.bytes > device.shared_bytes:
            scratch_bytes, shared_bytes = window.bytes, 0
            blocks = min(blocks, max(1, _SCRATCH_BYTES // scratch_bytes))
            scratch = device.empty((blocks * scratch_bytes,), np.uint8)
        top = levels(soft.dtype)
        rounding = np.float32(0.5 - top * ROUNDING_MARGIN)
        device.launch(
            Kernel.of(
                "soften",
                *(self._region.dtype, soft.dtype, window.offsets.dtype),
                tile=window.tile,
                radius=self._radius,
            ),
            blocks,
            (
                *(self._region, *map(np.int32, (nz, ny, nx, start, stop))),
                *(self._row_of, window.own, window.certain, window.given),
                *(self._stored, *self._counts, *self._mixed),
                *(window.offsets, np.float64(window.total)),
                np.float64(top * self._softening.strength),
                np.float64(rounding if soft.dtype.kind == "u" else 0),
                np.int32(self._table.ignores),
                *(scratch, np.int64(scratch_bytes), soft),
            ),
            shared_bytes=shared_bytes,
        )

    @cached_property
    def _window(self) -> _Window:
        """What smoothing needs besides the label values."""
        table, neighbours = self._table, self._softening.neighbours
        assert neighbours is not None
        kind = np.dtype(np.float64 if table.ignores else np.float32)
        layout = Layout(self._radius, kind, table.ignores, bits=sum(table.given.shape))
        tile = layout.best_tile(len(self.shape), self._device.shared_bytes)
        offsets = np.concatenate(neighbours.offsets).astype(kind)
        upload = self._device.upload
        return _Window(
            own=upload(table.own),
            certain=upload(table.certain.view(np.uint8)),
            given=upload(table.given),
            offsets=upload(offsets),
            total=neighbours.total,
            tile=tile,
            bytes=layout.bytes(tile),
        )

    @cached_property
    def _mixed(self) -> tuple[Any, ...]:
        """Which of the CPU engine's tiles are mixed, and their extent."""
        if self._table.certain.all():
            return (_NULL, *map(np.int32, (1, 1, 1)))
        radius = self._softening.radius or ()
        tile = extent(tile_shape(self.shape, radius), 1)
        count = count_tiles(self._extent, tile)
        mixed = self._device.empty((count,), np.uint8)
        sizes = map(np.int32, (*self._extent, *tile))
        kernel = Kernel.of("find_mixed", self._region.dtype, radius=self._radius)
        self._device.launch(kernel, count, (self._region, *sizes, mixed))
        return (mixed, *map(np.int32, tile))


@dataclass(frozen=True)
class _Window:
    """What the voxels of a block are smoothed with."""

    own: Any
    certain: Any
    given: Any
    offsets: Any
    total: float
    tile: Extent
    bytes: int


def _blocks(voxels: int) -> int:
    """Thread blocks of a kernel that does little with each voxel."""
    return max(1, min(-(-voxels // _VOXELS_PER_BLOCK), _MAX_BLOCKS))
