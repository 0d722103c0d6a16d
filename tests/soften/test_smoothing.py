from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import correlate1d, maximum_filter, minimum_filter

from svls_cli.soften import tensors
from svls_cli.soften.methods import Method
from svls_cli.soften.volume import smooth, soften_volume
from tests.helpers import reference
from tests.helpers.label_maps import blobs

Array = npt.NDArray[Any]
INTEGERS = ("uint8", "uint16")
shapes = hnp.array_shapes(min_dims=2, max_dims=3, max_side=9)
label_maps = hnp.arrays(np.uint8, shapes, elements=st.integers(0, 3))


def soften(indices: Array, n: int, dtype: str = "float32", **method: Any) -> Array:
    softening = Method(**method).on_grid((1.0,) * indices.ndim)
    return soften_volume(indices, softening, n_classes=n, dtype=dtype)


def defined(labels: Array, n: int, sigma: Any = 1, size: Any = 3, **more: Any) -> Array:
    """The published definition; one sigma and size stand for all axes."""
    more["sigma"] = np.broadcast_to(sigma, labels.ndim).tolist()
    more["size"] = np.broadcast_to(size, labels.ndim).tolist()
    return reference.soft_labels(labels, n, **more)


def check_definition(
    labels: Array, n_classes: int, ignored: int | None = None, **method: Any
) -> None:
    soft = soften(labels, n_classes, **method)
    expected = defined(labels, n_classes, ignored=ignored, **method)
    np.testing.assert_allclose(soft, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5, 5.0])
@pytest.mark.parametrize("size", [(3, 3, 3), (5, 5, 5), (1, 3, 3), (3, 5, 7)])
@pytest.mark.parametrize("n_classes", [2, 7])
def test_equals_the_published_definition(
    sigma: float, size: tuple[int, ...], n_classes: int
) -> None:
    labels = blobs((19, 22, 37), n_classes, seed=1)
    check_definition(labels, n_classes, sigma=sigma, size=size)


def test_equals_the_published_definition_with_sixty_classes() -> None:
    labels = np.random.default_rng(3).integers(0, 60, (12, 13, 17)).astype(np.uint8)
    check_definition(labels, 60, sigma=1.2, size=5)


@pytest.mark.parametrize("shape", [(40, 150), (700, 3), (1, 1), (2, 5)])
def test_equals_the_definition_in_two_dimensions(shape: tuple[int, ...]) -> None:
    check_definition(blobs(shape, 3), 3, sigma=1.0, size=5)


@pytest.mark.parametrize("shape", [(1, 30, 20), (20, 1, 1), (2, 2, 2), (1, 1, 1)])
def test_volumes_smaller_than_the_window(shape: tuple[int, ...]) -> None:
    labels = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
    check_definition(labels, 3, sigma=2.0, size=9)


@pytest.mark.parametrize("size", [3, 5, 13])
def test_blocks_give_the_same_bytes(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = blobs((45, 50, 70), 5)
    whole = soften(labels, 5, "uint8", sigma=1.5, size=size)
    monkeypatch.setattr(tensors, "BLOCK_EDGE", {3: 17})
    blocks = soften(labels, 5, "uint8", sigma=1.5, size=size)
    np.testing.assert_array_equal(whole, blocks)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("strength", [0.1, 0.5, 0.8, 1.0])
def test_integers_are_the_rounded_probabilities(dtype: str, strength: float) -> None:
    labels = blobs((20, 20, 20), 4)
    top = np.iinfo(dtype).max
    soft = soften(labels, 4, dtype, strength=strength)
    own = labels == np.arange(4)[:, None, None, None]
    error = np.abs(soft - top * defined(labels, 4, strength=strength))
    # Float32 and the margin that favours the own class, in levels.
    slack = 1e-6 * top
    assert error[~own].max() <= 0.5 + slack
    assert error[own].max() <= 3 * (0.5 + slack)
    np.testing.assert_array_equal(soft.sum(axis=0, dtype=int), top)


@settings(max_examples=60)
@given(
    labels=label_maps,
    dtype=st.sampled_from(INTEGERS),
    sigma=st.floats(0.05, 8),
    size=st.sampled_from([3, 5, 9]),
    strength=st.floats(0, 1),
)
def test_integer_sums_are_exact_whatever_the_parameters(
    labels: Array, dtype: str, sigma: float, size: int, strength: float
) -> None:
    soft = soften(labels, 4, dtype, sigma=sigma, size=size, strength=strength)
    assert (soft.sum(axis=0, dtype=int) == np.iinfo(dtype).max).all()


def test_sums_are_exact_where_many_neighbours_round_up() -> None:
    """strength 1 leaves a voxel's own class nothing to give back."""
    labels = np.arange(343, dtype=np.uint16).reshape(7, 7, 7) % 300
    soft = soften(labels, 300, "uint8", sigma=50.0, size=13, strength=1.0)
    assert (soft.sum(axis=0, dtype=int) == 255).all()
    gauss = soften(labels, 300, "uint8", name="gaussian", sigma=50.0, size=13)
    assert (gauss.sum(axis=0, dtype=int) == 255).all()


@settings(max_examples=40)
@given(labels=label_maps, permutation=st.permutations(range(4)))
def test_permuting_classes_permutes_the_soft_label(
    labels: Array, permutation: list[int]
) -> None:
    order = np.array(permutation, np.uint8)
    permuted = soften(order[labels], 4, "uint8")
    np.testing.assert_array_equal(permuted[order], soften(labels, 4, "uint8"))


@settings(max_examples=40)
@given(labels=label_maps, data=st.data())
def test_flips_and_transposes_commute(labels: Array, data: st.DataObject) -> None:
    soft = soften(labels, 4)
    axis = data.draw(st.integers(0, labels.ndim - 1))
    flipped = soften(np.flip(labels, axis), 4)
    np.testing.assert_allclose(np.flip(flipped, axis + 1), soft, atol=1e-6)
    axes = data.draw(st.permutations(range(labels.ndim)))
    transposed = soften(np.ascontiguousarray(labels.transpose(axes)), 4)
    expected = soft.transpose(0, *(a + 1 for a in axes))
    np.testing.assert_allclose(transposed, expected, atol=1e-6)


@settings(max_examples=40)
@given(labels=label_maps, size=st.sampled_from([3, 5]))
def test_untouched_away_from_boundaries(labels: Array, size: int) -> None:
    soft = soften(labels, 4, size=size, sigma=3.0)
    least = minimum_filter(labels, size, mode="nearest")
    quiet = least == maximum_filter(labels, size, mode="nearest")
    onehot = labels == np.arange(4).reshape(-1, *(1,) * labels.ndim)
    np.testing.assert_array_equal(soft[:, quiet], onehot[:, quiet])


def test_an_isolated_voxel_stays_its_own_class() -> None:
    labels = np.zeros((5, 5, 5), np.uint8)
    labels[2, 2, 2] = 1
    assert soften(labels, 2, "float32")[:, 2, 2, 2] == pytest.approx([0.5, 0.5])
    assert soften(labels, 2, "uint8")[:, 2, 2, 2].tolist() == [127, 128]
    assert soften(labels, 2, "uint16")[:, 2, 2, 2].tolist() == [32767, 32768]


@settings(max_examples=60)
@given(
    labels=label_maps,
    sigma=st.floats(0.1, 5),
    strength=st.floats(0, 0.5),
    dtype=st.sampled_from(INTEGERS),
)
def test_up_to_half_strength_the_hard_label_is_the_argmax(
    labels: Array, sigma: float, strength: float, dtype: str
) -> None:
    soft = soften(labels, 4, dtype, sigma=sigma, strength=strength, size=5)
    own = np.take_along_axis(soft, labels[None].astype(int), axis=0)[0]
    assert (own >= soft.max(axis=0)).all()


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_ignored_voxels(sigma: float, strength: float) -> None:
    rng = np.random.default_rng(5)
    labels = blobs((18, 21, 20), 3)
    labels[rng.random(labels.shape) < 0.1] = 3
    labels[4:9, 4:9, 4:9] = 3
    labels[6, 6, 6] = 1  # all its neighbours are ignored
    method = {"sigma": sigma, "strength": strength}
    check_definition(labels, 3, ignored=3, **method)
    assert soften(labels, 3, **method)[:, 6, 6, 6].tolist() == [0, 1, 0]
    sums = soften(labels, 3, "uint8", **method).sum(axis=0, dtype=int)
    np.testing.assert_array_equal(sums, np.where(labels == 3, 0, 255))


@pytest.mark.parametrize(("sigma", "size"), [(0.3, 7), (0.5, 9), (0.1, 3), (0.3, 9)])
def test_far_neighbours_take_over_from_ignored_ones(sigma: float, size: int) -> None:
    """Scribbles: most voxels carry no label, and weights span hundreds of decades."""
    rng = np.random.default_rng(0)
    labels = np.where(rng.random((14, 15, 16)) < 0.03, rng.integers(0, 2), 2)
    labels = np.where(labels < 2, rng.integers(0, 2, labels.shape), 2).astype(np.uint8)
    check_definition(labels, 2, ignored=2, sigma=sigma, size=size)


def test_nothing_but_ignored_voxels() -> None:
    labels = np.full((4, 4, 4), 2, np.uint8)
    assert not soften(labels, 2, "uint8").any()


@pytest.mark.parametrize("alpha", [0.1, 0.3, 1.0])
def test_label_smoothing(alpha: float) -> None:
    labels = blobs((10, 11, 12), 3)
    labels[0] = 3
    onehot = np.stack([labels == c for c in range(3)])
    expected = (1 - alpha) * onehot + alpha / 3
    expected[:, 0] = 0
    soft = soften(labels, 3, name="ls", alpha=alpha)
    np.testing.assert_allclose(soft, expected, atol=1e-6)
    levels = soften(labels, 3, "uint8", name="ls", alpha=alpha)
    np.testing.assert_allclose(levels, 255 * expected, atol=1)
    assert (levels[:, 1:].sum(axis=0, dtype=int) == 255).all()


def test_label_smoothing_below_half_a_level() -> None:
    labels = np.arange(120, dtype=np.uint8).reshape(10, 12)
    with pytest.raises(ValueError, match="below half a level of uint8"):
        soften(labels, 120, "uint8", name="ls", alpha=0.1)
    levels = soften(labels, 120, "uint16", name="ls", alpha=0.1)
    assert set(np.unique(levels)) == {55, 65535 - 119 * 55}
    nearly = soften(labels, 120, "uint8", name="ls", alpha=1.0)
    assert (nearly.sum(axis=0, dtype=int) == 255).all()


def test_onehot() -> None:
    labels = blobs((70, 5, 80), 3)
    soft = soften(labels, 3, "uint8", name="onehot")
    expected = 255 * np.stack([labels == c for c in range(3)]).astype(np.uint8)
    np.testing.assert_array_equal(soft, expected)


def test_gaussian_is_a_gaussian_filter() -> None:
    labels = blobs((12, 14, 16), 3)
    weights = np.exp(-0.5 * (np.arange(-2, 3) / 0.8) ** 2)
    expected = np.stack([labels == c for c in range(3)]).astype(float)
    for axis in (1, 2, 3):
        expected = correlate1d(expected, weights / weights.sum(), axis, mode="nearest")
    soft = soften(labels, 3, name="gaussian", sigma=0.8, size=5)
    np.testing.assert_allclose(soft, expected, atol=1e-6)


def test_float16_is_float32_rounded() -> None:
    labels = blobs((15, 15, 15), 4)
    half, single = soften(labels, 4, "float16"), soften(labels, 4)
    np.testing.assert_allclose(half, single, atol=1e-3)
    np.testing.assert_allclose(half.sum(axis=0, dtype=float), 1, atol=1e-3)


def test_smooth_maps_values_to_classes() -> None:
    labels = np.array([[0, 0, 7, 7], [0, 0, 7, 255]])
    soft = smooth(labels, ignore_label=255)
    sums = [[1, 1, 1, 1], [1, 1, 1, 0]]
    np.testing.assert_allclose(soft.sum(axis=0), sums, atol=1e-6)
    wider = smooth(labels, classes=[0, 3, 7], ignore_label=255)
    np.testing.assert_array_equal(wider[[0, 2]], soft)
    assert not wider[1].any()


def test_smooth_in_mm() -> None:
    labels = blobs((9, 20, 20), 3)
    spacing = np.array([4.0, 1.0, 1.0])
    by_mm = smooth(labels, sigma_mm=2.0, spacing_mm=spacing, size=3)
    np.testing.assert_array_equal(by_mm, smooth(labels, sigma=(0.5, 2.0, 2.0), size=3))


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (np.zeros((2, 2, 2, 2), int), {}, "2-D or 3-D, found shape"),
        (np.array([[0.0, 0.5]]), {}, r"0.5 at voxel \(y, x\) = \(0, 1\)"),
        (np.array([[0, -1]]), {}, "-1 at voxel"),
        (np.array([[0, 4]]), {"classes": [0, 1]}, "label values 4 are not among"),
        (np.array([[0, 1]]), {"sigma_mm": 1.0}, "sigma_mm needs spacing_mm"),
        (np.array([[9, 9]]), {"ignore_label": 9}, "no classes"),
        (np.array([[0, 1]]), {"ignore_label": -1}, "ignore_label must lie in 0"),
        (np.array([[0, 1]]), {"ignore_label": 1, "classes": [0, 1]}, "also a class"),
        (np.array([[0, 1]]), {"dtype": "int16"}, "dtype must be one of uint8"),
        (np.array([[0, 1j]]), {}, "whole numbers, found complex"),
        (np.zeros((0, 3)), {}, "2-D or 3-D, found shape"),
        (np.array([[0, 1]]), {"spacing_mm": (1.0,)}, "must be 2 positive numbers"),
        (np.array([[0, 1]]), {"spacing_mm": (1.0, 0)}, "must be 2 positive numbers"),
        (np.ma.array([[0, 1]], mask=[[0, 1]]), {}, "masked: .* ignore_label=255"),
    ],
)
def test_smooth_refuses(labels: Array, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        smooth(labels, **options)
