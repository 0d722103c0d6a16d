"""Scores of predictions: by hand, against plain transcriptions, and their laws."""

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from svls_cli.errors import InvalidParameterError, StoreError
from svls_cli.evaluation.evaluate_case import Measures, evaluate_case
from svls_cli.evaluation.regions import REGIONS
from svls_cli.evaluation.scores import CaseEvaluation
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.rater_maps import RaterMaps
from svls_cli.metrics.boundary_band import band_radius, boundary_band
from svls_cli.metrics.calibration import LevelCounts, published_tace, reliability, tace
from svls_cli.metrics.distributions import volume_crps
from svls_cli.soften.volume import smooth
from tests.helpers.label_maps import blobs, grid
from tests.helpers.predictions import Soft

Array = npt.NDArray[Any]


def evaluated(
    soft: Array,
    maps: list[Array],
    *,
    spacing: tuple[float, ...] | None = None,
    values: list[int] | None = None,
    blocks: Any = None,
    **measures: Any,
) -> CaseEvaluation:
    classes = ClassTable.from_values(values or range(len(soft)))
    raters = tuple(f"r{at}" for at in range(len(maps)))
    indices = tuple(m.astype(np.min_scalar_type(len(soft))) for m in maps)
    reference = RaterMaps(grid(maps[0].shape, spacing), classes, raters, indices)
    chosen: dict[str, Any] = {"measures": Measures(**measures), "blocks": blocks}
    return evaluate_case(Soft(soft), reference, dtype=soft.dtype, **chosen)


def one_hot(labels: Array, n_classes: int, dtype: str = "uint8") -> Array:
    certain = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    hot = labels == np.arange(n_classes).reshape(-1, *[1] * labels.ndim)
    return (hot * certain).astype(dtype)


def random_soft(shape: tuple[int, ...], n_classes: int, dtype: str, seed: int) -> Array:
    """Probabilities of every size, of which many are 0, as they are stored."""
    rng = np.random.default_rng(seed)
    raw = rng.random((n_classes, *shape)) ** 4 * (rng.random((n_classes, *shape)) < 0.6)
    raw[0] += 1e-3
    p = raw / raw.sum(axis=0)
    if np.dtype(dtype).kind == "f":
        return p.astype(dtype)
    certain = np.iinfo(dtype).max
    stored = np.floor(p * certain).astype(dtype)
    stored[0] += (certain - stored.sum(axis=0, dtype=np.int64)).astype(dtype)
    return stored


def probabilities(soft: Array) -> Array:
    if soft.dtype.kind == "f":
        return soft.astype(np.float64)
    return soft / np.iinfo(soft.dtype).max


# --- plain transcriptions of the definitions ------------------------------------------


def naive_ece(top: Array, right: Array, bins: int) -> float:
    total = 0.0
    for at in range(bins):
        inside = (top > at / bins + 1e-12) & (top <= (at + 1) / bins + 1e-12)
        if inside.any():
            gap = abs(top[inside].mean() - right[inside].mean())
            total += inside.sum() * gap / len(top)
    return total


def naive_rater_ece(top: Array, right: Array, raters: Array, bins: int) -> float:
    """Mean over the raters that have voxels."""
    masks = [raters == rater for rater in np.unique(raters)]
    return float(np.mean([naive_ece(top[m], right[m], bins) for m in masks]))


def naive_tace(p: Array, hit: Array, bins: int) -> float:
    """Each forecast cut in as many pieces as there are bins; equal ones are mixed."""
    hit, p = hit[p > 1e-3], p[p > 1e-3]
    if not len(p):
        return math.nan
    order = np.argsort(p)
    p, hit = p[order], hit[order].astype(float)
    for level in np.unique(p):
        hit[p == level] = hit[p == level].mean()
    confidence = np.repeat(p, bins).reshape(bins, -1).mean(axis=1)
    accuracy = np.repeat(hit, bins).reshape(bins, -1).mean(axis=1)
    return float(np.abs(confidence - accuracy).mean())


def naive_published_tace(p: Array, hit: Array, bins: int) -> float:
    order = np.argsort(p)
    kept = p[order] > 1e-3
    p, hit = p[order][kept], hit[order][kept]
    size, per_bin = len(p) // bins, []
    for at in range(bins):
        end = (at + 1) * size if at < bins - 1 else len(p)
        inside = slice(at * size, end)
        gap = abs(hit[inside].mean() - p[inside].mean())
        per_bin.append((end - at * size) * gap / len(p))  # divided once
    return float(np.mean(per_bin))  # and twice


def iou(a: Array, b: Array) -> float:
    either = (a | b).sum()
    return float((a & b).sum() / either) if either else 1.0


def naive_ged(p: Array, masks: list[Array], n_levels: int) -> float:
    samples = [p > (k + 0.5) / n_levels for k in range(n_levels)]

    def mean_distance(some: list[Array], others: list[Array]) -> float:
        return float(np.mean([1 - iou(a, b) for a in some for b in others]))

    return (
        2 * mean_distance(samples, masks)
        - mean_distance(samples, samples)
        - mean_distance(masks, masks)
    )


def naive_crps(volume: float, drawn: list[float]) -> float:
    """The integral of (F(v) - [v >= volume])^2, in small steps."""
    mean, deviation = float(np.mean(drawn)), float(np.std(drawn))
    if not (volume or mean):
        return math.nan
    if not deviation:  # F is a step as well
        return abs(volume - mean)
    ends = min(volume, mean - 8 * deviation), max(volume, mean + 8 * deviation)
    v = np.linspace(*ends, 200_001)
    v = (v[1:] + v[:-1]) / 2
    gap = norm.cdf(v, mean, deviation) - (v >= volume)
    return float((gap**2).mean() * (ends[1] - ends[0]))


def mean_or_nan(values: Any) -> float:
    return float(np.mean(values)) if len(values) else math.nan


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    n_raters=st.integers(1, 3),
    shape=st.sampled_from([(5, 6, 7), (9, 8), (1, 1, 30)]),
    bins=st.sampled_from([1, 3, 10, 15]),
    ignored=st.booleans(),
)
def test_scores_are_their_definitions(
    seed: int,
    dtype: str,
    n_raters: int,
    shape: tuple[int, ...],
    bins: int,
    ignored: bool,
) -> None:
    rng = np.random.default_rng(seed)
    soft = random_soft(shape, 4, dtype, seed)
    maps = [rng.integers(0, 4, shape) for _ in range(n_raters)]
    for labels in maps[1:]:  # raters have something in common
        labels[:] = np.where(rng.random(shape) < 0.7, maps[0], labels)
    if ignored:
        soft[:, rng.random(shape) < 0.1] = 0
        maps[0][rng.random(shape) < 0.1] = 4
    spacing = (2.0, 0.8, 1.0)[-len(shape) :]
    found = evaluated(soft, maps, spacing=spacing, band_mm=1, bins=bins)

    p = probabilities(soft).reshape(4, -1)
    said = np.stack(maps).reshape(n_raters, -1)
    valid = p.any(axis=0) & (said < 4).all(axis=0)
    indices: Any = [m.astype(np.uint8) for m in maps]
    radius = band_radius(1, shape, spacing)
    band = boundary_band(indices, n_classes=4, radius=radius).ravel()
    argmax = p.argmax(axis=0)
    if dtype == "float32":  # a step may lie on the other side of a bin's edge
        p = np.rint(p * 65535) / 65535
    assert found.voxels == valid.sum()
    assert found.ignored_voxels == valid.size - valid.sum()
    close = {"abs": 1e-12} if dtype != "float32" else {"abs": 2e-3}
    for region in REGIONS:
        pairs = [
            (r, v)
            for r in range(n_raters)
            for v in np.flatnonzero(valid)
            if region == "whole" or (band[v] if region == "band" else said[r, v] > 0)
        ]
        scores = found.regions[region]
        assert scores.forecasts == len(pairs)
        if not pairs:
            undefined = (scores.nll, scores.brier, scores.ece, scores.tace)
            assert np.isnan((*undefined, scores.rater_ece)).all()
            continue
        raters, voxels = np.array(pairs).T
        labels = said[raters, voxels]
        own = p[labels, voxels]
        hot = labels == np.arange(4)[:, np.newaxis]
        nll = -np.log(np.clip(own, 1e-3, 1)).mean()
        assert scores.nll == pytest.approx(nll, **close)
        brier = ((p[:, voxels] - hot) ** 2).sum(axis=0).mean()
        assert scores.brier == pytest.approx(brier, **close)
        if dtype != "float32":  # rounding may move a float into the next bin
            top = p[argmax[voxels], voxels]
            ece = naive_ece(top, labels == argmax[voxels], bins)
            assert scores.ece == pytest.approx(ece, **close)
            by_rater = naive_rater_ece(top, labels == argmax[voxels], raters, bins)
            assert scores.rater_ece == pytest.approx(by_rater, **close)
            # Where all raters have the same voxels, that of all is no larger.
            assert region == "foreground" or by_rater >= ece - 1e-12
        each = [naive_tace(p[c, voxels], hot[c], bins) for c in range(4)]
        for label in found.classes:
            at = label.value
            assert label.tace[region] == pytest.approx(each[at], **close, nan_ok=True)
            nll = mean_or_nan(-np.log(np.clip(own[labels == at], 1e-3, 1)))
            assert label.nll[region] == pytest.approx(nll, **close, nan_ok=True)
        mean = mean_or_nan([x for x in each[1:] if not math.isnan(x)])
        assert scores.tace == pytest.approx(mean, **close, nan_ok=True)
    for label in found.classes:
        at = label.value
        masks = [(said[r] == at) & valid for r in range(n_raters)]
        mine = (argmax == at) & valid
        sizes = [(mine & m, mine.sum() + m.sum()) for m in masks]
        dice = mean_or_nan([2 * both.sum() / size for both, size in sizes if size])
        assert label.dice == pytest.approx(dice, nan_ok=True)
        q, own = np.mean(masks, axis=0), p[at] * valid
        size = (own**2).sum() + (q**2).sum()
        overlap = 2 * (own * q).sum() / size if size else math.nan
        assert label.soft_dice == pytest.approx(overlap, **close, nan_ok=True)
        volumes = [m.sum() * math.prod(spacing) / 1000 for m in masks]
        crps = naive_crps(own.sum() * math.prod(spacing) / 1000, volumes)
        crps *= 1 if len(shape) == 3 else math.nan
        assert label.crps_ml == pytest.approx(crps, rel=1e-4, abs=1e-6, nan_ok=True)
        if dtype == "uint8" and size:
            assert label.ged == pytest.approx(naive_ged(own, masks, 255), abs=1e-9)


def test_overlap_and_distance_as_in_simpleitk() -> None:
    """Dice of ITK's label overlap; distances of its contours and distance maps."""
    spacing = (2.0, 0.7, 1.3)
    drawn = np.pad(blobs((14, 18, 16), 4, seed=1), 4)
    said = np.roll(drawn, (1, -2, 1), (0, 1, 2))
    found = evaluated(one_hot(said, 4), [drawn], spacing=spacing, tolerance_mm=1.5)
    images = [sitk.GetImageFromArray(each.astype(np.uint8)) for each in (said, drawn)]
    for image in images:
        image.SetSpacing(spacing[::-1])
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    for label in found.classes:
        assert label.dice == pytest.approx(overlap.GetDiceCoefficient(label.value))
        edges = [sitk.BinaryContour(image == label.value) for image in images]
        far = []
        for mine, other in itertools.permutations(edges):
            options = {"squaredDistance": False, "useImageSpacing": True}
            distance = sitk.SignedMaurerDistanceMap(other, **options)
            values = np.abs(sitk.GetArrayFromImage(distance))
            far.append(values[sitk.GetArrayFromImage(mine) > 0])
        hd95 = max(np.percentile(way, 95) for way in far)
        assert label.hd95_mm == pytest.approx(hd95, rel=1e-5)
        near = sum((way <= 1.5).sum() for way in far) / sum(map(len, far))
        assert label.surface_dice == pytest.approx(near)


# --- by hand --------------------------------------------------------------------------


def test_by_hand() -> None:
    # Six voxels in a row; p of class 1 is 0, .2, .4, .6, .8, 1.
    p = np.array([[0, 51, 102, 153, 204, 255]], np.uint8)
    drawn = np.array([[0, 0, 1, 0, 1, 1]])
    found = evaluated(np.stack([255 - p, p]), [drawn], bins=5, band_mm=1)
    (label,) = found.classes
    assert (label.voxels, label.predicted_voxels) == (3, 3)
    assert label.dice == 4 / 6
    assert label.soft_dice == pytest.approx(2 * (0.4 + 0.8 + 1) / (0.2 * 11 + 3))
    # The right ones are .4, .8 and 1 of class 1; 1, .8 and .4 of class 0.
    nll = 2 * (math.log(1 / 0.4) + math.log(1 / 0.8))
    whole = found.regions["whole"]
    assert whole.nll == pytest.approx(nll / 6)
    assert label.nll["whole"] == pytest.approx(nll / 2 / 3)
    assert whole.brier == pytest.approx(2 * 2 * (0.2**2 + 0.6**2) / 6)
    # Most probable: 1, .8, .6 twice each; those of .6 are wrong.
    assert whole.reliability.count.tolist() == [0, 0, 2, 2, 2]
    assert whole.reliability.hits.tolist() == [0, 0, 0, 2, 2]
    assert whole.ece == pytest.approx((0.6 + 0.2 + 0) / 3)
    # Five forecasts above .001, a bin each: .2, .4 (hit), .6, .8 (hit), 1 (hit).
    assert label.tace["whole"] == pytest.approx((0.2 + 0.6 + 0.6 + 0.2 + 0) / 5)
    # The foreground holds .4, .8, 1 of class 1: the first is argmax 0 with .6.
    inside = found.regions["foreground"]
    assert inside.forecasts == 3
    assert inside.ece == pytest.approx((0.6 + 0.2 + 0) / 3)
    # The band is a voxel either side of the three boundaries: all but the first and
    # the last.
    assert found.regions["band"].forecasts == 4
    nll = -sum(map(math.log, (0.8, 0.4, 0.4, 0.8))) / 4
    assert found.regions["band"].nll == pytest.approx(nll)
    # Samples of class 1: its last 5, 4, 3, 2, 1 voxels, a fifth of the time each.
    samples = [np.arange(6) > at for at in range(5)]
    between = np.mean([1 - iou(s, drawn[0] == 1) for s in samples])
    among = np.mean([1 - iou(s, t) for s in samples for t in samples])
    assert label.ged == pytest.approx(2 * between - among)


def test_bins_of_equal_width_are_exact() -> None:
    # p = .2, .4 ... lie in the lower bin, whatever floating point makes of them.
    count = np.zeros(256, np.int64)
    count[[51, 102, 153, 204, 255]] = 1
    found = reliability(LevelCounts(count, count), bins=5)
    assert found.count.tolist() == [1, 1, 1, 1, 1]
    assert reliability(LevelCounts(count, count), bins=10).count.tolist() == [0, 1] * 5


def test_probability_0_is_in_no_bin() -> None:
    nothing = LevelCounts(np.array([7, 0, 0]), np.array([0, 0, 0]))
    assert reliability(nothing, bins=2).count.tolist() == [0, 0]
    assert math.isnan(reliability(nothing, bins=2).ece)
    assert math.isnan(tace(nothing, bins=2))


def test_more_bins_than_forecasts() -> None:
    # One forecast of .5 that came true: every bin holds a piece of it.
    one = LevelCounts(np.array([0, 1, 0]), np.array([0, 1, 0]))
    assert tace(one, bins=15) == pytest.approx(0.5)
    assert math.isnan(published_tace(one, bins=15))  # 0 / 0 there


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(10, 400), bins=st.integers(1, 10))
def test_published_numbers(seed: int, n: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    level = rng.choice(np.arange(1, 65536), n, replace=False)  # none twice
    assume((level > 65).sum() >= bins)  # with fewer the published code has 0 / 0
    hit = rng.random(n) < level / 65535
    count, hits = (np.bincount(level, each, 65536).astype(int) for each in (None, hit))
    forecasts = LevelCounts(count, hits)
    expected = naive_published_tace(level / 65535, hit, bins)
    assert published_tace(forecasts, bins=bins) == pytest.approx(expected)
    if count[66:].sum() % bins == 0:  # 65 / 65535 < .001 < 66 / 65535
        ours = tace(forecasts, bins=bins)
        assert published_tace(forecasts, bins=bins) == pytest.approx(ours / bins)


def test_paper_compat_is_ece_of_the_foreground_and_tace_of_the_whole() -> None:
    soft = random_soft((10, 10, 10), 3, "uint8", 0)
    drawn = blobs((10, 10, 10), 3, seed=3)
    assert evaluated(soft, [drawn]).published is None
    found = evaluated(soft, [drawn], paper_compat=True)
    assert len(found.regions["whole"].reliability.count) == 10
    assert found.published is not None
    assert found.published.ece == found.regions["foreground"].ece
    whole = found.regions["whole"].tace
    assert found.published.tace == pytest.approx(whole / 10, rel=0.05)
    assert len(evaluated(soft, [drawn]).regions["whole"].reliability.count) == 15


def test_ece_by_rater_sees_what_the_mean_of_raters_hides() -> None:
    # One rater draws everything, the other nothing: .5 is right of both together.
    soft = np.full((2, 4, 5), 0.5, np.float32)
    raters = [np.zeros((4, 5), int), np.ones((4, 5), int)]
    whole = evaluated(soft, raters).regions["whole"]
    assert whole.ece == pytest.approx(0, abs=1e-5)
    assert whole.rater_ece == pytest.approx(0.5, abs=1e-5)


def test_crps_of_the_volume_by_hand() -> None:
    # 1 mL a voxel; raters drew 4 and 6, and the probabilities sum to 5 and to 6.
    raters = [(np.arange(10) < n).astype(int).reshape(1, 2, 5) for n in (4, 6)]
    for p, expected in ((0.5, 0.233695), (0.6, 0.602440)):
        soft = np.array([1 - p, p], np.float32).reshape(2, 1, 1, 1)
        soft = np.broadcast_to(soft, (2, 1, 2, 5))
        found = evaluated(soft, raters, spacing=(10.0, 10.0, 10.0))
        assert found.classes[0].crps_ml == pytest.approx(expected, abs=1e-4)
    # One rater: the error of the volume.
    found = evaluated(soft, raters[:1], spacing=(10.0, 10.0, 10.0))
    assert found.classes[0].crps_ml == pytest.approx(2, abs=1e-3)


@given(
    volume=st.floats(0, 100),
    drawn=st.lists(st.floats(1, 100), min_size=1, max_size=5),
)
def test_crps_laws(volume: float, drawn: list[float]) -> None:
    found = volume_crps(volume, drawn)
    assert found >= 0
    away, deviation = abs(volume - np.mean(drawn)), np.std(drawn)
    # E|V - volume| - E|V - V'| / 2, of which the second is deviation / sqrt(pi).
    assert found >= away - deviation / math.sqrt(math.pi) - 1e-9
    assert found <= away + deviation * 0.233696 + 1e-9
    assert volume_crps(np.mean(drawn), drawn) <= found + 1e-9
    doubled = volume_crps(2 * volume, 2 * np.array(drawn))
    assert doubled == pytest.approx(2 * found, rel=1e-6, abs=1e-9)


# --- laws -----------------------------------------------------------------------------


@settings(max_examples=10)
@given(
    seed=st.integers(0, 1000), dtype=st.sampled_from(["uint8", "float16", "float32"])
)
def test_a_perfect_prediction(seed: int, dtype: str) -> None:
    drawn = blobs((6, 9, 8), 3, seed=seed)
    found = evaluated(one_hot(drawn, 3, dtype), [drawn])
    for label in found.classes:
        overlaps = (label.dice, label.surface_dice, label.soft_dice)
        distances = (label.hd95_mm, label.ged)
        if label.value in drawn:
            assert (overlaps, distances) == ((1, 1, 1), (0, 0))
        else:
            assert np.isnan((*overlaps, *distances)).all()
    for scores in found.regions.values():
        if scores.forecasts:
            assert (scores.nll, scores.brier, scores.ece) == (0, 0, 0)
            assert scores.tace == 0 or math.isnan(scores.tace)


def test_the_mean_of_raters_inside_of_one_another_is_perfect() -> None:
    # Of three raters, each draws more than the one before: GED and soft Dice see that
    # the soft label is exactly their distribution.
    field = np.random.default_rng(0).random((8, 9, 10))
    maps = [(field < limit).astype(int) for limit in (0.2, 0.3, 0.5)]
    ones = (np.mean(maps, axis=0) * 255).round().astype(np.uint8)
    found = evaluated(np.stack([255 - ones, ones]), maps)
    (label,) = found.classes
    assert label.ged == pytest.approx(0, abs=1e-12)
    assert label.soft_dice == pytest.approx(1)
    assert found.regions["whole"].ece == pytest.approx(0, abs=1e-12)
    assert label.tace["whole"] == pytest.approx(0, abs=1e-12)
    majority = evaluated(one_hot(maps[1], 2), maps).classes[0]
    assert majority.ged > 0.1
    assert majority.soft_dice < 1


def test_a_calibrated_forecast_has_a_small_error() -> None:
    rng = np.random.default_rng(0)
    ones = rng.integers(0, 256, (40, 50, 50), dtype=np.uint8)
    drawn = (rng.random(ones.shape) < ones / 255).astype(int)
    found = evaluated(np.stack([255 - ones, ones]), [drawn])
    assert found.regions["whole"].ece < 0.005
    assert found.regions["whole"].tace < 0.005
    # The foreground is chosen by what came true: no class is calibrated in it.
    assert found.regions["foreground"].tace > 0.1


@settings(max_examples=10)
@given(
    seed=st.integers(0, 1000),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    edge=st.integers(1, 9),
    group=st.integers(1, 4),
)
def test_blocks_change_nothing(seed: int, dtype: str, edge: int, group: int) -> None:
    shape = (7, 6, 8)
    soft = random_soft(shape, 4, dtype, seed)
    maps = [blobs(shape, 4, seed=seed + at) for at in range(2)]
    groups = [slice(at, min(at + group, 4)) for at in range(0, 4, group)]
    blocks = [
        (tuple(slice(at, at + edge) for at in corner), groups)
        for corner in itertools.product(*(range(0, n, edge) for n in shape))
    ]
    whole = evaluated(soft, maps).to_json()
    assert evaluated(soft, maps, blocks=blocks).to_json() == whole


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), order=st.permutations([1, 2, 3]))
def test_the_order_of_classes_changes_nothing(seed: int, order: list[int]) -> None:
    # Without ties, which go to the first class.
    soft = random_soft((6, 7, 5), 4, "float32", seed)
    maps = [blobs((6, 7, 5), 4, seed=seed)]
    plain = evaluated(soft, maps)
    places = [0, *order]
    renamed = [np.argsort(places)[labels] for labels in maps]
    mixed = evaluated(soft[places], renamed)
    for before, after in zip(
        (plain.classes[value - 1] for value in order), mixed.classes, strict=True
    ):
        for name in ("dice", "hd95_mm", "ged", "tace"):
            expected = pytest.approx(getattr(before, name), nan_ok=True)
            assert getattr(after, name) == expected
    for region in REGIONS:
        one, other = plain.regions[region], mixed.regions[region]
        for name in ("nll", "brier", "ece"):
            assert getattr(other, name) == pytest.approx(getattr(one, name))


def test_identical_raters_are_one_rater() -> None:
    soft = random_soft((6, 7, 5), 3, "uint8", 4)
    drawn = blobs((6, 7, 5), 3, seed=4)
    one, three = evaluated(soft, [drawn]), evaluated(soft, [drawn] * 3)
    for name in ("dice", "surface_dice", "hd95_mm", "soft_dice", "ged", "crps_ml"):
        assert three.class_mean(name) == pytest.approx(one.class_mean(name))
    for region in REGIONS:
        before, after = one.regions[region], three.regions[region]
        assert after.forecasts == 3 * before.forecasts
        assert after.rater_ece == pytest.approx(after.ece)
        for name in ("nll", "ece", "tace"):
            assert getattr(after, name) == pytest.approx(getattr(before, name))


def test_regions_can_rank_methods_differently() -> None:
    # One-hot and soft labels of one rater against another: over the whole volume the
    # certain one is as good, near boundaries it is not.
    base = blobs((20, 24, 24), 3, seed=2)
    other = np.roll(base, 1, axis=1)
    hard = evaluated(one_hot(base, 3), [other])
    soft = evaluated(smooth(base, sigma=1, dtype="uint8"), [other])
    assert soft.regions["band"].ece < hard.regions["band"].ece
    assert hard.classes[0].dice == soft.classes[0].dice


# --- edge cases -----------------------------------------------------------------------


def test_a_class_in_one_of_the_two_only() -> None:
    nothing, drawn = np.zeros((2, 4, 5, 6), int)
    drawn[1:3, 1:3, 1:3] = 1
    diagonal = math.sqrt(9 * 4 + 16 + 25)
    for said, true in ((nothing, drawn), (drawn, nothing)):
        found = evaluated(one_hot(said, 2), [true], spacing=(2.0, 1.0, 1.0))
        (label,) = found.classes
        assert (label.dice, label.surface_dice, label.soft_dice) == (0, 0, 0)
        assert label.hd95_mm == pytest.approx(diagonal)
        assert label.ged == 2
        assert found.class_mean("dice") == 0


def test_a_class_in_neither_is_left_out_of_the_means() -> None:
    drawn = blobs((5, 6, 7), 2, seed=0)
    found = evaluated(one_hot(drawn, 3), [drawn])
    absent = found.classes[1]
    assert np.isnan((absent.dice, absent.surface_dice, absent.hd95_mm)).all()
    assert np.isnan((absent.soft_dice, absent.ged, absent.tace["whole"])).all()
    assert math.isnan(absent.crps_ml)
    assert absent.to_json()["dice"] is None
    for name, best in (("dice", 1), ("hd95_mm", 0), ("ged", 0)):
        assert found.class_mean(name) == best
    assert found.regions["whole"].tace == 0


def test_empty_regions_are_undefined() -> None:
    nothing = np.zeros((4, 5), int)
    found = evaluated(one_hot(nothing, 2), [nothing])
    for region in ("foreground", "band"):
        scores = found.regions[region]
        assert scores.forecasts == 0
        assert np.isnan((scores.nll, scores.brier, scores.ece, scores.tace)).all()
        record = scores.to_json()
        assert record["ece"] is None
        assert record["reliability"]["accuracy"] == [None] * 15
    assert found.regions["whole"].nll == 0


def test_without_a_background_everything_is_foreground() -> None:
    drawn = blobs((5, 6, 7), 2, seed=0)
    found = evaluated(one_hot(drawn, 2), [drawn], values=[3, 8])
    assert [label.value for label in found.classes] == [3, 8]
    assert found.regions["foreground"].forecasts == drawn.size


def test_ignored_voxels_carry_nothing() -> None:
    soft = random_soft((6, 7, 8), 3, "uint8", 1)
    maps = [blobs((6, 7, 8), 3, seed=at) for at in range(2)]
    corner = (slice(0, 3), slice(None), slice(2, 6))
    maps[1][corner] = 3
    before = evaluated(soft, maps, band_mm=1)
    soft[(slice(None), *corner)] = 7
    maps[0][corner] = 3  # the band looks at raters' labels, so both ignore it now
    assert before.ignored_voxels == 3 * 7 * 4
    both = evaluated(soft, maps, band_mm=1)
    assert both.ignored_voxels == 3 * 7 * 4
    for label, same in zip(before.classes, both.classes, strict=True):
        assert label.dice == same.dice
        assert label.ged == pytest.approx(same.ged)
        assert label.hd95_mm == pytest.approx(same.hd95_mm)
    assert both.regions["whole"].nll == pytest.approx(before.regions["whole"].nll)


def test_a_prediction_that_says_nothing() -> None:
    found = evaluated(np.zeros((2, 3, 4), np.uint8), [np.ones((3, 4), int)])
    assert (found.voxels, found.ignored_voxels) == (0, 12)
    assert math.isnan(found.class_mean("dice"))
    assert math.isnan(found.regions["whole"].nll)


def test_equal_probabilities_go_to_the_first_class() -> None:
    soft = np.full((2, 1, 4), 0.5, np.float32)
    found = evaluated(soft, [np.array([[0, 0, 1, 1]])])
    assert found.classes[0].predicted_voxels == 0
    assert found.regions["whole"].reliability.hits.sum() == 2
    assert found.regions["whole"].ece == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.5, math.inf])
def test_what_is_no_probability_is_an_error(bad: float) -> None:
    soft = np.full((2, 3, 4), 0.5, np.float32)
    soft[1, 2, 3] = bad
    with pytest.raises(StoreError, match=r"probabilities must lie in 0\.\.1"):
        evaluated(soft, [np.zeros((3, 4), int)])


def test_floats_round_to_what_uint16_holds() -> None:
    wide = random_soft((8, 9, 10), 3, "uint16", 5)
    drawn = [blobs((8, 9, 10), 3, seed=5)]
    exact = evaluated(wide, drawn)
    rounded = evaluated((wide / 65535).astype(np.float32), drawn)
    assert rounded.to_json() == exact.to_json()


@pytest.mark.parametrize(
    ("name", "bad"), [("tolerance_mm", -1), ("band_mm", 0), ("bins", 0)]
)
def test_bad_measures(name: str, bad: int) -> None:
    with pytest.raises(InvalidParameterError, match=name):
        Measures(**{name: bad})
