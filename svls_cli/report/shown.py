"""Slices of a case as rows and columns, cropped to their labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import BoolArray, UIntArray
from svls_cli.evaluation.predictions import PredictedCase
from svls_cli.report.planes import choose_slices
from svls_cli.report.reading import CaseContent
from svls_cli.soften.levels import levels

# Pixels around the labels, and the share of their extent.
_LEAST_MARGIN, _MARGIN_SHARE = 8, 0.15
# Interquartile ranges around the median that are shown in greys, and percent of the
# pixels that may be beyond them in any case.
_QUARTILES, _CLIPPED = 5, 0.5


@dataclass(frozen=True, eq=False)
class Shown:
    """What is known of one slice, as rows and columns."""

    number: int
    image: npt.NDArray[Any] | None
    hard: UIntArray
    raters: tuple[UIntArray, ...]
    soft: Mapping[int, npt.NDArray[np.float32]]  # classes that occur
    predicted: Mapping[int, npt.NDArray[np.float32]]
    argmax: UIntArray | None

    def cropped(self, box: tuple[slice, slice]) -> Shown:
        """The part of it inside a box of rows and columns."""
        return Shown(
            self.number,
            None if self.image is None else self.image[box],
            self.hard[box],
            tuple(labels[box] for labels in self.raters),
            {index: p[box] for index, p in self.soft.items()},
            {index: p[box] for index, p in self.predicted.items()},
            None if self.argmax is None else self.argmax[box],
        )

    @property
    def label_maps(self) -> list[UIntArray]:
        """Every label map of the slice."""
        maps = [self.hard, *self.raters]
        return maps if self.argmax is None else [*maps, self.argmax]


def shown_slices(content: CaseContent, count: int) -> list[Shown]:
    """Read the slices where most is uncertain, each cropped to its labels."""
    found = []
    for number in choose_slices(content.sights[0], count):
        whole = _read(content, number)
        drawn = [content.foreground(labels) for labels in whole.label_maps]
        found.append(whole.cropped(_box(np.logical_or.reduce(drawn))))
    return found


def window_of(content: CaseContent, shown: Iterable[Shown]) -> tuple[float, float]:
    """Intensities that are black and white.

    What is not far from the middle of the labelled pixels lies between: the air around
    a body, in CT, would leave few greys to the rest.
    """
    pairs = [(each, each.image) for each in shown if each.image is not None]
    if not pairs:
        return 0.0, 1.0
    pixels = np.concatenate([image.ravel() for _, image in pairs])
    drawn = [content.foreground(each.hard).ravel() for each, _ in pairs]
    least, most = np.percentile(pixels, (_CLIPPED, 100 - _CLIPPED))
    labelled = pixels[np.concatenate(drawn)]
    if labelled.size:
        first, middle, third = np.percentile(labelled, (25, 50, 75))
        if third > first:
            least = max(least, middle - _QUARTILES * (third - first))
            most = min(most, middle + _QUARTILES * (third - first))
    return float(least), float(most)


def _read(content: CaseContent, number: int) -> Shown:
    plane, source = content.plane, content.source
    region = plane.region(number, content.grid)

    def shown(voxels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return plane.shown(voxels[region])

    def soft(case: PredictedCase) -> dict[int, npt.NDArray[np.float32]]:
        found = enumerate(case.patch(region))
        return {
            c: np.divide(plane.shown(p), levels(p.dtype), dtype=np.float32)
            for c, p in found
            if p.any()
        }

    predicted = content.predicted
    return Shown(
        number,
        None if content.image is None else shown(content.image),
        shown(content.hard),
        tuple(map(shown, content.raters.maps if content.raters else ())),
        soft(source.case),
        {} if source.prediction is None else soft(source.prediction),
        None if predicted is None else shown(predicted.argmax),
    )


def _box(drawn: BoolArray) -> tuple[slice, slice]:
    """Rows and columns of what is drawn, with a margin; everything if nothing is."""
    sides = []
    for axis in (1, 0):
        (used,) = np.nonzero(drawn.any(axis=axis))
        n = drawn.shape[1 - axis]
        if not used.size:
            return slice(None), slice(None)
        low, high = int(used[0]), int(used[-1]) + 1
        margin = max(_LEAST_MARGIN, round(_MARGIN_SHARE * (high - low)))
        sides.append(slice(max(0, low - margin), min(n, high + margin)))
    return sides[0], sides[1]
