"""Scores against their definitions, choices against planted truths."""

import itertools
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, gaussian_filter

from svls_cli import (
    Batch,
    InputError,
    InvalidParameterError,
    Method,
    parse_classes,
    smooth,
)
from svls_cli.figures import check_figure
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.raters import RatedCase
from svls_cli.metrics import boundary_band as bands
from svls_cli.metrics.averages import bootstrap
from svls_cli.metrics.boundary_band import band_blocks, band_radius, boundary_band
from svls_cli.tuning.candidates import PUBLISHED, Candidates, Search, smooth_options
from svls_cli.tuning.case_scores import CaseScorer, CaseScores
from svls_cli.tuning.choice import choose_candidate
from svls_cli.tuning.crossvalidation import Fold, cross_validate, held_out
from svls_cli.tuning.figure import draw_tuning
from svls_cli.tuning.forecasts import forecast_scores
from svls_cli.tuning.pair_scores import PairCounts, PairScores, uniform_scores
from svls_cli.tuning.result import TuningResult
from svls_cli.tuning.tune import tune_smoothing
from tests.helpers.label_maps import blobs, write_image

LabelMap = npt.NDArray[Any]

IGNORED = 9
SEARCH = Search(Candidates(), "nll", band_mm=2.0, folds=5, seed=0)


def noisy(maps: Sequence[LabelMap], *, seed: int, ignored: float) -> list[LabelMap]:
    """Some voxels of each map are marked as ignored."""
    rng = np.random.default_rng(seed)
    return [np.where(rng.random(m.shape) < ignored, IGNORED, m) for m in maps]


def brute_band(maps: Sequence[LabelMap], radius: Sequence[int]) -> LabelMap:
    band = np.zeros(maps[0].shape, bool)
    for voxel in np.ndindex(band.shape):
        window = tuple(
            slice(max(0, i - r), i + r + 1) for i, r in zip(voxel, radius, strict=True)
        )
        for labels in maps:
            found = set(labels[window].ravel().tolist()) - {IGNORED}
            band[voxel] |= len(found) > 1
    return band


def brute_scores(
    maps: Sequence[LabelMap], soft: Sequence[LabelMap], band: LabelMap
) -> tuple[float, float, dict[int, float]]:
    """The definitions, voxel by voxel; labels are the soft labels' channels."""
    nlls, briers = [], []
    per_class: dict[int, list[float]] = {}
    for r, s in itertools.permutations(range(len(maps)), 2):
        for voxel in np.argwhere(band):
            own, y = (int(maps[rater][tuple(voxel)]) for rater in (r, s))
            if IGNORED in (own, y):
                continue
            p = soft[r][(slice(None), *voxel)].astype(float)
            nll = -math.log(min(1.0, max(1e-3, p[y])))
            nlls.append(nll)
            briers.append(sum((p[c] - (c == y)) ** 2 for c in range(len(p))))
            for label in {own, y}:
                per_class.setdefault(label, []).append(nll)
    means = {label: float(np.mean(values)) for label, values in per_class.items()}
    return float(np.mean(nlls)), float(np.mean(briers)), means


def engine_scores(
    maps: Sequence[LabelMap],
    band: LabelMap,
    methods: Sequence[Method],
    strengths: Sequence[float],
    *,
    n_classes: int,
    threads: int = 1,
) -> PairScores:
    """Of maps whose labels are 0, 1, ... and IGNORED."""
    indices: Any = [np.where(m == IGNORED, n_classes, m).astype("u1") for m in maps]
    windows = [replace(m, strength=1.0).on_grid((1.0,) * band.ndim) for m in methods]
    return forecast_scores(
        indices, band, windows, strengths, n_classes=n_classes, threads=threads
    )


@pytest.mark.parametrize("ignored", [0, 0.2])
@pytest.mark.parametrize("radius", [(1, 2, 3), (0, 1, 20)])
def test_band_is_its_definition(radius: tuple[int, ...], ignored: float) -> None:
    maps = [blobs((5, 9, 16), 3, seed=seed) for seed in range(2)]
    maps = noisy(maps, seed=1, ignored=ignored)
    indices: Any = [np.where(m == IGNORED, 3, m).astype(np.uint8) for m in maps]
    band = boundary_band(indices, n_classes=3, radius=radius)
    np.testing.assert_array_equal(band, brute_band(maps, radius))


def test_ignored_voxels_make_no_boundary() -> None:
    labels: Any = np.array([[1, 2, 1, 1, 0]], np.uint8)  # 2 is ignored
    band = boundary_band([labels], n_classes=2, radius=(0, 1))
    assert band.tolist() == [[False, False, False, True, True]]
    nothing: Any = np.full((3, 3), 2, np.uint8)
    assert not boundary_band([nothing], n_classes=2, radius=(1, 1)).any()


@pytest.mark.parametrize(
    ("band_mm", "shape", "spacing_mm", "expected"),
    [
        (2, (9, 9, 9), (2.5, 0.977, 0.977), (1, 2, 2)),
        (0.1, (9, 9), (1, 1), (1, 1)),
        (2, (1, 9, 9), (1, 1, 0.5), (0, 2, 4)),
        (1e300, (4, 5), (1e-300, 1), (3, 4)),
    ],
)
def test_band_radius(
    band_mm: float,
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    expected: tuple[int, ...],
) -> None:
    assert band_radius(band_mm, shape, spacing_mm) == expected


@given(st.integers(0, 2**32 - 1), st.sampled_from([(70, 9, 130), (3, 600)]))
@settings(max_examples=20)
def test_blocks_hold_the_band_once(seed: int, shape: tuple[int, ...]) -> None:
    band = np.random.default_rng(seed).random(shape) < 0.001
    count = np.zeros(shape, int)
    for block in band_blocks(band):
        count[block] += 1
        assert band[block].any()
    assert count.max(initial=0) <= 1
    assert (count[band] == 1).all()


def test_golden_scores() -> None:
    """Two raters, one boundary a voxel apart, by hand."""
    maps = [np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 1]])]
    band = np.array([[True, True, True, False]])
    scores = engine_scores(maps, band, [Method()], [0.5], n_classes=2)
    # The neighbour column of the 2-D kernel: a face and two corners.
    q = 0.077807 + 2 * 0.047193
    # Each rater is certain and right once, has 1 - q for the other's label once, and q.
    assert scores.counts.pairs == 6
    assert scores.counts.agreed.tolist() == [2, 2]
    assert scores.counts.differed.tolist() == [2, 2]
    nll = 2 * (-math.log(q) - math.log(1 - q))
    assert scores.nll[0, 0] == pytest.approx(nll, rel=1e-5)
    assert scores.brier[0, 0] == pytest.approx(2 * (2 * q**2 + 2 * (1 - q) ** 2), 1e-5)
    # With class 0 stand the two voxels on which they differ and the first, where both
    # are certain but one has only 1 - q: 4 pairs of agreement and difference.
    expected = 2 * -math.log(q) - math.log(1 - q)
    assert scores.class_nll[0, 0, 0] == pytest.approx(expected, rel=1e-5)
    onehot = uniform_scores(scores.counts, alpha=0, n_classes=2)
    assert onehot.nll == pytest.approx(math.log(1000) / 3)
    assert onehot.brier == pytest.approx(2 / 3)
    assert onehot.class_nll == pytest.approx([math.log(1000) / 2] * 2)


METHODS = [
    Method(sigma=1, size=3),
    Method(sigma=(0.6, 1, 2), size=(3, 1, 5)),
    Method(sigma=1.5, size="auto"),
]


@pytest.mark.parametrize("raters", [2, 3])
@pytest.mark.parametrize("ignored", [0, 0.15])
def test_scores_are_their_definitions(
    raters: int, ignored: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bands._BLOCK_EDGE, 3, 5)  # many blocks
    base = blobs((6, 8, 9), 4)
    rng = np.random.default_rng(raters)
    maps = [np.roll(base, rng.integers(-1, 2, 3), (0, 1, 2)) for _ in range(raters)]
    maps = noisy(maps, seed=2, ignored=ignored)
    band = brute_band(maps, (1, 1, 1))
    strengths = (0.3, 1.0)
    scores = engine_scores(maps, band, METHODS, strengths, n_classes=4)
    for (w, method), (k, strength) in itertools.product(
        enumerate(METHODS), enumerate(strengths)
    ):
        window = {"sigma": method.sigma, "size": method.size, "strength": strength}
        options = {"classes": range(4), "ignore_label": IGNORED, **window}
        soft = [smooth(m, **options) for m in maps]
        nll, brier, per_class = brute_scores(maps, soft, band)
        pairs = scores.counts.pairs
        assert scores.nll[w, k] / pairs == pytest.approx(nll, rel=1e-5)
        assert scores.brier[w, k] / pairs == pytest.approx(brier, rel=1e-5)
        found = scores.class_nll[w, k] / scores.counts.per_class
        assert dict(enumerate(found)) == pytest.approx(per_class, rel=1e-5)


@pytest.mark.parametrize("alpha", [0, 0.1, 0.9])
def test_uniform_scores_are_their_definition(alpha: float) -> None:
    maps = noisy([blobs((9, 10), 3, seed=s) for s in (4, 5)], seed=3, ignored=0.1)
    n_classes = 400  # so many that .1 / 400 is clipped
    band = np.ones((9, 10), bool)
    counts = engine_scores(maps, band, [Method()], [0.5], n_classes=3).counts
    found = uniform_scores(counts, alpha=alpha, n_classes=n_classes)
    classes = [c for c in range(n_classes + 1) if c != IGNORED]
    options = {"method": "ls", "classes": classes, "ignore_label": IGNORED}
    soft = [smooth(m, alpha=alpha, **options) for m in maps]
    nll, brier, per_class = brute_scores(maps, soft, band)
    assert found.nll == pytest.approx(nll, rel=1e-5)
    assert found.brier == pytest.approx(brier, rel=1e-5)
    assert dict(enumerate(found.class_nll)) == pytest.approx(per_class, rel=1e-5)


def test_threads_do_not_change_the_scores() -> None:
    maps = [blobs((70, 70, 20), 3, seed=s) for s in (0, 1)]
    band = np.ones(maps[0].shape, bool)
    given: Any = (maps, band, METHODS[:1], [0.5])
    one, three = (engine_scores(*given, n_classes=3, threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one.nll, three.nll)
    np.testing.assert_array_equal(one.class_nll, three.class_nll)


def test_a_class_that_nobody_drew_has_no_score() -> None:
    counts = PairCounts(np.array([3, 0]), np.array([0, 0]))
    scores = uniform_scores(counts, alpha=0.1, n_classes=2)
    assert np.isnan(scores.class_nll).tolist() == [False, True]


@given(st.integers(2, 12), st.integers(2, 20), st.integers(0, 9))
@settings(max_examples=50)
def test_held_out_cases_do_not_choose(n: int, folds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random((n, 7))
    found = cross_validate(scores, folds=folds, seed=seed)
    assert sorted(row for fold in found for row in fold.cases) == list(range(n))
    assert len(found) == min(n, folds)
    for at, fold in enumerate(found):
        rows = list(fold.cases)
        other = scores.copy()
        other[rows] = rng.random((len(rows), 7)) * 100 - 50
        again = cross_validate(other, folds=folds, seed=seed)
        assert again[at] == fold
        rest = np.delete(scores, rows, axis=0).mean(axis=0)
        assert rest[fold.chosen] == rest.min()
    values = held_out(scores, found)
    for fold in found:
        for row in fold.cases:
            assert values[row] == scores[row, fold.chosen]


def test_held_out_score_by_hand() -> None:
    scores = np.array([[1.0, 5.0], [2.0, 4.0], [9.0, 3.0]])
    folds = [Fold((0, 2), 1), Fold((1,), 0)]
    assert held_out(scores, folds).tolist() == [5, 2, 3]


def test_bootstrap_interval() -> None:
    same = bootstrap(np.full(9, 0.25), seed=0)
    assert (same.mean, same.low, same.high) == (0.25, 0.25, 0.25)
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap(values, seed=1)
    half = 1.96 * values.std() / 20  # of the normal approximation
    assert found.mean == values.mean()
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_candidates() -> None:
    candidates = Candidates((2, 1, 2), (0.25,))
    assert candidates.sigmas == (1, 2)
    assert candidates.tried_strengths == (0.25, 0.5)
    assert len(candidates.windows) == 8
    assert len(candidates.methods) == 16
    assert len(Candidates((2,)).windows) == 5  # and the published one
    assert PUBLISHED in Candidates((2,), (0.1,)).methods


@pytest.mark.parametrize(
    ("sigmas", "strengths", "message"),
    [
        ((), (0.5,), "sigmas must hold at least one"),
        ((1,), (), "strengths must hold at least one"),
        ((0,), (0.5,), "sigma must be positive"),
        ((math.nan,), (0.5,), "sigma must be positive"),
        ((1,), (0,), r"strengths must lie in \(0, 1\], found 0; 0 is one-hot"),
        ((1,), (1.5,), r"strengths must lie in \(0, 1\], found 1.5"),
        ((1,), (math.nan,), r"strengths must lie in \(0, 1\], found nan"),
    ],
)
def test_bad_candidates(
    sigmas: tuple[float, ...], strengths: tuple[float, ...], message: str
) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        Candidates(sigmas, strengths)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"score": "dice"}, "score must be nll or brier, found 'dice'"),
        ({"band_mm": 0.0}, "band_mm must be positive"),
        ({"band_mm": math.inf}, "band_mm must be positive"),
        ({"folds": 1}, "folds must be at least 2, found 1"),
        ({"seed": -1}, "seed must be at least 0, found -1"),
    ],
)
def test_bad_searches(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        replace(SEARCH, **changed)


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        (Method(sigma_mm=1, strength=0.5), []),
        (Method(sigma=1, size=3, strength=1.0), []),  # there is nothing above 1
        (Method(sigma=3, size=3, strength=0.5), ["sigma 3 is the largest"]),
        (
            Method(sigma=0.5, size=3, strength=0.1),
            ["sigma 0.5 is the smallest", "strength 0.1 is the smallest"],
        ),
    ],
)
def test_a_choice_at_the_edge_is_told(best: Method, expected: list[str]) -> None:
    warnings = Candidates().edge_warnings(best)
    assert [message.partition(" that")[0] for message in warnings] == expected


def test_options_carry_no_float_noise() -> None:
    method = Method(sigma_mm=0.1 + 0.2, strength=0.7000000000000001)
    assert smooth_options(method) == "--sigma-mm 0.3 --size auto --strength 0.7"
    assert smooth_options(PUBLISHED) == "--sigma 1 --size 3 --strength 0.5"


def rated(folder: Path, name: str, maps: Sequence[LabelMap], **image: Any) -> RatedCase:
    """A case in files."""
    paths = [
        (f"r{at}", write_image(folder / f"{name}_r{at}.mha", labels, **image))
        for at, labels in enumerate(maps)
    ]
    return RatedCase(name, tuple(paths))


def drawn(
    shape: Sequence[int], *, spacing: Sequence[float], width_mm: float, seed: int
) -> list[LabelMap]:
    """Three raters of one smooth surface; each has it ``width_mm`` off, here and there.

    ``spacing`` is in array order.
    """
    rng = np.random.default_rng(seed)

    def field(scale_mm: float) -> LabelMap:
        noise = gaussian_filter(rng.normal(size=shape), scale_mm / np.array(spacing))
        return np.asarray(noise / noise.std())

    inside = field(6) > 0.4
    within, without = (distance_transform_edt(m, spacing) for m in (inside, ~inside))
    depth = within - without
    return [(depth + width_mm * field(3) > 0).astype(np.uint8) for _ in range(3)]


def tuned(folder: Path, cases: Sequence[RatedCase], search: Search) -> TuningResult:
    """As `tune_smoothing`, in this process."""
    table = ClassTable.from_values([0, 1])
    scorer = CaseScorer(search.candidates, search.band_mm, table)
    outcomes = [scorer(case) for case in cases]
    used = [each.result for each in outcomes if each.result is not None]
    assert len(used) == len(cases), outcomes
    return choose_candidate(used, [], table, search, other={})


def test_wider_disagreement_asks_for_a_wider_sigma(tmp_path: Path) -> None:
    best = []
    for width_mm in (0.3, 2.5):
        cases = []
        for seed in range(4):
            maps = drawn((24, 32, 32), spacing=(1, 1, 1), width_mm=width_mm, seed=seed)
            cases.append(rated(tmp_path / f"{width_mm}", f"case {seed}", maps))
        result = tuned(tmp_path, cases, replace(SEARCH, band_mm=4.0))
        method = result.best.method
        best.append(float(method.sigma_mm or method.sigma))  # type: ignore[arg-type]
        assert result.best.nll < result.published.nll
        assert result.held_out is not None
        assert result.held_out.nll_gain.mean > 0
    assert best[0] <= 1 < best[1]


def test_disagreement_in_mm_asks_for_a_sigma_in_mm(tmp_path: Path) -> None:
    cases = []
    for seed, mm in enumerate((0.5, 1.0, 2.0)):
        shape = [round(32 / mm)] * 2
        maps = drawn([12, *shape], spacing=(mm, mm, mm), width_mm=1.2, seed=seed)
        cases.append(rated(tmp_path, f"case {seed}", maps, spacing=(mm, mm, mm)))
    result = tuned(tmp_path, cases, replace(SEARCH, band_mm=4.0))
    assert result.best.method.sigma_mm is not None
    assert result.best_of["mm"].nll < result.best_of["voxels"].nll


def planted(best: int, n_cases: int) -> list[CaseScores]:
    """Cases in which one candidate is the best, each in its own measure."""
    shape = (len(SEARCH.candidates.windows), len(SEARCH.candidates.tried_strengths))
    rng = np.random.default_rng(0)
    cases = []
    for at in range(n_cases):
        nll, brier = 1 + rng.random((2, *shape))
        nll.ravel()[best] = 0.5 + at / 100
        brier.ravel()[best - 1] = 0.25
        counts = PairCounts(np.array([5, 5]), np.array([2, 2]))
        by_class = np.repeat(nll[..., np.newaxis], 2, axis=-1)
        values = np.array([0, 1])
        cases.append(CaseScores(f"c{at}", 2, values, 10, counts, nll, brier, by_class))
    return cases


def chosen(best: int, n_cases: int, score: Any = "nll") -> TuningResult:
    table, search = ClassTable.from_values([0, 1]), replace(SEARCH, score=score)
    return choose_candidate(planted(best, n_cases), [], table, search, other={})


@pytest.mark.parametrize("score", ["nll", "brier"])
def test_the_planted_candidate_is_chosen(score: str) -> None:
    result = chosen(17, 6, score)
    expected = SEARCH.candidates.methods[17 if score == "nll" else 16]
    assert result.best.method == expected
    assert result.held_out is not None
    assert {fold.method for fold in result.held_out.folds} == {expected}
    if score == "nll":
        assert result.best.nll == pytest.approx(0.525)
        assert result.held_out.nll.mean == pytest.approx(0.525)
        assert result.per_class[1].best == pytest.approx(0.525)


def test_one_case_has_no_held_out_score() -> None:
    result = chosen(3, 1)
    assert result.held_out is None
    assert result.to_json()["held_out"] is None


def test_tune_smoothing(tmp_path: Path) -> None:
    """Cases that count, that cannot count, and that are broken."""
    base = blobs((12, 14, 16), 3)
    moved = np.roll(base, 1, axis=2)
    good = [rated(tmp_path, f"good {at}", [base, moved]) for at in range(3)]
    lonely = rated(tmp_path, "lonely", [base])
    flat = rated(tmp_path, "flat", [np.zeros((4, 5, 6), np.uint8)] * 2)
    other = rated(tmp_path, "other", [base, base[1:]])
    broken = rated(tmp_path, "broken", [base, base])
    broken.paths[1].write_bytes(b"")
    classes = parse_classes("0,1,2,7")  # 7 never occurs
    cases = [*good, lonely, flat, other, broken]
    doing: list[tuple[int, str]] = []

    def progress(items: Any, total: int, what: str) -> Any:
        doing.append((total, what))
        return items

    tried: dict[str, Any] = {"sigmas": [1], "strengths": [0.5, 1]}
    batch = Batch(progress=progress)
    result = tune_smoothing(cases, classes=classes, batch=batch, **tried)
    assert doing == [(6, "tune")]
    assert [case.case for case in result.cases] == ["good 0", "good 1", "good 2"]
    assert [record.case for record in result.left_out] == ["lonely", "flat"]
    assert [record.case for record in result.failed] == ["other", "broken"]
    assert "different grids" in str(result.failed[0].reason)
    assert "the file is empty" in str(result.failed[1].reason)
    report = json.dumps(result.to_json(), allow_nan=False)
    parameters = json.loads(report)["parameters"]
    assert [c["value"] for c in parameters["classes"]] == [0, 1, 2, 7]
    assert result.per_class[3].best is None
    assert (result.per_class[3].cases, result.per_class[2].cases) == (0, 3)
    # On voxels of 1 mm both kinds are one window: mm comes first.
    assert result.best_of["mm"].nll == result.best_of["voxels"].nll

    without = tune_smoothing(good, **tried)
    assert without.candidates == result.candidates
    four, three = (found.baselines[1].nll for found in (result, without))
    disagreement = result.cases[0].disagreement
    for classes_found, nll in ((4, four), (3, three)):
        agree = math.log(0.9 + 0.1 / classes_found)
        differ = math.log(0.1 / classes_found)
        expected = -(1 - disagreement) * agree - disagreement * differ
        assert nll == pytest.approx(expected)


def test_raters_who_agree_need_no_smoothing(tmp_path: Path) -> None:
    maps = [blobs((12, 14, 16), 3)] * 3
    result = tune_smoothing([rated(tmp_path, "a", maps)], sigmas=[1, 2])
    assert result.baselines[0].nll == 0
    assert result.best.method.strength == 0.1
    assert any("strength 0.1 is the smallest" in w for w in result.warnings)
    assert any(w.startswith("one-hot forecasts") for w in result.warnings)


def test_nothing_to_tune_by(tmp_path: Path) -> None:
    lonely = rated(tmp_path, "lonely", [blobs((4, 5, 6), 2)])
    with pytest.raises(InputError, match="lonely: fewer than two raters"):
        tune_smoothing([lonely])
    with pytest.raises(InputError, match="no cases to tune by"):
        tune_smoothing([])
    with pytest.raises(InvalidParameterError, match="ignore_label 1 is also a class"):
        tune_smoothing([lonely], classes=parse_classes("0,1"), ignore_label=1)


def test_ignored_everywhere_counts_for_nothing(tmp_path: Path) -> None:
    maps = [np.array([[0, 0, 1, 1]], np.uint8), np.full((1, 4), IGNORED, np.uint8)]
    case = rated(tmp_path, "a", maps)
    with pytest.raises(InputError, match="a: no boundary, or no voxel there that two"):
        tune_smoothing([case], ignore_label=IGNORED)


def test_voxels_too_fine_for_a_sigma_say_so(tmp_path: Path) -> None:
    maps = [blobs((20, 20), 2)] * 2
    case = rated(tmp_path, "fine", maps, spacing=(0.01, 0.01))
    method = "--sigma-mm 0.5 --size auto"
    message = f"{method} does not suit voxels of 0.01 x 0.01 mm.*leave out"
    with pytest.raises(InputError, match=message):
        tune_smoothing([case])


def test_figure(tmp_path: Path) -> None:
    for score in ("nll", "brier"):
        result = chosen(17, 6, score)
        draw_tuning(result, tmp_path / f"{score}.svg")
    text = (tmp_path / "nll.svg").read_text()
    assert "<!-- best: 0.525 -->" in text
    assert "<!-- NLL on other raters (less is better) -->" in text
    draw_tuning(result, tmp_path / "ä b.png")
    assert (tmp_path / "ä b.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 3


def test_figure_of_a_single_candidate(tmp_path: Path) -> None:
    cases = [rated(tmp_path, "a", [blobs((6, 9, 9), 2, seed=s) for s in (0, 1)])]
    search = replace(SEARCH, candidates=Candidates((1,), (0.5,)))
    draw_tuning(tuned(tmp_path, cases, search), tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 10_000


def test_figures_need_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidParameterError, match=r"a.bmp: a figure's name ends in"):
        check_figure(Path("a.bmp"))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    install = r"pip install 'svls-cli\[figures\]"
    with pytest.raises(InvalidParameterError, match=install):
        check_figure(Path("a.png"))
