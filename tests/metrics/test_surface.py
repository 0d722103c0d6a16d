"""`surface_dice` by hand and against all pairs of surface voxels."""

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.metrics.surface import pair_surface_dice, surface_dice, surface_scores

Mask = npt.NDArray[np.bool_]
Points = list[tuple[int, ...]]


def surface_points(mask: Mask) -> Points:
    """Voxels with a face neighbour outside of the mask."""
    inside = {tuple(int(i) for i in p) for p in np.argwhere(mask)}
    steps = [s * row for row in np.eye(mask.ndim, dtype=int) for s in (-1, 1)]
    return [
        p
        for p in sorted(inside)
        if any(tuple(int(i) for i in np.add(p, step)) not in inside for step in steps)
    ]


def brute_force(a: Mask, b: Mask, spacing: Any, tolerance: float) -> float:
    """The definition, with every distance."""
    first, second = surface_points(a), surface_points(b)
    if not first and not second:
        return math.nan
    apart = [nearest(p, second, spacing) for p in first]
    apart += [nearest(p, first, spacing) for p in second]
    return float(np.mean(np.array(apart) <= tolerance + 1e-9))


def nearest(point: tuple[int, ...], others: Points, spacing: Any) -> float:
    """Distance from a point to the nearest of others."""
    apart = [np.subtract(point, q) * spacing for q in others]
    return float(min((np.sqrt((d**2).sum()) for d in apart), default=math.inf))


def percentile_95(distances: list[float]) -> float:
    """Between the two neighbours in rank, in proportion."""
    ordered = sorted(distances)
    place = 0.95 * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def brute_force_hd95(a: Mask, b: Mask, spacing: Any) -> float:
    """The definition, with every distance."""
    first, second = surface_points(a), surface_points(b)
    if not first or not second:
        return math.nan
    return max(
        percentile_95([nearest(p, second, spacing) for p in first]),
        percentile_95([nearest(p, first, spacing) for p in second]),
    )


def random_mask(shape: tuple[int, ...], seed: int, share: float = 0.6) -> Mask:
    return np.asarray(np.random.default_rng(seed).random(shape) < share)


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(5, 6), (1, 7), (4, 5, 6), (3, 1, 4)]),
    share=st.sampled_from([0.05, 0.3, 0.8, 1.0]),
    spacing=st.sampled_from([(1.0, 1.0, 1.0), (3.0, 0.7, 0.7), (0.1, 0.3, 2.5)]),
    tolerance=st.sampled_from([0.0, 0.3, 0.7, 1.0, 1.4, 3.0]),
)
def test_equals_all_pairwise_distances(
    seed: int,
    shape: tuple[int, ...],
    share: float,
    spacing: tuple[float, ...],
    tolerance: float,
) -> None:
    a, b = random_mask(shape, seed, share), random_mask(shape, seed + 1)
    spacing = spacing[: len(shape)]
    found = surface_dice(a, b, spacing_mm=spacing, tolerance_mm=tolerance)
    assert found == pytest.approx(brute_force(a, b, spacing, tolerance))
    assert found == surface_dice(b, a, spacing_mm=spacing, tolerance_mm=tolerance)
    scores = surface_scores(a, b, spacing_mm=spacing, tolerance_mm=tolerance)
    assert scores.dice == pytest.approx(found, nan_ok=True)
    expected = brute_force_hd95(a, b, spacing)
    assert scores.hd95_mm == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("spacing", "tolerance", "expected"),
    [
        # Two planes of 9 voxels, 2 voxels apart along z.
        ((1, 1, 1), 1.9, 0),
        ((1, 1, 1), 2, 1),
        ((3, 1, 1), 5.9, 0),
        ((3, 1, 1), 6, 1),
        ((0.1, 5, 5), 0.2, 1),
    ],
)
def test_distance_along_one_axis(
    spacing: tuple[float, ...], tolerance: float, expected: float
) -> None:
    a, b = np.zeros((2, 6, 3, 3), bool)
    a[1], b[3] = True, True
    assert surface_dice(a, b, spacing_mm=spacing, tolerance_mm=tolerance) == expected


def test_inner_voxels_do_not_count() -> None:
    # Squares of 3 x 3 and 5 x 5 have 8 and 16 surface voxels. The 4 corners of the
    # larger are sqrt(2) from the smaller, all else is 1 away.
    a, b = np.zeros((2, 7, 7), bool)
    a[2:5, 2:5], b[1:6, 1:6] = True, True
    assert surface_dice(a, b, spacing_mm=(1, 1), tolerance_mm=0) == 0
    assert surface_dice(a, b, spacing_mm=(1, 1), tolerance_mm=1) == 20 / 24
    assert surface_dice(a, b, spacing_mm=(1, 1), tolerance_mm=1.5) == 1


def test_hd95_by_hand() -> None:
    # From the smaller square all is 1 away; of the 16 voxels of the larger 4 are
    # sqrt(2) away, so the 95th percentile is among these.
    a, b = np.zeros((2, 7, 7), bool)
    a[2:5, 2:5], b[1:6, 1:6] = True, True
    for one, other in ((a, b), (b, a)):
        scores = surface_scores(one, other, spacing_mm=(2, 2), tolerance_mm=2)
        assert scores.hd95_mm == pytest.approx(2 * math.sqrt(2))
        assert scores.dice == 20 / 24
    # One voxel of 41 is far off: no more than 5 %.
    line = np.zeros((1, 60), bool)
    line[0, :40] = True
    astray = line.copy()
    astray[0, 55] = True
    found = surface_scores(line, astray, spacing_mm=(1, 1), tolerance_mm=0)
    assert found.hd95_mm == 0
    assert surface_scores(line, line, spacing_mm=(1, 1), tolerance_mm=0).hd95_mm == 0


def test_hd95_of_empty_masks_is_undefined() -> None:
    full, empty = np.ones((2, 2), bool), np.zeros((2, 2), bool)
    for a, b, dice in ((full, empty, 0), (empty, full, 0), (empty, empty, math.nan)):
        scores = surface_scores(a, b, spacing_mm=(1, 1), tolerance_mm=1)
        assert math.isnan(scores.hd95_mm)
        assert scores.dice == pytest.approx(dice, nan_ok=True)


def test_the_edge_of_the_array_is_surface() -> None:
    whole = np.ones((5, 5), bool)
    hollow = whole.copy()
    hollow[1:4, 1:4] = False
    assert surface_dice(whole, hollow, spacing_mm=(1, 1), tolerance_mm=0) == 1


def test_tolerance_holds_in_spite_of_rounding() -> None:
    a, b = np.zeros((2, 1, 1000), bool)
    a[0, ::7], b[0, 3::7] = True, True
    # 3 x 0.1 is more than 0.3 in floating point.
    assert surface_dice(a, b, spacing_mm=(1, 0.1), tolerance_mm=0.3) > 0.99


def test_empty_masks() -> None:
    full, empty = np.ones((2, 2), bool), np.zeros((2, 2), bool)
    sizes: Any = {"spacing_mm": (1, 1), "tolerance_mm": 9}
    assert math.isnan(surface_dice(empty, empty, **sizes))
    assert surface_dice(full, empty, **sizes) == 0
    assert surface_dice(empty, full, **sizes) == 0


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.0])
def test_padding_changes_nothing(tolerance: float) -> None:
    a, b = random_mask((5, 6, 7), 0), random_mask((5, 6, 7), 1)
    sizes: dict[str, Any] = {"spacing_mm": (2, 1, 0.5), "tolerance_mm": tolerance}
    padded = surface_dice(np.pad(a, 3), np.pad(b, 3), **sizes)
    assert padded == surface_dice(a, b, **sizes)


def test_pairs_are_in_order() -> None:
    masks = [random_mask((4, 5, 6), seed, 0.3) for seed in range(4)]
    sizes: dict[str, Any] = {"spacing_mm": (2, 1, 1), "tolerance_mm": 1}
    pairs = itertools.combinations(masks, 2)
    expected = [surface_dice(a, b, **sizes) for a, b in pairs]
    assert len(set(expected)) > 1
    assert pair_surface_dice(masks, **sizes).tolist() == expected
    assert pair_surface_dice(masks[:1], **sizes).shape == (0,)


def test_bad_parameters() -> None:
    mask = np.ones((2, 2), bool)
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(InvalidParameterError, match="tolerance_mm must be finite"):
            surface_dice(mask, mask, spacing_mm=(1, 1), tolerance_mm=bad)
    for spacing in ((1.0,), (1.0, 0.0), (1.0, math.nan)):
        with pytest.raises(InvalidParameterError, match="spacing_mm must be a posit"):
            surface_dice(mask, mask, spacing_mm=spacing, tolerance_mm=1)
    with pytest.raises(InputError, match="shapes differ"):
        surface_dice(mask, mask[:1], spacing_mm=(1, 1), tolerance_mm=1)
