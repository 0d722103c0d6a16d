"""Voxels in another order."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.orientation import reordering


def rotation(seed: int) -> np.ndarray:
    """A direction, turned at random."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return matrix


def position(grid: Geometry, voxel: np.ndarray) -> np.ndarray:
    direction = np.reshape(grid.direction, (grid.ndim, grid.ndim))
    return grid.origin_mm + direction @ (np.array(grid.spacing_mm) * voxel)


@given(st.integers(0, 2**31), st.permutations(range(3)), st.sets(st.integers(0, 2)))
def test_each_voxel_stays_in_its_place(
    seed: int, order: list[int], flipped: set[int]
) -> None:
    shape = (3, 5, 4)
    directions = rotation(seed)
    grid = Geometry(
        shape, (2.0, 0.5, 1.0), (7.0, -3.0, 9.0), tuple(directions.ravel().tolist())
    )
    axes = directions[:, order]
    first = np.zeros(3)
    for at in flipped:
        first[order[at]] = shape[order[at]] - 1
        axes[:, at] *= -1
    target = Geometry(
        tuple(shape[axis] for axis in order),
        tuple(grid.spacing_mm[axis] for axis in order),
        tuple(position(grid, first).tolist()),
        tuple(axes.ravel().tolist()),
    )
    found = reordering(grid, target)
    assert found.order == tuple(order)
    assert found.flipped == tuple(sorted(flipped))
    volume = np.arange(np.prod(shape)).reshape(shape)
    moved = found(volume)
    assert np.array_equal(found.undone(moved), volume)
    for voxel in np.ndindex(target.shape):
        source = np.array(np.unravel_index(moved[voxel], shape))
        np.testing.assert_allclose(
            position(grid, source), position(target, np.array(voxel)), atol=1e-9
        )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"shape": (3, 5, 6)}, "shape"),
        ({"spacing_mm": (2.0, 0.5, 1.1)}, "spacing"),
        ({"origin_mm": (7.0, -3.0, 10.0)}, "origin"),
        ({"direction": tuple(rotation(3).ravel().tolist())}, "direction"),
    ],
)
def test_another_grid_is_named(change: dict[str, object], named: str) -> None:
    grid = Geometry(
        (3, 5, 4), (2.0, 0.5, 1.0), (7.0, -3.0, 9.0), (1, 0, 0, 0, 1, 0, 0, 0, 1)
    )
    with pytest.raises(InputError, match=named):
        reordering(grid, replace(grid, **change))


def test_slices_and_volumes_are_no_grids_of_each_other() -> None:
    plane = Geometry((5, 4), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    volume = Geometry((1, 5, 4), (1.0,) * 3, (0.0,) * 3, (1, 0, 0, 0, 1, 0, 0, 0, 1))
    with pytest.raises(InputError, match="2 and 3 axes"):
        reordering(plane, volume)
