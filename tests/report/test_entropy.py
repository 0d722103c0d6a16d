"""Entropy block by block is that of the definition."""

from pathlib import Path

import numpy as np
import pytest

from svls_cli import parse_classes
from svls_cli.report.entropy import measure_uncertainty, slice_entropy
from tests.helpers.label_maps import blobs, write_image
from tests.helpers.stores import smoothed


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("n_classes", [3, 12])
def test_by_blocks_as_by_definition(dtype: str, n_classes: int, tmp_path: Path) -> None:
    labels = np.pad(blobs((5, 70, 68), n_classes), 1)
    write_image(tmp_path / "labels" / "a.nii.gz", labels)
    store = smoothed(
        tmp_path / "labels", tmp_path / "a.zarr", dtype=dtype, ignore_label=1
    )
    case = store["a"]
    p = case.probabilities().astype(np.float64)
    terms = np.where(p > 0, -p * np.log2(np.where(p > 0, p, 1)), 0)
    bits = terms.sum(axis=0)
    found = measure_uncertainty(case, 0)
    np.testing.assert_allclose(found.by_slice, bits.sum(axis=(1, 2)), rtol=1e-3)
    rated = p.sum(axis=0) > 0
    open_ = rated & (p[0] < 1)
    assert found.mean_bits == pytest.approx(bits.sum() / open_.sum(), rel=1e-3)
    expected = np.where(rated, p.argmax(axis=0), len(store.classes))
    np.testing.assert_array_equal(found.argmax, expected)
    assert measure_uncertainty(case, None).by_slice == pytest.approx(
        [bits.sum()], rel=1e-3
    )
    np.testing.assert_allclose(
        slice_entropy(case.probabilities()[:, 3]), bits[3], atol=1e-6
    )


def test_nothing_but_background_has_no_mean(tmp_path: Path) -> None:
    write_image(tmp_path / "labels" / "a.nii.gz", np.zeros((4, 5, 6), np.uint8))
    store = smoothed(
        tmp_path / "labels", tmp_path / "a.zarr", classes=parse_classes("0,1")
    )
    found = measure_uncertainty(store["a"], 1)
    assert np.isnan(found.mean_bits)
    assert found.by_slice.tolist() == [0] * 5
