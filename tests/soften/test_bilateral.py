"""Image-guided smoothing: the definition by brute force, and what follows from it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from svls_cli import smooth
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.raters.fusion import Fusion, fuse
from svls_cli.raters.votes import tally
from svls_cli.soften import bilateral, tensors
from svls_cli.soften.bilateral import standardised
from svls_cli.soften.dense import soften_dense
from svls_cli.soften.methods import Method
from svls_cli.soften.regions import soften_part
from svls_cli.soften.volume import soften_volume
from tests.helpers.cupy_stand_in import StandIn
from tests.helpers.label_maps import blobs

Array = npt.NDArray[Any]


def example(shape: tuple[int, ...], n: int = 3, seed: int = 0) -> tuple[Array, Array]:
    """Labels, and an image that tells about half of them apart."""
    labels = blobs(shape, n, seed=seed)
    noise = np.random.default_rng(seed).normal(size=shape)
    return labels, 100 * (noise + (labels == 1)) - 7


def by_hand(
    labels: Array,
    image: Array,
    n_classes: int,
    *,
    sigma: float,
    size: tuple[int, ...],
    strength: float,
    scale: float,
    ignored: int | None,
) -> Array:
    """The definition, voxel by voxel and offset by offset."""
    deviation = image.std() or 1.0
    offsets = list(itertools.product(*(range(-(n // 2), n // 2 + 1) for n in size)))
    soft = np.zeros((n_classes, *labels.shape))
    for voxel in np.ndindex(labels.shape):
        if labels[voxel] == ignored:
            continue
        sums = np.zeros(n_classes)
        for offset in offsets:
            there = tuple(
                min(max(at + step, 0), n - 1)
                for at, step, n in zip(voxel, offset, labels.shape, strict=True)
            )
            if any(offset) and labels[there] != ignored:
                distance = sum(step**2 for step in offset) / sigma**2
                difference = abs(float(image[there]) - float(image[voxel])) / deviation
                sums[labels[there]] += np.exp(-distance / 2 - difference / scale)
        if not sums.any():
            soft[labels[voxel], *voxel] = 1
            continue
        soft[:, *voxel] = strength * sums / sums.sum()
        soft[labels[voxel], *voxel] += 1 - strength
    return soft


@pytest.mark.parametrize("device", ["cpu", "tensor"])
@pytest.mark.parametrize("ignored", [None, 2])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((9, 8, 11), (3, 3, 3)),
        ((4, 9, 8), (1, 5, 5)),
        ((13, 12), (7, 3)),
        ((1, 6), (3, 3)),
    ],
    ids=str,
)
def test_equals_the_definition(
    shape: tuple[int, ...], size: tuple[int, ...], ignored: int | None, device: str
) -> None:
    labels, image = example(shape)
    method: dict[str, Any] = {"sigma": 1.3, "size": size, "strength": 0.8}
    take = torch.tensor if device == "tensor" else np.asarray
    soft = smooth(
        take(labels),
        method="bilateral",
        **method,
        intensity_scale=0.7,
        image=take(image),
        classes=[c for c in range(3) if c != ignored],
        ignore_label=ignored,
    )
    expected = by_hand(
        labels,
        image,
        3,
        **method,
        scale=0.7,
        ignored=-1 if ignored is None else ignored,
    )
    if ignored is not None:
        expected = np.delete(expected, ignored, axis=0)
    np.testing.assert_allclose(np.asarray(soft), expected, atol=2e-6)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Array, Array, Method]:
    axes = draw(st.sampled_from([2, 3]))
    shape = tuple(draw(st.integers(1, 9)) for _ in range(axes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = rng.integers(0, draw(st.integers(1, 4)), shape).astype(np.uint8)
    levels = draw(st.sampled_from([1, 2, 1000]))
    image = rng.integers(0, levels, shape).astype(np.int16)
    method = Method(
        "bilateral",
        sigma=draw(st.floats(0.3, 4)),
        size=draw(st.sampled_from([3, 5])),
        strength=draw(st.floats(0, 1)),
        intensity_scale=draw(st.floats(0.01, 10)),
    )
    return labels, image, method


def soften(
    labels: Array, image: Array, method: Method, dtype: str = "float32"
) -> Array:
    return soften_volume(
        labels,
        method.on_grid((1.0,) * labels.ndim),
        n_classes=4,
        dtype=dtype,
        guide=standardised(image),
    )


@settings(max_examples=40)
@given(cases())
def test_laws(case: tuple[Array, Array, Method]) -> None:
    labels, image, method = case
    soft = soften(labels, image, method)
    np.testing.assert_allclose(soft.sum(axis=0), 1, atol=1e-6)
    assert (soft >= 0).all()
    # Brighter, and of more contrast.
    other = soften(labels, 3.7 * image + 1234.5, method)
    np.testing.assert_allclose(other, soft, atol=1e-3)
    # Levels: exact sums.
    stored = soften(labels, image, method, "uint8")
    assert (stored.sum(axis=0, dtype=int) == 255).all()
    np.testing.assert_allclose(stored / 255, soft, atol=4 / 255)


@settings(max_examples=25)
@given(cases())
def test_without_contrast_it_is_svls(case: tuple[Array, Array, Method]) -> None:
    labels, image, method = case
    assert method.intensity_scale is not None
    plain = Method(sigma=method.sigma, size=method.size, strength=method.strength)
    expected = soften_volume(labels, plain.on_grid((1.0,) * labels.ndim), n_classes=4)
    constant = np.full_like(image, 7)
    np.testing.assert_allclose(soften(labels, constant, method), expected, atol=1e-6)
    wide = Method(
        "bilateral",
        sigma=method.sigma,
        size=method.size,
        strength=method.strength,
        intensity_scale=1e9,
    )
    np.testing.assert_allclose(soften(labels, image, wide), expected, atol=1e-6)


def test_a_voxel_unlike_all_others_is_smoothed_as_by_svls() -> None:
    labels, image = blobs((9, 9), 2), np.zeros((9, 9))
    image[4, 4] = 1
    method = Method("bilateral", size=3, intensity_scale=0.05)
    soft = soften(labels, image, method)
    svls = Method(sigma=2, strength=0.8)
    expected = soften_volume(labels, svls.on_grid((1.0, 1.0)), n_classes=4)
    np.testing.assert_allclose(soft[:, 4, 4], expected[:, 4, 4], atol=1e-6)


def test_an_edge_in_the_image_keeps_its_labels_apart() -> None:
    labels = np.repeat([[0, 0, 0, 1, 1, 1]], 5, axis=0).astype(np.uint8)
    kept = soften(labels, labels, Method("bilateral", intensity_scale=0.1))
    np.testing.assert_allclose(kept[0], labels == 0, atol=1e-6)
    shifted = soften(labels, np.roll(labels, 1), Method("bilateral", strength=1))
    assert (shifted[0, :, 3] > 0.5).all()  # labelled 1, and looks like 0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize("fusion", ["mean", "staple", "majority"])
def test_fused_labels_are_smoothed_as_their_mixture(fusion: Any, dtype: str) -> None:
    """Engine and definition, NumPy and PyTorch agree to a level."""
    maps = [blobs((11, 14, 13), 3, seed=seed) for seed in range(4)]
    maps[1][2:5, 3] = 3  # ignored by one
    maps = [np.where(np.arange(13) == 12, 3, each).astype(np.uint8) for each in maps]
    fused = fuse(tally(maps, n_classes=3), list("abcd"), Fusion(fusion))
    guide = standardised(np.random.default_rng(1).normal(size=(11, 14, 13)))
    softening = Method("bilateral", size=(3, 5, 3), strength=0.9).on_grid((1.0,) * 3)
    meaning: dict[str, Any] = {"n_classes": 3, "dtype": dtype, "mixture": fused.mixture}
    dense = soften_dense(fused.labels, softening, guide=guide, **meaning)
    tensor = soften_dense(
        torch.tensor(fused.labels), softening, guide=torch.tensor(guide), **meaning
    )
    whole = tuple(slice(0, n) for n in fused.labels.shape)
    block = soften_part(fused.labels, whole, softening, guide=guide, **meaning)
    step = {"uint8": 1, "uint16": 1, "float16": 1e-3, "float32": 1e-6}[dtype]
    made = np.zeros_like(dense)
    made[block.classes] = block.soft
    np.testing.assert_allclose(made.astype(float), dense, atol=step)
    np.testing.assert_allclose(tensor.numpy().astype(float), dense, atol=step)


def test_mean_of_raters_is_the_mean_of_their_soft_labels() -> None:
    maps = [blobs((8, 9, 10), 3, seed=seed) for seed in range(3)]
    image = np.random.default_rng(0).normal(size=(8, 9, 10))
    method = Method("bilateral", sigma=1.4, size=5, strength=0.7)
    fused = fuse(tally(maps, n_classes=4), list("abc"), Fusion())
    whole = tuple(slice(0, n) for n in image.shape)
    block = soften_part(
        fused.labels,
        whole,
        method.on_grid((1.0,) * 3),
        n_classes=4,
        dtype="float32",
        mixture=fused.mixture,
        guide=standardised(image),
    )
    expected = np.mean([soften(each, image, method) for each in maps], axis=0)
    np.testing.assert_allclose(block.soft, expected[block.classes], atol=1e-6)


def test_blocks_and_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, image = example((20, 22, 30), 4)
    method = Method("bilateral", sigma=1.5, size=5)
    whole = soften(labels, image, method, "uint8")
    monkeypatch.setattr(tensors, "BLOCK_EDGE", {3: 9})
    monkeypatch.setattr(bilateral, "_BATCH", 1)
    np.testing.assert_array_equal(soften(labels, image, method, "uint8"), whole)


def test_a_gpu_gives_the_same_to_a_level(cupy: StandIn) -> None:
    labels, image = example((20, 22, 30), 4)
    labels[3, 4:9, 5] = 4
    softening = Method("bilateral", size=5).on_grid((1.0,) * 3)
    options: dict[str, Any] = {"n_classes": 4, "guide": standardised(image)}
    for dtype, step in (("uint8", 1), ("float32", 1e-6)):
        soft = soften_volume(labels, softening, dtype=dtype, device="gpu", **options)
        expected = soften_volume(labels, softening, dtype=dtype, **options)
        np.testing.assert_allclose(
            soft.astype(float), expected.astype(float), atol=step
        )
    assert len(cupy.regions) >= 2


@pytest.mark.parametrize("parts", [1, 10])
def test_standardised(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).integers(-1000, 3000, (7, 8, 9)).astype(np.int16)
    monkeypatch.setattr(bilateral, "_PART", image.size // parts)
    found = standardised(image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (image - image.mean()) / image.std(), atol=1e-6)
    np.testing.assert_allclose(standardised(torch.tensor(image)), found, atol=1e-6)


@pytest.mark.parametrize("factor", [1e300, 1e-200, 1e-310, -1e305])
def test_an_image_of_any_magnitude(factor: float) -> None:
    image = np.random.default_rng(0).integers(-1000, 1000, (7, 8, 9)) / 1000
    found = standardised(image * factor)
    expected = standardised(image) * np.sign(factor)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e300, -7.0])
def test_a_constant_image(value: float) -> None:
    assert not standardised(np.full((3, 50, 70), value)).any()
    labels, _ = example((5, 6))
    found = smooth(labels, method="bilateral", image=np.full((5, 6), value))
    expected = smooth(labels, sigma=2, size="auto", strength=0.8)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_does_not_fit() -> None:
    labels, image = example((5, 6))
    with pytest.raises(InvalidParameterError, match="needs the image"):
        smooth(labels, method="bilateral")
    with pytest.raises(InvalidParameterError, match="takes no image"):
        smooth(labels, image=image)
    with pytest.raises(InputError, match=r"differ in shape: \(5, 5\) and \(5, 6\)"):
        smooth(labels, method="bilateral", image=image[:, 1:])
    with pytest.raises(InputError, match="NaN or infinity"):
        smooth(labels, method="bilateral", image=np.full((5, 6), np.nan))
    softening = Method("bilateral").on_grid((1.0, 1.0))
    with pytest.raises(InvalidParameterError, match="needs the image"):
        soften_volume(labels, softening, n_classes=3)
