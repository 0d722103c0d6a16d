"""The CUDA kernels, compiled for the host, give the CPU engine's very bytes.

Everything but CuPy and the GPU itself is what runs on one: tables, launches, source.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svls_cli.raters.fusion import Fusion, fuse
from svls_cli.raters.votes import tally
from svls_cli.soften.choices import DTYPES
from svls_cli.soften.cuda import Layout, count_tiles
from svls_cli.soften.cuda_block import DeviceBlock, soften_by_way_of
from svls_cli.soften.methods import Method, Softening
from svls_cli.soften.mixture import Mixture
from svls_cli.soften.smoothing import SoftBlock, soften_block
from tests.helpers.host_device import COMPILER, HostDevice
from tests.helpers.label_maps import blobs

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")

WINDOWS = [(3, 3, 3), (1, 3, 3), (5, 5, 5), (3, 7, 5), (15, 15, 15), (3, 3), (15, 1)]
Labels = npt.NDArray[Any]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> HostDevice:
    return HostDevice(tmp_path_factory.mktemp("kernels"))


def same(
    device: HostDevice, region: Labels, softening: Softening, **meaning: Any
) -> SoftBlock:
    """What the device makes of a region, which must be what the CPU makes of it."""
    expected = soften_block(region, softening, **meaning)
    found = soften_by_way_of(device, region, softening, **meaning)
    np.testing.assert_array_equal(found.classes, expected.classes)
    assert found.soft.dtype == expected.soft.dtype
    assert found.soft.shape == expected.soft.shape
    if found.soft.tobytes() != expected.soft.tobytes():
        np.testing.assert_array_equal(found.soft, expected.soft)
        raise AssertionError("only the signs of zeros differ")
    return found


def on_grid(size: tuple[int, ...], **method: Any) -> Softening:
    return Method(size=size, **method).on_grid((1.0,) * len(size))


@st.composite
def regions(
    draw: st.DrawFn, size: tuple[int, ...], *, ignored: bool = True
) -> tuple[Labels, int]:
    """A label region with its halo, and the number of classes."""
    n_classes = draw(st.integers(1, 6))
    inner = [draw(st.integers(1, 36 if max(size) < 15 else 20)) for _ in size]
    shape = [n + s - 1 for n, s in zip(inner, size, strict=True)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    noise = draw(st.sampled_from([0.0, 0.01, 1.0]))
    labels = blobs(shape, n_classes, seed=int(rng.integers(2**32)))
    noisy = rng.random(shape) < noise
    labels[noisy] = rng.integers(0, n_classes, int(noisy.sum()))
    if ignored:
        labels[rng.random(shape) < draw(st.sampled_from([0.0, 0.02, 0.9]))] = n_classes
    return labels, n_classes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", WINDOWS, ids=str)
@settings(max_examples=12)
@given(data=st.data())
def test_hard_labels(
    device: HostDevice, size: tuple[int, ...], dtype: str, data: st.DataObject
) -> None:
    region, n_classes = data.draw(regions(size))
    sigma = data.draw(st.floats(0.05, 8))
    softening = on_grid(size, sigma=sigma, strength=data.draw(st.floats(0, 1)))
    same(device, region, softening, n_classes=n_classes, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(3, 3, 3), (3, 7, 5), (3, 3)], ids=str)
@settings(max_examples=15)
@given(data=st.data())
def test_mixtures(
    device: HostDevice, size: tuple[int, ...], dtype: str, data: st.DataObject
) -> None:
    region, mixture = data.draw(mixtures(size))
    softening = on_grid(size, sigma=data.draw(st.floats(0.1, 4)))
    meaning = {"n_classes": mixture.n_classes, "mixture": mixture}
    same(device, region, softening, dtype=dtype, **meaning)


@st.composite
def mixtures(draw: st.DrawFn, size: tuple[int, ...]) -> tuple[Labels, Mixture]:
    """Codes of two or three raters, who differ in whole regions or in places."""
    first, n_classes = draw(regions(size))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    maps = [first]
    for shift in range(1, draw(st.integers(2, 3))):
        other = np.roll(first, shift, axis=-1)
        other[rng.random(first.shape) < 0.01] = n_classes
        if draw(st.booleans()):
            other[: len(other) // 2] = 0
        maps.append(other)
    weights = {f"r{at}": draw(st.floats(0.1, 3)) for at in range(len(maps))}
    fused = fuse(
        tally(maps, n_classes=n_classes), list(weights), Fusion(weights=weights)
    )
    if fused.mixture is None:
        table = np.eye(n_classes + 1)[:, :n_classes]
        classes = np.arange(n_classes)
        every = np.arange(n_classes + 1)
        return fused.labels, Mixture.from_table(
            table, classes, every, n_classes=n_classes
        )
    return fused.labels, fused.mixture


def two_raters(first: Labels, second: Labels, n_classes: int) -> dict[str, Any]:
    """Their codes as ``region``, and what these stand for; one counts for thrice."""
    fusion = Fusion(weights={"a": 1, "b": 3.7})
    fused = fuse(tally([first, second], n_classes=n_classes), ["a", "b"], fusion)
    assert fused.mixture is not None
    return {"region": fused.labels, "mixture": fused.mixture, "n_classes": n_classes}


@pytest.mark.parametrize("shape", [(34, 34, 70), (130, 200)])
@pytest.mark.parametrize("strength", [0.5, 0.3])
def test_where_raters_agree_to_differ(
    device: HostDevice, shape: tuple[int, ...], strength: float
) -> None:
    """Whole tiles of one disputed value are filled in, others are smoothed."""
    first, second = np.zeros((2, *shape), np.uint8)
    second[..., : shape[-1] // 2] = 1
    first[-5:] = 2
    for size in (3, 5):
        softening = on_grid((size,) * len(shape), strength=strength)
        same(
            device, **two_raters(first, second, 3), softening=softening, dtype="float32"
        )


@pytest.mark.parametrize("sigma", [0.08, 0.1, 0.3])
def test_scribbles(device: HostDevice, sigma: float) -> None:
    """Most voxels are ignored, and some have no neighbour that counts."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (24, 25, 40)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.99] = 2
    softening = on_grid((5, 5, 5), sigma=sigma)
    for dtype in DTYPES:
        same(device, labels, softening, n_classes=2, dtype=dtype)
    other = np.where(labels < 2, rng.integers(0, 2, labels.shape), 2).astype(np.uint8)
    raters = two_raters(labels, other, 2)
    same(device, **raters, softening=softening, dtype="float32")


@pytest.mark.parametrize("dtype", ["uint16", "float16"])
@pytest.mark.parametrize(
    "method",
    [
        Method("onehot"),
        Method("ls", alpha=0.2),
        Method("gaussian", sigma=0.8),
        Method(strength=0.0),
    ],
    ids=lambda method: method.name,
)
def test_methods(device: HostDevice, method: Method, dtype: str) -> None:
    labels = blobs((20, 21, 40), 4)
    labels[3:6, :9] = 4
    softening = method.on_grid((1.0,) * 3)
    same(device, labels, softening, n_classes=4, dtype=dtype)
    fused = fuse(
        tally([labels, np.roll(labels, 1, 0)], n_classes=4), ["a", "b"], Fusion()
    )
    meaning = {"n_classes": 4, "mixture": fused.mixture}
    same(device, fused.labels, softening, dtype=dtype, **meaning)


@pytest.mark.parametrize("code", [np.uint8, np.uint16, np.uint32])
def test_regions_of_one_class_or_none(device: HostDevice, code: type[Any]) -> None:
    for value, classes in ((1, 1), (2, 0)):
        region = np.full((6, 7, 8), value, code)
        block = same(device, region, on_grid((3, 3, 3)), n_classes=2, dtype="uint8")
        assert len(block.classes) == classes


@pytest.mark.parametrize("code", [np.uint16, np.uint32])
def test_many_classes_that_round_up(device: HostDevice, code: type[Any]) -> None:
    """Others give back what they got too much."""
    region = np.arange(19**3, dtype=code).reshape(19, 19, 19) % 300
    softening = on_grid((13,) * 3, sigma=50.0, strength=1.0)
    same(device, region, softening, n_classes=300, dtype="uint8")


def test_label_values_beyond_16_bits(device: HostDevice) -> None:
    region = blobs((8, 9, 40), 3).astype(np.uint32) * 40_000
    same(device, region, on_grid((3, 3, 3)), n_classes=90_000, dtype="float32")


def test_tiny_weights_keep_their_digits(device: HostDevice) -> None:
    """Below the smallest normal float32, which GPUs flush to zero if they are let."""
    region = blobs((12, 12, 12), 3)
    block = same(
        device, region, on_grid((5,) * 3, sigma=0.15), n_classes=3, dtype="float32"
    )
    assert ((block.soft > 0) & (block.soft < np.finfo(np.float32).tiny)).any()


@pytest.mark.parametrize("size", [(5, 5, 5), (129, 3), (33, 33, 3)], ids=str)
def test_windows_beyond_shared_memory(tmp_path: Path, size: tuple[int, ...]) -> None:
    device = HostDevice(tmp_path, shared_bytes=4096)
    region = blobs([20 + n for n in size], 3)
    region[-4:] = 3
    same(device, region, on_grid(size, sigma=9.0), n_classes=3, dtype="uint16")


@pytest.mark.parametrize("ignored", [False, True])
def test_too_little_memory_for_the_whole(tmp_path: Path, ignored: bool) -> None:
    """The result is made in parts, with the bytes of the whole."""
    first = blobs((31, 22, 37), 4)
    if ignored:
        first[20, 5:9, 5:9] = 4
    second = np.roll(first, 1, axis=2)
    second[:15] = 0
    fused = fuse(tally([first, second], n_classes=4), ["a", "b"], Fusion())
    device = HostDevice(tmp_path, room_bytes=fused.labels.nbytes + 100)
    meaning = {"n_classes": 4, "mixture": fused.mixture}
    same(device, fused.labels, on_grid((3, 3, 3)), dtype="float32", **meaning)
    assert device.launches("soften") > 3
    assert device.released


@pytest.mark.parametrize("room_bytes", [10, 30_000, 4 * 20 * 35 - 1])
def test_too_little_memory_for_anything(tmp_path: Path, room_bytes: int) -> None:
    """The CPU takes over; the smallest part is one plane."""
    device = HostDevice(tmp_path, room_bytes=room_bytes)
    region = blobs((31, 22, 37), 4)
    smallest = room_bytes == 30_000
    same(device, region, on_grid((3, 3, 3)), n_classes=4, dtype="uint8")
    assert device.released
    assert (device.launches("soften") > 3) == smallest


def test_parts_of_a_block(device: HostDevice) -> None:
    region = blobs((12, 14, 16), 3)
    softening, meaning = on_grid((3, 3, 3)), {"n_classes": 3, "dtype": "uint8"}
    block = DeviceBlock(device, region, softening, **meaning)
    whole = soften_block(region, softening, **meaning).soft
    assert block.shape == (10, 12, 14)
    for start, stop in ((0, 10), (3, 4), (4, 9)):
        np.testing.assert_array_equal(block.soften(start, stop), whole[:, start:stop])


def test_refuses_what_the_engine_refuses(device: HostDevice) -> None:
    region = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="dtype must be one of"):
        soften_by_way_of(device, region, on_grid((3, 3)), n_classes=1, dtype="int16")
    uniform = Method("ls", alpha=0.1).on_grid((1, 1))
    with pytest.raises(ValueError, match="below half a level"):
        soften_by_way_of(device, region, uniform, n_classes=120, dtype="uint8")


def test_the_largest_tile_of_which_several_fit() -> None:
    layout = Layout((1, 1, 1), np.dtype(np.float32), ignores=False, bits=8)
    kilobytes = (48, 99, 163, 227)  # of GPUs from old to new
    tiles = [layout.best_tile(3, 1024 * kb) for kb in kilobytes]
    assert tiles == [(4, 4, 32), (4, 4, 32), (4, 8, 32), (8, 8, 32)]
    wide = Layout((64, 64, 64), np.dtype(np.float32), ignores=False, bits=8)
    assert wide.bytes(wide.best_tile(3, 2**17)) > 2**17
    assert count_tiles((155, 240, 240), (8, 8, 32)) == 20 * 30 * 8
