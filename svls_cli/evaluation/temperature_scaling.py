"""Temperature scaling of predictions, fitted on other patients' cases."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import BoolArray, Float32Array, FloatArray, Region
from svls_cli.errors import InputError
from svls_cli.evaluation.counting import (
    Prediction,
    as_levels,
    checked,
    count_levels,
)
from svls_cli.evaluation.evaluate_case import chunks
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.rater_maps import RaterMaps
from svls_cli.metrics.temperature import (
    TEMPERATURES,
    best_temperature,
    nll_by_temperature,
    scale_by_temperature,
)

# Regions in which a temperature can be fitted. (The foreground is chosen by the answer,
# and so is no sample of forecasts.)
FITTED_REGIONS = ("whole", "band")
_FOLDS = 5
# Largest number of probabilities that are held at a time: all classes of a block.
_BLOCK_SIZE = 2**24


@dataclass(frozen=True)
class ScaledPrediction:
    """A prediction whose probabilities are scaled by a temperature."""

    prediction: Prediction
    temperature: float

    def patch(self, region: Region, *, classes: slice) -> Float32Array:
        """Scaled probabilities (c, z, y, x) of a range of classes."""
        whole = self.prediction.patch(region, classes=slice(None))
        return scale_by_temperature(whole, self.temperature)[classes]


@dataclass(frozen=True)
class Fold:
    """Cases that are scaled with a temperature that the other cases gave."""

    temperature: float
    cases: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"temperature": self.temperature, "cases": list(self.cases)}


@dataclass(frozen=True)
class Temperatures:
    """Fitted temperatures.

    Parameters
    ----------
    temperature
        Temperature of the least NLL over all cases: that for new ones.
    folds
        Parts of the cases, each with the temperature of all other patients' cases.
    """

    temperature: float
    folds: tuple[Fold, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature,
            "folds": [fold.to_json() for fold in self.folds],
        }

    @cached_property
    def by_case(self) -> dict[str, float]:
        """Held-out temperature of each case."""
        return {case: fold.temperature for fold in self.folds for case in fold.cases}

    @property
    def at_the_edge(self) -> list[float]:
        """Those that are the least or largest that is tried."""
        found = {self.temperature, *(fold.temperature for fold in self.folds)}
        return sorted(found.intersection(TEMPERATURES[[0, -1]].tolist()))

    @classmethod
    def fit(
        cls, nll: Mapping[str, FloatArray], patients: Mapping[str, str], *, seed: int
    ) -> Temperatures:
        """Fit temperatures to cases, and hold each patient out of those of its own.

        Parameters
        ----------
        nll
            Mean NLL at each of `TEMPERATURES`, by case; each case weighs the same, as
            in the means that are reported.
        patients
            Patient of each case; default: a patient of its own.
        seed
            Seed by which patients are dealt into five folds, or as many as there are.

        Raises
        ------
        InputError
            If there are fewer than two patients.
        """
        owners = {case: patients.get(case, case) for case in sorted(nll)}
        check_patients(owners)
        everyone = np.random.default_rng(seed).permutation(sorted(set(owners.values())))
        folds = []
        for start in range(min(_FOLDS, len(everyone))):
            dealt = set(everyone[start::_FOLDS].tolist())
            own = tuple(case for case, patient in owners.items() if patient in dealt)
            others = [nll[case] for case in owners if case not in own]
            folds.append(Fold(best_temperature(np.sum(others, axis=0)), own))
        total = np.sum([nll[case] for case in owners], axis=0)
        return cls(best_temperature(total), tuple(folds))


def check_patients(owners: Mapping[str, str]) -> None:
    """Raise InputError unless the cases are of two patients or more."""
    if len(set(owners.values())) < 2:
        raise InputError(
            "temperature scaling holds each patient out of the fit of its temperature, "
            f"so it takes two or more, found {len(set(owners.values()))}"
        )


def case_nll(
    prediction: Prediction,
    reference: RaterMaps,
    inside: BoolArray | None = None,
    *,
    dtype: npt.DTypeLike,
) -> FloatArray:
    """Mean NLL of a case's forecasts at each of `TEMPERATURES`, (temperatures,).

    The mean over voxels, all or those ``inside``, and over raters. Certain forecasts,
    most of all, are the same at any temperature and add nothing, nor do labels of
    probability 0.

    Raises
    ------
    StoreError
        If the prediction holds values that are no probabilities, or is damaged.
    """
    n_classes, top = len(reference.classes), count_levels(dtype)
    total, count = np.zeros(len(TEMPERATURES)), 0
    for region, (classes,) in scaling_blocks(reference.geometry, n_classes, dtype):
        patch = checked(prediction.patch(region, classes=classes))
        p = as_levels(patch).reshape(n_classes, -1)
        maps = [labels[region].ravel() for labels in reference.maps]
        rated = np.logical_and.reduce([labels != n_classes for labels in maps])
        if inside is not None:
            rated &= inside[region].ravel()
        forecast = rated & p.any(axis=0)
        count += len(maps) * int(np.count_nonzero(forecast))
        voxels = np.flatnonzero(forecast & (p < top).all(axis=0))
        p = p[:, voxels]
        said = np.stack([p[labels[voxels], np.arange(len(voxels))] for labels in maps])
        total += nll_by_temperature(p, said, levels=top)
    return total / max(count, 1)


def scaling_blocks(
    grid: Geometry, n_classes: int, dtype: npt.DTypeLike
) -> Iterator[tuple[Region, Sequence[slice]]]:
    """Blocks that are scaled at once: chunks of a store, cut where classes are many."""
    for chunk, _ in chunks(grid, n_classes, dtype):
        first, *rest = chunk
        slice_size = n_classes * math.prod(side.stop - side.start for side in rest)
        step = max(1, _BLOCK_SIZE // slice_size)
        for at in range(first.start, first.stop, step):
            slab = slice(at, min(at + step, first.stop))
            yield (slab, *rest), [slice(0, n_classes)]
