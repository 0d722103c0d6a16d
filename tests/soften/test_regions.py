"""Regions made by a GPU, here a stand-in for CuPy, have the CPU engine's bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from svls_cli.arrays import Region
from svls_cli.soften.methods import Method
from svls_cli.soften.regions import soften_blocks
from tests.helpers.cupy_stand_in import StandIn
from tests.helpers.label_maps import blobs
from tests.soften.test_dense import on_grid, two_raters

Labels = npt.NDArray[Any]


def grid(shape: tuple[int, ...], edge: int) -> list[Region]:
    """A volume's blocks."""
    corners = np.ndindex(*(-(-n // edge) for n in shape))
    return [
        tuple(
            slice(at * edge, min(n, (at + 1) * edge))
            for at, n in zip(corner, shape, strict=True)
        )
        for corner in corners
    ]


def same(labels: Labels, *, edge: int = 16, regions: int = 1, **how: Any) -> None:
    """Each block made by the stand-in, with its classes, is the engine's."""
    blocks = grid(labels.shape, edge)
    cut = [blocks[at::regions] for at in range(regions)]
    made = {
        device: [
            soften() for soften in soften_blocks(labels, cut, device=device, **how)
        ]
        for device in ("cpu", "gpu")
    }
    for expected, found in zip(*made.values(), strict=True):
        assert isinstance(found.soft, np.ndarray)
        assert found.constant == expected.constant
        assert found.classes.tolist() == expected.classes.tolist()
        assert found.soft.dtype == expected.soft.dtype
        assert found.soft.tobytes() == expected.soft.tobytes()


@pytest.fixture
def volume() -> Labels:
    """Six classes, two of them in one corner only, and much of one class."""
    labels = blobs((40, 50, 60), 4)
    labels[:, 30:] = 0
    labels[:9, :9, :9] = 5
    return labels


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize("size", [(3, 3, 3), (1, 5, 5), (9, 9, 9)])
def test_hard_labels(
    cupy: StandIn, volume: Labels, size: tuple[int, ...], dtype: str
) -> None:
    same(volume, softening=on_grid(size), n_classes=6, dtype=dtype, regions=3)
    assert len(cupy.regions) == 3
    assert cupy.memory.used == 0


def test_a_region_is_made_at_once(cupy: StandIn, volume: Labels) -> None:
    how: dict[str, Any] = {"n_classes": 6, "dtype": "uint8"}
    blocks = grid(volume.shape, 16)
    list(soften_blocks(volume, [blocks], on_grid((3, 3, 3)), device="gpu", **how))
    volume[...] = 2
    list(soften_blocks(volume, [blocks], on_grid((3, 3, 3)), device="gpu", **how))
    assert cupy.regions == [(42, 34, 62)]  # the part with boundaries, and its halo


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_ignored_voxels(
    cupy: StandIn, volume: Labels, strength: float, dtype: str
) -> None:
    volume[20:24, 3:30] = 6
    volume[0, 0, 0] = 6
    softening = on_grid((5, 5, 5), strength=strength)
    same(volume, softening=softening, n_classes=6, dtype=dtype)
    assert cupy.regions


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("ignored", [False, True])
def test_several_raters(
    cupy: StandIn, volume: Labels, ignored: bool, dtype: str
) -> None:
    other = np.roll(volume, 2, axis=1)
    if ignored:
        other[:, :20, 30] = 6
        volume[:, :20, 30:32] = 6
    raters = two_raters(volume, other, 6)
    same(raters.pop("region"), softening=on_grid((3, 3, 3)), dtype=dtype, **raters)
    assert cupy.regions


def test_two_dimensions(cupy: StandIn) -> None:
    labels = blobs((100, 90), 4)
    same(labels, softening=on_grid((5, 5)), n_classes=4, dtype="uint8", edge=32)
    assert cupy.regions == [(104, 94)]


def test_halves_of_what_does_not_fit(cupy: StandIn, volume: Labels) -> None:
    """Halves, and halves of halves; then nobody holds what was made before."""
    how: dict[str, Any] = {"n_classes": 6, "dtype": "uint8"}
    softening = on_grid((3, 3, 3))
    same(volume, softening=softening, **how)
    whole = cupy.memory.most
    cupy.regions.clear()
    cupy.memory.room = whole // 3
    same(volume, softening=softening, **how)
    assert cupy.memory.refused >= 2
    assert cupy.memory.released >= 2
    assert len(cupy.regions) > 3
    assert cupy.memory.used == 0


def test_without_memory_the_engine_does_it(cupy: StandIn, volume: Labels) -> None:
    cupy.memory.room = 1000
    same(volume, softening=on_grid((3, 3, 3)), n_classes=6, dtype="uint8")
    assert cupy.memory.refused


@pytest.mark.parametrize("method", [Method("onehot"), Method("ls")])
def test_what_is_not_smoothed_needs_no_gpu(
    cupy: StandIn, volume: Labels, method: Method
) -> None:
    softening = method.on_grid((1.0,) * 3)
    same(volume, softening=softening, n_classes=6, dtype="uint8")
    assert not cupy.regions
