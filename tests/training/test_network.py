"""The U-Net and how its levels are chosen."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from svls_cli.training.levels import choose_levels, enclosing_patch, plan_patch
from svls_cli.training.network import build_network


def test_coarse_axes_wait() -> None:
    levels = choose_levels((16, 64, 64), (5.0, 1.0, 1.0))
    assert levels.kernels == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    assert levels.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))


def test_one_slice_makes_a_2d_network() -> None:
    levels = choose_levels((1, 32, 32), (1.0, 1.0, 1.0))
    assert {kernel[0] for kernel in levels.kernels} == {1}
    assert {stride[0] for stride in levels.strides} == {1}
    assert choose_levels((32, 32), (1.0, 1.0)).strides == ((1, 1),) + ((2, 2),) * 3


@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=3).filter(lambda n: max(n) > 3),
    st.lists(st.floats(0.3, 8), min_size=3, max_size=3),
)
@settings(max_examples=20)
def test_logits_have_the_patch_s_shape(sides: list[int], spacing: list[float]) -> None:
    levels = choose_levels(sides, spacing[: len(sides)])
    network = build_network(channels=2, classes=3, levels=levels, filters=2).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 2, *sides)).shape == (1, 3, *sides)


@given(st.lists(st.integers(1, 600), min_size=2, max_size=3), st.integers(4096, 10**6))
def test_patches_fit(shape: list[int], voxels: int) -> None:
    patch = plan_patch(shape, voxels=voxels)
    assert all(1 <= side <= n for side, n in zip(patch, shape, strict=True))
    assert all(side % 8 == 0 or n < 8 for side, n in zip(patch, shape, strict=True))
    assert math.prod(patch) <= voxels


@given(st.lists(st.integers(1, 600), min_size=2, max_size=3))
def test_patches_enclose(shape: list[int]) -> None:
    patch = enclosing_patch(shape)
    assert all(n <= side < n + 8 for side, n in zip(patch, shape, strict=True))
    assert enclosing_patch(patch) == patch
    assert plan_patch(patch, voxels=600**3) == patch


@pytest.mark.parametrize("filters", [4, 200])
def test_filters_double_up_to_320(filters: int) -> None:
    levels = choose_levels((32, 32), (1, 1))
    network = build_network(channels=1, classes=2, levels=levels, filters=filters)
    widest = max(p.shape[0] for p in network.parameters())
    assert widest == min(8 * filters, 320)
