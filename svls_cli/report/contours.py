"""Contours as paths of SVG, in tenths of a pixel; the only user of contourpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import FloatArray, IntArray

# Units of a path per pixel.
UNITS = 10
# Lines of so few points are short enough.
_FEW = 6


def contour_path(
    values: npt.NDArray[Any], level: float = 0.5, *, tolerance: float = 0.05
) -> str:
    """Lines at a level of an image, as the ``d`` of a path; "" if there are none.

    Pixel (0, 0) covers 0 to 10 both ways, its centre is at (5, 5). Beyond its border
    the image is 0, so that every line is closed.

    Parameters
    ----------
    values : (rows, columns)
        A mask, or probabilities.
    level
        Value at which the lines lie.
    tolerance
        How far a line may move where it is made simpler, pixels.

    Examples
    --------
    >>> contour_path(np.array([[True]]))
    'M0,5l5-5,5,5-5,5z'
    """
    from contourpy import LineType, contour_generator

    rows, columns = np.nonzero(np.asarray(values) >= level)
    if not rows.size:
        return ""
    # With the pixels around, between which and these the lines lie.
    top, left = max(0, rows.min() - 1), max(0, columns.min() - 1)
    inside = values[top : rows.max() + 2, left : columns.max() + 2]
    padded = np.pad(np.asarray(inside, np.float64), 1)
    generator = contour_generator(z=padded, line_type=LineType.Separate)
    corner = np.array([left, top]) - 0.5  # of the padded image, in pixels from its edge
    lines = (corner + np.asarray(line) for line in generator.lines(level))
    return "".join(_path(line, simplified(line, tolerance)) for line in lines)


def simplified(line: FloatArray, tolerance: float) -> FloatArray:
    """The points of a line (n, 2) that it needs to stay within a tolerance.

    References
    ----------
    .. [1] Douglas & Peucker, Cartographica 10(2), 1973.
    """
    if len(line) <= _FEW:
        return line
    keep = np.zeros(len(line), bool)
    keep[[0, -1]] = True
    while True:  # all pieces are split at a time
        (kept,) = np.nonzero(keep)
        piece = np.minimum(np.cumsum(keep), len(kept) - 1) - 1
        start = line[kept[piece]]
        along, offsets = line[kept[piece + 1]] - start, line - start
        length = np.maximum((along**2).sum(axis=1), np.finfo(np.float64).tiny)
        share = np.clip((offsets * along).sum(axis=1) / length, 0, 1)
        away = np.hypot(*(offsets - share[:, np.newaxis] * along).T)
        farthest = np.maximum.reduceat(away, kept[:-1])[piece]
        split = (away == farthest) & (away > tolerance) & ~keep
        if not split.any():
            return line[keep]
        keep |= split


def _path(exact: FloatArray, simpler: FloatArray) -> str:
    # What is small is not to vanish: three corners and back are the least.
    line = exact if len(simpler) < 4 else simpler
    points: IntArray = np.rint(line * UNITS).astype(np.int64)
    moved = np.append(True, (np.diff(points, axis=0) != 0).any(axis=1))
    points = points[moved]
    if len(points) < 3:
        return ""
    closed = (points[0] == points[-1]).all()
    steps = np.diff(points[:-1] if closed else points, axis=0)
    numbers = ",".join(f"{x},{y}" for x, y in steps.tolist()).replace(",-", "-")
    return f"M{points[0, 0]},{points[0, 1]}l{numbers}{'z' * bool(closed)}"
