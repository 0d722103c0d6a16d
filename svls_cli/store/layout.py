"""Layout of a case's arrays in shards, and of shards in chunks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Up to 8 classes share chunks of 64^3 (2-D: 512^2) voxels: a patch of 96^3 touches few.
# Above that a class has chunks of its own, so that absent classes are neither written
# nor read; these are 128^3 (2-D: 1024^2). Measured on a head-and-neck CT, 22 classes:
# a tenth fewer bytes and twice the patches per second of 64^3, because the shard index
# and the work per chunk shrink eightfold.
_CHUNK_SHARED = {3: 64, 2: 512}
_CHUNK_SINGLE = {3: 128, 2: 1024}
_SHARD = {3: 256, 2: 4096}
MAX_SHARD_VOXELS = 2**24  # what these sides enclose
_SHARED_CHUNK_CLASSES = 8
_SHARD_BYTES = 2**28
# A shard's index counts every chunk it could hold, so classes far beyond any data set
# in use are spread over several shards.
_SHARD_CLASSES = 1024


@dataclass(frozen=True)
class Layout:
    """Chunks and shards of one case's arrays."""

    shape: tuple[int, ...]  # voxels per spatial axis
    n_classes: int  # length of the class axis
    # Voxels per spatial axis; a shard is a whole number of chunks.
    chunk: tuple[int, ...]
    shard: tuple[int, ...]
    # The same along the class axis.
    chunk_classes: int
    shard_classes: int

    @classmethod
    def choose(cls, shape: Sequence[int], *, n_classes: int, itemsize: int) -> Layout:
        """The layout for soft labels (n_classes, *shape) of ``itemsize`` bytes.

        Shards are the largest multiple of the chunk up to 256 voxels a side (2-D: 4096)
        and 256 MiB unpacked.

        Examples
        --------
        >>> Layout.choose((155, 240, 240), n_classes=4, itemsize=1).shard
        (192, 256, 256)
        """
        ndim = len(shape)
        shared = n_classes <= _SHARED_CHUNK_CLASSES
        edge = (_CHUNK_SHARED if shared else _CHUNK_SINGLE)[ndim]
        chunk = tuple(min(edge, n) for n in shape)
        chunk_classes = n_classes if shared else 1
        shard_classes = min(n_classes, max(chunk_classes, _SHARD_CLASSES))
        counts = [
            max(1, min(-(-n // c), _SHARD[ndim] // c))
            for n, c in zip(shape, chunk, strict=True)
        ]
        chunk_bytes = math.prod(chunk) * shard_classes * itemsize
        while math.prod(counts) * chunk_bytes > _SHARD_BYTES and max(counts) > 1:
            largest = counts.index(max(counts))
            counts[largest] = -(-counts[largest] // 2)
        shard = tuple(n * c for n, c in zip(counts, chunk, strict=True))
        return cls(tuple(shape), n_classes, chunk, shard, chunk_classes, shard_classes)

    @property
    def chunks_per_shard(self) -> tuple[int, ...]:
        """Spatial chunks in a shard, per axis."""
        return tuple(s // c for s, c in zip(self.shard, self.chunk, strict=True))

    def shards(self) -> Iterator[tuple[int, ...]]:
        """Grid index of every shard, spatial axes."""
        counts = (-(-n // s) for n, s in zip(self.shape, self.shard, strict=True))
        return itertools.product(*map(range, counts))

    def blocks(
        self, shard: Sequence[int]
    ) -> Iterator[tuple[tuple[int, ...], list[slice]]]:
        """Chunks of a shard that lie in the volume: index in the shard, and voxels."""
        for index in itertools.product(*map(range, self.chunks_per_shard)):
            corner = zip(shard, self.shard, index, self.chunk, strict=True)
            starts = [at * extent + i * c for at, extent, i, c in corner]
            sides = zip(starts, self.chunk, self.shape, strict=True)
            voxels = [slice(start, min(start + c, n)) for start, c, n in sides]
            if all(side.start < side.stop for side in voxels):
                yield index, voxels
