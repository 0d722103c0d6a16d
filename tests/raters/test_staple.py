"""`staple` against SimpleITK, simulated raters and the published equations."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from svls_cli.raters import staple as module
from svls_cli.raters.fusion import staple_shares
from svls_cli.raters.staple import staple
from svls_cli.raters.votes import tally
from tests.helpers.label_maps import blobs

Floats = npt.NDArray[np.float64]
Maps = list[npt.NDArray[Any]]


def simulated(
    n_raters: int, k: int, voxels: int, *, seed: int
) -> tuple[Maps, Floats, npt.NDArray[Any]]:
    """Maps of one row, the confusion behind them and the truth.

    Confusions are (raters, said, true): raters are right in most cases, and wrong in
    ways of their own.
    """
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, voxels)
    wrong = rng.dirichlet(np.ones(k), (n_raters, k)).swapaxes(1, 2)
    tables = 0.7 * np.eye(k) + 0.3 * wrong
    draws = rng.random((n_raters, voxels))
    limits = np.cumsum(tables, axis=1)[:, :-1][:, :, truth]
    said = (draws[:, np.newaxis] > limits).sum(axis=1).astype(np.uint8)
    return list(said[:, np.newaxis]), tables, truth


def warfield(maps: Maps, k: int, steps: int) -> tuple[Floats, Floats]:
    """EM of Warfield, Zou & Wells, voxel by voxel; label ``k`` says nothing."""
    said = [[int(v) for v in m.ravel()] for m in maps]
    raters, voxels = len(said), len(said[0])
    given = [v for labels in said for v in labels if v < k]
    prior = [given.count(s) / len(given) for s in range(k)]
    votes = [[labels[i] for labels in said if labels[i] < k] for i in range(voxels)]
    w = np.array([[v.count(s) / len(v) for s in range(k)] for v in votes])
    theta = np.zeros((raters, k, k))
    for _ in range(steps):
        for j in range(raters):
            spoke = [i for i in range(voxels) if said[j][i] < k]
            for label, true in np.ndindex(k, k):
                part = sum(w[i, true] for i in spoke if said[j][i] == label)
                theta[j, label, true] = part / sum(w[i, true] for i in spoke)
        for i in range(voxels):
            w[i] = prior
            for j in range(raters):
                if said[j][i] < k:
                    w[i] *= theta[j, said[j][i]]
            w[i] /= w[i].sum()
    return w, theta


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("steps", [1, 5, 30])
@pytest.mark.parametrize("silent", [False, True])
def test_equals_the_published_equations(
    k: int, steps: int, silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps, _, _ = simulated(4, k, 80, seed=10 * k + steps)
    if silent:
        maps[1][:, ::3] = k
        maps[2][:, 40:] = k
    votes = tally(maps, n_classes=k)
    monkeypatch.setattr(module, "_MAX_STEPS", steps)
    monkeypatch.setattr(module, "_TOLERANCE", 0.0)
    found = staple(votes.rows, votes.counts, n_classes=k)
    assert found.steps == steps
    posterior, confusion = warfield(maps, k, steps)
    by_voxel = found.posterior[votes.codes.ravel()]
    np.testing.assert_allclose(by_voxel, posterior, atol=1e-9)
    np.testing.assert_allclose(found.confusion, confusion, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_recovers_simulated_raters(seed: int) -> None:
    maps, tables, truth = simulated(5, 3, 50_000, seed=seed)
    votes = tally(maps, n_classes=3)
    found = staple(votes.rows, votes.counts, n_classes=3)
    assert found.converged
    np.testing.assert_allclose(found.confusion, tables, atol=0.02)
    hard = found.posterior.argmax(axis=1)[votes.codes.ravel()]
    best = max((m.ravel() == truth).mean() for m in maps)
    assert (hard == truth).mean() > best + 0.05


def test_background_does_not_move_the_shares_of_several_classes() -> None:
    first = blobs((14, 15, 16), 4)
    rng = np.random.default_rng(2)
    noisy = [np.where(rng.random(first.shape) < p, 0, first) for p in (0.1, 0.2, 0.3)]
    maps = [m.astype(np.uint8) for m in noisy]
    votes = tally(maps, n_classes=4)
    padded = tally([np.pad(m, 50) for m in maps], n_classes=4)
    rows = votes.rows.any(axis=1)
    more = padded.rows.any(axis=1)
    np.testing.assert_array_equal(votes.rows[rows], padded.rows[more])
    shares, others = staple_shares(votes), staple_shares(padded)
    np.testing.assert_array_equal(shares[rows], others[more])
    # The same over all voxels would not be true: that is why the others are left out.
    whole, wide = (staple(v.rows, v.counts, n_classes=4) for v in (votes, padded))
    assert np.abs(whole.posterior[rows] - wide.posterior[more]).max() > 1e-3


def test_probabilities() -> None:
    maps, _, _ = simulated(3, 4, 500, seed=4)
    votes = tally(maps, n_classes=4)
    found = staple(votes.rows, votes.counts, n_classes=4)
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(found.confusion.sum(axis=1), 1, atol=1e-12)
    assert found.posterior.min() >= 0


def test_stopped_before_it_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, _, _ = simulated(3, 2, 500, seed=5)
    votes = tally(maps, n_classes=2)
    assert staple(votes.rows, votes.counts, n_classes=2).converged
    monkeypatch.setattr(module, "_MAX_STEPS", 3)
    stopped = staple(votes.rows, votes.counts, n_classes=2)
    assert (stopped.steps, stopped.converged) == (3, False)


def test_two_raters() -> None:
    """Where they are wrong equally often, nothing tells who is right."""
    rows = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    found = staple(rows, np.array([40, 10, 10, 40]), n_classes=2)
    np.testing.assert_allclose(found.posterior[[1, 2]], 0.5, atol=1e-6)
    np.testing.assert_allclose(found.confusion[0], found.confusion[1], atol=1e-6)
    assert found.posterior[0, 0] > 0.9
    assert found.posterior[3, 1] > 0.9


def test_rater_who_never_speaks_changes_nothing() -> None:
    maps, _, _ = simulated(3, 3, 400, seed=6)
    silent = np.full_like(maps[0], 3)
    without = tally(maps, n_classes=3)
    votes = tally([*maps, silent], n_classes=3)
    expected = staple(without.rows, without.counts, n_classes=3)
    found = staple(votes.rows, votes.counts, n_classes=3)
    np.testing.assert_array_equal(found.posterior, expected.posterior)
    np.testing.assert_array_equal(found.confusion[:3], expected.confusion)


def test_voxels_that_all_ignore_change_no_rater() -> None:
    maps, _, _ = simulated(3, 2, 400, seed=7)
    before = tally(maps, n_classes=2)
    after = tally([np.concatenate([m, np.full_like(m, 2)]) for m in maps], n_classes=2)
    expected = staple(before.rows, before.counts, n_classes=2)
    found = staple(after.rows, after.counts, n_classes=2)
    np.testing.assert_allclose(found.confusion, expected.confusion, atol=1e-9)
    np.testing.assert_allclose(found.posterior[:-1], expected.posterior, atol=1e-9)
    assert staple_shares(after)[-1].tolist() == [0, 0]


def test_many_raters_do_not_underflow() -> None:
    rng = np.random.default_rng(8)
    truth = rng.random((1, 300)) < 0.5
    wrong = rng.random((900, 1, 300)) < 0.4
    maps = list((truth ^ wrong).astype(np.uint8))
    votes = tally(maps, n_classes=2)
    found = staple(votes.rows, votes.counts, n_classes=2)
    assert found.converged
    np.testing.assert_array_equal(found.posterior[votes.codes].argmax(-1), truth)


def binary(n_raters: int, *, seed: int) -> Maps:
    """Binary label maps of one row by raters of random quality."""
    rng = np.random.default_rng(seed)
    truth = rng.random((1, 20_000)) < 0.3
    right = rng.uniform(0.75, 0.97, (n_raters, 2))
    draws = rng.random((n_raters, *truth.shape))
    chances = np.where(truth, right[:, :1, None], 1 - right[:, 1:, None])
    return list((draws < chances).astype(np.uint8))


def itk(maps: Maps) -> tuple[Any, Any, Any]:
    images = [sitk.GetImageFromArray(m) for m in maps]
    method = sitk.STAPLEImageFilter()
    method.SetForegroundValue(1)
    posterior = sitk.GetArrayFromImage(method.Execute(images))
    return posterior, method.GetSensitivity(), method.GetSpecificity()


@pytest.mark.parametrize("n_raters", [3, 4, 6])
@pytest.mark.parametrize("disputed_only", [False, True])
def test_binary_agrees_with_simpleitk(n_raters: int, disputed_only: bool) -> None:
    maps = binary(n_raters, seed=n_raters)
    votes = tally(maps, n_classes=2)
    if disputed_only:
        kept = votes.disputed[votes.codes]
        maps = [m[kept][np.newaxis] for m in maps]
        votes = tally(maps, n_classes=2)
    found = staple(votes.rows, votes.counts, n_classes=2)
    posterior, sensitivity, specificity = itk(maps)
    assert found.converged
    np.testing.assert_allclose(found.posterior[votes.codes, 1], posterior, atol=1e-5)
    np.testing.assert_allclose(found.confusion[:, 1, 1], sensitivity, atol=1e-5)
    np.testing.assert_allclose(found.confusion[:, 0, 0], specificity, atol=1e-5)


def test_background_does_not_move_the_posterior() -> None:
    maps = binary(4, seed=1)
    wide = [np.pad(m, 50) for m in maps]
    votes, padded = tally(maps, n_classes=2), tally(wide, n_classes=2)
    np.testing.assert_array_equal(votes.rows, padded.rows)
    np.testing.assert_array_equal(staple_shares(votes), staple_shares(padded))
