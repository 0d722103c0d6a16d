"""Numbered patches, for training runs that are repeated or resumed."""

from __future__ import annotations

import operator
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Dataset

from svls_cli.training.config import TrainingConfig
from svls_cli.training.dataset import Sample, SoftLabelDataset

# Streams of random numbers: positions of patches, order of cases.
_PATCH, _ORDER = 1, 2


class PatchSequence(Dataset[Sample]):
    """The endless, repeatable sequence of a dataset's patches.

    Patch n is the same whenever and wherever it is asked for, so that a ``range`` is a
    sampler and a resumed run sees what it would have seen: ``sequence[n]`` is defined
    for every n >= 0, and each case comes once in as many patches as there are cases.
    ``len`` is that of the dataset. A transform has to draw its random numbers as
    `SoftLabelDataset` says.

    Parameters
    ----------
    dataset
        Patches of some cases.
    seed
        Seed of the order of the cases and of the positions of patches.

    Raises
    ------
    InvalidParameterError
        If the seed is out of its range.
    """

    def __init__(self, dataset: SoftLabelDataset, *, seed: int = 0) -> None:
        TrainingConfig(seed=seed)
        self.dataset, self._seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[Sample]:
        """As many patches as the dataset has."""
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> Sample:
        """Return patch ``number``, any whole number from 0 on."""
        number = operator.index(number)
        if number < 0:
            raise IndexError(f"patches are numbered from 0, found {number}")
        names = self.dataset.names
        passed, at = divmod(number, len(names))
        order = np.random.default_rng((self._seed, _ORDER, passed))
        name = names[order.permutation(len(names))[at]]
        return self.dataset.draw(
            name, np.random.default_rng((self._seed, _PATCH, number))
        )
