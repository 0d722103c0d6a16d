"""What the numbers of a region stand for: classes, or mixtures of them.

A label map's voxels are class indices. Fused from several raters, a voxel is a code,
and a table says how probable each class is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import BoolArray, FloatArray, IntArray, SoftArray, UIntArray
from svls_cli.labels.values import look_up
from svls_cli.soften.levels import ROUNDING_MARGIN, levels, uniform_levels


@dataclass(frozen=True, eq=False)
class Mixture:
    """How probable each class is for each code of a fused volume.

    Parameters
    ----------
    codes, classes : (m,)
        Code and class index of each entry, ascending by class, then code.
    shares : (m,) float64
        Probability of the class; each code's sum to 1, or to 0 where it is ignored.
    hard : (n,)
        Consensus class index of each code; ``n_classes`` where it is ignored.
    n_classes
        Classes of the data set.
    """

    codes: IntArray
    classes: IntArray
    shares: SoftArray
    hard: UIntArray
    n_classes: int

    @classmethod
    def from_table(
        cls, table: FloatArray, classes: IntArray, hard: IntArray, *, n_classes: int
    ) -> Mixture:
        """From one row a code and one column for each of ``classes``, ascending."""
        kept = table > 0
        rated = np.flatnonzero(hard < n_classes)
        # The hard class takes the rest of every sum, even where its share is 0.
        kept[rated, np.searchsorted(classes, hard[rated])] = True
        columns, codes = np.nonzero(kept.T)
        own: UIntArray = hard.astype(np.min_scalar_type(n_classes))
        return cls(codes, classes[columns], table[codes, columns], own, n_classes)

    def column(self, index: int) -> SoftArray:
        """(n,) shares of one class."""
        start, stop = np.searchsorted(self.classes, [index, index + 1])
        column = np.zeros(len(self.hard), self.shares.dtype)
        column[self.codes[start:stop]] = self.shares[start:stop]
        return column

    def with_uniform(self, uniform: float) -> Mixture:
        """The mixture after uniform label smoothing; ignored codes stay ignored."""
        if not uniform:
            return self
        table = np.full((len(self.hard), self.n_classes), uniform / self.n_classes)
        table[self.codes, self.classes] += (1 - uniform) * self.shares
        table[self.hard == self.n_classes] = 0
        every = np.arange(self.n_classes)
        return Mixture.from_table(
            table, every, self.hard.astype(np.int64), n_classes=self.n_classes
        )


class HardLabels:
    """Each number of a region is a class index, ``n_classes`` where it is ignored.

    Parameters
    ----------
    n_classes
        Classes of the data set.
    dtype
        Type of the soft labels.
    uniform
        Share that all classes split evenly.
    """

    mixed = False

    def __init__(self, n_classes: int, dtype: np.dtype[Any], uniform: float) -> None:
        self.n_classes = n_classes
        self._dtype, self._uniform = dtype, uniform
        self._own, self._other = uniform_levels(uniform, n_classes, dtype)

    def classes(self, codes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Classes with a share in a region that holds these numbers, ascending."""
        if self._uniform:
            return np.arange(self.n_classes)
        return codes[codes < self.n_classes]

    def ignores(self, codes: npt.NDArray[np.intp]) -> bool:
        """Whether one of the numbers found in a region is ignored."""
        return bool((codes == self.n_classes).any())

    def alone(self, index: int) -> SoftArray:
        """(n,) soft label of one class where a voxel's window holds one number only."""
        column = np.full(self.n_classes + 1, self._other, self._dtype)
        column[index] = self._own
        column[self.n_classes] = 0
        return column

    def fill(self, inner: UIntArray, index: int, *, out: SoftArray) -> None:
        """Soft labels of one class where nothing is smoothed."""
        if self._uniform:
            out[...] = look_up(self.alone(index), inner)
        else:  # as uint8: NumPy multiplies it several times faster than bool
            one = self._dtype.type(self._own)
            np.multiply((inner == index).view(np.uint8), one, out=out)

    def hard(self, batch: UIntArray) -> UIntArray:
        """Class that each voxel counts as."""
        return batch

    def shares(self, batch: UIntArray, own: BoolArray, index: int) -> SoftArray:
        """Share of one class before smoothing; ``own`` is where it is the voxel's."""
        return own


class MixedLabels:
    """Each number of a region is a code of a mixture; methods as in `HardLabels`."""

    mixed = True

    def __init__(self, mixture: Mixture, dtype: np.dtype[Any]) -> None:
        self.n_classes = mixture.n_classes
        self._mixture = mixture
        stored = _rounded(mixture, dtype)
        # Every batch of tiles asks for the same few.
        self._alone = cache(stored.column)
        self._shares = cache(lambda index: mixture.column(index).astype(np.float32))
        self._disputed = np.bincount(mixture.codes, minlength=len(mixture.hard)) > 1

    def classes(self, codes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        seen = np.zeros(len(self._mixture.hard), bool)
        seen[codes] = True
        return np.unique(self._mixture.classes[seen[self._mixture.codes]])

    def ignores(self, codes: npt.NDArray[np.intp]) -> bool:
        return bool((self._mixture.hard[codes] == self.n_classes).any())

    def alone(self, index: int) -> SoftArray:
        return self._alone(index)

    def fill(self, inner: UIntArray, index: int, *, out: SoftArray) -> None:
        out[...] = look_up(self.alone(index), inner)

    def hard(self, batch: UIntArray) -> UIntArray:
        return look_up(self._mixture.hard, batch)

    def disputed(self, batch: UIntArray) -> BoolArray:
        """Whether several classes have a share in a voxel's own code."""
        return look_up(self._disputed.view(np.uint8), batch).view(bool)

    def shares(self, batch: UIntArray, own: BoolArray, index: int) -> SoftArray:
        # Codes are in range; unchecked, NumPy takes a third less time.
        return self._shares(index).take(batch, mode="clip")


Labels = HardLabels | MixedLabels


def labels_of(
    mixture: Mixture | None, n_classes: int, dtype: np.dtype[Any], *, uniform: float
) -> Labels:
    """What the numbers of a region stand for.

    Raises
    ------
    InvalidParameterError
        If ``dtype`` is too coarse for uniform label smoothing.
    """
    if mixture is None:
        return HardLabels(n_classes, dtype, uniform)
    return _mixed_labels(mixture, dtype, uniform=uniform)


# A volume's blocks share one; the mixture itself is the key.
@lru_cache(maxsize=8)
def _mixed_labels(
    mixture: Mixture, dtype: np.dtype[Any], *, uniform: float
) -> MixedLabels:
    """What the codes of ``mixture`` stand for, after uniform label smoothing."""
    uniform_levels(uniform, mixture.n_classes, dtype)
    return MixedLabels(mixture.with_uniform(uniform), dtype)


def _rounded(mixture: Mixture, dtype: np.dtype[Any]) -> Mixture:
    """Shares as stored: each code's sum is exact, its hard class has the rest."""
    top = levels(dtype)
    values = mixture.shares * top
    wide: Any = np.float64
    if dtype.kind == "u":
        wide = np.int64
        values = np.floor(values + (0.5 - top * ROUNDING_MARGIN))
    values = values.astype(wide)
    own = mixture.hard[mixture.codes] == mixture.classes
    others = np.zeros(len(mixture.hard), wide)
    np.add.at(others, mixture.codes[~own], values[~own])
    values[own] = top - others[mixture.codes[own]]
    for entry in np.flatnonzero(values < 0):  # many others rounded up
        rivals = np.flatnonzero((mixture.codes == mixture.codes[entry]) & ~own)
        take_back([values[at : at + 1] for at in rivals], values[entry : entry + 1])
    return replace(mixture, shares=values.astype(dtype))


def take_back(shares: Sequence[SoftArray], rest: SoftArray) -> None:
    """Where the others got too much, take it from the largest; ``rest`` becomes >= 0.

    Only when neighbours hold nearly everything (strength close to 1) and many of them
    round up.
    """
    if rest.dtype.kind == "f":
        np.maximum(rest, 0, out=rest)
        return
    while (over := np.nonzero(rest < 0))[0].size:
        columns = np.stack([values[over] for values in shares])
        largest = columns.argmax(axis=0)
        for k, values in enumerate(shares):
            values[over] -= (largest == k).astype(values.dtype)
        rest[over] += 1
