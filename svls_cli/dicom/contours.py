"""Contours to voxels: the share of each voxel's area that lies inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from svls_cli.arrays import FloatArray, IndexArray
from svls_cli.errors import InputError

# Where edges cross, strips are cut to this part of a voxel's height: what a crossing
# then errs by is far below a level of uint8, whatever the slope.
_FINE = 64
# Voxels, and far above what coordinates of some hundreds are rounded by.
_ROUNDING = 1e-9
# Edges times the strips that they pass through; a large organ's slice has some 10^4.
_MAX_PIECES = 2**22


def occupancy(
    contours: Sequence[FloatArray], shape: tuple[int, int]
) -> tuple[tuple[slice, slice], FloatArray]:
    """Share of each voxel of a slice that lies inside closed contours.

    A point is inside if a line from it to infinity crosses the contours an odd number
    of times: a contour within another one is a hole. The slice is cut into strips at
    every vertex and every border of a row, so that an edge passes through all of a
    strip or none; in a strip the edges lead in and out in turn, from left to right; and
    the area to the right of an edge is known in closed form. That is exact unless
    contours cross, where it errs by less than .001 of a voxel.

    Parameters
    ----------
    contours : (n, 2) each, voxels
        Vertices (y, x), closed by an edge from the last to the first. Voxel centres are
        whole numbers.
    shape
        Voxels of the slice, (y, x); what lies outside of them is left out.

    Returns
    -------
    box
        Rows and columns that the contours touch.
    shares : (rows, columns)
        Share of each of their voxels, in [0, 1].

    Raises
    ------
    InputError
        If the contours have more edges side by side than any drawing.

    Examples
    --------
    >>> square = np.array([[0.5, 0.5], [0.5, 2.75], [2.75, 2.75], [2.75, 0.5]])
    >>> box, shares = occupancy([square], (9, 9))
    >>> shares
    array([[1.    , 1.    , 0.25  ],
           [1.    , 1.    , 0.25  ],
           [0.25  , 0.25  , 0.0625]])
    """
    starts = np.concatenate([np.empty((0, 2)), *contours])
    ends = np.concatenate([np.empty((0, 2)), *(np.roll(c, -1, 0) for c in contours)])
    low = high = np.zeros(2, np.intp)
    if len(starts):
        low = np.clip(np.floor(starts.min(axis=0) + 0.5), 0, shape).astype(np.intp)
        high = np.clip(np.ceil(starts.max(axis=0) + 0.5), low, shape).astype(np.intp)
    rows, columns = (high - low).tolist()
    # Voxels of the box lie between whole numbers, from 0. Edges lead downwards.
    edges = np.hstack([starts - low + 0.5, ends - low + 0.5])
    edges = np.where(edges[:, :1] < edges[:, 2:3], edges, np.roll(edges, 2, axis=1))
    borders = np.concatenate([edges[:, ::2].ravel(), np.arange(rows + 1.0)])
    borders = np.unique(borders.clip(0, rows))
    strips, ends_x = _pieces(edges, borders)
    crossed = (np.diff(strips) == 0) & (np.diff(ends_x, axis=1) < -_ROUNDING).any(0)
    if crossed.any():
        coarse = strips[1:][crossed]
        finer = np.linspace(borders[coarse], borders[coarse + 1], _FINE + 1)
        borders = np.unique(np.concatenate([borders, finer.ravel()]))
        strips, ends_x = _pieces(edges, borders)
    heights = np.diff(borders)[strips]
    heights[1::2] *= -1  # in and out in turn
    areas = _areas_right_of(ends_x, heights, borders[strips].astype(np.intp), columns)
    changes = np.bincount(*areas, rows * (columns + 1)).reshape(rows, columns + 1)
    shares: FloatArray = changes[:, :-1].cumsum(axis=1, dtype=np.float64).clip(0, 1)
    return (slice(low[0], high[0]), slice(low[1], high[1])), shares


def _pieces(edges: FloatArray, borders: FloatArray) -> tuple[IndexArray, FloatArray]:
    """Cut edges (y0, x0, y1, x1) at the borders of strips.

    Returns the strip of each piece, ascending, and (2, n) x where it starts and ends,
    from left to right in each strip.
    """
    y0, x0, y1, x1 = edges.T
    first = np.searchsorted(borders, y0.clip(*borders[[0, -1]]))
    counts = np.searchsorted(borders, y1.clip(*borders[[0, -1]])) - first
    total = int(counts.sum())
    if total > _MAX_PIECES:
        raise InputError(f"{len(edges)} points on one slice: are these contours?")
    edge = np.repeat(np.arange(len(edges)), counts)
    strips = np.arange(total) + np.repeat(first - counts.cumsum() + counts, counts)
    slope = np.divide(x1 - x0, y1 - y0, where=counts > 0, out=np.zeros(len(edges)))
    at = np.stack([borders[strips], borders[strips + 1]])
    ends_x = x0[edge] + (at - y0[edge]) * slope[edge]
    order = np.lexsort((ends_x.sum(axis=0), strips))
    return strips[order], ends_x[:, order]


def _areas_right_of(
    ends_x: FloatArray, heights: FloatArray, rows: IndexArray, columns: int
) -> tuple[IndexArray, FloatArray]:
    """Area of each voxel to the right of each piece, as differences along a row.

    Returns flat indices into (rows, columns + 1), and what to add there.
    """
    low, high = ends_x.min(axis=0), ends_x.max(axis=0)
    start = np.floor(low).clip(0, columns).astype(np.intp)
    counts = np.floor(high).clip(-1, columns - 1).astype(np.intp) - start + 2
    piece = np.repeat(np.arange(len(start)), counts)
    step = np.arange(len(piece)) - np.repeat(counts.cumsum() - counts, counts)
    column = start[piece] + step
    low, high = low[piece], high[piece]
    width = np.maximum(high - low, _ROUNDING)

    def area_left_of(x: IndexArray) -> FloatArray:
        ramp: FloatArray = (x - low).clip(0, width)
        ramp *= ramp / (2 * width)
        ramp += (x - low - width).clip(0)
        return ramp

    # To the left of the first column there is nothing.
    change = area_left_of(column + 1) - area_left_of(column)
    change -= (area_left_of(column) - area_left_of(column - 1)) * (step > 0)
    return rows[piece] * (columns + 1) + column, change * heights[piece]
