"""Shares that several structures have in each voxel of a volume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from svls_cli.arrays import FloatArray, IndexArray, IntArray, UIntArray
from svls_cli.dicom.contours import occupancy
from svls_cli.labels.values import look_up
from svls_cli.soften.levels import levels, quantise

# Shares are rounded to the levels of uint8, far below what a hand draws: that keeps
# the table of them small, and such a store holds them as they are.
LEVELS = levels("uint8")
# (structure, level) of each structure that has a share; the rest is background.
Shares = tuple[tuple[int, int], ...]


# Voxels that lie wholly in two structures, by which two.
Overlaps = Counter[tuple[int, int]]


class Layer(NamedTuple):
    """What one structure has of one slice."""

    structure: int
    box: tuple[slice, slice]
    levels: UIntArray  # share of each voxel of the box, 0..LEVELS


def soft_volume(
    structures: Sequence[Mapping[int, Sequence[FloatArray]]], shape: tuple[int, ...]
) -> tuple[UIntArray, list[Shares], Overlaps]:
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
    overlaps
        Number of voxels that lie wholly in two structures, by which two.

    Raises
    ------
    InputError
        As `occupancy`.
    """
    codes: UIntArray = np.zeros(shape, np.uint8)
    known: dict[Shares, int] = {(): 0}
    overlaps = Overlaps()
    _, *plane = shape
    for z in sorted({z for slices in structures for z in slices}):
        layers = []
        for structure, slices in enumerate(structures):
            if z in slices:
                box, inside = occupancy(slices[z], (plane[0], plane[1]))
                rounded = np.rint(LEVELS * inside).astype(np.uint8)
                layers.append(Layer(structure, box, rounded))
        own, found, twice = _soft_slice(layers, (plane[0], plane[1]))
        overlaps += twice
        numbers = [known.setdefault(each, len(known)) for each in found]
        codes = codes.astype(np.min_scalar_type(len(known) - 1), copy=False)
        codes[z] = np.array(numbers, codes.dtype)[own]
    return codes, list(known), overlaps


def _soft_slice(
    layers: Sequence[Layer], shape: tuple[int, int]
) -> tuple[UIntArray, list[Shares], Overlaps]:
    """Codes of one slice, of its own, what each stands for, and what overlaps."""
    codes: UIntArray = np.zeros(shape, np.uint32)
    # A code's key says which layer and level came on top of which other code; so a
    # layer costs what its own box does, however many there are.
    known = {0: 0}
    for at, (_, box, level) in enumerate(layers):
        inside = level > 0
        keys = codes[box][inside].astype(np.int64) * len(layers) + at
        keys = keys * (LEVELS + 1) + level[inside]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        distinct, which = np.unique(keys[starts], return_inverse=True)
        own = [known.setdefault(key, len(known)) for key in distinct.tolist()]
        runs = np.array(own, np.uint32)[which]
        codes[box][inside] = np.repeat(runs, np.diff(starts, append=len(keys)))
    voxels = np.bincount(codes.ravel())
    present = np.flatnonzero(voxels)
    ranks = np.zeros(len(known), np.uint32)
    ranks[present] = np.arange(len(present))
    keys = np.array(list(known))
    found, overlaps = _unpacked(present, voxels[present], keys, layers)
    return look_up(ranks, codes), found, overlaps


def _unpacked(
    codes: IndexArray, voxels: IntArray, keys: IntArray, layers: Sequence[Layer]
) -> tuple[list[Shares], Overlaps]:
    """What codes stand for, by their keys, no more than the whole voxel; and overlaps.

    ``voxels`` is how many each code has.
    """
    structures = np.array([layer.structure for layer in layers])
    drawn, shares = [], []
    n_codes = len(codes)
    while codes.any():
        below, level = np.divmod(keys[codes], LEVELS + 1)
        codes, at = np.divmod(below, len(layers))
        drawn.append(structures[at])
        shares.append(level)
    # From the first layer to the last.
    table = np.array(shares[::-1], np.int64).reshape(-1, n_codes)
    which = np.array(drawn[::-1], np.int64).reshape(-1, n_codes)
    whole, overlaps = table == LEVELS, Overlaps()
    for code in np.flatnonzero(whole.sum(axis=0) > 1).tolist():
        for pair in combinations(which[whole[:, code], code].tolist(), 2):
            overlaps[pair] += int(voxels[code])
    over = table.sum(axis=0) > LEVELS
    table[:, over] = quantise(table[:, over], "uint8")
    kept = table.T > 0
    pairs = list(zip(which.T[kept].tolist(), table.T[kept].tolist(), strict=True))
    ends = kept.sum(axis=1).cumsum().tolist()
    shared = [tuple(pairs[start:end]) for start, end in pairwise([0, *ends])]
    return shared, overlaps
