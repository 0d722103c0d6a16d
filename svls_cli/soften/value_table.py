"""What the values of one block stand for, as a table with a row for each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import BoolArray, SoftArray, UIntArray
from svls_cli.soften.methods import Softening
from svls_cli.soften.mixture import Mixture, labels_of
from svls_cli.soften.smoothing import soften_block


@dataclass(frozen=True)
class ValueTable:
    """What the engine makes of each value of a block, one row a value.

    Parameters
    ----------
    classes : (k,)
        Classes that have a share in any of them, ascending.
    stored : (k, n)
        Soft label where nothing is smoothed, as levels.
    given : (k, n) float32
        Share before smoothing.
    own : (n,) int32
        Class of each value, as a place in ``classes``; k if it is ignored.
    """

    classes: npt.NDArray[np.intp]
    stored: SoftArray
    given: npt.NDArray[np.float32]
    own: npt.NDArray[np.int32]

    @classmethod
    def of(
        cls,
        values: UIntArray,
        softening: Softening,
        *,
        n_classes: int,
        dtype: npt.DTypeLike,
        mixture: Mixture | None,
    ) -> ValueTable:
        """The table of ``values`` (n,), ascending; all else as in `soften_block`."""
        alone = replace(softening, neighbours=None)
        flat = soften_block(
            values[np.newaxis],
            alone,
            n_classes=n_classes,
            dtype=dtype,
            mixture=mixture,
        )
        kind: np.dtype[Any] = np.dtype(dtype)
        labels = labels_of(mixture, n_classes, kind, uniform=softening.uniform)
        hard = labels.hard(values)
        own = np.searchsorted(flat.classes, hard)
        own[hard == n_classes] = len(flat.classes)
        given = np.zeros((len(flat.classes), len(values)), np.float32)
        for shares, index in zip(given, flat.classes, strict=True):
            shares[:] = labels.given(values, hard == index, index)
        return cls(flat.classes, flat.soft[:, 0], given, own.astype(np.int32))

    @property
    def certain(self) -> BoolArray:
        """(n,) whether no class but its own has a share."""
        own = self.own == np.arange(len(self.classes))[:, np.newaxis]
        certain: BoolArray = ~((self.given > 0) & ~own).any(axis=0)
        return certain

    @property
    def ignores(self) -> bool:
        """Whether one of the values is ignored."""
        return bool((self.own == len(self.classes)).any())
