"""Slices are the thick or the axial ones, and are seen as radiologists see them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svls_cli.labels.geometry import Geometry
from svls_cli.report.planes import choose_slices, plane_of
from tests.helpers.label_maps import OBLIQUE, grid


def turned(order: tuple[int, ...], signs: tuple[int, ...]) -> Geometry:
    """A grid whose axes run along the world's in some order, some backwards."""
    direction = np.zeros((3, 3))
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        direction[world, axis] = sign
    return replace(grid((5, 6, 7)), direction=tuple(direction.ravel().tolist()))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal"])
def test_sides_are_where_the_letters_say(
    order: tuple[int, ...], signs: tuple[int, ...], name: str
) -> None:
    world = ["axial", "coronal", "sagittal"].index(name)
    spacing = [1.0, 1.0, 1.0]
    spacing[order.index(world)] = 4.0
    geometry = replace(turned(order, signs), spacing_mm=tuple(spacing))
    plane = plane_of(geometry)
    assert plane.name == name
    assert plane.axis == order.index(world)
    # Each voxel's position along S, P and L, seen on the slice.
    steps = np.indices(geometry.shape).reshape(3, -1)
    world_mm = np.reshape(geometry.direction, (3, 3)) @ steps
    position = {
        letter: np.reshape(values, geometry.shape)
        for letter, values in zip("SPL", world_mm, strict=True)
    }
    top, right, bottom, left = plane.sides
    assert (bottom, right) == {
        "axial": ("P", "L"),
        "coronal": ("I", "L"),
        "sagittal": ("I", "P"),
    }[name]
    assert {top + bottom, left + right} <= {"AP", "RL", "SI"}
    region = plane.region(2, geometry)
    down = plane.shown(position["S" if bottom == "I" else "P"][region])
    across = plane.shown(position[right][region])
    growing = -1 if bottom == "I" else 1
    assert (np.diff(growing * down, axis=0) == 1).all()
    assert (np.diff(across, axis=1) == 1).all()


def test_pixels_keep_their_sizes() -> None:
    plane = plane_of(grid((4, 5, 6), (5.0, 2.0, 0.5)))
    assert (plane.name, plane.axis, plane.pixel_mm) == ("axial", 0, (2.0, 0.5))


def test_oblique_and_flat_grids() -> None:
    oblique = replace(grid((4, 5, 6)), direction=tuple(OBLIQUE.ravel().tolist()))
    assert {plane_of(oblique).axis, *plane_of(oblique).across} == {0, 1, 2}
    flat = plane_of(grid((5, 6)))
    assert (flat.axis, flat.name, flat.across) == (None, "axial", (0, 1))
    one = plane_of(grid((5, 1, 6)))
    assert (one.axis, one.name) == (1, "coronal")


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 5))
def test_slices_are_those_with_most_to_see(weights: list[int], count: int) -> None:
    chosen = choose_slices(weights, count)
    assert 1 <= len(chosen) <= count
    assert list(chosen) == sorted(set(chosen))
    if any(weights):
        assert all(weights[at] > 0 for at in chosen)
        assert max(weights) in [weights[at] for at in chosen]
        used = np.flatnonzero(weights)
        assert len(chosen) == min(count, len(chosen))
        apart = (used[-1] - used[0] + 1) // (2 * count)
        assert all(b - a > apart for a, b in itertools.pairwise(chosen))
    else:
        assert chosen == (len(weights) // 2,)
