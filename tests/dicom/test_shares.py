"""`soft_volume` against the shares of each structure alone."""

from typing import Any

import numpy as np

from svls_cli.dicom.contours import occupancy
from svls_cli.dicom.shares import soft_volume
from tests.helpers.shapes import circle, square

SHAPE = (3, 24, 26)


def dense(structures: list[dict[int, Any]], shape: tuple[int, ...] = SHAPE) -> Any:
    """(structures, z, y, x) levels, from codes and what they stand for."""
    codes, shares, _ = soft_volume(structures, shape)
    table = np.zeros((len(shares), len(structures)), np.int64)
    for code, pairs in enumerate(shares):
        for structure, level in pairs:
            table[code, structure] = level
    assert len(set(shares)) == len(shares)
    assert set(np.unique(codes)) == set(range(len(shares)))
    return np.moveaxis(table[codes], -1, 0)


def test_golden() -> None:
    # Two squares that share the voxels of column 4, and half of column 5.
    one = {1: [square(2.5, 5.5) - (0, 1)]}
    narrow = np.array([[2.5, 3.5], [2.5, 5], [5.5, 5], [5.5, 3.5]])
    found = dense([one, {1: [narrow], 2: [square(1, 2)]}])
    shares = [[0, 0], [255, 0], [255, 0], [128, 127], [0, 128]]
    assert found[:, 1, 3].T[1:6].tolist() == shares
    assert found[:, 0].sum() == 0
    assert found[1, 2, 1:3, 1:3].tolist() == [[64, 64], [64, 64]]


def test_voxels_wholly_in_two_structures_are_counted() -> None:
    inner, outer = [square(5, 8)], [square(2, 12)]
    structures = [{0: outer, 1: outer}, {1: inner}, {1: inner, 2: inner}, {0: inner}]
    overlaps = soft_volume(structures, SHAPE)[2]
    assert overlaps == {(0, 1): 4, (0, 2): 4, (1, 2): 4, (0, 3): 4}
    beside = [{0: [square(2.5, 5.5)]}, {0: [square(5.5, 9)]}]
    assert not soft_volume(beside, SHAPE)[2]


def test_many_structures() -> None:
    random = np.random.default_rng(0)
    structures: list[dict[int, Any]] = [
        {
            int(z): [circle(random.uniform(2, 6), random.uniform(4, 20, 2))]
            for z in random.choice(3, 2, replace=False)
        }
        for _ in range(6)
    ]
    alone = np.zeros((6, *SHAPE))
    for structure, slices in enumerate(structures):
        for z, contours in slices.items():
            box, inside = occupancy(contours, SHAPE[1:])
            alone[structure, z][box] = inside
    found = dense(structures)
    assert found.sum(axis=0).max() == 255
    total = alone.sum(axis=0)
    expected = 255 * alone / np.maximum(total, 1)
    assert abs(found - expected).max() < 1.5
    several = (alone > 0).sum(axis=0) > 1
    np.testing.assert_array_equal(found[:, ~several], np.rint(expected)[:, ~several])


def test_nothing_drawn() -> None:
    codes, shares, _ = soft_volume([{}, {}], SHAPE)
    assert not codes.any()
    assert shares == [()]
    assert not dense([{0: [square(-9, -5)]}]).any()


def test_codes_have_the_smallest_type() -> None:
    random = np.random.default_rng(1)
    few = [{0: [square(4, 8)]}]
    assert soft_volume(few, SHAPE)[0].dtype == np.uint8
    many = [
        {z: [circle(9, random.uniform(9, 15, 2))]} for z in range(3) for _ in range(2)
    ]
    codes, shares, _ = soft_volume(many, SHAPE)
    assert codes.dtype == np.uint16
    assert codes.max() == len(shares) - 1 > 255
