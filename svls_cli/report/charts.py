"""Points and bars of small charts, in units of their SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from svls_cli.evaluation.regions import REGION_NAMES
from svls_cli.evaluation.scores import CaseEvaluation

# Side of the square of a reliability curve.
SIDE = 200
# Width and height of a histogram.
WIDTH, HEIGHT = 120, 28
_BARS = 20


@dataclass(frozen=True)
class Curve:
    """A reliability curve: how often the most probable class was right."""

    region: str
    name: str
    points: tuple[tuple[float, float], ...]  # (x, y); y runs down
    ece: float

    @property
    def text(self) -> str:
        """The points of a line of SVG."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)


def reliability_curves(evaluation: CaseEvaluation | None) -> list[Curve]:
    """The reliability in each region; none without an evaluation."""
    if evaluation is None:
        return []
    curves = []
    for region, name in REGION_NAMES.items():
        bars = evaluation.regions[region].reliability
        used = bars.count > 0
        confidence = bars.confidence[used] / bars.count[used]
        accuracy = bars.hits[used] / bars.count[used]
        points = zip(confidence.tolist(), accuracy.tolist(), strict=True)
        placed = tuple(
            (round(SIDE * x, 1), round(SIDE * (1 - y), 1)) for x, y in points
        )
        curves.append(Curve(region, name, placed, bars.ece))
    return curves


@dataclass(frozen=True)
class Histogram:
    """How often values occur, as bars of equal width.

    Parameters
    ----------
    low, high
        Least and largest value.
    count
        Number of values.
    bars
        (x, y, width, height) of each bar that is not empty.
    """

    low: float
    high: float
    count: int
    bars: tuple[tuple[float, float, float, float], ...]

    @property
    def path(self) -> str:
        """The bars as one path of SVG."""
        return "".join(f"M{x:g},{y:g}h{w:g}v{h:g}h-{w:g}z" for x, y, w, h in self.bars)


def histogram(values: Sequence[float]) -> Histogram | None:
    """A histogram of some values; None if there are none."""
    if not values:
        return None
    low, high = min(values), max(values)
    bars = _BARS if high > low else 1
    counts, _ = np.histogram(
        values, bins=bars, range=(low, high) if high > low else None
    )
    wide = WIDTH / _BARS
    placed = [
        (
            at * wide,
            HEIGHT * (1 - n / counts.max()),
            wide - 1,
            HEIGHT * n / counts.max(),
        )
        for at, n in enumerate(counts.tolist())
        if n
    ]
    rounded = tuple((x, round(y, 1), w, round(h, 1)) for x, y, w, h in placed)
    return Histogram(float(low), float(high), len(values), rounded)
