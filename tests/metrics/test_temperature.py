"""Temperature scaling: against softmax, and its laws."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from svls_cli.metrics.temperature import (
    TEMPERATURES,
    best_temperature,
    nll_by_temperature,
    scale_by_temperature,
)

Array = npt.NDArray[Any]


def forecasts(seed: int, n_classes: int, n: int, *, levels: int) -> Array:
    """Levels (c, n) that sum to ``levels``; none is certain, some classes have 0."""
    rng = np.random.default_rng(seed)
    k = rng.multinomial(levels, rng.dirichlet(np.full(n_classes, 0.4), n)).T
    return k[:, k.max(axis=0) < levels]


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_classes=st.integers(2, 6),
    n_raters=st.integers(1, 3),
    levels=st.sampled_from([255, 65535]),
)
def test_nll_is_that_of_the_softmax_of_scaled_logits(
    seed: int, n_classes: int, n_raters: int, levels: int
) -> None:
    k = forecasts(seed, n_classes, 40, levels=levels)
    labels = np.random.default_rng(seed).integers(0, n_classes, (n_raters, k.shape[1]))
    said = np.take_along_axis(k, labels, axis=0)
    dtype = np.uint8 if levels == 255 else np.uint16
    found = nll_by_temperature(k.astype(dtype), said.astype(dtype), levels=levels)
    with np.errstate(divide="ignore"):
        logits = np.log(k / levels)
    for temperature, nll in zip(TEMPERATURES, found, strict=True):
        log_p = np.take_along_axis(log_softmax(logits / temperature, 0), labels, axis=0)
        assert nll == pytest.approx(-log_p[said > 0].sum())


@given(seed=st.integers(0, 2**32 - 1), n_classes=st.integers(2, 6))
def test_nll_is_convex_in_the_inverse_temperature(seed: int, n_classes: int) -> None:
    k = forecasts(seed, n_classes, 30, levels=255).astype(np.uint8)
    labels = np.random.default_rng(seed).integers(0, n_classes, (2, k.shape[1]))
    nll = nll_by_temperature(k, np.take_along_axis(k, labels, axis=0), levels=255)
    slopes = np.diff(nll) / np.diff(1 / TEMPERATURES)
    assert (np.diff(slopes) <= 1e-6 * max(1, np.abs(slopes).max())).all()


@pytest.mark.parametrize("temperature", [0.5, 0.8, 1.0, 1.37, 2.0, 4.0])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_a_known_temperature_is_found(temperature: float, n_classes: int) -> None:
    """Labels drawn from softmax(logits); forecasts that are too sure, or too little."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (n_classes, 100_000))
    truth = np.cumsum(softmax(logits, axis=0), axis=0)
    labels = (rng.random(truth.shape[1]) > truth).sum(axis=0)
    k = np.rint(softmax(logits * temperature, axis=0) * 65535).astype(np.uint16)
    said = np.take_along_axis(k, labels[np.newaxis], axis=0)
    found = best_temperature(nll_by_temperature(k, said, levels=65535))
    assert found == pytest.approx(temperature, rel=0.02)


def test_the_parabola_finds_the_least_nll() -> None:
    """Better than the grid, whose steps are of 10 %."""
    for one in np.linspace(0.3, 6, 50):
        # One forecast of (p, 1 - p), true with the frequency that T makes of it.
        powers = np.array([[0.9], [0.1]]) ** (1 / one)
        share = powers / powers.sum()
        with_t = np.array([[0.9], [0.1]]) ** (1 / TEMPERATURES)
        nll = -(share * np.log(with_t / with_t.sum(axis=0))).sum(axis=0)
        assert best_temperature(nll) == pytest.approx(one, rel=0.005)


def test_nothing_to_fit_is_temperature_1() -> None:
    none = np.zeros((3, 0), np.uint8)
    assert not nll_by_temperature(none, np.zeros((2, 0), np.uint8), levels=255).any()
    assert best_temperature(np.zeros(len(TEMPERATURES))) == 1
    # A label of probability 0 says nothing of the temperature.
    k, said = np.array([[200], [55], [0]], np.uint8), np.array([[0]], np.uint8)
    assert not nll_by_temperature(k, said, levels=255).any()


def test_the_edges_of_the_grid() -> None:
    assert best_temperature(-TEMPERATURES) == TEMPERATURES[-1] == pytest.approx(8)
    assert best_temperature(TEMPERATURES) == TEMPERATURES[0] == pytest.approx(0.2)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    temperature=st.floats(0.2, 8),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float16, np.float32]),
)
def test_scaling_keeps_the_order_of_classes(
    seed: int, temperature: float, dtype: Any
) -> None:
    levels = 255 if dtype == np.uint8 else 65535
    k = forecasts(seed, 5, 50, levels=levels)
    p = (k if np.dtype(dtype).kind == "u" else k / levels).astype(dtype)
    p[:, :3] = 0  # no forecast
    scaled = scale_by_temperature(p, temperature)
    assert scaled.dtype == np.float32
    assert (scaled.argmax(axis=0) == p.argmax(axis=0)).all()
    assert not scaled[:, :3].any()
    assert scaled[:, 3:].sum(axis=0) == pytest.approx(1)
    assert ((scaled > 0) <= (p > 0)).all()
    same = scale_by_temperature(p, 1)[:, 3:]
    if np.dtype(dtype).kind == "u":
        assert (np.rint(same * levels) == p[:, 3:]).all()
    else:
        assert same == pytest.approx(p[:, 3:], abs=1e-3)
