from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from svls_cli.errors import InputError
from svls_cli.labels.values import as_labels, distinct_values, listed, look_up

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


def test_long_lists_are_cut() -> None:
    assert listed([1, 2]) == "1, 2"
    assert listed(range(12)).endswith("9, ... (12 in all)")
