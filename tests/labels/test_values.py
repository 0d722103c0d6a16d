from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import gaussian_filter

from svls_cli.errors import InputError
from svls_cli.labels.values import (
    as_labels,
    distinct_values,
    image_doubt,
    listed,
    look_up,
)
from tests.helpers.label_maps import blobs

small = hnp.array_shapes(min_dims=1, max_dims=3, max_side=6)


@given(hnp.arrays(np.int32, small))
def test_distinct_values_are_numpys(array: npt.NDArray[Any]) -> None:
    np.testing.assert_array_equal(distinct_values(array), np.unique(array))


@given(hnp.arrays(np.uint8, small, elements=st.integers(0, 6)), st.sampled_from("BHI"))
def test_look_up_is_indexing(indices: npt.NDArray[Any], kind: str) -> None:
    table = np.array([3, 1, 4, 1, 5, 9, 2], kind)
    found = look_up(table, indices)
    np.testing.assert_array_equal(found, table[indices])
    assert found.dtype == table.dtype


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0.0, 531.0]]), "uint16"),
        (np.array([[0, 255]], np.int64), "uint8"),
        (np.array([[0, 7]], np.uint16), "uint16"),
        (np.array([[0, 2**32 - 1]], np.uint64), "uint32"),
        (np.array([[True, False]]), "uint8"),
    ],
)
def test_whole_numbers_of_any_type_are_labels(array: Any, expected: str) -> None:
    labels, values = as_labels(array)
    assert values == sorted({*array.ravel().astype(int).tolist()})
    np.testing.assert_array_equal(labels, array)
    assert labels.dtype == expected


@pytest.mark.parametrize("bad", [-1.0, 0.5, np.nan, np.inf, -np.inf, 2.0**32])
def test_the_first_voxel_that_is_no_label_is_named(bad: float) -> None:
    slab = np.ones((2, 3, 4))
    slab[1, 2, 0] = bad
    slab[1, 2, 3] = -7
    with pytest.raises(InputError, match=rf"{bad} at voxel \(z, y, x\) = \(11, 2, 0\)"):
        as_labels(slab, first_row=10)


def scan(shape: tuple[int, ...], top: int, *, masked: bool = False) -> Any:
    """An image: smooth, noisy and, as of a brain, 0 around it if ``masked``."""
    rng = np.random.default_rng(0)
    image = gaussian_filter(rng.normal(size=shape), 3)
    image += 0.2 * image.std() * rng.normal(size=shape)
    image = top * (image - image.min()) / np.ptp(image)
    return np.rint(image) * (blobs(shape, 2) if masked else 1)


@pytest.mark.parametrize("top", [80, 255, 4000])
@pytest.mark.parametrize("masked", [False, True])
def test_images_are_doubted(top: int, masked: bool) -> None:
    image = scan((20, 30, 40), top, masked=masked)
    n = len(np.unique(image))
    assert image_doubt(image) == f"{n} different values: is this an image?"
    doubt = rf"-1\.0 at .*; {len(np.unique(image - 1))} different values: is this an im"
    with pytest.raises(InputError, match=doubt):
        as_labels(image - 1)


@pytest.mark.parametrize(
    "values",
    [
        np.arange(117),  # TotalSegmentator
        np.linspace(0, 531, 54).astype(int),  # SynthSeg
        np.linspace(0, 14175, 110).astype(int),  # FreeSurfer
    ],
    ids=len,
)
def test_label_maps_of_many_classes_are_not_doubted(values: Any) -> None:
    assert image_doubt(values[blobs((40, 40, 40), len(values))]) is None


def test_few_values_are_not_doubted() -> None:
    """A network's noisy prediction, or an image in two halves."""
    noise = np.random.default_rng(0).integers(0, 50, (20, 20, 20))
    assert image_doubt(noise) is None
    with pytest.raises(InputError, match=r"to 4294967295$"):
        as_labels(np.array([[0.5, 1.5]]))


def test_long_lists_are_cut() -> None:
    assert listed([1, 2]) == "1, 2"
    assert listed(range(12)).endswith("9, ... (12 in all)")
