"""The slices of a case as they are drawn: pictures and lines over them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import BoolArray, FloatArray, UIntArray
from svls_cli.report.contours import UNITS, contour_path
from svls_cli.report.entropy import slice_entropy
from svls_cli.report.reading import CaseContent
from svls_cli.report.shown import Shown
from svls_cli.report.tiles import entropy_tile, grey_tile

# Probabilities at which lines are drawn, in percent.
LEVELS = (10, 50, 90)
_PIECE = re.compile("M[^M]*")  # one closed line of a path


@dataclass(frozen=True)
class Effort:
    """How much detail a page has."""

    slices: int
    tolerance: float  # how far lines may move, pixels
    longest: int  # pixels of the longer side of a picture
    characters: float = math.inf  # of the lines of a picture; the longest are kept

    @property
    def reduced(self) -> bool:
        """Whether lines may be missing."""
        return self.characters < math.inf


@dataclass(frozen=True)
class Line:
    """A path of SVG, in tenths of a pixel."""

    style: str  # names of CSS classes
    d: str


@dataclass(frozen=True)
class Layer:
    """Lines that are shown or hidden together."""

    key: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Number:
    """The label value of a class, at a place inside it in tenths of a pixel."""

    text: str
    style: str
    x: int
    y: int


@dataclass(frozen=True)
class Panel:
    """One picture of a slice."""

    title: str
    description: str  # what is seen on it, for who does not see it
    picture: str | None  # data URI; None is the image itself, as in the first panel
    layers: tuple[Layer, ...]
    numbers: tuple[Number, ...] = ()


@dataclass(frozen=True)
class SliceView:
    """All pictures of one slice.

    Parameters
    ----------
    number
        Index of the slice.
    width, height
        Extent of the pictures, tenths of a pixel.
    panels
        The pictures.
    """

    number: int
    width: int
    height: int
    panels: tuple[Panel, ...]


def draw_slice(
    content: CaseContent, shown: Shown, window: tuple[float, float], effort: Effort
) -> SliceView:
    """Draw one slice; ``window`` as `window_of` has it."""
    draw = _Draw(content, effort)
    grey = None
    if shown.image is not None:
        grey = grey_tile(shown.image, window, longest=effort.longest)
    names = content.source.case.raters
    who = f"{len(names)} raters and the consensus" if names else "hard label"
    contours = [
        Layer(f"r{at}", draw.outlines(labels)) for at, labels in enumerate(shown.raters)
    ]
    hard = Layer("hard", draw.outlines(shown.hard))
    panels = [
        Panel(
            "Raters" if names else "Hard label",
            f"contours of {who}",
            grey,
            # Raters lie on top of what they were fused to.
            (hard, *contours),
            draw.numbers(shown.hard),
        ),
        Panel(
            "Soft label",
            "lines of equal probability of the soft label",
            None,
            draw.levels(shown.soft),
        ),
        Panel(
            "Entropy",
            "entropy of the soft label",
            entropy_tile(
                _entropy(shown.soft, shown.hard.shape), longest=effort.longest
            ),
            (),
        ),
    ]
    if shown.argmax is not None:
        panels += _predicted(draw, shown, shown.argmax, hard)
    rows, columns = shown.hard.shape
    kept = tuple(_fitting(panel, effort.characters) for panel in panels)
    return SliceView(shown.number, columns * UNITS, rows * UNITS, kept)


def _fitting(panel: Panel, characters: float) -> Panel:
    """A picture without the shortest of its lines, if all are too many."""
    lines = [line for layer in panel.layers for line in layer.lines]
    pieces = sorted(
        (piece for line in lines for piece in _PIECE.findall(line.d)), key=len
    )
    total, shortest = sum(map(len, pieces)), 0
    for piece in pieces:
        if total <= characters:
            break
        total, shortest = total - len(piece), len(piece)

    def kept(line: Line) -> Line:
        found = (each for each in _PIECE.findall(line.d) if len(each) > shortest)
        return replace(line, d="".join(found))

    layers = (
        replace(layer, lines=tuple(filter(lambda line: line.d, map(kept, layer.lines))))
        for layer in panel.layers
    )
    return replace(panel, layers=tuple(layers))


def _predicted(
    draw: _Draw, shown: Shown, argmax: UIntArray, hard: Layer
) -> list[Panel]:
    effort = draw.effort
    entropy = _entropy(shown.predicted, argmax.shape)
    return [
        Panel(
            "Prediction",
            "contours of the prediction and of the consensus",
            None,
            (hard, Layer("pred", draw.outlines(argmax))),
        ),
        Panel(
            "Errors",
            "where the most probable class is not that of the consensus",
            None,
            draw.errors(shown.hard, argmax),
        ),
        Panel(
            "Predicted probability",
            "lines of equal probability of the prediction",
            None,
            draw.levels(shown.predicted),
        ),
        Panel(
            "Predicted entropy",
            "entropy of the prediction",
            entropy_tile(entropy, longest=effort.longest),
            (),
        ),
    ]


@dataclass(frozen=True, eq=False)
class _Draw:
    """Lines of one case."""

    content: CaseContent
    effort: Effort

    def path(self, values: npt.NDArray[Any], level: float = 0.5) -> str:
        return contour_path(values, level, tolerance=self.effort.tolerance)

    def outlines(self, indices: UIntArray) -> tuple[Line, ...]:
        """The outline of every class but background."""
        found = self.drawn(np.unique(indices).tolist())
        lines = ((c, self.path(indices == c)) for c in found)
        return tuple(Line(f"c{c}", d) for c, d in lines if d)

    def drawn(self, found: Iterable[int]) -> list[int]:
        """Indices of classes other than background."""
        table = self.content.classes.classes
        return [c for c in found if c < len(table) and table[c].value]

    def levels(self, soft: Mapping[int, npt.NDArray[np.float32]]) -> tuple[Layer, ...]:
        """Lines of equal probability, a layer for each level."""
        layers = []
        for percent in LEVELS:
            lines = ((c, self.path(soft[c], percent / 100)) for c in self.drawn(soft))
            kept = tuple(Line(f"c{c}", d) for c, d in lines if d)
            layers.append(Layer(f"l{percent}", kept))
        return tuple(layers)

    def errors(self, hard: UIntArray, argmax: UIntArray) -> tuple[Layer, ...]:
        """Where a prediction is wrong: what it misses, adds, and takes for another."""
        n_classes = len(self.content.classes)
        rated = (hard < n_classes) & (argmax < n_classes) & (hard != argmax)
        real, said = map(self.content.foreground, (hard, argmax))
        kinds = {
            "missed": rated & real & ~said,
            "added": rated & ~real & said,
            "other": rated & real & said,
        }
        paths = ((name, self.path(where)) for name, where in kinds.items())
        return tuple(Layer(name, (Line(name, d),)) for name, d in paths if d)

    def numbers(self, hard: UIntArray) -> tuple[Number, ...]:
        """The label values of the classes of a slice; none if there is one class."""
        table, found = (
            self.content.classes.classes,
            self.drawn(np.unique(hard).tolist()),
        )
        if len(found) < 2:
            return ()
        return tuple(
            Number(str(table[c].value), f"c{c}", *_inside(hard == c)) for c in found
        )


def _inside(mask: BoolArray) -> tuple[int, int]:
    """The pixel (x, y) of a mask that is nearest to its centre, tenths of a pixel."""
    places = np.argwhere(mask)
    nearest = np.square(places - places.mean(axis=0)).sum(axis=1).argmin()
    y, x = places[nearest].tolist()
    return int(UNITS * x + UNITS // 2), int(UNITS * y + UNITS // 2)


def _entropy(
    p: Mapping[int, npt.NDArray[np.float32]], shape: Sequence[int]
) -> FloatArray:
    if not p:
        return np.zeros(shape)
    return slice_entropy(np.stack(list(p.values())))
