"""Contours lie where the labels are, whatever they are."""

import re
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from svls_cli.report.contours import UNITS, contour_path, simplified
from tests.helpers.shapes import supersampled

Array = npt.NDArray[np.float64]
masks = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def polygons(d: str) -> list[Array]:
    """The closed lines of a path, as (y, x) in pixels from the first one's centre."""
    found = []
    for part in re.findall(r"M[^Mz]*z?", d):
        assert part.endswith("z")
        numbers = np.array(re.findall(r"-?\d+", part), float).reshape(-1, 2)
        found.append(np.cumsum(numbers, axis=0)[:, ::-1] / UNITS - 0.5)
    return found


@given(masks)
def test_labelled_pixels_lie_inside_and_others_do_not(
    mask: npt.NDArray[np.bool_],
) -> None:
    inside = supersampled(polygons(contour_path(mask)), mask.shape, 1)
    np.testing.assert_array_equal(inside == 1, mask)


@given(masks, st.floats(0.1, 3))
def test_nothing_vanishes_that_is_small(
    mask: npt.NDArray[np.bool_], tolerance: float
) -> None:
    exact = polygons(contour_path(mask))
    assert len(polygons(contour_path(mask, tolerance=tolerance))) == len(exact)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_levels_of_a_ramp_lie_where_it_has_them(level: float) -> None:
    ramp = np.tile(np.linspace(0, 1, 11), (20, 1))
    [line] = polygons(contour_path(ramp, level))
    between = (line[:, 0] > 0.5) & (line[:, 0] < 18.5)
    left = line[between & (line[:, 1] < 10.2)]
    right = line[(line[:, 1] < 10) & between]
    assert len(left) == len(right)
    # The ramp's own edge is at 10 times the level; the border's beyond the last column.
    assert line[:, 1].min() == pytest.approx(10 * level, abs=0.06)
    assert 10 <= line[:, 1].max() <= 11


@given(st.integers(0, 10**6), st.floats(0.01, 2))
def test_simpler_lines_stay_near(seed: int, tolerance: float) -> None:
    line = np.cumsum(np.random.default_rng(seed).normal(size=(30, 2)), axis=0)
    fewer = simplified(line, tolerance)
    assert len(fewer) <= len(line)
    np.testing.assert_array_equal(fewer[[0, -1]], line[[0, -1]])
    for point in line:
        assert min(distance(point, *ends) for ends in pairwise(fewer)) <= (
            tolerance + 1e-9
        )


def distance(point: Array, start: Array, end: Array) -> float:
    along = end - start
    share = np.clip((point - start) @ along / max(along @ along, 1e-12), 0, 1)
    return float(np.hypot(*(point - start - share * along)))


def test_nothing_has_no_contour() -> None:
    assert contour_path(np.zeros((4, 4), bool)) == ""
    assert contour_path(np.full((4, 4), 0.4)) == ""
