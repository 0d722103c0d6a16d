"""A real GPU gives the CPU engine's very bytes; all else of it is in `test_cuda.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svls_cli.soften.choices import DTYPES
from svls_cli.soften.devices import gpu_problem
from svls_cli.soften.methods import Method
from svls_cli.soften.smoothing import soften_block
from svls_cli.soften.volume import soften_volume
from tests.helpers.commands import SAMPLE, Run, tree
from tests.helpers.label_maps import blobs
from tests.soften.test_cuda import WINDOWS, mixtures, on_grid, regions, same, two_raters

pytestmark = pytest.mark.skipif(
    gpu_problem() is not None, reason=f"no GPU: {gpu_problem()}"
)


@pytest.fixture(scope="module")
def device() -> Any:
    from svls_cli.soften.gpu import Gpu

    return Gpu()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [*WINDOWS, (129, 3), (1, 65, 65)], ids=str)
@settings(max_examples=25)
@given(data=st.data())
def test_hard_labels(
    device: Any, size: tuple[int, ...], dtype: str, data: st.DataObject
) -> None:
    region, n_classes = data.draw(regions(size))
    sigma = data.draw(st.floats(0.05, 8))
    softening = on_grid(size, sigma=sigma, strength=data.draw(st.floats(0, 1)))
    same(device, region, softening, n_classes=n_classes, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", WINDOWS, ids=str)
@settings(max_examples=25)
@given(data=st.data())
def test_mixtures(
    device: Any, size: tuple[int, ...], dtype: str, data: st.DataObject
) -> None:
    region, mixture = data.draw(mixtures(size))
    softening = on_grid(size, sigma=data.draw(st.floats(0.1, 4)))
    meaning = {"n_classes": mixture.n_classes, "mixture": mixture}
    same(device, region, softening, dtype=dtype, **meaning)


def test_where_raters_agree_to_differ(device: Any) -> None:
    first, second = np.zeros((2, 40, 50, 70), np.uint8)
    second[..., :35] = 1
    raters = two_raters(first, second, 2)
    same(device, **raters, softening=on_grid((3, 3, 3)), dtype="float32")


def test_many_classes_that_round_up(device: Any) -> None:
    region = np.arange(19**3, dtype=np.uint16).reshape(19, 19, 19) % 300
    softening = on_grid((13,) * 3, sigma=50.0, strength=1.0)
    same(device, region, softening, n_classes=300, dtype="uint8")


def test_tiny_weights_keep_their_digits(device: Any) -> None:
    region = blobs((12, 12, 12), 3)
    softening = on_grid((5,) * 3, sigma=0.15)
    same(device, region, softening, n_classes=3, dtype="float32")


@pytest.mark.parametrize(
    "method", [Method(), Method("ls"), Method("onehot")], ids=lambda m: m.name
)
def test_cupy_in_cupy_out(method: Method) -> None:
    import cupy

    labels = blobs((40, 50, 60), 5)
    softening = method.on_grid((1.0,) * 3)
    expected = soften_block(labels, softening, n_classes=5, dtype="uint8")
    for region in (cupy.asarray(labels), cupy.asarray(labels.T).T):
        found = soften_block(region, softening, n_classes=5, dtype="uint8")
        assert isinstance(found.soft, cupy.ndarray)
        np.testing.assert_array_equal(found.soft.get(), expected.soft)


def test_whole_volumes() -> None:
    labels = blobs((130, 70, 140), 6)
    labels[:20, :20] = 6
    softening = Method(sigma=2.0, size=7).on_grid((1.0,) * 3)
    soft: dict[str, npt.NDArray[Any]] = {
        device: soften_volume(
            labels, softening, n_classes=6, dtype="uint8", device=device
        )
        for device in ("cpu", "gpu")
    }
    np.testing.assert_array_equal(soft["gpu"], soft["cpu"])


def test_more_than_the_gpu_holds() -> None:
    """CuPy's pool refuses, the block is made in parts."""
    import cupy

    from svls_cli.soften.gpu import soften_on_gpu

    labels = blobs((128, 128, 128), 8)
    meaning: dict[str, Any] = {"n_classes": 8, "dtype": "float32"}
    softening = on_grid((3, 3, 3))
    expected = soften_block(labels, softening, **meaning)
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    limit = pool.get_limit()
    try:
        pool.set_limit(size=pool.total_bytes() + 2**24)
        found = soften_on_gpu(labels, softening, **meaning)
    finally:
        pool.set_limit(size=limit)
    np.testing.assert_array_equal(found.soft, expected.soft)


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_command_writes_the_same_store(run: Run, jobs: int, tmp_path: Any) -> None:
    raters = [SAMPLE / "raters" / rater for rater in "abc"]
    for device in ("cpu", "gpu"):
        options = ["--device", device, "--jobs", jobs, "--sigma-mm", "1.2"]
        for command, inputs in (
            ("smooth", [SAMPLE / "labels"]),
            ("fuse-raters", raters),
        ):
            result = run(command, *options, *inputs, f"{command}-{device}.zarr")
            assert result.stderr == ""
    for command in ("smooth", "fuse-raters"):
        stores = [
            tree(tmp_path / f"{command}-{device}.zarr") for device in ("cpu", "gpu")
        ]
        assert stores[0] == stores[1]
