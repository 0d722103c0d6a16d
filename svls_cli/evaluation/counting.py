"""Counts of a stored prediction against label maps, block by block.

Every voxel is a forecast of what each rater said there. A block is read class by
class, and only voxels at which a class has a probability above 0 are looked at, so
neither time nor memory grow with the classes that a voxel does not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import BoolArray, IndexArray, IntArray, Region, UIntArray
from svls_cli.errors import StoreError
from svls_cli.evaluation.regions import REGIONS
from svls_cli.metrics.calibration import LevelCounts
from svls_cli.soften.levels import levels

# Number of levels at which float probabilities are counted.
_FLOAT_LEVELS = 65_535
# How far float probabilities may exceed 1 by rounding.
_ROUNDING = 1e-3


class Prediction(Protocol):
    """Source of soft labels, such as a `StoredCase`."""

    def patch(self, region: Region, *, classes: slice) -> npt.NDArray[Any]:
        """Soft labels (c, z, y, x) of a range of classes."""


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """Counts of the forecasts of one class."""

    count: IntArray  # (levels + 1,) voxels at each level of the class's probability
    # (raters, levels + 1) how many of these voxels each rater gave the class.
    hits: IntArray
    # (2, levels + 1) the same in the foreground and in the band, summed over the
    # raters.
    part_count: IntArray
    part_hits: IntArray

    @classmethod
    def zero(cls, n_levels: int, n_raters: int) -> ClassCounts:
        """Counts before the first block."""
        shapes = ((), (n_raters,), (2,), (2,))
        return cls(*(np.zeros((*shape, n_levels + 1), np.int64) for shape in shapes))

    def forecasts(self, region: str) -> LevelCounts:
        """Forecasts of all raters' labels in one of `REGIONS`."""
        if region == "whole":
            return LevelCounts(self.count * len(self.hits), self.hits.sum(axis=0))
        part = REGIONS.index(region) - 1
        return LevelCounts(self.part_count[part], self.part_hits[part])


class CaseCounts:
    """Counts of a prediction against the label maps of one case, block by block.

    Voxels that any rater ignores, or that the prediction gives no class, count nowhere.
    ``maps`` (z, y, x) or (y, x) are class indices by each rater, ``n_classes`` where
    the rater ignores the voxel; ``band`` is the boundary band, of the same shape.
    """

    def __init__(
        self,
        maps: Sequence[UIntArray],
        band: BoolArray,
        *,
        n_classes: int,
        background: int | None,
        n_levels: int,
    ) -> None:
        n_raters = len(maps)
        self.maps, self.band = maps, band
        self.n_classes, self.background, self.n_levels = n_classes, background, n_levels
        # Most probable class, of equal ones the first; ``n_classes`` where the voxel
        # does not count.
        self.argmax = np.full(band.shape, n_classes, np.min_scalar_type(n_classes))
        # Voxels by their most probable class, and those that a rater gave the same.
        self.predicted = np.zeros(n_classes, np.int64)
        self.agreed = np.zeros((n_raters, n_classes), np.int64)
        # Voxels that raters gave each class, by region, summed over the raters; and
        # those to which both of two raters gave it.
        self.labels = np.zeros((len(REGIONS), n_classes), np.int64)
        self.overlaps = np.zeros((n_classes, n_raters, n_raters), np.int64)
        self._top, self._top_hits = np.zeros(
            (2, len(REGIONS), n_raters, n_levels + 1), np.int64
        )
        self._classes: dict[int, ClassCounts] = {}

    @property
    def voxels(self) -> int:
        """Number of voxels that count."""
        return int(self.predicted.sum())

    @property
    def pairs(self) -> IntArray:
        """Pairs of a voxel and a rater in each region, (3,)."""
        total: IntArray = self.labels.sum(axis=1)
        return total

    def highest(self, region: str) -> list[LevelCounts]:
        """Forecasts that the most probable class is the rater's, by rater."""
        at = REGIONS.index(region)
        by_rater = zip(self._top[at], self._top_hits[at], strict=True)
        return [LevelCounts(count, hits) for count, hits in by_rater]

    def of_class(self, index: int) -> ClassCounts:
        """Counts of one class, with its forecasts of probability 0."""
        counts = self._classes.get(index)
        if counts is None:
            counts = ClassCounts.zero(self.n_levels, len(self.maps))
        # Only probabilities above 0 were counted; all other voxels had 0.
        drawn = self.overlaps[index].diagonal()
        for array, total in (
            (counts.count, self.voxels),
            (counts.hits, drawn),
            (counts.part_count, self.pairs[1:]),
            (counts.part_hits, self.labels[1:, index]),
        ):
            array[..., 0] = total - array[..., 1:].sum(axis=-1)
        return counts

    def add(
        self, prediction: Prediction, region: Region, groups: Iterable[slice]
    ) -> None:
        """Count one block, reading its classes group by group."""
        block = _Block.of(self, region)
        best: npt.NDArray[Any] | None = None
        winner = np.full(block.rated.size, self.n_classes, self.argmax.dtype)
        for group in groups:
            patch = checked(prediction.patch(region, classes=group))
            for index, p in enumerate(patch.reshape(len(patch), -1), group.start):
                if not p.any():
                    continue
                best = np.zeros_like(p) if best is None else best
                winner[p > best] = index
                np.maximum(best, p, out=best)
                self._add_class(index, as_levels(p), block)
        if best is not None:
            self._add_highest(as_levels(best), winner, block, region)

    def _add_class(self, index: int, p: UIntArray, block: _Block) -> None:
        if index not in self._classes:
            self._classes[index] = ClassCounts.zero(self.n_levels, len(self.maps))
        sums = self._classes[index]
        where = np.flatnonzero(p.astype(bool) & block.rated)
        k = p[where].astype(np.intp)
        _tally(sums.count, k)
        for rater, labels in enumerate(block.maps):
            hit = labels[where] == index
            _tally(sums.hits[rater], k[hit])
            for part, mask in enumerate((block.foreground[rater], block.band)):
                inside = mask[where]
                _tally(sums.part_count[part], k[inside])
                _tally(sums.part_hits[part], k[inside & hit])

    def _add_highest(
        self, p: UIntArray, winner: UIntArray, block: _Block, region: Region
    ) -> None:
        counts = p.astype(bool) & block.rated
        winner[~counts] = self.n_classes
        self.argmax[region] = winner.reshape(self.argmax[region].shape)
        where = np.flatnonzero(counts)
        k, chosen = p[where].astype(np.intp), winner[where]
        said = [labels[where] for labels in block.maps]
        self.predicted += self._by_class(chosen)
        for rater, labels in enumerate(said):
            right = labels == chosen
            self.agreed[rater] += self._by_class(chosen[right])
            masks = (counts, block.foreground[rater], block.band)
            for at, inside in enumerate(mask[where] for mask in masks):
                _tally(self._top[at, rater], k[inside])
                _tally(self._top_hits[at, rater], k[inside & right])
                self.labels[at] += self._by_class(labels[inside])
            for other, theirs in enumerate(said):
                both = self._by_class(labels[labels == theirs])
                self.overlaps[:, rater, other] += both

    def _by_class(self, indices: UIntArray) -> IntArray:
        return np.bincount(indices, minlength=self.n_classes)


@dataclass(frozen=True, eq=False)
class _Block:
    """The raters' labels in a block, flattened."""

    # (n,) each: class indices by each rater, and where they are not background.
    maps: list[UIntArray]
    foreground: list[BoolArray]
    # (n,) voxels in the boundary band, and voxels that no rater ignores.
    band: BoolArray
    rated: BoolArray

    @classmethod
    def of(cls, case: CaseCounts, region: Region) -> _Block:
        maps = [labels[region].ravel() for labels in case.maps]
        rated = np.logical_and.reduce([labels != case.n_classes for labels in maps])
        foreground = [
            np.ones_like(rated)
            if case.background is None
            else labels != case.background
            for labels in maps
        ]
        return cls(maps, foreground, case.band[region].ravel(), rated)


def _tally(counts: IntArray, indices: IndexArray) -> None:
    np.add.at(counts, indices, 1)


def count_levels(dtype: npt.DTypeLike) -> int:
    """Number of levels at which probabilities of a store's type are counted."""
    return levels(dtype) if np.dtype(dtype).kind == "u" else _FLOAT_LEVELS


def as_levels(p: npt.NDArray[Any]) -> UIntArray:
    """Stored probabilities as levels: integers as they are, floats rounded."""
    if p.dtype.kind == "u":
        return p
    wide = np.minimum(p, 1, dtype=np.float32) * np.float32(_FLOAT_LEVELS)
    whole: UIntArray = np.rint(wide).astype(np.uint16)
    return whole


def checked(patch: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the patch if it holds probabilities, else raise StoreError."""
    if patch.dtype.kind == "f":
        least, largest = float(patch.min()), float(patch.max())
        if not (least >= 0 and largest <= 1 + _ROUNDING):
            raise StoreError(
                f"probabilities must lie in 0..1, found {least:g} to {largest:g}"
            )
    return patch
