"""Shapes as contours, their areas, and the points that they hold."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]


def circle(
    radius: float, centre: npt.ArrayLike, *, n: int = 720, flat: float = 1
) -> Points:
    """A circle, or an ellipse ``flat`` times as high as wide, as (y, x) vertices."""
    angles = 2 * np.pi * np.arange(n) / n
    around = radius * np.c_[flat * np.sin(angles), np.cos(angles)]
    return np.asarray(around + np.asarray(centre))


def star(radius: float, centre: npt.ArrayLike, *, inner: float = 0.4) -> Points:
    """Five points."""
    angles = np.pi * np.arange(10) / 5 + 0.1
    radii = np.tile([radius, inner * radius], 5)
    around = radii[:, np.newaxis] * np.c_[np.sin(angles), np.cos(angles)]
    return np.asarray(around + np.asarray(centre))


def square(low: float, high: float) -> Points:
    """From the middle of voxel (low, low) to the middle of (high, high)."""
    corners = [[low, low], [low, high], [high, high], [high, low]]
    return np.array(corners, np.float64)


# Contours of a shape and its area, by radius and centre.
SHAPES: dict[str, Callable[[float, npt.ArrayLike], tuple[list[Points], float]]] = {
    "circle": lambda r, c: ([circle(r, c)], np.pi * r**2),
    "ellipse": lambda r, c: ([circle(r, c, flat=0.5)], np.pi * r**2 / 2),
    "ring": lambda r, c: ([circle(r, c), circle(r / 2, c)], np.pi * r**2 * 3 / 4),
    "star": lambda r, c: ([star(r, c)], 10 * 0.4 * r**2 * np.sin(np.pi / 5) / 2),
}


def supersampled(
    contours: Sequence[Points], shape: tuple[int, int], times: int
) -> Points:
    """Share of ``times`` x ``times`` points of each voxel inside, even-odd."""
    ys, xs = ((np.arange(n * times) + 0.5) / times - 0.5 for n in shape)
    inside = np.zeros((len(ys), len(xs)), bool)
    for contour in contours:
        ends = np.roll(contour, -1, axis=0)
        for (y0, x0), (y1, x1) in zip(contour, ends, strict=True):
            rows = (ys >= min(y0, y1)) & (ys < max(y0, y1))
            if rows.any():
                crossings = x0 + (ys[rows] - y0) * (x1 - x0) / (y1 - y0)
                inside[rows] ^= xs > crossings[:, np.newaxis]
    counts = inside.reshape(shape[0], times, shape[1], times).mean(axis=(1, 3))
    return np.asarray(counts)
