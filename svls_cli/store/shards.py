"""Shards written whole, from the chunks that hold something.

zarr-python builds a shard from one dense array, which for many classes is nearly all
zeros and larger than the memory. This writes the same bytes from the chunks present:
the layout is that of the Zarr v3 sharding codec with a zstd codec inside and a crc32c
index at the end.

References
----------
.. [1] Zarr v3 specification, "Sharding codec" (version 1.0).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs.zstd import Zstd

from svls_cli.store.metadata import ZSTD_LEVEL

ABSENT = 2**64 - 1  # in the index of a shard

# Position of a chunk in its shard, or of a shard in its array, one integer per axis.
ChunkIndex = tuple[int, ...]
EncodedChunk = tuple[ChunkIndex, bytes]


def encode_chunk(chunk: npt.NDArray[Any]) -> bytes:
    """Encode a whole chunk, C order, little-endian, as one zstd frame with checksum."""
    little = np.ascontiguousarray(chunk, chunk.dtype.newbyteorder("<"))
    return bytes(Zstd(level=ZSTD_LEVEL, checksum=True).encode(little))


@lru_cache(maxsize=4096)
def encode_constant(
    vector: tuple[Any, ...], shape: Sequence[int], dtype: np.dtype[Any]
) -> bytes:
    """Encode a chunk (len(vector), *shape) whose every voxel holds ``vector``.

    Cached, because most chunks of most cases hold one and the same class.
    """
    column = np.array(vector, dtype).reshape(-1, *[1] * len(shape))
    return encode_chunk(np.broadcast_to(column, (len(vector), *shape)))


def encode_shard(
    chunks: Iterable[EncodedChunk], chunks_per_shard: Sequence[int]
) -> bytes:
    """Join encoded chunks into the bytes of a shard.

    ``chunks`` are index in the shard and bytes of every chunk that is not all fill
    value; ``chunks_per_shard`` is their number per axis of the array.
    """
    index = np.full((math.prod(chunks_per_shard), 2), ABSENT, "<u8")
    parts: list[bytes] = []
    offset = 0
    for chunk_index, encoded in sorted(chunks):
        entry = np.ravel_multi_index(chunk_index, tuple(chunks_per_shard))
        index[entry] = offset, len(encoded)
        parts.append(encoded)
        offset += len(encoded)
    table = index.tobytes()
    checksum = google_crc32c.value(table).to_bytes(4, "little")
    return b"".join([*parts, table, checksum])
