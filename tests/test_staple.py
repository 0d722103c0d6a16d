"""`staple` against SimpleITK's, and what must not move it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from svls_cli.soften.fusion import staple_shares
from svls_cli.soften.staple import staple
from svls_cli.soften.votes import tally

Maps = list[npt.NDArray[np.uint8]]


def simulated(n_raters: int, *, seed: int) -> Maps:
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
    maps = simulated(n_raters, seed=n_raters)
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
    maps = simulated(4, seed=1)
    wide = [np.pad(m, 50) for m in maps]
    votes, padded = tally(maps, n_classes=2), tally(wide, n_classes=2)
    np.testing.assert_array_equal(votes.rows, padded.rows)
    np.testing.assert_array_equal(staple_shares(votes), staple_shares(padded))
