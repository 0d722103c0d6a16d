"""Choices against planted truths, and what is told of them."""

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
import SimpleITK as sitk
from hypothesis import assume, given, settings
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
from svls_cli.labels.sources import LabelMapFile
from svls_cli.metrics.averages import bootstrap
from svls_cli.metrics.boundary_band import band_blocks, band_radius, boundary_band
from svls_cli.tuning.candidates import Candidates, Search, method_options
from svls_cli.tuning.case_scores import CaseScorer, CaseScores, TargetScores
from svls_cli.tuning.choice import choose_candidate
from svls_cli.tuning.crossvalidation import Fold, cross_validate, held_out
from svls_cli.tuning.figure import draw_tuning
from svls_cli.tuning.forecast_sums import ForecastCounts, MeanScores
from svls_cli.tuning.result import TargetResult, TuningResult
from svls_cli.tuning.score_names import SCORES, ScoreName, TargetName
from svls_cli.tuning.tune import tune_smoothing
from tests.helpers.label_maps import blobs, read, write_image

LabelMap = npt.NDArray[Any]

IGNORED = 9
CANDIDATES = Candidates()
SEARCH = Search(CANDIDATES, "nll", band_mm=2.0, folds=5, seed=0)
PUBLISHED = CANDIDATES.published


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


@given(
    st.lists(st.sampled_from("abcdefghijkl"), min_size=2, max_size=16),
    st.integers(2, 20),
    st.integers(0, 9),
)
@settings(max_examples=50)
def test_held_out_patients_do_not_choose(
    patients: list[str], folds: int, seed: int
) -> None:
    assume(len(set(patients)) > 1)
    n, rng = len(patients), np.random.default_rng(seed)
    scores = rng.random((n, 7))
    options: Any = {"folds": folds, "seed": seed, "patients": patients}
    found = cross_validate(scores, **options)
    assert sorted(row for fold in found for row in fold.cases) == list(range(n))
    assert len(found) == min(len(set(patients)), folds)
    for at, fold in enumerate(found):
        rows = list(fold.cases)
        inside = {patients[row] for row in rows}
        assert inside.isdisjoint(np.delete(patients, rows))
        other = scores.copy()
        other[rows] = rng.random((len(rows), 7)) * 100 - 50
        again = cross_validate(other, **options)
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


def test_candidates_in_plane() -> None:
    candidates = Candidates((1, 2), in_plane=True)
    assert {method.size for method in candidates.methods} == {
        (1, 3, 3),
        (1, "auto", "auto"),
    }
    for method in candidates.methods:
        assert method.window((1.0, 0.5, 0.5))[1][0] == 1
    assert candidates.published == Method(sigma=1.0, size=(1, 3, 3), strength=0.5)
    assert candidates.published in candidates.methods


@pytest.mark.parametrize(
    ("sigmas", "strengths", "message"),
    [
        ((), (0.5,), "sigmas must hold at least one"),
        ((1,), (), "strengths must hold at least one"),
        ((100,), (0.5,), "--sigmas 100 is no sigma in voxels: sigma is 100 voxels"),
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
        ({"score": "dice"}, "score must be nll or class_nll or brier, found 'dice'"),
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
    assert method_options(method) == "--sigma-mm 0.3 --size auto --strength 0.7"
    assert method_options(PUBLISHED) == "--sigma 1 --size 3 --strength 0.5"
    assert method_options(PUBLISHED, defaults=False) == ""


def rated(folder: Path, name: str, maps: Sequence[LabelMap], **image: Any) -> RatedCase:
    """A case in files."""
    paths = [
        (
            f"r{at}",
            LabelMapFile(write_image(folder / f"{name}_r{at}.mha", labels, **image)),
        )
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


def tuned(cases: Sequence[RatedCase], search: Search) -> tuple[TargetResult, ...]:
    """As `tune_smoothing`, in this process: of one map, and fused."""
    table = ClassTable.from_values([0, 1])
    scorer = CaseScorer(search.candidates, search.band_mm, table)
    outcomes = [scorer(case) for case in cases]
    used = [each.result for each in outcomes if each.result is not None]
    assert len(used) == len(cases), outcomes
    patients = {case.name: case.name for case in cases}
    targets = ("one_map", "fused") if used[0].fused else ("one_map",)
    return tuple(
        choose_candidate(target, used, table, search, patients)  # type: ignore[arg-type]
        for target in targets
    )


def test_wider_disagreement_asks_for_a_wider_sigma(tmp_path: Path) -> None:
    best = []
    for width_mm in (0.3, 2.5):
        cases = []
        for seed in range(4):
            maps = drawn((24, 32, 32), spacing=(1, 1, 1), width_mm=width_mm, seed=seed)
            cases.append(rated(tmp_path / f"{width_mm}", f"case {seed}", maps))
        result, fused = tuned(cases, replace(SEARCH, band_mm=4.0))
        method = min(result.candidates, key=lambda each: each.nll).method
        best.append(float(method.sigma_mm or method.sigma))  # type: ignore[arg-type]
        assert result.best.nll < result.published.nll
        assert result.held_out is not None
        assert result.held_out.gains["nll"].mean > 0
        # The raters' mean knows some of how they differ: it needs less.
        assert fused.best.nll < result.best.nll
    assert best[0] <= 1 < best[1]
    assert fused.best.method.sigma_mm < method.sigma_mm  # type: ignore[operator]


def seen(folder: Path, at: int) -> RatedCase:
    """A case whose image shows the truth; each rater mistakes some voxels near it."""
    rng, truth = np.random.default_rng(at), blobs((10, 24, 24), 2, seed=at)
    near = np.maximum(*map(distance_transform_edt, (truth, 1 - truth))) <= 2
    maps = [truth ^ (near & (rng.random(truth.shape) < 0.25)) for _ in range(3)]
    image = 100 * truth + 10 * rng.normal(size=truth.shape)
    case = rated(folder, f"c{at}", [m.astype(np.uint8) for m in maps])
    return replace(case, image=write_image(folder / "images" / f"{at}.nrrd", image))


def test_an_image_that_shows_the_boundary_asks_to_be_used(tmp_path: Path) -> None:
    cases = [seen(tmp_path, at) for at in range(6)]
    options: dict[str, Any] = {"sigmas": (1,), "strengths": (0.8, 1), "folds": 6}
    result = tune_smoothing(cases, **options, batch=Batch(jobs=1)).one_map
    best = result.best.method
    assert (best.name, best.sigma_mm, best.size) == ("bilateral", 1.0, "auto")
    assert result.best_of["image-guided"] == result.best
    assert result.settled
    assert result.command == (
        "svls-cli smooth --method bilateral --sigma-mm 1 --size auto --strength "
        f"{best.strength:g} --intensity-scale {best.intensity_scale:g} --images IMAGES "
        "LABELS OUT.zarr"
    )
    without = tune_smoothing(
        [replace(case, image=None) for case in cases], **options, batch=Batch(jobs=1)
    ).one_map
    assert without.best == min(
        (result.best_of[kind] for kind in without.best_of), key=lambda each: each.nll
    )


def test_image_guided_score_by_hand(tmp_path: Path) -> None:
    case = seen(tmp_path, 0)
    method = Method("bilateral", sigma=1, size="auto", strength=0.8)
    candidates = Candidates((1,), (0.8,), intensity_scales=(0.5,))
    result, fused = tuned([case], replace(SEARCH, candidates=candidates))
    maps = [read(source.paths[0]) for _, source in case.raters]
    assert case.image is not None
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(case.image)))
    soft = [
        smooth(m, method="bilateral", sigma=1, size="auto", strength=0.8, image=image)
        for m in maps
    ]
    band = brute_band(maps, (2, 2, 2))
    nll = {"one_map": [], "fused": []}  # type: dict[str, list[float]]
    for s, said in enumerate(maps):
        others = [soft[r] for r in range(3) if r != s]
        for p, name in (*((p, "one_map") for p in others), (sum(others) / 2, "fused")):
            given = np.where(said == 1, p[1], p[0])[band]
            nll[name].append(float(-np.log(np.clip(given, 1e-3, 1)).mean()))
    for target, name in ((result, "one_map"), (fused, "fused")):
        (found,) = (
            s
            for s in target.candidates
            if s.method == replace(method, intensity_scale=0.5)
        )
        assert found.nll == pytest.approx(np.mean(nll[name]), abs=1e-5)


def test_images_and_intensity_scales_belong_together(tmp_path: Path) -> None:
    cases = [seen(tmp_path, at) for at in range(2)]
    bare = [replace(case, image=None) for case in cases]
    for some, scales, message in (
        ([cases[0], bare[1]], None, "either all cases have images, or none"),
        (bare, (0.5,), "intensity_scales need the images"),
        (cases, (), "intensity_scales must hold at least one"),
        (cases, (-1.0,), "intensity_scale must be positive"),
    ):
        with pytest.raises(InvalidParameterError, match=message):
            tune_smoothing(some, intensity_scales=scales)


def test_disagreement_in_mm_asks_for_a_sigma_in_mm(tmp_path: Path) -> None:
    cases = []
    for seed, mm in enumerate((0.5, 1.0, 2.0)):
        shape = [round(32 / mm)] * 2
        maps = drawn([12, *shape], spacing=(mm, mm, mm), width_mm=1.2, seed=seed)
        cases.append(rated(tmp_path, f"case {seed}", maps, spacing=(mm, mm, mm)))
    result, _ = tuned(cases, replace(SEARCH, band_mm=4.0))
    assert result.best.method.sigma_mm is not None
    assert result.best_of["mm"].nll < result.best_of["voxels"].nll


def planted(best: int, n_cases: int) -> list[CaseScores]:
    """Cases in which one candidate is the best, each in its own measure."""
    shape = (len(SEARCH.candidates.windows), len(SEARCH.candidates.tried_strengths))
    rng = np.random.default_rng(0)
    counts = ForecastCounts(
        np.array([0.0, 1.0]), np.array([5, 2]), np.array([[3, 2], [1, 1]]), 7.0
    )
    cases = []
    for at in range(n_cases):
        nll, brier, *by_class = 1 + rng.random((4, *shape))
        nll.ravel()[best] = 0.5 + at / 100
        brier.ravel()[best - 2] = 0.25
        for values in by_class:
            values.ravel()[best - 1] = 0.75
        scores = MeanScores(nll, brier, np.stack(by_class, axis=-1))
        target = TargetScores(counts, scores)
        cases.append(CaseScores(f"c{at}", 2, np.array([0, 1]), 10, False, target, None))
    return cases


def chosen(
    best: int, n_cases: int, score: Any = "nll", patients: Any = None
) -> TargetResult:
    table, search = ClassTable.from_values([0, 1]), replace(SEARCH, score=score)
    names = [f"c{at}" for at in range(n_cases)]
    owners = dict(zip(names, patients or names, strict=True))
    return choose_candidate("one_map", planted(best, n_cases), table, search, owners)


@pytest.mark.parametrize("score", SCORES)
def test_the_planted_candidate_is_chosen(score: ScoreName) -> None:
    result = chosen(17, 6, score)
    expected = SEARCH.candidates.methods[17 - SCORES.index(score)]
    assert result.best.method == expected
    assert result.held_out is not None
    assert {fold.chosen.method for fold in result.held_out.folds} == {expected}
    assert result.settled
    assert result.recommended == expected
    if score == "nll":
        assert result.best.nll == pytest.approx(0.525)
        assert result.held_out.scores["nll"].mean == pytest.approx(0.525)
    if score == "class_nll":
        assert result.best.class_nll == pytest.approx(0.75)
        assert [row.best for row in result.per_class] == pytest.approx([0.75, 0.75])


def test_one_patient_has_no_held_out_score() -> None:
    for result in (chosen(3, 1), chosen(3, 3, patients="xxx")):
        assert result.held_out is None
        assert result.to_json()["held_out"] is None
        assert result.recommended == PUBLISHED
        assert result.verdict.endswith("nothing is held out: keep the defaults")
        assert result.command == "svls-cli smooth LABELS OUT.zarr"


def test_intervals_are_over_patients() -> None:
    alone = chosen(17, 12)
    grouped = chosen(17, 12, patients=[f"p{at // 4}" for at in range(12)])
    assert alone.held_out is not None
    assert grouped.held_out is not None
    assert grouped.held_out.patients == 3
    assert [len(fold.held_out) for fold in grouped.held_out.folds] == [4, 4, 4]
    assert grouped.best == alone.best
    gains = [each.held_out.gains["nll"] for each in (alone, grouped)]  # type: ignore[union-attr]
    expected = bootstrap(
        np.array([c.nll_published - c.nll_best for c in grouped.cases]),
        seed=0,
        groups=[case.patient for case in grouped.cases],
    )
    assert gains[1] == expected
    assert gains[0] != gains[1]


@pytest.mark.parametrize(
    ("n_cases", "patients", "settled", "verdict"),
    [
        (5, None, False, "5 cases are too few to settle anything: keep the defaults"),
        (6, None, True, "better NLL than published on cases that did not choose it"),
        (6, "aabbcc", False, "3 patients are too few to settle anything: keep"),
        (
            6,
            "uvwxyz",
            True,
            "better NLL than published on patients that did not",
        ),
    ],
)
def test_few_patients_settle_nothing(
    n_cases: int, patients: str | None, settled: bool, verdict: str
) -> None:
    result = chosen(17, n_cases, patients=patients)
    assert result.verdict.startswith(verdict)
    assert result.settled == settled
    assert result.to_json()["recommendation"]["settled"] == settled
    assert result.recommended == (result.best.method if settled else PUBLISHED)


def verdict_of(
    gains: Sequence[float], *, target: TargetName = "one_map"
) -> TargetResult:
    """Of cases in which one window gains so much over the published method."""
    search = replace(SEARCH, candidates=Candidates((2.0,), (0.5,), in_plane=True))
    shape = (len(search.candidates.windows), 1)
    cases = []
    for at, gain in enumerate(gains):
        by_class = np.full((*shape, 2), 1.0)
        by_class[1] -= gain
        counts = ForecastCounts(np.zeros(1), np.array([4]), np.array([[2, 2]]), 4.0)
        scores = MeanScores(by_class.mean(-1), by_class.mean(-1), by_class)
        each = TargetScores(counts, scores)
        cases.append(CaseScores(f"c{at}", 3, np.array([0, 1]), 4, False, each, each))
    owners = {case.name: case.name for case in cases}
    table = ClassTable.from_values([0, 1])
    return choose_candidate(target, cases, table, search, owners)


def test_what_is_not_settled_keeps_the_defaults() -> None:
    result = verdict_of([0.1, -0.1, 0.3, -0.2, 0.1, -0.1, 0.2, -0.1])
    assert result.best.method != result.published.method
    assert result.held_out is not None
    assert result.held_out.gains["nll"].low <= 0
    assert not result.settled
    assert result.verdict == "no better than published: keep the defaults"
    assert result.recommended == result.published.method
    assert result.command == "svls-cli smooth --size 1,3,3 LABELS OUT.zarr"
    fused = verdict_of([0.1, -0.1, 0.3], target="fused")
    assert fused.command == "svls-cli fuse-raters --size 1,3,3 RATERS... OUT.zarr"


def test_what_is_settled_is_recommended() -> None:
    result = verdict_of([0.1, 0.2, 0.3, 0.2, 0.1, 0.2, 0.2, 0.1], target="fused")
    assert result.settled
    assert result.verdict == (
        "better NLL than published on cases that did not choose it"
    )
    assert result.recommended == result.best.method
    window = "--sigma 2 --size 1,auto,auto --strength 0.5"
    assert result.command == f"svls-cli fuse-raters {window} RATERS... OUT.zarr"


def test_the_command_repeats_how_files_are_read() -> None:
    """Each command takes what it knows of."""
    options = {
        "--pattern": "{case}/{rater}.nii.gz",
        "--image-pattern": "{case}.nii.gz",
        "--classes": "my classes.csv",
        "--ignore-label": 9,
        "--resample-to-first": True,
    }
    result = verdict_of([0.1] * 8)
    commands = [
        replace(result, target=target, input_options=options).command
        for target in ("one_map", "fused")
    ]
    window = "--sigma 2 --size 1,auto,auto --strength 0.5"
    read = "--classes 'my classes.csv' --ignore-label 9"
    assert commands == [
        f"svls-cli smooth {window} --pattern '{{case}}/RATER.nii.gz' {read} LABELS "
        "OUT.zarr",
        f"svls-cli fuse-raters {window} --pattern '{{case}}/{{rater}}.nii.gz' {read} "
        "--resample-to-first RATERS... OUT.zarr",
    ]
    options = {"--pattern": "{case}_seg.nii.gz", "--image-pattern": "{case}.nii.gz"}
    best = replace(result.best, method=Method("bilateral", sigma=1.0, strength=0.8))
    guided = replace(result, best=best, input_options=options)
    assert guided.command.endswith(
        "--images IMAGES --pattern '{case}_seg.nii.gz' --image-pattern "
        "'{case}.nii.gz' LABELS OUT.zarr"
    )


def test_large_classes_that_rule_are_told() -> None:
    """The best for the mean over voxels is worse for the mean over classes."""
    cases = planted(17, 8)
    for case in cases:
        scores = case.one_map.scores
        scores.nll_by_class[...] = 1
        scores.nll_by_class.reshape(-1, 2)[17] = 3
    owners = {case.name: case.name for case in cases}
    table = ClassTable.from_values([0, 1])
    result = choose_candidate("one_map", cases, table, SEARCH, owners)
    assert result.settled
    assert any("large classes rule this choice" in text for text in result.warnings)
    by_class = replace(SEARCH, score="class_nll")
    result = choose_candidate("one_map", cases, table, by_class, owners)
    assert not any("large classes rule" in text for text in result.warnings)


def test_tune_smoothing(tmp_path: Path) -> None:
    """Cases that count, that cannot count, and that are broken."""
    base = blobs((12, 14, 16), 3)
    moved = np.roll(base, 1, axis=2)
    good = [rated(tmp_path, f"good {at}", [base, moved]) for at in range(3)]
    lonely = rated(tmp_path, "lonely", [base])
    flat = rated(tmp_path, "flat", [np.zeros((4, 5, 6), np.uint8)] * 2)
    other = rated(tmp_path, "other", [base, base[1:]])
    broken = rated(tmp_path, "broken", [base, base])
    Path(broken.inputs[1]).write_bytes(b"")
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
    one_map = result.one_map
    assert result.fused is None  # of two raters there is nobody to fuse
    assert [case.case for case in one_map.cases] == ["good 0", "good 1", "good 2"]
    assert [record.case for record in result.left_out] == ["lonely", "flat"]
    assert [record.case for record in result.failed] == ["other", "broken"]
    assert "different grids" in str(result.failed[0].reason)
    assert "the file is empty" in str(result.failed[1].reason)
    report = json.dumps(result.to_json(), allow_nan=False)
    parameters = json.loads(report)["parameters"]
    assert [c["value"] for c in parameters["classes"]] == [0, 1, 2, 7]
    assert one_map.per_class[3].best is None
    assert (one_map.per_class[3].cases, one_map.per_class[2].cases) == (0, 3)
    # On voxels of 1 mm both kinds are one window: mm comes first.
    assert one_map.best_of["mm"].nll == one_map.best_of["voxels"].nll

    without = tune_smoothing(good, **tried).one_map
    assert without.candidates == one_map.candidates
    four, three = (found.baselines[1].nll for found in (one_map, without))
    disagreement = one_map.cases[0].disagreement
    for classes_found, nll in ((4, four), (3, three)):
        agree = math.log(0.9 + 0.1 / classes_found)
        differ = math.log(0.1 / classes_found)
        expected = -(1 - disagreement) * agree - disagreement * differ
        assert nll == pytest.approx(expected)


def test_fused_labels_are_tuned_by_cases_with_three_raters(tmp_path: Path) -> None:
    base = blobs((8, 9, 10), 2)
    maps = [np.roll(base, shift, axis=2) for shift in (0, 1, -1)]
    cases = [rated(tmp_path, f"c{at}", maps[: 2 + at]) for at in range(2)]
    result = tune_smoothing(cases, sigmas=[1], strengths=[0.5])
    assert result.fused is not None
    assert [case.case for case in result.fused.cases] == ["c1"]
    assert [target.target for target in result.targets] == ["one_map", "fused"]
    n = result.fused.cases[0].band_voxels
    assert result.fused.cases[0].forecasts == 3 * n  # each rater is left out once
    assert result.one_map.cases[1].forecasts == 6 * n  # ordered pairs


def test_in_plane_is_slice_by_slice(tmp_path: Path) -> None:
    """A volume in plane has the scores of its slices one by one, as 2-D images."""
    maps = [blobs((3, 16, 16), 2, seed=at).astype(np.uint8) for at in range(3)]
    volume = rated(tmp_path, "volume", maps, spacing=(1.0, 1.5, 4.0))
    slices = [
        rated(tmp_path, f"s{z}", [m[z] for m in maps], spacing=(1.0, 1.5))
        for z in range(3)
    ]
    tried: dict[str, Any] = {"sigmas": [1.2], "strengths": [0.8]}
    found = tune_smoothing([volume], in_plane=True, **tried)
    single = tune_smoothing(slices, **tried)
    for whole, each in zip(found.targets, single.targets, strict=True):
        n = [case.forecasts for case in each.cases]
        assert whole.cases[0].forecasts == sum(n)
        expected = np.average([case.nll_published for case in each.cases], weights=n)
        assert whole.cases[0].nll_published == pytest.approx(expected, rel=1e-5)
    with pytest.raises(InvalidParameterError, match="--in-plane is for volumes"):
        tune_smoothing(slices, in_plane=True, **tried)
    mixed = tune_smoothing([volume, *slices], in_plane=True, **tried)
    assert [record.case for record in mixed.failed] == ["s0", "s1", "s2"]
    assert mixed.one_map.candidates == found.one_map.candidates


@pytest.mark.parametrize("n_cases", [1, 3, 6])
def test_raters_who_agree_need_no_smoothing(n_cases: int, tmp_path: Path) -> None:
    maps = [blobs((6, 7, 8), 3)] * 3
    cases = [rated(tmp_path, f"c{at}", maps) for at in range(n_cases)]
    options: dict[str, Any] = {"sigmas": [1], "strengths": [0.1]}
    result = tune_smoothing(cases, **options, batch=Batch(jobs=1))
    commands = ("smooth", "LABELS"), ("fuse-raters", "RATERS...")
    names = ("no smoothing at all", "the raters' mean as it is")
    for target, name, words in zip(result.targets, names, commands, strict=True):
        assert target.best == target.baselines[0]
        assert target.best.nll == 0
        assert target.per_class[0].best == 0
        warned = any(w.startswith(name) for w in target.warnings)
        assert not any("strength" in w for w in target.warnings)
        if n_cases < 6:
            assert target.recommended == PUBLISHED
            assert target.verdict.endswith("keep the defaults")
            assert warned
            continue
        assert target.verdict == (
            f"{name}: better NLL than published on cases that did not choose it"
        )
        command = " --method onehot ".join(words)
        assert target.command == f"svls-cli {command} OUT.zarr"
        assert not warned
    draw_tuning(result, tmp_path / "none.svg")
    text = (tmp_path / "none.svg").read_text()
    assert text.count(">recommended: 0.000<") == (2 if n_cases == 6 else 0)


def test_label_smoothing_may_be_the_best() -> None:
    """Raters who often differ, wherever they are asked."""
    cases = planted(17, 6)
    for case in cases:
        case.one_map.scores.nll[...] = 9
    owners = {case.name: case.name for case in cases}
    table = ClassTable.from_values([0, 1])
    result = choose_candidate("one_map", cases, table, SEARCH, owners)
    assert result.best.method == Method("ls", alpha=0.3)
    assert result.verdict.startswith("label smoothing: better NLL than published")
    assert result.command == "svls-cli smooth --method ls --alpha 0.3 LABELS OUT.zarr"
    assert result.held_out is not None
    assert {fold.chosen.method.name for fold in result.held_out.folds} == {"ls"}
    assert [each.method.name for each in result.best_of.values()] == ["svls"] * 3


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


def test_windows_that_do_not_suit_all_cases_are_left_out(tmp_path: Path) -> None:
    maps = [blobs((20, 20), 2, seed=at) for at in (0, 1)]
    cases = [
        rated(tmp_path, f"{mm}", maps, spacing=(mm, mm)) for mm in (1.0, 0.01, 0.02)
    ]
    options: dict[str, Any] = {"sigmas": [0.5, 2], "strengths": [0.5]}
    result = tune_smoothing(cases, **options, batch=Batch(jobs=1))
    assert not result.failed
    assert len(result.one_map.cases) == 3
    assert result.notes == tuple(
        f"--sigma-mm {sigma} --size auto is not tried, as it does not suit 2 of 3 "
        f"cases: sigma is {voxels} voxels, which wants a window larger than 129 "
        "voxels, the largest there is, on voxels of 0.01 x 0.01 mm"
        for sigma, voxels in (("0.5", 50), ("2", 200))
    )
    assert result.to_json()["notes"] == list(result.notes)
    assert list(result.one_map.best_of) == ["voxels", "size 3"]
    fine = tune_smoothing(cases[1:], **options, batch=Batch(jobs=1))
    assert "band, 2 mm either side, takes in all voxels of all cases" in fine.notes[-1]
    coarse = tune_smoothing(cases[:1], **options, batch=Batch(jobs=1))
    assert not coarse.notes
    assert "mm" in coarse.one_map.best_of


def tuning(*targets: TargetResult) -> TuningResult:
    fused = targets[1] if len(targets) > 1 else None
    table, parameters = ClassTable.from_values([0, 1]), SEARCH.to_json()
    return TuningResult(parameters, table, targets[0], fused, (), ())


def test_figure(tmp_path: Path) -> None:
    for score in ("nll", "class_nll"):
        one_map = chosen(17, 6, score)
        fused = replace(one_map, target="fused")
        draw_tuning(tuning(one_map, fused), tmp_path / f"{score}.svg")
    text = (tmp_path / "nll.svg").read_text()
    assert text.count(">recommended: 0.525<") == 2
    assert text.count(">6 cases, 2 raters, within 2 mm of boundaries<") == 2
    verdict = "better NLL than published on cases that did not choose it"
    assert text.count(f">{verdict}<") == 2
    draw_tuning(tuning(chosen(17, 5)), tmp_path / "few.svg")
    few = (tmp_path / "few.svg").read_text()
    published = chosen(17, 5).published.nll
    assert f">recommended: {published:.3f}<" in few
    assert text.count(">NLL (less is better)<") == 2
    assert ">All raters but one, fused, forecast that one (fuse-raters)<" in text
    draw_tuning(tuning(one_map), tmp_path / "ä b.png")
    assert (tmp_path / "ä b.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 4


def test_figure_of_a_single_candidate(tmp_path: Path) -> None:
    cases = [rated(tmp_path, "a", [blobs((6, 9, 9), 2, seed=s) for s in (0, 1)])]
    search = replace(SEARCH, candidates=Candidates((1,), (0.5,)))
    draw_tuning(tuning(*tuned(cases, search)), tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 10_000


def test_figures_need_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidParameterError, match=r"a.bmp: a figure's name ends in"):
        check_figure(Path("a.bmp"))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    install = r"pip install 'svls-cli\[figures\]"
    with pytest.raises(InvalidParameterError, match=install):
        check_figure(Path("a.png"))
