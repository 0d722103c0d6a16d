"""`occupancy` against areas known in closed form, and against points counted."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svls_cli.dicom import contours as module
from svls_cli.dicom.contours import occupancy
from svls_cli.errors import InputError
from tests.helpers.shapes import SHAPES, circle, square, supersampled

Points = npt.NDArray[np.float64]
SHAPE = (40, 44)


def volume(contours: Sequence[Points], shape: tuple[int, int] = SHAPE) -> Points:
    """Occupancy of the whole slice."""
    shares = np.zeros(shape)
    box, inner = occupancy(contours, shape)
    shares[box] = inner
    return shares


@st.composite
def polygons(draw: st.DrawFn) -> Points:
    """A polygon in the slice, which may well cross itself."""
    at = st.floats(1, 38, allow_nan=False)
    return np.array(draw(st.lists(st.tuples(at, at), min_size=3, max_size=9)))


def test_golden() -> None:
    # From the middle of voxel (1, 1) to the middle of (2, 3), and a triangle's half.
    np.testing.assert_allclose(
        volume([np.array([[1, 1], [1, 3], [2, 3], [2, 1]])], (4, 5)),
        [[0, 0, 0, 0, 0], [0, 0.25, 0.5, 0.25, 0], [0, 0.25, 0.5, 0.25, 0], [0] * 5],
    )
    triangle = np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 2.5]])
    expected = [[0, 0, 0, 0], [0, 0.5, 0, 0], [0, 1, 0.5, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(volume([triangle], (4, 4)), expected)


@pytest.mark.parametrize("radius", [3, 5, 10, 30])
@pytest.mark.parametrize("name", SHAPES)
def test_shapes_of_any_size_and_offset(name: str, radius: float) -> None:
    shape, random = (2 * radius + 6,) * 2, np.random.default_rng(radius)
    for _ in range(3):
        contours, area = SHAPES[name](radius, radius + 2 + random.uniform(0, 1, 2))
        shares, points = volume(contours, shape), supersampled(contours, shape, 64)
        # A polygon's own area; that of the curve it stands for.
        assert shares.sum() == pytest.approx(area, rel=3e-3)
        mixed = (points > 0) & (points < 1)
        assert abs(shares - points)[mixed].mean() <= 0.002
        assert abs(shares - points).max() <= 0.016


def test_holes_and_keyholes() -> None:
    outer, inner = square(4, 20), square(8, 12)
    hole = volume([outer, inner])
    assert hole.sum() == pytest.approx(16**2 - 4**2)
    assert hole[10, 10] == 0
    np.testing.assert_array_equal(hole, volume([inner[::-1], outer]))
    # One contour that leads to the hole and back by the same way.
    way = [[4, 4], [8, 8], *inner[::-1].tolist(), [4, 4], *outer[1:].tolist()]
    np.testing.assert_allclose(volume([np.array(way)]), hole, atol=1e-12)
    island = volume([outer, inner, square(9, 11)])
    assert island.sum() == pytest.approx(16**2 - 4**2 + 2**2)


def test_contours_of_one_slice_may_cross() -> None:
    # Even-odd: what both hold is outside.
    both = volume([square(4, 20), square(10.25, 30.25)])
    assert both.sum() == pytest.approx(16**2 + 20**2 - 2 * 9.75**2)
    bow_tie = np.array([[5, 5], [5, 25], [10, 5], [10, 25]])
    assert volume([bow_tie]).sum() == pytest.approx(50, abs=0.01)
    exact = supersampled([bow_tie], SHAPE, 256)
    np.testing.assert_allclose(volume([bow_tie]), exact, atol=0.01)


@pytest.mark.parametrize(
    ("contours", "area"),
    [
        ([], 0),
        ([np.array([[5.0, 5.0]])], 0),
        ([np.array([[5.0, 5.0], [9.0, 12.0]])], 0),
        ([np.array([[5.0, 5.0], [9.0, 12.0], [13.0, 19.0]])], 0),
        ([np.concatenate([square(5, 9), square(5, 9)[:1]])], 16),  # closed twice
        ([square(5, 9), square(5, 9)], 0),
        ([square(-300, -200)], 0),
        ([square(-300, 400)], 40 * 44),
        ([square(-1e9, 9.5)], 100),
        ([np.array([[-9.5, 9.5], [9.5, -9.5], [9.5, 9.5]])], 99.5),
        ([np.array([[0, 60], [9, 60], [9, 70]])], 0),
        ([np.array([[20, 60], [20, 20], [29, 60]])], None),
    ],
)
def test_contours_without_area_and_beyond_the_slice(
    contours: list[Points], area: float | None
) -> None:
    shares = volume(contours)
    points = supersampled(contours, SHAPE, 64)
    np.testing.assert_allclose(shares, points, atol=0.016)
    assert area is None or shares.sum() == pytest.approx(area, abs=1e-6)


@given(contours=st.lists(polygons(), min_size=1, max_size=3))
def test_points_counted(contours: list[Points]) -> None:
    points = supersampled(contours, SHAPE, 64)
    difference = abs(volume(contours) - points)
    # Counting errs itself, by 1/128 along each edge of a row or column.
    assert difference.max() <= 0.016 * max(1, sum(map(len, contours)))
    assert difference.mean() <= 5e-4


@given(polygon=polygons(), down=st.integers(-9, 9), right=st.integers(-9, 9))
def test_whole_voxels_move_with_their_contours(
    polygon: Points, down: int, right: int
) -> None:
    centred = polygon / 2 + 10
    expected = np.roll(volume([centred]), (down, right), axis=(0, 1))
    moved = volume([centred + np.array([down, right])])
    np.testing.assert_allclose(moved, expected, atol=1e-3)


@given(polygon=polygons(), start=st.integers(0, 9))
def test_neither_start_nor_direction_matters(polygon: Points, start: int) -> None:
    expected = volume([polygon])
    turned = np.roll(polygon[::-1], start, axis=0)
    np.testing.assert_allclose(volume([turned]), expected, atol=1e-3)


@given(
    radii=st.lists(st.floats(2, 12), min_size=3, max_size=12),
    y=st.floats(15, 24),
    x=st.floats(15, 24),
)
def test_shares_sum_to_the_area(radii: list[float], y: float, x: float) -> None:
    angles = np.arange(len(radii)) * 2 * np.pi / len(radii)
    polygon = np.array(radii)[:, np.newaxis] * np.c_[np.sin(angles), np.cos(angles)]
    py, px = polygon.T
    area = abs(py @ np.roll(px, -1) - px @ np.roll(py, -1)) / 2  # the shoelace formula
    assert volume([polygon + np.array([y, x])]).sum() == pytest.approx(area)


def test_scribbles_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_PIECES", 100)
    with pytest.raises(InputError, match="400 points on one slice: are these contours"):
        occupancy([circle(10, (20, 20), n=400)], SHAPE)
