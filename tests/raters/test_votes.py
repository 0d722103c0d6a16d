"""`tally` against what it counts, voxel by voxel."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from svls_cli.errors import InputError
from svls_cli.raters import votes as module
from svls_cli.raters.votes import tally
from tests.helpers.label_maps import row

Maps = list[npt.NDArray[Any]]
Case = tuple[Maps, int]  # and the number of classes


@st.composite
def rated(draw: st.DrawFn) -> Case:
    """Label maps of one case, ignored voxels among them, and the number of classes."""
    n_classes = draw(st.sampled_from([1, 2, 3, 254, 255, 256, 65_534, 65_535]))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=6))
    values = st.integers(0, n_classes)
    labels = hnp.arrays(np.min_scalar_type(n_classes), shape, elements=values)
    return draw(st.lists(labels, min_size=1, max_size=4)), n_classes


def test_golden() -> None:
    a = np.array([[0, 0, 1, 2], [2, 2, 3, 3]], np.uint8)
    b = np.array([[0, 1, 1, 2], [0, 3, 3, 1]], np.uint8)
    votes = tally([a, b], n_classes=3)
    rows = [[0, 0], [0, 1], [1, 1], [2, 0], [2, 2], [2, 3], [3, 1], [3, 3]]
    assert votes.rows.tolist() == rows
    assert votes.codes.tolist() == [[0, 1, 2, 4], [3, 5, 7, 6]]
    assert votes.codes.dtype == np.uint8
    assert votes.counts.tolist() == [1] * 8
    assert votes.classes.tolist() == [0, 1, 2]
    # A rater who ignores a voxel does not dispute it.
    assert np.flatnonzero(votes.disputed).tolist() == [1, 3]


def test_classes_are_those_that_occur() -> None:
    votes = tally([row(4, 7, 9), row(4, 9, 9)], n_classes=9)
    assert votes.classes.tolist() == [4, 7]
    assert not votes.disputed.any()


@settings(max_examples=150)
@given(case=rated())
def test_rows_and_codes_are_the_maps(case: Case) -> None:
    maps, n_classes = case
    votes = tally(maps, n_classes=n_classes)
    for rater, labels in enumerate(maps):
        np.testing.assert_array_equal(votes.rows[votes.codes, rater], labels)
    together = np.stack([m.ravel() for m in maps], axis=1)
    rows, counts = np.unique(together, axis=0, return_counts=True)
    np.testing.assert_array_equal(votes.rows, rows)  # unique, ascending
    np.testing.assert_array_equal(votes.counts, counts)
    assert votes.counts.sum() == maps[0].size
    assert votes.codes.dtype == np.min_scalar_type(len(rows) - 1)
    differ = [len({v for v in row if v < n_classes}) > 1 for row in rows.tolist()]
    assert votes.disputed.tolist() == differ
    assert votes.classes.tolist() == sorted(set(rows[rows < n_classes].tolist()))


@settings(max_examples=80)
@given(case=rated(), slab=st.integers(1, 40), table_size=st.sampled_from([0, 2**40]))
def test_slabs_and_search_change_nothing(
    case: Case, slab: int, table_size: int
) -> None:
    maps, n_classes = case
    if n_classes > 300:  # a table of all pairs would take gigabytes
        table_size = 0
    expected = tally(maps, n_classes=n_classes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SLAB_VOXELS", slab)
        patch.setattr(module, "_TABLE_SIZE", table_size)
        found = tally(maps, n_classes=n_classes)
    for name in ("codes", "rows", "counts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.codes.dtype == expected.codes.dtype


@pytest.mark.parametrize("table_size", [0, 2**22])
def test_more_combinations_than_sixteen_bits_hold(
    table_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TABLE_SIZE", table_size)
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, 300, (300, 400)).astype(np.uint16) for _ in range(3)]
    votes = tally(maps, n_classes=300)
    assert votes.codes.dtype == np.uint32
    for rater, labels in enumerate(maps):
        np.testing.assert_array_equal(votes.rows[votes.codes, rater], labels)


def test_maps_are_left_as_they_were() -> None:
    maps = [row(0, 1), row(1, 1)]
    before = [m.copy() for m in maps]
    tally(maps, n_classes=2)
    for labels, old in zip(maps, before, strict=True):
        np.testing.assert_array_equal(labels, old)


def test_shapes_that_differ() -> None:
    maps = [np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8)]
    with pytest.raises(InputError, match=r"shapes differ: \(2, 3\), \(3, 2\)"):
        tally(maps, n_classes=2)


def test_no_maps() -> None:
    with pytest.raises(InputError, match="no label maps to compare"):
        tally([], n_classes=2)
