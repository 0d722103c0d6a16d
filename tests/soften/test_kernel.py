import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svls_cli.errors import InvalidParameterError
from svls_cli.soften.kernel import auto_size, neighbour_weights, svls_kernel
from tests.helpers import reference

sigmas = st.floats(0.05, 20)
sizes = st.sampled_from([1, 3, 5, 7, 9])


def test_golden_values_of_the_published_kernel() -> None:
    kernel = svls_kernel((1, 1, 1), size=(3, 3, 3))
    found = [kernel[1, 1, 1], kernel[1, 1, 0], kernel[1, 0, 0], kernel[0, 0, 0]]
    assert np.round(found, 6).tolist() == [0.5, 0.030823, 0.018695, 0.011339]


def test_golden_values_in_plane() -> None:
    kernel = svls_kernel((1, 1), size=(3, 3))
    found = [kernel[1, 1], kernel[1, 0], kernel[0, 0]]
    assert np.round(found, 6).tolist() == [0.5, 0.077807, 0.047193]
    flat = svls_kernel((1, 1, 1), size=(1, 3, 3))
    np.testing.assert_allclose(flat[0], kernel, rtol=1e-14)


def test_larger_windows_have_their_centre_in_the_centre() -> None:
    kernel = svls_kernel((1, 1, 1), size=(5, 5, 5))
    assert kernel[2, 2, 2] == 0.5
    assert kernel[1, 1, 1] < 0.02


@given(
    sigma=st.tuples(sigmas, sigmas, sigmas),
    size=st.tuples(sizes, sizes, sizes).filter(lambda s: max(s) > 1),
    strength=st.floats(0, 1),
)
def test_weights_sum_to_one_and_mirror(
    sigma: tuple[float, ...], size: tuple[int, ...], strength: float
) -> None:
    kernel = svls_kernel(sigma, size=size, strength=strength)
    assert kernel.sum() == pytest.approx(1)
    assert kernel.min() >= 0
    np.testing.assert_array_equal(kernel, kernel[::-1, ::-1, ::-1])
    centre = tuple(n // 2 for n in size)
    assert kernel[centre] == 1 - strength


@given(
    sigma=st.tuples(sigmas, sigmas, sigmas),
    size=st.tuples(sizes, sizes, sizes).filter(lambda s: max(s) > 1),
)
def test_factors_multiply_to_the_kernel(
    sigma: tuple[float, ...], size: tuple[int, ...]
) -> None:
    """The recurrence that the engine runs, on a single voxel's one-hot."""
    weights = neighbour_weights(sigma, size=size)
    centre = tuple(n // 2 for n in size)
    wide = np.zeros(size)
    wide[centre] = 1
    total = np.zeros(size)
    for axis, offsets in enumerate(weights.offsets):
        part = np.zeros(size)
        for distance, weight in enumerate(offsets, start=1):
            part += weight * np.roll(wide, distance, axis)
            part += weight * np.roll(wide, -distance, axis)
        total += part
        wide = wide + weights.total * part
    expected = svls_kernel(sigma, size=size, strength=1)
    np.testing.assert_allclose(total, expected, atol=1e-12)


def test_kernel_equals_the_transcription() -> None:
    sigma, size = (0.7, 1.3, 2.0), (3, 5, 7)
    kernel = svls_kernel(sigma, size=size, strength=0.3)
    for offset, weight in reference.kernel(sigma, size, 0.3).items():
        place = tuple(n // 2 + i for n, i in zip(size, offset, strict=True))
        assert kernel[place] == pytest.approx(weight, abs=1e-15)


def test_tiny_sigma_gives_the_nearest_neighbours() -> None:
    kernel = svls_kernel((1e-4, 1e-4, 1e-4), size=(3, 3, 3))
    faces = [kernel[0, 1, 1], kernel[1, 0, 1], kernel[1, 1, 0]]
    assert faces == pytest.approx([1 / 12] * 3)
    assert kernel[0, 0, 1] == 0
    weights = neighbour_weights((1e-4, 1e-4, 1e-4), size=(3, 3, 3))
    assert weights.total == 0
    assert [float(w[0]) for w in weights.offsets] == pytest.approx([1 / 6] * 3)


def test_auto_size_holds_three_sigmas() -> None:
    assert auto_size((0.1, 1.0, 1.01)) == (3, 7, 9)
    assert auto_size((1 + 1e-8, 1 - 1e-8)) == (7, 7)


@pytest.mark.parametrize(
    ("sigma", "size", "message"),
    [
        ((1, 1, 1), (3, 4, 3), "odd"),
        ((1, 1, 1), (131, 3, 3), "1..129"),
        ((1, 0, 1), (3, 3, 3), "and finite, found 0"),
        ((1, math.nan, 1), (3, 3, 3), "and finite, found nan"),
        ((1, math.inf, 1), (3, 3, 3), "and finite, found inf"),
        ((1, 1), (3, 3, 3), "sigma has 2 values and size 3"),
        ((1, 1, 1), (1, 1, 1), "no neighbours"),
    ],
)
def test_windows_that_are_none(
    sigma: tuple[float, ...], size: tuple[int, ...], message: str
) -> None:
    for function in (svls_kernel, neighbour_weights):
        with pytest.raises(InvalidParameterError, match=message):
            function(sigma, size=size)


@pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan])
def test_strength_out_of_range(strength: float) -> None:
    with pytest.raises(InvalidParameterError, match=r"strength must lie in \[0, 1\]"):
        svls_kernel((1, 1, 1), size=(3, 3, 3), strength=strength)
