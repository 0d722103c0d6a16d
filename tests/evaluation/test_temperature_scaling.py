"""Temperatures of cases: blocks, folds, and what is scored with them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import log_softmax, softmax

from svls_cli.errors import InputError, StoreError
from svls_cli.evaluation import temperature_scaling
from svls_cli.evaluation.evaluate_case import Measures, evaluate_case
from svls_cli.evaluation.scores import CALIBRATION, OVERLAPS, CaseEvaluation
from svls_cli.evaluation.temperature_scaling import (
    ScaledPrediction,
    Temperatures,
    case_nll,
    scaling_blocks,
)
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.rater_maps import RaterMaps
from svls_cli.metrics.temperature import TEMPERATURES, best_temperature
from svls_cli.soften.levels import quantise
from tests.helpers.label_maps import grid
from tests.helpers.predictions import Soft

Array = npt.NDArray[Any]


def rated(*maps: Array, n_classes: int) -> RaterMaps:
    raters = tuple(f"r{at}" for at in range(len(maps)))
    classes = ClassTable.from_values(range(n_classes))
    return RaterMaps(grid(maps[0].shape), classes, raters, maps)


def drawn(
    shape: tuple[int, ...], n_classes: int, sharpness: float, *, seed: int
) -> tuple[Array, Array]:
    """Forecasts that are too sure by a factor, and labels that calibrated ones had."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n_classes, *shape))
    truth = np.cumsum(softmax(logits, axis=0), axis=0)
    labels = (rng.random(shape) > truth).sum(axis=0).astype(np.uint8)
    return softmax(logits * sharpness, axis=0), labels


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_nll_of_a_case(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks as in one piece; without ignored, certain and unforecast voxels."""
    p, labels = drawn((6, 7, 8), 3, 1.5, seed=0)
    p[:, 0] = np.array([0, 1, 0]).reshape(3, 1, 1)  # certain
    other = np.roll(labels, 1, axis=0)
    labels[1, :3], other[2, 2:] = 3, 3
    inside = np.random.default_rng(0).random(labels.shape) < 0.5
    soft = quantise(p, dtype)
    soft[:, 3] = 0
    reference = rated(labels, other, n_classes=3)
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 65535
    scale = 1 if np.dtype(dtype).kind == "u" else 65535
    k = np.rint(soft.astype(np.float64) * scale)
    certain = (k == top).any(axis=0)  # by the rounding of floats, too
    k[:, certain] *= (k == top)[:, certain]
    counts = (labels < 3) & (other < 3) & k.any(axis=0)
    for chosen in (None, inside):
        mask = counts if chosen is None else counts & chosen
        expected = []
        with np.errstate(divide="ignore", invalid="ignore"):
            for temperature in TEMPERATURES:
                logs = log_softmax(np.log(k / top)[:, mask] / temperature, axis=0)
                own = np.stack(
                    [logs[m[mask], range(mask.sum())] for m in (labels, other)]
                )
                expected.append(-own[np.isfinite(own)].sum() / own.size)
        found = case_nll(Soft(soft), reference, chosen, dtype=dtype)
        assert found == pytest.approx(np.array(expected))
        with monkeypatch.context() as patch:
            patch.setattr(temperature_scaling, "_BLOCK_SIZE", 3 * 7 * 8 * 2)
            blocks = list(scaling_blocks(reference.geometry, 3, dtype))
            assert len(blocks) == 3
            again = case_nll(Soft(soft), reference, chosen, dtype=dtype)
        assert again == pytest.approx(found)


def test_what_is_no_probability_is_an_error() -> None:
    soft = np.full((2, 3, 4), np.nan, np.float32)
    reference = rated(np.zeros((3, 4), np.uint8), n_classes=2)
    with pytest.raises(StoreError, match=r"probabilities must lie in 0\.\.1"):
        case_nll(Soft(soft), reference, dtype="float32")


def test_scaled_patches() -> None:
    p, _ = drawn((3, 4, 5), 4, 1, seed=1)
    soft = quantise(p, "uint16")
    region = (slice(1, 3), slice(0, 4), slice(2, 5))
    found = ScaledPrediction(Soft(soft), 1.7).patch(region, classes=slice(1, 3))
    logits = np.log(np.maximum(soft, 1e-9) / 65535)
    expected = softmax(logits / 1.7, axis=0)[(slice(1, 3), *region)]
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_scores_of_scaled_predictions(dtype: str) -> None:
    """With temperature 1 those of the prediction; with another, the same overlaps."""
    p, labels = drawn((6, 9, 8), 3, 1.5, seed=2)
    soft = quantise(p, dtype)
    soft[:, 0, 0] = 0
    reference = rated(labels, np.roll(labels, 1, axis=2), n_classes=3)
    stored = evaluate_case(Soft(soft), reference, dtype=dtype, measures=Measures())

    def scaled(temperature: float) -> CaseEvaluation:
        return evaluate_case(
            ScaledPrediction(Soft(soft), temperature),
            reference,
            dtype="float32",
            measures=Measures(),
            blocks=scaling_blocks(reference.geometry, 3, dtype),
        )

    same, softer = scaled(1), scaled(1.5)
    assert same.voxels == softer.voxels == labels.size - 8
    for name in OVERLAPS:
        mean = stored.class_mean(name)
        assert same.class_mean(name) == pytest.approx(mean, abs=1e-3)
        if name in ("dice", "surface_dice", "hd95_mm"):
            assert softer.class_mean(name) == same.class_mean(name) == mean
    for region, scores in stored.regions.items():
        for name in CALIBRATION:
            expected = pytest.approx(getattr(scores, name), abs=1e-4)
            assert getattr(same.regions[region], name) == expected
    whole = softer.regions["whole"]
    assert whole.nll < stored.regions["whole"].nll


def nll_of_cases(n: int, sharpness: float, *, first: int = 0) -> dict[str, Array]:
    found = {}
    for at in range(first, first + n):
        p, labels = drawn((10, 20, 20), 3, sharpness, seed=at)
        reference = rated(labels, n_classes=3)
        found[f"p{at // 2} v{at % 2}"] = case_nll(
            Soft(quantise(p, "uint16")), reference, dtype="uint16"
        )
    return found


@pytest.mark.parametrize("sharpness", [1.0, 1.6])
def test_temperatures_of_calibrated_and_of_sure_forecasts(sharpness: float) -> None:
    found = Temperatures.fit(nll_of_cases(12, sharpness), {}, seed=0)
    assert found.temperature == pytest.approx(sharpness, rel=0.03)
    assert len(found.folds) == 5
    for fold in found.folds:
        assert fold.temperature == pytest.approx(sharpness, rel=0.05)
    assert not found.at_the_edge


def test_patients_are_held_out() -> None:
    nll = nll_of_cases(14, 1.3)
    patients = {case: case.split()[0] for case in nll}
    found = Temperatures.fit(nll, patients, seed=3)
    assert sorted(case for fold in found.folds for case in fold.cases) == sorted(nll)
    assert sorted(len(fold.cases) for fold in found.folds) == [2, 2, 2, 4, 4]
    for fold in found.folds:
        inside = {patients[case] for case in fold.cases}
        others = [nll[case] for case in sorted(nll) if patients[case] not in inside]
        assert len(others) + len(fold.cases) == len(nll)
        assert fold.temperature == best_temperature(np.sum(others, axis=0))
        # Whatever its own cases are, its temperature is the same.
        changed = nll | dict.fromkeys(fold.cases, TEMPERATURES * 1000.0)
        again = Temperatures.fit(changed, patients, seed=3)
        (same,) = [other for other in again.folds if other.cases == fold.cases]
        assert same.temperature == fold.temperature
        assert again.temperature != found.temperature
    assert Temperatures.fit(nll, patients, seed=4).folds != found.folds
    backwards = dict(reversed(nll.items()))
    assert Temperatures.fit(backwards, patients, seed=3) == found


def test_temperatures_at_the_edge() -> None:
    falling = np.linspace(1, 0, len(TEMPERATURES))
    for nll, edges in (
        ([falling, falling], [8.0]),
        ([falling[::-1], falling[::-1]], [0.2]),
        ([falling, falling[::-1] ** 3], [0.2, 8.0]),
    ):
        found = Temperatures.fit(dict(zip("ab", nll, strict=True)), {}, seed=0)
        assert found.at_the_edge == edges


def test_few_patients() -> None:
    nll = nll_of_cases(4, 1)
    two = Temperatures.fit(nll, {case: case.split()[0] for case in nll}, seed=0)
    assert sorted(fold.cases for fold in two.folds) == [
        ("p0 v0", "p0 v1"),
        ("p1 v0", "p1 v1"),
    ]
    with pytest.raises(InputError, match="takes two or more, found 1"):
        Temperatures.fit(nll, dict.fromkeys(nll, "p"), seed=0)
