"""Scores of forecasts against their definitions, voxel by voxel."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from svls_cli import Method, smooth
from svls_cli.metrics import boundary_band as bands
from svls_cli.raters.fusion import Fusion, fuse
from svls_cli.raters.votes import tally
from svls_cli.soften.regions import soften_part
from svls_cli.tuning.forecast_sums import ForecastCounts, ForecastSums, uniform_scores
from svls_cli.tuning.forecasts import forecast_scores
from tests.helpers.label_maps import blobs

LabelMap = npt.NDArray[Any]
# The raters whose maps a forecast is made from, and the one whom it is of.
Pair = tuple[tuple[int, ...], int]

IGNORED = 9
TARGETS = ("one_map", "fused")


def noisy(maps: Sequence[LabelMap], *, seed: int, ignored: float) -> list[LabelMap]:
    """Some voxels of each map are marked as ignored."""
    rng = np.random.default_rng(seed)
    return [np.where(rng.random(m.shape) < ignored, IGNORED, m) for m in maps]


def pairs(target: str, raters: int) -> Iterator[Pair]:
    for left_out in range(raters):
        others = [rater for rater in range(raters) if rater != left_out]
        if target == "fused":
            yield tuple(others), left_out
        else:
            yield from (((other,), left_out) for other in others)


def brute_scores(
    target: str, maps: Sequence[LabelMap], soft: Sequence[LabelMap], band: LabelMap
) -> tuple[float, float, dict[int, float]]:
    """The definitions; labels are the soft labels' channels."""
    nlls, briers = [], []
    by_class: dict[int, list[float]] = {}
    for sources, left_out in pairs(target, len(maps)):
        for voxel in map(tuple, np.argwhere(band)):
            y = int(maps[left_out][voxel])
            telling = [r for r in sources if maps[r][voxel] != IGNORED]
            if y == IGNORED or not telling:
                continue
            each = [soft[r][(slice(None), *voxel)].astype(float) for r in telling]
            p = np.mean(each, axis=0)
            nll = -math.log(min(1.0, max(1e-3, p[y])))
            nlls.append(nll)
            briers.append(sum((p[c] - (c == y)) ** 2 for c in range(len(p))))
            for label in {int(maps[r][voxel]) for r in telling}:
                by_class.setdefault(label, []).append(nll)
    means = {label: float(np.mean(values)) for label, values in by_class.items()}
    return float(np.mean(nlls)), float(np.mean(briers)), means


def engine_scores(
    maps: Sequence[LabelMap],
    band: LabelMap,
    methods: Sequence[Method],
    strengths: Sequence[float],
    *,
    n_classes: int,
    threads: int = 1,
) -> tuple[ForecastSums, ...]:
    """Of maps whose labels are 0, 1, ... and IGNORED."""
    indices: Any = [np.where(m == IGNORED, n_classes, m).astype("u1") for m in maps]
    windows = [replace(m, strength=1.0).on_grid((1.0,) * band.ndim) for m in methods]
    return forecast_scores(
        indices, band, windows, strengths, n_classes=n_classes, threads=threads
    )


# The neighbour column of the published 2-D kernel: a face and two corners.
Q = 0.077807 + 2 * 0.047193


def test_golden_scores_of_one_map() -> None:
    """Two raters, one boundary a voxel apart, by hand."""
    maps = [np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 1]])]
    band = np.array([[True, True, True, False]])
    (scores,) = engine_scores(maps, band, [Method()], [0.5], n_classes=2)
    # Each rater is certain and right once, has 1 - q for the other's label once, and q.
    counts = scores.counts
    assert counts.total == 6
    assert counts.shares.tolist() == [0, 1]
    assert counts.forecasts.tolist() == [2, 4]
    assert counts.by_class.tolist() == [[1, 1], [2, 2]]
    assert counts.disagreement == pytest.approx(1 / 3)
    nll = 2 * (-math.log(Q) - math.log(1 - Q))
    assert scores.nll[0, 0] == pytest.approx(nll, rel=1e-5)
    assert scores.brier[0, 0] == pytest.approx(2 * (2 * Q**2 + 2 * (1 - Q) ** 2), 1e-5)
    # Each class forecasts once with certainty, once with 1 - q and once with q.
    expected = -math.log(Q) - math.log(1 - Q)
    assert scores.nll_by_class[0, 0] == pytest.approx([expected] * 2, rel=1e-5)
    assert scores.means().class_nll[0, 0] == pytest.approx(expected / 3, rel=1e-5)
    onehot = uniform_scores(counts, alpha=0, n_classes=2)
    assert onehot.nll == pytest.approx(math.log(1000) / 3)
    assert onehot.brier == pytest.approx(2 / 3)
    assert onehot.nll_by_class == pytest.approx([math.log(1000) / 3] * 2)


def test_golden_scores_of_fused_maps() -> None:
    """Three raters of one boundary; at its voxel one says 0, and two say 1."""
    maps = [np.array([[0, 0, 1]]), np.array([[0, 1, 1]]), np.array([[0, 1, 1]])]
    band = np.array([[False, True, False]])
    _, scores = engine_scores(maps, band, [Method()], [0.5], n_classes=2)
    counts = scores.counts
    # The first is forecast by two who say 1; each of these by one of either kind.
    assert counts.shares.tolist() == [0, 0.5, 1]
    assert counts.forecasts.tolist() == [1, 2, 0]
    assert counts.by_class.tolist() == [[0, 1], [2, 2], [0, 0]]
    assert counts.squares == 1 + 0.5 + 0.5
    # A map of 1 gives q to 0, and one of 0 as much to 1: half and half is 1/2.
    p = [Q, 0.5, 0.5]
    assert scores.nll[0, 0] == pytest.approx(-np.log(p).sum(), rel=1e-5)
    brier = 2 * sum((1 - share) ** 2 for share in p)
    assert scores.brier[0, 0] == pytest.approx(brier, rel=1e-5)
    # Those who say 1 forecast each time, and the one who says 0 twice.
    by_class = [-2 * math.log(0.5), -np.log(p).sum()]
    assert scores.nll_by_class[0, 0] == pytest.approx(by_class, rel=1e-5)
    mean = uniform_scores(counts, alpha=0, n_classes=2)
    assert mean.nll == pytest.approx((math.log(1000) + 2 * math.log(2)) / 3)
    assert mean.brier == pytest.approx((2 + 2 * 0.5) / 3)


METHODS = [
    Method(sigma=1, size=3),
    Method(sigma=(0.6, 1, 2), size=(3, 1, 5)),
    Method(sigma=1.5, size="auto"),
    Method(sigma=1, size=(1, "auto", "auto")),
]


@pytest.mark.parametrize("raters", [2, 3, 4])
@pytest.mark.parametrize("ignored", [0, 0.15])
def test_scores_are_their_definitions(
    raters: int, ignored: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bands._BLOCK_EDGE, 3, 5)  # many blocks
    base = blobs((6, 8, 9), 4)
    rng = np.random.default_rng(raters)
    maps = [np.roll(base, rng.integers(-1, 2, 3), (0, 1, 2)) for _ in range(raters)]
    maps = noisy(maps, seed=2, ignored=ignored)
    band = rng.random(base.shape) < 0.15
    strengths = (0.3, 1.0)
    found = engine_scores(maps, band, METHODS, strengths, n_classes=4)
    assert len(found) == (2 if raters > 2 else 1)
    for (w, method), (k, strength) in itertools.product(
        enumerate(METHODS), enumerate(strengths)
    ):
        window = {"sigma": method.sigma, "size": method.size, "strength": strength}
        options: Any = {"classes": range(4), "ignore_label": IGNORED, **window}
        soft = [smooth(m, **options) for m in maps]
        for target, sums in zip(TARGETS, found, strict=False):
            nll, brier, by_class = brute_scores(target, maps, soft, band)
            scores = sums.means()
            assert scores.nll[w, k] == pytest.approx(nll, rel=1e-5)
            assert scores.brier[w, k] == pytest.approx(brier, rel=1e-5)
            each = dict(enumerate(scores.nll_by_class[w, k]))
            assert each == pytest.approx(by_class, rel=1e-5)
            balanced = np.mean(list(by_class.values()))
            assert scores.class_nll[w, k] == pytest.approx(balanced, rel=1e-5)


def test_fused_forecasts_are_what_fuse_raters_makes() -> None:
    """The soft label of the fused map itself, not the mean of soft labels."""
    maps: Any = [blobs((7, 8, 9), 3, seed=at).astype("u1") for at in range(4)]
    band = np.random.default_rng(0).random(maps[0].shape) < 0.5
    method = Method(sigma=1.2, size=5, strength=0.7)
    _, scores = engine_scores(maps, band, [method], [0.7], n_classes=3)
    nlls = []
    for others, left_out in pairs("fused", 4):
        votes = tally([maps[at] for at in others], n_classes=3)
        fused = fuse(votes, [f"r{at}" for at in others], Fusion())
        soft = soften_part(
            fused.labels,
            tuple(slice(0, n) for n in band.shape),
            method.on_grid((1, 1, 1)),
            n_classes=3,
            dtype=np.float32,
            mixture=fused.mixture,
        )
        p = np.take_along_axis(soft.soft, maps[left_out][np.newaxis].astype(int), 0)
        nlls.append(-np.log(np.clip(p[0][band], 1e-3, 1)))
    assert scores.means().nll[0, 0] == pytest.approx(np.mean(nlls), rel=1e-5)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("alpha", [0, 0.1, 0.9])
def test_uniform_scores_are_their_definition(alpha: float, target: str) -> None:
    maps = noisy([blobs((9, 10), 3, seed=s) for s in (4, 5, 6)], seed=3, ignored=0.1)
    n_classes = 400  # so many that .1 / 400 is clipped
    band = np.ones((9, 10), bool)
    sums = engine_scores(maps, band, [Method()], [0.5], n_classes=3)
    counts = sums[TARGETS.index(target)].counts
    found = uniform_scores(counts, alpha=alpha, n_classes=n_classes)
    classes = [c for c in range(n_classes + 1) if c != IGNORED]
    options: Any = {"method": "ls", "classes": classes, "ignore_label": IGNORED}
    soft = [smooth(m, alpha=alpha, **options) for m in maps]
    nll, brier, by_class = brute_scores(target, maps, soft, band)
    assert found.nll == pytest.approx(nll, rel=1e-5)
    assert found.brier == pytest.approx(brier, rel=1e-5)
    assert dict(enumerate(found.nll_by_class)) == pytest.approx(by_class, rel=1e-5)


def test_threads_do_not_change_the_scores() -> None:
    maps = [blobs((70, 70, 20), 3, seed=s) for s in (0, 1, 2)]
    band = np.ones(maps[0].shape, bool)
    given: Any = (maps, band, METHODS[:1], [0.5])
    for one, three in zip(
        *(engine_scores(*given, n_classes=3, threads=n) for n in (1, 3)), strict=True
    ):
        np.testing.assert_array_equal(one.nll, three.nll)
        np.testing.assert_array_equal(one.nll_by_class, three.nll_by_class)


def test_nobody_to_forecast() -> None:
    maps = [np.array([[0, 1]]), np.array([[IGNORED, IGNORED]])]
    assert (
        engine_scores(maps, np.ones((1, 2), bool), METHODS[:1], [1], n_classes=2) == ()
    )


def test_a_class_that_nobody_drew_has_no_score() -> None:
    counts = ForecastCounts(
        np.array([0.0, 1.0]), np.array([0, 3]), np.array([[0, 0], [3, 0]]), 3.0
    )
    scores = uniform_scores(counts, alpha=0.1, n_classes=2)
    assert np.isnan(scores.nll_by_class).tolist() == [False, True]
    assert scores.class_nll == scores.nll_by_class[0]
