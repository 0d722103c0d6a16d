"""Soft labels of the blocks of a volume, made on the CPU or a GPU.

To the same bytes; those of a method that takes an image may differ by a level.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import Float32Array, Region, SoftArray, UIntArray
from svls_cli.batch.ahead import ahead
from svls_cli.errors import InvalidParameterError
from svls_cli.labels.values import distinct_values
from svls_cli.soften.dense import soften_dense
from svls_cli.soften.devices import Gpu, find_gpu
from svls_cli.soften.libraries import Array
from svls_cli.soften.methods import Softening
from svls_cli.soften.mixture import Mixture, labels_of
from svls_cli.soften.smoothing import SoftBlock, soften_block

# Gives the soft labels of a block when it is called.
SoftenLater = Callable[[], SoftBlock]


def soften_part(
    volume: UIntArray,
    block: Sequence[slice],
    softening: Softening,
    *,
    n_classes: int,
    dtype: npt.DTypeLike,
    mixture: Mixture | None = None,
    guide: Float32Array | None = None,
) -> SoftBlock:
    """Soft labels of a block of a volume, made by the engine.

    Parameters
    ----------
    volume : (z, y, x) or (y, x)
        Class index of each voxel, ``n_classes`` where it is ignored; or codes of
        ``mixture``.
    block
        A slice per axis, within the volume.
    softening, n_classes, dtype, mixture
        As in `soften_block`.
    guide : as ``volume``
        The image, as `standardised` makes it, for a method that takes one.

    Raises
    ------
    InvalidParameterError
        If the method takes an image and there is none.
    """
    if softening.intensity_scale is not None and guide is None:
        raise InvalidParameterError("method bilateral needs the image of each case")
    if softening.intensity_scale is None:
        guide = None  # of use to another method
    radius = softening.radius or (0,) * volume.ndim
    inside, missing = _with_halo(volume, block, radius)
    meaning: dict[str, Any] = {
        "n_classes": n_classes,
        "dtype": dtype,
        "mixture": mixture,
    }
    code = inside.min()
    if code == inside.max():  # one voxel stands for all
        window = np.full([2 * r + 1 for r in radius], code)
        one = soften_block(window, softening, **meaning)
        shape = (len(one.classes), *(s.stop - s.start for s in block))
        return SoftBlock(one.classes, np.broadcast_to(one.soft, shape), constant=True)
    if guide is not None:
        around, _ = _with_halo(guide, block, radius)
        meaning["guide"] = np.pad(around, missing, mode="edge")
    if any(map(any, missing)):
        inside = np.pad(inside, missing, mode="edge")
    return soften_block(inside, softening, **meaning)


def soften_blocks(
    volume: UIntArray,
    regions: Iterable[Sequence[Region]],
    softening: Softening,
    *,
    n_classes: int,
    dtype: npt.DTypeLike,
    mixture: Mixture | None = None,
    guide: Float32Array | None = None,
    device: str,
) -> Iterator[SoftenLater]:
    """One function for each block, in order, that gives its soft labels.

    On the CPU it makes them, in whichever thread it is called. A GPU makes those of a
    region together, a region or two ahead, and the function cuts the block out.

    Parameters
    ----------
    volume, softening, n_classes, dtype, mixture, guide
        As in `soften_part`.
    regions
        Blocks that lie together, such as those of a shard.
    device
        As in `smooth`.

    Raises
    ------
    InvalidParameterError
        If there is no such device.
    DeviceError
        If the GPU fails otherwise than by lack of memory.
    """
    engine = partial(
        soften_part,
        volume,
        softening=softening,
        n_classes=n_classes,
        dtype=dtype,
        mixture=mixture,
        guide=guide,
    )
    gpu = find_gpu(device)
    # Where nothing is smoothed, a GPU would only be a detour.
    if gpu is None or softening.neighbours is None:
        return (partial(engine, block) for blocks in regions for block in blocks)
    meaning = softening, n_classes, dtype, mixture, guide
    return _Regions(gpu, engine, volume, *meaning).soften(regions)


@dataclass(frozen=True, eq=False)
class _Block:
    """A block, and what is around: which classes, and whether voxels are ignored."""

    voxels: Region
    classes: npt.NDArray[np.intp]
    ignores: bool
    plain: bool  # of one class, or of none


@dataclass(frozen=True, eq=False)
class _Regions:
    """Regions of a volume, made by a GPU."""

    gpu: Gpu
    engine: Callable[[Region], SoftBlock]
    volume: UIntArray
    softening: Softening
    n_classes: int
    dtype: npt.DTypeLike
    mixture: Mixture | None
    guide: Float32Array | None

    def soften(self, regions: Iterable[Sequence[Region]]) -> Generator[SoftenLater]:
        """What `soften_blocks` gives."""
        work = ahead(self.gpu.pool, self._region, regions, self.gpu.at_work)
        for soft in work:
            yield from soft

    def _region(self, blocks: Sequence[Region]) -> list[SoftenLater]:
        seen = [self._look_at(voxels) for voxels in blocks]
        # The engine computes in double precision only where voxels are ignored.
        together = [b for b in seen if not b.plain and not b.ignores]
        alone = [[b] for b in seen if not b.plain and b.ignores]
        made: dict[_Block, SoftenLater] = {}
        for group in [together, *alone]:
            if group:
                made |= self._group(group)
        return [made.get(b) or partial(self.engine, b.voxels) for b in seen]

    def _look_at(self, voxels: Region) -> _Block:
        inside, _ = _with_halo(self.volume, voxels, self._radius)
        codes = distinct_values(inside).astype(np.intp)
        labels = labels_of(
            self.mixture, self.n_classes, np.dtype(self.dtype), uniform=0
        )
        return _Block(
            voxels, labels.classes(codes), labels.ignores(codes), len(codes) == 1
        )

    def _group(self, blocks: list[_Block]) -> dict[_Block, SoftenLater]:
        """All blocks at once; without memory for them halves; at last by the engine."""
        box = tuple(
            slice(min(s.start for s in along), max(s.stop for s in along))
            for along in zip(*(b.voxels for b in blocks), strict=True)
        )
        inside, missing = _with_halo(self.volume, box, self._radius)
        arrays = [np.pad(inside, missing, mode="edge")]
        if self.guide is not None:
            around, _ = _with_halo(self.guide, box, self._radius)
            arrays.append(np.pad(around, missing, mode="edge"))
        classes = np.unique(np.concatenate([b.classes for b in blocks]))

        def dense(labels: Array, guide: Array | None = None) -> Array:
            return soften_dense(
                labels,
                self.softening,
                n_classes=self.n_classes,
                dtype=self.dtype,
                mixture=self.mixture,
                guide=guide,
                classes=classes.tolist(),
                ignores=blocks[0].ignores,
                halo=True,
            )

        try:
            soft = self.gpu.run(dense, *arrays)
        except MemoryError:
            if len(blocks) == 1:
                return {blocks[0]: partial(self.engine, blocks[0].voxels)}
            first, second = _halves(blocks, box)
            return self._group(first) | self._group(second)
        return {b: partial(_cut, soft, classes, box, b) for b in blocks}

    @property
    def _radius(self) -> tuple[int, ...]:
        return self.softening.radius or ()


def _halves(blocks: list[_Block], box: Region) -> tuple[list[_Block], list[_Block]]:
    """The blocks on either side of the middle of the axis with most of them."""
    starts = [
        sorted({b.voxels[axis].start for b in blocks}) for axis in range(len(box))
    ]
    axis = max(range(len(box)), key=lambda axis: len(starts[axis]))
    middle = starts[axis][len(starts[axis]) // 2]
    low = [b for b in blocks if b.voxels[axis].start < middle]
    return low, [b for b in blocks if b.voxels[axis].start >= middle]


def _cut(
    soft: SoftArray, classes: npt.NDArray[np.intp], box: Region, block: _Block
) -> SoftBlock:
    """A block of a region, with the classes that the engine would give it."""
    voxels = tuple(
        slice(s.start - b.start, s.stop - b.start)
        for s, b in zip(block.voxels, box, strict=True)
    )
    rows = np.searchsorted(classes, block.classes)
    return SoftBlock(block.classes, np.take(soft[:, *voxels], rows, axis=0))


def _with_halo(
    volume: npt.NDArray[Any], block: Sequence[slice], radius: Sequence[int]
) -> tuple[npt.NDArray[Any], list[tuple[int, int]]]:
    """A block and ``radius`` voxels around it, and how many the volume lacks there.

    Examples
    --------
    >>> _with_halo(np.arange(5), [slice(0, 2)], [2])
    (array([0, 1, 2, 3]), [(2, 0)])
    """
    wanted = [(s.start - r, s.stop + r) for s, r in zip(block, radius, strict=True)]
    inside = tuple(
        slice(max(0, start), min(n, stop))
        for (start, stop), n in zip(wanted, volume.shape, strict=True)
    )
    missing = [
        (part.start - start, stop - part.stop)
        for (start, stop), part in zip(wanted, inside, strict=True)
    ]
    return np.ascontiguousarray(volume[inside]), missing
