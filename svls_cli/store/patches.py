"""Regions of a stored array, read at the speed of its codec.

zarr-python passes every chunk through its event loop, which takes longer than unpacking
it. This reads what `shards` writes: the index at a shard's end, then the chunks that a
region touches. Nothing stays open between two reads, so readers survive a fork, and any
number of them can live. The first time that a process reads from a shard, it reads the
shard whole and checks it: one of another case unpacks as well as the right one.

References
----------
.. [1] Zarr v3 specification, "Sharding codec" (version 1.0).
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs.zstd import decompress

from svls_cli.arrays import Region
from svls_cli.errors import InvalidParameterError, StoreError
from svls_cli.store.case_files import CaseFiles
from svls_cli.store.metadata import ArrayLayout
from svls_cli.store.schema import DAMAGE
from svls_cli.store.shards import ABSENT, ChunkIndex


def whole_region(region: Region, shape: Sequence[int]) -> Region:
    """Fill in a region's starts and stops, and check that it lies in the array.

    Parameters
    ----------
    region
        A slice of step 1 per axis; empty for the whole array.
    shape
        Shape of the array.

    Raises
    ------
    InvalidParameterError
        If it is empty or does not lie in the array; no index counts from the end.

    Examples
    --------
    >>> whole_region((slice(None), slice(2, 4)), (5, 6))
    (slice(0, 5, None), slice(2, 4, None))
    """
    slices = region or (slice(None),) * len(shape)
    if len(slices) != len(shape) or any(s.step not in (None, 1) for s in slices):
        raise InvalidParameterError(
            f"expected {len(shape)} slices of step 1, found {region}"
        )
    whole = tuple(
        slice(0 if s.start is None else s.start, n if s.stop is None else s.stop)
        for s, n in zip(slices, shape, strict=True)
    )
    if any(not 0 <= s.start < s.stop <= n for s, n in zip(whole, shape, strict=True)):
        raise InvalidParameterError(
            f"region {', '.join(f'{s.start}:{s.stop}' for s in whole)} is empty or not "
            f"inside of {' x '.join(map(str, shape))}"
        )
    return whole


class PatchReader:
    """Reads regions of one array; a shard that is all 0 needs no file."""

    def __init__(self, files: CaseFiles, array: str, layout: ArrayLayout) -> None:
        self._files = files
        self._array = array
        self._layout = layout
        pairs = zip(layout.shard, layout.chunk, strict=True)
        self._chunks_per_shard = tuple(s // c for s, c in pairs)

    def read(self, region: Region) -> npt.NDArray[Any]:
        """Read the values of a region that `whole_region` returned.

        Raises
        ------
        StoreError
            If a file that it is read from is damaged or missing.
        """
        stored = self._files.shards(self._array)
        result = np.zeros([s.stop - s.start for s in region], self._layout.dtype)
        for shard in _touched(region, self._layout.shard):
            if shard not in stored:
                continue
            name = "/".join([self._array, "c", *map(str, shard)])
            with self._files.open(name) as file:
                try:
                    self._read_shard(file, shard, region, result)
                # What the codec raises, and what follows from an index that lies.
                except (*DAMAGE, RuntimeError) as error:
                    path = self._files.folder / name
                    raise StoreError(f"{path} cannot be read: {error}") from error
        return result

    def _read_shard(
        self,
        file: BinaryIO,
        shard: ChunkIndex,
        region: Region,
        result: npt.NDArray[Any],
    ) -> None:
        """Unpack a shard's part of a region into ``result``."""
        index = self._index(file)
        size, little = self._layout.chunk, self._layout.dtype.newbyteorder("<")
        first = [at * n for at, n in zip(shard, self._chunks_per_shard, strict=True)]
        inside = _intersection(region, shard, self._layout.shard)
        for chunk in _touched(inside, size):
            inner = tuple(at - start for at, start in zip(chunk, first, strict=True))
            offset, n_bytes = index[inner].tolist()
            if offset == ABSENT:
                continue
            file.seek(offset)
            values = np.frombuffer(decompress(file.read(n_bytes)), little)
            part = _intersection(inside, chunk, size)
            corner = [at * n for at, n in zip(chunk, size, strict=True)]
            source = values.reshape(size)[_relative(part, corner)]
            result[_relative(part, [s.start for s in region])] = source

    def _index(self, file: BinaryIO) -> npt.NDArray[np.uint64]:
        """Offset and size of each chunk: (*chunks_per_shard, 2)."""
        n_bytes = 16 * math.prod(self._chunks_per_shard)
        file.seek(-n_bytes - 4, io.SEEK_END)
        table, checksum = file.read(n_bytes), file.read(4)
        if google_crc32c.value(table) != int.from_bytes(checksum, "little"):
            raise ValueError("its index does not match its checksum")
        return np.frombuffer(table, "<u8").reshape(*self._chunks_per_shard, 2)


def _touched(region: Region, size: Sequence[int]) -> Iterator[ChunkIndex]:
    """Grid indices of the blocks of a size that a region touches."""
    return itertools.product(
        *(
            range(s.start // n, -(-s.stop // n))
            for s, n in zip(region, size, strict=True)
        )
    )


def _intersection(region: Region, at: ChunkIndex, size: Sequence[int]) -> Region:
    """Part of a region that lies in the block at a grid index."""
    return tuple(
        slice(max(s.start, i * n), min(s.stop, (i + 1) * n))
        for s, i, n in zip(region, at, size, strict=True)
    )


def _relative(region: Region, corner: Sequence[int]) -> Region:
    """A region relative to a corner voxel."""
    return tuple(
        slice(s.start - c, s.stop - c) for s, c in zip(region, corner, strict=True)
    )
