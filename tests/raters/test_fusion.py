"""Fused label maps, hard and soft, against the raters' own."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.sources import SoftLabels
from svls_cli.raters.fusion import Fused, Fusion, fuse, mean_shares, staple_shares
from svls_cli.raters.votes import tally
from svls_cli.soften.methods import Method
from svls_cli.soften.regions import soften_part
from svls_cli.soften.volume import soften_volume
from tests.helpers import reference
from tests.helpers.label_maps import blobs, row

Soft = npt.NDArray[Any]
Maps = list[npt.NDArray[Any]]
Case = tuple[Maps, int]  # and the number of classes

METHODS: dict[str, dict[str, Any]] = {
    "svls": {},
    "wide": {"name": "svls", "sigma": 2.0, "size": 5, "strength": 0.8},
    "gaussian": {"name": "gaussian", "sigma": 0.8},
    "ls": {"name": "ls", "alpha": 0.2},
    "onehot": {"name": "onehot"},
}


@st.composite
def rated(draw: st.DrawFn, *, min_raters: int = 1, ignored: bool = False) -> Case:
    """Maps of one case by up to five raters."""
    n_classes = draw(st.integers(2, 6))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=7))
    top = n_classes if ignored else n_classes - 1
    labels = hnp.arrays(np.uint8, shape, elements=st.integers(0, top))
    return draw(st.lists(labels, min_size=min_raters, max_size=5)), n_classes


def names(maps: Sequence[Any]) -> list[str]:
    return [f"r{at}" for at in range(len(maps))]


def fused_maps(maps: Maps, n_classes: int, fusion: Fusion) -> Fused:
    return fuse(tally(maps, n_classes=n_classes), names(maps), fusion)


def soft_fused(
    fused: Fused, n_classes: int, dtype: str = "float32", method: str = "svls"
) -> Soft:
    """Soft labels of a fused volume, worked on as one block."""
    labels, options = fused.labels, {"n_classes": n_classes, "dtype": dtype}
    softening = Method(**METHODS[method]).on_grid((1.0,) * labels.ndim)
    everything = [slice(0, n) for n in labels.shape]
    block = soften_part(labels, everything, softening, mixture=fused.mixture, **options)
    soft = np.zeros((n_classes, *labels.shape), dtype)
    soft[block.classes] = block.soft
    return soft


def soft_single(labels: Soft, n_classes: int, dtype: str, method: str) -> Soft:
    softening = Method(**METHODS[method]).on_grid((1.0,) * labels.ndim)
    return soften_volume(labels, softening, n_classes=n_classes, dtype=dtype)


def by_definition(labels: Soft, n_classes: int, method: str) -> Soft:
    """Soft labels of one rater, transcribed from the definitions."""
    chosen = METHODS[method]
    onehot = np.stack([labels == c for c in range(n_classes)]).astype(float)
    if method == "onehot":
        return onehot
    if method == "ls":
        return np.asarray((1 - chosen["alpha"]) * onehot + chosen["alpha"] / n_classes)
    sigma, size = chosen.get("sigma", 1.0), chosen.get("size", 3)
    strength = chosen.get("strength", 0.5)
    if method == "gaussian":  # the centre weighs 1, as the Gaussian has it
        offsets = itertools.product(range(-1, 2), repeat=labels.ndim)
        gauss = [math.exp(-sum(i * i for i in o) / (2 * sigma**2)) for o in offsets]
        strength = 1 - 1 / sum(gauss)
    window = {"sigma": (sigma,) * labels.ndim, "size": (size,) * labels.ndim}
    return reference.soft_labels(labels, n_classes, **window, strength=strength)


def weights_for(maps: Maps) -> st.SearchStrategy[list[float]]:
    some = st.floats(0.01, 10) | st.integers(0, 4).map(float)
    return st.lists(some, min_size=len(maps), max_size=len(maps)).filter(any)


def weighted(weights: Sequence[float], **options: Any) -> Fusion:
    return Fusion(weights=dict(zip(names(weights), weights, strict=True)), **options)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=40)
@given(case=rated(), data=st.data())
def test_soft_labels_are_the_weighted_mean_of_the_raters(
    method: str, case: Case, data: st.DataObject
) -> None:
    maps, n_classes = case
    weights = data.draw(weights_for(maps))
    fused = fused_maps(maps, n_classes, weighted(weights))
    soft = soft_fused(fused, n_classes, method=method)
    single = [soft_single(m, n_classes, "float32", method) for m in maps]
    defined = [by_definition(m, n_classes, method) for m in maps]
    for each in (single, defined):
        expected = np.average(np.stack(each).astype(float), axis=0, weights=weights)
        np.testing.assert_allclose(soft, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_equal_weights_are_the_plain_mean(method: str) -> None:
    maps = [blobs((17, 18, 19), 4, seed=s) for s in range(3)]
    soft = soft_fused(fused_maps(maps, 4, Fusion()), 4, method=method)
    expected = np.mean([by_definition(m, 4, method) for m in maps], axis=0)
    np.testing.assert_allclose(soft, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@settings(max_examples=30)
@given(case=rated(), data=st.data())
def test_integers_are_the_rounded_mean(
    method: str, dtype: str, case: Case, data: st.DataObject
) -> None:
    maps, n_classes = case
    weights = data.draw(weights_for(maps))
    fused = fused_maps(maps, n_classes, weighted(weights))
    soft = soft_fused(fused, n_classes, dtype, method)
    top = np.iinfo(dtype).max
    assert (soft.sum(axis=0, dtype=int) == top).all()
    each = np.stack([by_definition(m, n_classes, method) for m in maps])
    error = np.abs(soft - top * np.average(each, axis=0, weights=weights))
    places = np.arange(n_classes).reshape(-1, *(1,) * maps[0].ndim)
    own = fused.hard(fused.labels) == places
    # Float32 and the margin that favours the own class, which has what the others
    # leave: up to half a level of each.
    half = 0.5 + 1e-6 * top
    assert error[~own].max() <= half
    assert error[own].max() <= max(1, n_classes - 1) * half


@pytest.mark.parametrize(("dtype", "level"), [("uint8", 0.005), ("uint16", 2e-5)])
def test_integers_of_anatomy_are_within_a_level(dtype: str, level: float) -> None:
    maps = [blobs((20, 21, 22), 3, seed=s) for s in range(5)]
    fused = fused_maps(maps, 3, Fusion())
    soft = soft_fused(fused, 3, dtype) / np.iinfo(dtype).max
    expected = np.mean([by_definition(m, 3, "svls") for m in maps], axis=0)
    np.testing.assert_allclose(soft, expected, atol=level, rtol=0)


@settings(max_examples=60)
@given(
    case=rated(ignored=True),
    name=st.sampled_from(["mean", "majority", "staple"]),
    n_raters=st.integers(2, 5),
    method=st.sampled_from(list(METHODS)),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
)
def test_identical_raters_are_one(
    case: Case, name: Any, n_raters: int, method: str, dtype: str
) -> None:
    (labels, *_), n_classes = case
    fused = fused_maps([labels] * n_raters, n_classes, Fusion(name))
    one = soft_single(labels, n_classes, dtype, method)
    assert soft_fused(fused, n_classes, dtype, method).tobytes() == one.tobytes()
    np.testing.assert_array_equal(fused.hard(fused.labels), labels)


@settings(max_examples=60)
@given(case=rated(min_raters=2, ignored=True), data=st.data())
def test_permuting_raters_changes_nothing(case: Case, data: st.DataObject) -> None:
    maps, n_classes = case
    weights = data.draw(weights_for(maps))
    order = data.draw(st.permutations(range(len(maps))))
    permuted = [maps[at] for at in order]
    ours = fused_maps(maps, n_classes, weighted(weights))
    theirs = fused_maps(permuted, n_classes, weighted([weights[at] for at in order]))
    np.testing.assert_array_equal(ours.hard(ours.labels), theirs.hard(theirs.labels))
    one, other = (soft_fused(each, n_classes) for each in (ours, theirs))
    np.testing.assert_allclose(one, other, atol=1e-6, rtol=0)
    equal = [fused_maps(m, n_classes, Fusion()) for m in (maps, permuted)]
    first, second = (soft_fused(f, n_classes, "uint8") for f in equal)
    np.testing.assert_array_equal(first, second)


@settings(max_examples=80)
@given(
    case=rated(ignored=True),
    name=st.sampled_from(["mean", "majority"]),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    data=st.data(),
)
def test_weight_zero_is_a_rater_left_out(
    case: Case, name: Any, dtype: str, data: st.DataObject
) -> None:
    maps, n_classes = case
    weights = data.draw(weights_for(maps))
    without = fused_maps(maps, n_classes, weighted(weights, name=name))
    silent = hnp.arrays(np.uint8, maps[0].shape, elements=st.integers(0, n_classes))
    at = data.draw(st.integers(0, len(maps)))
    more = [*maps[:at], data.draw(silent), *maps[at:]]
    zero = [*weights[:at], 0.0, *weights[at:]]
    fused = fused_maps(more, n_classes, weighted(zero, name=name))
    hard = fused.hard(fused.labels)
    np.testing.assert_array_equal(hard, without.hard(without.labels))
    found = soft_fused(fused, n_classes, dtype)
    expected = soft_fused(without, n_classes, dtype)
    if dtype == "float32":
        # Ignored voxels nearby decide in which precision a batch is summed.
        np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
    else:
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=80)
@given(
    case=rated(ignored=True),
    name=st.sampled_from(["mean", "majority"]),
    ties=st.sampled_from(["lowest", "highest"]),
    data=st.data(),
)
def test_the_hard_label_has_most_weight(
    case: Case, name: Any, ties: Any, data: st.DataObject
) -> None:
    maps, n_classes = case
    integers = st.lists(st.integers(1, 3), min_size=len(maps), max_size=len(maps))
    weights = data.draw(integers)
    fused = fused_maps(maps, n_classes, weighted(weights, name=name, ties=ties))
    hard = fused.hard(fused.labels)
    for voxel in np.ndindex(*maps[0].shape):
        votes = np.zeros(n_classes, int)
        for labels, weight in zip(maps, weights, strict=True):
            if labels[voxel] < n_classes:
                votes[labels[voxel]] += weight
        best = np.flatnonzero(votes == votes.max()).tolist()
        expected = best[0] if ties == "lowest" else best[-1]
        assert hard[voxel] == (expected if votes.any() else n_classes)


@settings(max_examples=60)
@given(
    case=rated(ignored=True),
    fusion=st.sampled_from(
        [
            Fusion(*options)
            for options in itertools.product(
                ("mean", "majority"), ("dice", "staple"), ("lowest", "highest")
            )
        ]
    ),
)
@example(case=([row(1, 1), row(0, 2), row(0, 2)], 2), fusion=Fusion("mean", "dice"))
def test_no_label_that_no_rater_gave(case: Case, fusion: Fusion) -> None:
    maps, n_classes = case
    fused = fused_maps(maps, n_classes, fusion)
    hard = fused.hard(fused.labels)
    said = np.stack(maps)
    # A rater of weight 0, who agrees with nobody, counts for nothing.
    counts = np.array(fused.weights) > 0
    ignored = (said[counts] == n_classes).all(axis=0)
    np.testing.assert_array_equal(hard == n_classes, ignored)
    assert (said == hard).any(axis=0).all()


@pytest.mark.parametrize("ties", ["lowest", "highest"])
def test_staple_gives_no_label_that_no_rater_gave(ties: Any) -> None:
    rng = np.random.default_rng(0)
    maps = list(rng.integers(0, 4, (4, 4, 8)).astype(np.uint8))
    fused = fused_maps(maps, 4, Fusion("staple", ties=ties))
    assert (np.stack(maps) == fused.hard(fused.labels)).any(axis=0).all()


def test_majority() -> None:
    maps = [row(0, 0, 1, 2, 2, 3), row(0, 1, 1, 1, 3, 3), row(0, 1, 2, 0, 1, 3)]
    lowest = fused_maps(maps, 3, Fusion("majority"))
    assert lowest.mixture is None
    assert lowest.labels.tolist() == [[0, 1, 1, 0, 1, 3]]
    assert lowest.weights == pytest.approx((1 / 3,) * 3)
    highest = fused_maps(maps, 3, Fusion("majority", ties="highest"))
    assert highest.labels.tolist() == [[0, 1, 1, 2, 2, 3]]
    first = fused_maps(maps, 3, weighted([3, 1, 1], name="majority"))
    assert first.labels.tolist() == [[0, 0, 1, 2, 2, 3]]
    assert first.weights == pytest.approx((0.6, 0.2, 0.2))


def test_weights_that_are_a_tie_but_for_rounding() -> None:
    maps = [row(c) for c in (1, 1, 1, 0)]
    tied = fused_maps(maps, 2, weighted([0.1, 0.1, 0.1, 0.3], name="majority"))
    assert tied.labels.tolist() == [[0]]
    assert 0.1 + 0.1 + 0.1 > 0.3


def test_ignoring_raters_leave_their_weight_to_the_others() -> None:
    maps = [row(0, 3, 3, 3), row(1, 1, 3, 3), row(1, 2, 2, 3)]
    fused = fused_maps(maps, 3, weighted([2, 1, 1]))
    soft = soft_fused(fused, 3, method="onehot")
    expected = [[0.5, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 0.5, 1, 0]]
    np.testing.assert_allclose(soft[:, 0], expected, atol=1e-7)
    assert fused.hard(fused.labels).tolist() == [[0, 1, 2, 3]]
    levels = soft_fused(fused, 3, "uint8", "svls")
    assert levels.sum(axis=0, dtype=int).tolist() == [[255, 255, 255, 0]]


@pytest.mark.parametrize("method", METHODS)
def test_voxels_that_all_raters_ignore(method: str) -> None:
    rng = np.random.default_rng(0)
    maps = [blobs((12, 13, 14), 3, seed=s) for s in range(3)]
    hole = rng.random(maps[0].shape) < 0.1
    for labels in maps:
        labels[hole] = 3
    soft = soft_fused(fused_maps(maps, 3, Fusion()), 3, method=method)
    each = [soft_single(m, 3, "float32", method) for m in maps]
    np.testing.assert_allclose(soft, np.mean(each, axis=0), atol=1e-6, rtol=0)
    assert not soft[:, hole].any()


def test_voxel_all_of_whose_neighbours_are_ignored_keeps_its_mean() -> None:
    maps = [np.full((5, 5, 5), 2, np.uint8) for _ in range(5)]
    for labels, own in zip(maps, (0, 0, 0, 1, 1), strict=True):
        labels[2, 2, 2] = own
    soft = soft_fused(fused_maps(maps, 2, Fusion()), 2)
    assert soft[:, 2, 2, 2] == pytest.approx([0.6, 0.4])


def test_nothing_but_ignored_voxels() -> None:
    maps = [np.full((3, 4), 2, np.uint8)] * 2
    for fusion in (Fusion(), Fusion("majority"), Fusion("staple")):
        fused = fused_maps(maps, 2, fusion)
        assert (fused.hard(fused.labels) == 2).all()
        assert not soft_fused(fused, 2, "uint8").any()


@settings(max_examples=60)
@given(case=rated(ignored=True))
def test_shares_are_probabilities(case: Case) -> None:
    maps, n_classes = case
    votes = tally(maps, n_classes=n_classes)
    given_any = (votes.rows < n_classes).any(axis=1)
    mean = mean_shares(votes, np.ones(len(maps)))
    staple = staple_shares(votes)
    for table in (mean, staple):
        assert table.shape == (len(votes.rows), len(votes.classes))
        assert table.min(initial=0) >= 0
        np.testing.assert_allclose(table.sum(axis=1), given_any, atol=1e-12)
    agreed = ~votes.disputed
    np.testing.assert_array_equal(staple[agreed], mean[agreed])


@pytest.mark.parametrize("measure", ["dice", "staple"])
def test_measured_weights_prefer_the_better_rater(measure: Any) -> None:
    rng = np.random.default_rng(1)
    truth = blobs((20, 20, 20), 3)
    maps = []
    for wrong in (0.3, 0.02, 0.2, 0.08, 0.14):
        noise = rng.integers(0, 3, truth.shape)
        labels = np.where(rng.random(truth.shape) < wrong, noise, truth)
        maps.append(labels.astype(np.uint8))
    weights = fused_maps(maps, 3, Fusion(weights=measure)).weights
    assert weights is not None
    assert np.argsort(weights).tolist() == [0, 2, 4, 3, 1]
    assert sum(weights) == pytest.approx(1)


def test_dice_weights_by_hand() -> None:
    """Dice of class 0 is 2/3, 1/2 and 4/5; of class 1 it is 4/5, 1/2 and 2/3."""
    maps = [row(0, 0, 1, 1), row(0, 1, 1, 1), row(0, 0, 0, 1)]
    quality = np.array([(11 / 15 + 11 / 15) / 2, (11 / 15 + 1 / 2) / 2])
    expected = quality[[0, 1, 1]] / quality[[0, 1, 1]].sum()
    found = fused_maps(maps, 2, Fusion(weights="dice")).weights
    assert found == pytest.approx(tuple(expected))


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("measure", ["dice", "staple"])
def test_measured_weights_of_raters_who_agree(measure: Any, n: int) -> None:
    fused = fused_maps([blobs((6, 6), 3)] * n, 3, Fusion(weights=measure))
    assert fused.weights == pytest.approx((1 / n,) * n)


def test_staple_has_no_one_weight() -> None:
    maps = [blobs((8, 8), 2, seed=s) for s in range(3)]
    assert fused_maps(maps, 2, Fusion("staple")).weights is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "median"}, "fusion must be one of mean, majority, staple, found 'm"),
        ({"ties": "random"}, "ties must be lowest or highest, found 'random'"),
        ({"weights": "iou"}, "weights must be staple, dice or a number for each"),
        ({"name": "staple", "weights": "dice"}, "weights do not apply to fusion stapl"),
        ({"name": "staple", "weights": {"a": 1}}, "weights do not apply to fusion sta"),
        ({"weights": {"a": -1, "b": 1}}, "weights must be finite, >= 0 and not all 0"),
        ({"weights": {"a": math.inf}}, "weights must be finite, >= 0 and not all 0"),
        ({"weights": {"a": math.nan}}, "weights must be finite, >= 0 and not all 0"),
        ({"weights": {"a": 0, "b": 0}}, "weights must be finite, >= 0 and not all 0"),
        ({"weights": {}}, "weights must be finite, >= 0 and not all 0"),
    ],
)
def test_parameters_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        Fusion(**options)


def test_weights_name_exactly_the_raters() -> None:
    fusion = Fusion(weights={"a": 1, "b": 2})
    fusion.check_raters(["b", "a"])
    Fusion(weights="dice").check_raters(["c"])
    with pytest.raises(InvalidParameterError, match="weights lack rater c"):
        fusion.check_raters(["a", "b", "c"])
    with pytest.raises(InvalidParameterError, match="weights name b; the raters are a"):
        fusion.check_raters(["a"])


def test_case_whose_raters_all_have_weight_zero() -> None:
    votes = tally([row(0, 1)], n_classes=2)
    fusion = Fusion(weights={"a": 0, "b": 1})
    with pytest.raises(InputError, match="every rater of this case has weight 0"):
        fuse(votes, ["a"], fusion)


def test_weights_of_a_case_that_lacks_a_rater() -> None:
    fusion = Fusion(weights={"a": 1, "b": 3, "c": 4})
    fused = fuse(tally([row(0, 1), row(1, 1)], n_classes=2), ["a", "b"], fusion)
    assert fused.weights == pytest.approx((0.25, 0.75))


def test_as_stored() -> None:
    assert Fusion().to_json() == {"name": "mean", "weights": "equal", "ties": "lowest"}
    stored = Fusion(weights={"b": 1, "a": 2}, ties="highest").to_json()
    weights = {"a": 2.0, "b": 1.0}
    assert stored == {"name": "mean", "weights": weights, "ties": "highest"}
    assert Fusion("majority", "dice").to_json()["weights"] == "dice"


def shares(fused: Fused) -> Soft:
    """(n_classes, ...) probabilities of a fused map that has a mixture."""
    assert fused.mixture is not None
    table = [fused.mixture.column(at) for at in range(fused.mixture.n_classes)]
    return np.stack(table)[:, fused.labels]


def test_soft_labels_are_averaged_as_they_are() -> None:
    table = np.array([[1, 0, 0], [0.25, 0.75, 0], [0.4, 0.3, 0.3], [0, 0, 0]])
    codes = np.array([[0, 1, 2, 3, 1]], np.uint8)
    drawn = SoftLabels(codes, table, np.array([0, 1, 0, 3]))
    votes = tally([drawn, row(0, 0, 2, 1, 3)], n_classes=3)
    fused = fuse(votes, ["a", "b"], Fusion())
    expected = [[1, 0, 0], [0.625, 0.375, 0], [0.2, 0.15, 0.65], [0, 1, 0]]
    np.testing.assert_allclose(shares(fused)[:, 0].T[:4], expected)
    # Who ignores a voxel leaves it to the other.
    np.testing.assert_allclose(shares(fused)[:, 0, 4], [0.25, 0.75, 0])
    assert fused.hard(fused.labels).tolist() == [[0, 0, 2, 1, 1]]
    weighted = fuse(votes, ["a", "b"], Fusion(weights={"a": 3, "b": 1}))
    np.testing.assert_allclose(shares(weighted)[:, 0, 1], [0.4375, 0.5625, 0])
    # A class that is nobody's largest share.
    alone = fuse(tally([drawn], n_classes=3), ["a"], Fusion())
    np.testing.assert_allclose(shares(alone)[:, 0, 2], [0.4, 0.3, 0.3])
    assert votes.rows.tolist() == [[0, 0], [1, 0], [1, 3], [0, 2], [3, 1]]


@given(rated(ignored=True), st.data())
def test_soft_labels_that_are_certain_are_hard_ones(
    case: Case, data: st.DataObject
) -> None:
    maps, n_classes = case
    certain = np.eye(n_classes + 1)[:, :-1]
    mixed: list[Any] = [
        SoftLabels(each, certain, np.arange(n_classes + 1))
        if data.draw(st.booleans())
        else each
        for each in maps
    ]
    fused = fuse(tally(mixed, n_classes=n_classes), names(maps), Fusion())
    expected = fused_maps(maps, n_classes, Fusion())
    np.testing.assert_array_equal(
        fused.hard(fused.labels), expected.hard(expected.labels)
    )
    np.testing.assert_array_equal(
        soft_fused(fused, n_classes), soft_fused(expected, n_classes)
    )
