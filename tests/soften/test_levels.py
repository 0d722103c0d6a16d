"""Probabilities as levels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svls_cli.soften.levels import levels, quantise


@given(st.integers(1, 120), st.integers(0, 2**31), st.sampled_from(["uint8", "uint16"]))
def test_sums_are_exact(n_classes: int, seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(n_classes, 0.3), (3, 4)).T.astype(np.float32)
    stored = quantise(p, dtype)
    top = levels(dtype)
    assert stored.dtype == dtype
    assert (stored.sum(axis=0, dtype=np.int64) == top).all()
    assert np.abs(stored / top - p).max() < 1.01 / top


def test_many_equal_classes() -> None:
    # 64 of 1/64 are 3.98 levels each: 63 of them get the level that is left.
    stored = quantise(np.full((64, 1, 1), 1 / 64), "uint8")
    assert sorted(stored.ravel().tolist()) == [3] + [4] * 63


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-7), ("float16", 1e-3)])
def test_floats(dtype: str, error: float) -> None:
    p = np.random.default_rng(0).dirichlet([1, 1, 1], (5, 6)).T
    stored = quantise(p, dtype)
    np.testing.assert_allclose(stored, p, atol=error)
    np.testing.assert_allclose(stored.sum(axis=0, dtype=np.float64), 1, atol=error)


def test_a_sure_voxel_is_one_hot() -> None:
    p = np.array([[[0.999]], [[0.0005]], [[0.0005]]])
    assert quantise(p, "uint8")[:, 0, 0].tolist() == [255, 0, 0]
