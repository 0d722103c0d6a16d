"""Numbered patches: the same for everybody who asks."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from svls_cli import Batch, Store
from svls_cli.errors import InvalidParameterError
from svls_cli.training import (
    PatchSequence,
    SoftLabelDataset,
    find_images,
    unpack_images,
)
from tests.helpers.commands import SAMPLE
from tests.helpers.stores import smoothed


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    paths = sorted((SAMPLE / "labels").glob("case_0[1-3]*"))
    return smoothed(paths, tmp_path_factory.mktemp("store") / "a.zarr")


def sequence(store: Store, seed: int = 0, **options: Any) -> PatchSequence:
    dataset = SoftLabelDataset(store, patch_size=(8, 24, 20), **options)
    return PatchSequence(dataset, seed=seed)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.array_equal(value, other[key]) for key, value in one.items())


def test_patches_are_the_same_for_everybody(store: Store, tmp_path: Path) -> None:
    scans = find_images(store, SAMPLE / "images")
    images = unpack_images(store, scans, tmp_path, batch=Batch(jobs=1))
    patches = sequence(store, seed=3, images=images)
    twin = pickle.loads(pickle.dumps(patches))
    for number in (0, 7, 10**9):
        torch.manual_seed(number)
        assert same(patches[number], twin[number])
    assert not same(patches[0], sequence(store, seed=4, images=images)[0])
    loader = DataLoader(
        patches, sampler=range(4, 10), num_workers=2, multiprocessing_context="spawn"
    )
    for number, batch in zip(range(4, 10), loader, strict=True):
        assert torch.equal(batch["image"][0], patches[number]["image"])
        assert torch.equal(batch["target"][0], patches[number]["target"])


def test_patches_of_a_seed_never_change(store: Store) -> None:
    drawn = [(p["case"], p["corner"].tolist()) for p in sequence(store, seed=3)]
    assert drawn == [
        ("case_01", [1, 27, 14]),
        ("case_03", [9, 26, 24]),
        ("case_02", [0, 13, 12]),
    ]


def test_each_case_comes_once_in_a_pass(store: Store) -> None:
    patches = sequence(store)
    assert len(patches) == 3
    orders = [[patches[3 * n + k]["case"] for k in range(3)] for n in range(6)]
    assert all(sorted(order) == sorted(store) for order in orders)
    assert len(set(map(tuple, orders))) > 1
    assert [sample["case"] for sample in patches] == orders[0]
    assert len(list(sequence(store, patches_per_case=2))) == 6


def test_wrong_numbers(store: Store) -> None:
    patches = sequence(store)
    assert same(patches[torch.tensor(5)], patches[5])
    with pytest.raises(IndexError, match="numbered from 0, found -1"):
        patches[-1]
    for wrong in (1.0, slice(2), None):
        with pytest.raises(TypeError, match="as an integer"):
            patches[wrong]
    with pytest.raises(InvalidParameterError, match="seed must be from 0"):
        sequence(store, seed=-1)


def test_transforms_repeat(store: Store) -> None:
    def noisy(sample: dict[str, Any]) -> dict[str, Any]:
        return {**sample, "noise": torch.rand(())}

    patches = sequence(store, transform=noisy)
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    before = torch.rand(())
    assert same(patches[4], patches[4])
    assert patches[4]["noise"] != patches[5]["noise"]
    # The generator of everybody else goes on as if nothing had been drawn.
    assert torch.equal(torch.stack([before, torch.rand(())]), expected)
