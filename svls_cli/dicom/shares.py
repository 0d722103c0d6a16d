"""Shares that several structures have in each voxel of a volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from svls_cli.arrays import FloatArray, UIntArray
from svls_cli.dicom.contours import occupancy
from svls_cli.labels.values import look_up
from svls_cli.soften.levels import levels, quantise

# Shares are rounded to the levels of uint8, far below what a hand draws: that keeps
# the table of them small, and such a store holds them as they are.
LEVELS = levels("uint8")
# (structure, level) of each structure that has a share; the rest is background.
Shares = tuple[tuple[int, int], ...]


class Layer(NamedTuple):
    """What one structure has of one slice."""

    structure: int
    box: tuple[slice, slice]
    levels: UIntArray  # share of each voxel of the box, 0..LEVELS


def soft_volume(
    structures: Sequence[Mapping[int, Sequence[FloatArray]]], shape: tuple[int, ...]
) -> tuple[UIntArray, list[Shares]]:
    """Code of each voxel, and the shares that each code stands for.

    Where structures overlap they share the voxel in proportion.

    Parameters
    ----------
    structures
        Contours of each by slice, as `occupancy` takes them.
    shape
        Voxels of the volume, (z, y, x).

    Returns
    -------
    codes : (z, y, x), the smallest unsigned type
        0 where there is no structure.
    shares
        What each code stands for.

    Raises
    ------
    InputError
        As `occupancy`.
    """
    codes: UIntArray = np.zeros(shape, np.uint8)
    known: dict[Shares, int] = {(): 0}
    _, *plane = shape
    for z in sorted({z for slices in structures for z in slices}):
        layers = []
        for structure, slices in enumerate(structures):
            if z in slices:
                box, inside = occupancy(slices[z], (plane[0], plane[1]))
                rounded = np.rint(LEVELS * inside).astype(np.uint8)
                layers.append(Layer(structure, box, rounded))
        own, found = _soft_slice(layers, (plane[0], plane[1]))
        numbers = [known.setdefault(each, len(known)) for each in found]
        codes = codes.astype(np.min_scalar_type(len(known) - 1), copy=False)
        codes[z] = np.array(numbers, codes.dtype)[own]
    return codes, list(known)


def _soft_slice(
    layers: Sequence[Layer], shape: tuple[int, int]
) -> tuple[UIntArray, list[Shares]]:
    """Codes of one slice, of its own, and what each of them stands for."""
    # What one structure has alone is a number below `first_mixed`.
    codes: UIntArray = np.zeros(shape, np.uint32)
    mixed = np.zeros(shape, bool)
    for structure, box, level in layers:
        inside = level > 0
        mixed[box] |= inside & (codes[box] > 0)
        own = structure * LEVELS + level.astype(np.uint32)
        np.copyto(codes[box], own, where=inside)
    first_mixed = (layers[-1].structure + 1) * LEVELS + 1
    mixtures = np.zeros((len(layers), 0), np.uint8)
    if mixed.any():
        place = np.cumsum(mixed).reshape(shape) - 1
        given = np.zeros((int(place[-1, -1]) + 1, len(layers)), np.uint8)
        for column, (_, box, level) in zip(given.T, layers, strict=True):
            column[place[box][mixed[box]]] = level[mixed[box]]
        given, which = np.unique(given, axis=0, return_inverse=True)
        left = LEVELS - given.sum(axis=1, dtype=np.int64)
        exact = np.vstack([left.clip(0), given.T])
        mixtures = quantise(exact, "uint8")[1:]
        codes[mixed] = first_mixed + which.ravel()
    present = np.flatnonzero(np.bincount(codes.ravel()))
    found: list[Shares] = []
    for code in present.tolist():
        if code >= first_mixed:
            column = mixtures[:, code - first_mixed].tolist()
            pairs = zip((layer.structure for layer in layers), column, strict=True)
            found.append(tuple(pair for pair in pairs if pair[1]))
        else:
            structure, level_less_1 = divmod(code - 1, LEVELS)
            found.append(((structure, level_less_1 + 1),) if code else ())
    ranks = np.zeros(present[-1] + 1, np.uint32)
    ranks[present] = np.arange(len(present))
    return look_up(ranks, codes), found
