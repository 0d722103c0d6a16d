"""The engine gives the very bytes of the plain definition, on every library."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from svls_cli.errors import InvalidParameterError
from svls_cli.raters.fusion import Fusion, fuse
from svls_cli.raters.votes import tally
from svls_cli.soften.choices import DTYPES
from svls_cli.soften.dense import soften_dense
from svls_cli.soften.libraries import as_type, namespace
from svls_cli.soften.methods import Method, Softening
from svls_cli.soften.mixture import Mixture
from svls_cli.soften.smoothing import soften_block
from svls_cli.soften.volume import soften_volume
from tests.helpers.label_maps import blobs

WINDOWS = [(3, 3, 3), (1, 3, 3), (5, 5, 5), (9, 9, 9), (3, 7, 5), (3, 3), (9, 1)]
Labels = npt.NDArray[Any]


def same(region: Labels, softening: Softening, **meaning: Any) -> None:
    """Engine and definition, NumPy and PyTorch agree on a region with its halo."""
    dense = soften_dense(region, softening, halo=True, **meaning)
    tensor = soften_dense(torch.tensor(region), softening, halo=True, **meaning)
    assert tensor.dtype == getattr(torch, dense.dtype.name)
    equal(tensor.numpy(), dense)
    block = soften_block(region, softening, **meaning)
    equal(block.soft, dense[block.classes])
    assert not np.delete(dense, block.classes, axis=0).any()
    if len(block.classes):
        meaning["classes"] = block.classes
        equal(soften_dense(region, softening, halo=True, **meaning), block.soft)


def equal(found: Labels, expected: Labels) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if found.tobytes() != expected.tobytes():
        np.testing.assert_array_equal(found, expected)
        raise AssertionError("only the signs of zeros differ")


def on_grid(size: tuple[int, ...], **method: Any) -> Softening:
    return Method(size=size, **method).on_grid((1.0,) * len(size))


@st.composite
def regions(
    draw: st.DrawFn, size: tuple[int, ...], *, classes: int = 6
) -> tuple[Labels, int]:
    """A label region with its halo, and the number of classes."""
    n_classes = draw(st.integers(1, classes))
    inner = [draw(st.integers(1, 36 if max(size) < 9 else 18)) for _ in size]
    shape = [n + s - 1 for n, s in zip(inner, size, strict=True)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = blobs(shape, min(n_classes, 6), seed=int(rng.integers(2**32)))
    noisy = rng.random(shape) < draw(st.sampled_from([0.0, 0.01, 1.0]))
    labels[noisy] = rng.integers(0, n_classes, int(noisy.sum()))
    labels[rng.random(shape) < draw(st.sampled_from([0.0, 0.02, 0.9]))] = n_classes
    return labels, n_classes


@st.composite
def mixtures(
    draw: st.DrawFn, size: tuple[int, ...], *, raters: int = 5
) -> tuple[Labels, Mixture]:
    """Codes of several raters, who differ in whole regions or in places."""
    first, n_classes = draw(regions(size))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    maps = [first]
    for shift in range(1, draw(st.integers(2, raters))):
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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", WINDOWS, ids=str)
@settings(max_examples=8)
@given(data=st.data())
def test_hard_labels(size: tuple[int, ...], dtype: str, data: st.DataObject) -> None:
    region, n_classes = data.draw(regions(size))
    sigma = data.draw(st.floats(0.05, 8))
    softening = on_grid(size, sigma=sigma, strength=data.draw(st.floats(0, 1)))
    same(region, softening, n_classes=n_classes, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(3, 3, 3), (3, 7, 5), (3, 3)], ids=str)
@settings(max_examples=10)
@given(data=st.data())
def test_mixtures(size: tuple[int, ...], dtype: str, data: st.DataObject) -> None:
    region, mixture = data.draw(mixtures(size))
    sigma = data.draw(st.floats(0.1, 4))
    softening = on_grid(size, sigma=sigma, strength=data.draw(st.floats(0, 1)))
    same(region, softening, dtype=dtype, n_classes=mixture.n_classes, mixture=mixture)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=10)
@given(data=st.data())
def test_many_classes(dtype: str, data: st.DataObject) -> None:
    region, n_classes = data.draw(regions((3, 3, 3), classes=250))
    same(region, on_grid((3, 3, 3)), n_classes=n_classes, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "method",
    [
        Method("gaussian", sigma=0.8, size=5),
        Method("svls", sigma_mm=2.0),
        Method("ls", alpha=0.2),
        Method("onehot"),
        Method(strength=0.0),
    ],
    ids=lambda method: method.name,
)
@settings(max_examples=5)
@given(data=st.data())
def test_methods(method: Method, dtype: str, data: st.DataObject) -> None:
    softening = method.on_grid((4.0, 1.0, 1.5))
    size = tuple(2 * r + 1 for r in softening.radius or (0, 0, 0))
    region, n_classes = data.draw(regions(size))
    same(region, softening, n_classes=n_classes, dtype=dtype)
    region, mixture = data.draw(mixtures(size, raters=3))
    same(region, softening, dtype=dtype, n_classes=mixture.n_classes, mixture=mixture)


def two_raters(first: Labels, second: Labels, n_classes: int) -> dict[str, Any]:
    """Their codes as ``region``, and what these stand for; one counts for thrice."""
    fusion = Fusion(weights={"a": 1, "b": 3.7})
    fused = fuse(tally([first, second], n_classes=n_classes), ["a", "b"], fusion)
    assert fused.mixture is not None
    return {"region": fused.labels, "mixture": fused.mixture, "n_classes": n_classes}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [3, 5])
def test_where_raters_agree_to_differ(size: int, dtype: str) -> None:
    """A voxel whose window holds one combination of labels keeps its mean."""
    first, second = np.zeros((2, 34, 34, 70), np.uint8)
    second[..., :35] = 1
    first[-5:] = 2
    raters = two_raters(first, second, 3)
    softening = on_grid((size,) * 3, strength=0.3)
    same(**raters, softening=softening, dtype=dtype)
    soft = soften_dense(raters.pop("region"), softening, dtype=dtype, **raters)
    top = 1 if "float" in dtype else np.iinfo(dtype).max
    expected = np.asarray(np.rint(top / 4.7) if top > 1 else 1 / 4.7, dtype)
    assert (soft[0, :20, :, :30] == expected).all()


def test_sums_are_exact_where_many_neighbours_round_up() -> None:
    region = np.arange(15**3, dtype=np.uint16).reshape(15, 15, 15) % 300
    same(
        region,
        on_grid((13,) * 3, sigma=50.0, strength=1.0),
        n_classes=300,
        dtype="uint8",
    )


def test_a_tie_goes_to_the_voxels_own_class() -> None:
    labels = np.zeros((5, 5, 5), np.uint8)
    labels[2, 2, 2] = 1
    for dtype, levels in (("uint8", [127, 128]), ("uint16", [32767, 32768])):
        soft = soften_dense(labels, on_grid((3, 3, 3)), n_classes=2, dtype=dtype)
        assert soft[:, 2, 2, 2].tolist() == levels


def test_golden_values() -> None:
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[0, 0, 0] = 1  # its corner, edges and faces are repeated outside
    soft = soften_dense(labels, on_grid((3, 3, 3)), n_classes=2, dtype="float32")
    assert soft[1, 1, 1, 1] == pytest.approx(0.011339, abs=1e-6)
    labels = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 0]])
    soft = soften_dense(labels, on_grid((3, 3)), n_classes=2, dtype="float32")
    assert soft[1, 1, 1] == pytest.approx(0.077807, abs=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 30, 20), (2, 2, 2), (1, 1, 1), (1, 9), (40, 3)])
def test_volumes_smaller_than_the_window(shape: tuple[int, ...], dtype: str) -> None:
    labels = np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)
    softening = on_grid((9,) * len(shape), sigma=2.0)
    expected = soften_volume(labels, softening, n_classes=3, dtype=dtype)
    meaning: dict[str, Any] = {"n_classes": 3, "dtype": dtype}
    equal(soften_dense(labels, softening, **meaning), expected)
    tensor = soften_dense(torch.from_numpy(labels), softening, **meaning)
    equal(tensor.numpy(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", [Method(), Method("ls"), Method("onehot")])
@pytest.mark.parametrize("shape", [(3, 9, 10, 11), (4, 20, 30)])
def test_a_batch_is_its_volumes(
    shape: tuple[int, ...], method: Method, dtype: str
) -> None:
    labels = np.random.default_rng(1).integers(0, 5, shape).astype(np.uint8)
    softening = method.on_grid((1.0,) * (len(shape) - 1))
    meaning: dict[str, Any] = {"n_classes": 5, "dtype": dtype}
    batch = torch.from_numpy(labels)
    found = soften_dense(batch, softening, batched=True, **meaning)
    each = [soften_dense(volume, softening, **meaning) for volume in labels]
    equal(found.numpy(), np.stack(each))


def test_refuses_what_the_engine_refuses() -> None:
    labels, ls = np.zeros((2, 3), np.uint8), Method("ls").on_grid((1.0, 1.0))
    with pytest.raises(InvalidParameterError, match="dtype must be one of uint8"):
        soften_dense(labels, ls, n_classes=2, dtype="int16")
    with pytest.raises(InvalidParameterError, match="below half a level of uint8"):
        soften_dense(labels, ls, n_classes=120, dtype="uint8")


def test_halves_are_rounded_once() -> None:
    """Libraries that go by way of single precision round some of them twice."""
    halves = np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float64)
    ties = (halves[1:] + halves[:-1]) / 2
    exact = np.concatenate([ties, np.nextafter(ties, 0), ties * (1 + 1e-9)])
    expected = exact.astype(np.float16)
    tensor = torch.from_numpy(exact)
    assert (tensor.to(torch.float16).numpy() != expected).any()
    for array in (exact, tensor):
        found = np.asarray(as_type(namespace(array), array, "float16"))
        np.testing.assert_array_equal(found, expected)
