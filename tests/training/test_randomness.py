"""New patches in every epoch, worker and rank; the same ones after the same seed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data.dataloader import DataLoader as MonaiLoader
from monai.transforms import Compose, RandGaussianNoised
from torch.multiprocessing.spawn import spawn
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Subset,
    WeightedRandomSampler,
    random_split,
)

from svls_cli import Store
from tests.helpers.label_maps import write_image
from tests.helpers.ranks import Patch, anywhere, draw_as_rank, patches
from tests.helpers.stores import smoothed


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    labels = np.zeros((96, 160, 160), np.uint8)
    labels[40:50, 60:70, 60:70] = 1
    for name in "abcd":
        write_image(folder / "labels" / f"{name}.nrrd", labels)
    return smoothed(folder / "labels", folder / "a.zarr")


ALIVE = {"num_workers": 2, "persistent_workers": True}


@pytest.mark.parametrize(
    ("loader_class", "workers"),
    [
        (DataLoader, {}),
        (MonaiLoader, {}),
        (DataLoader, {"num_workers": 2}),
        (MonaiLoader, {"num_workers": 2}),
        (DataLoader, ALIVE),
        pytest.param(
            DataLoader,
            {**ALIVE, "multiprocessing_context": "spawn"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_epochs_and_workers(
    loader_class: Any, workers: dict[str, Any], store: Store
) -> None:
    data = anywhere(store)
    data[0]  # workers may be forked from a process that has read already

    def two_epochs(seed: int) -> list[Patch]:
        torch.manual_seed(seed)
        loader = loader_class(data, batch_size=3, shuffle=True, **workers)
        return [patch for _ in range(2) for patch in patches(loader)]

    drawn = two_epochs(0)
    assert len(set(drawn)) == len(drawn) == 80
    assert sorted({patch[0] for patch in drawn}) == [*"abcd"]
    assert two_epochs(0) == drawn
    assert not {*drawn} & {*two_epochs(1)}


def test_samplers_and_parts(store: Store) -> None:
    torch.manual_seed(0)
    data = anywhere(store)

    def loaded(part: Any, **options: Any) -> list[Patch]:
        return patches(DataLoader(part, **options))

    assert {patch[0] for patch in loaded(Subset(data, [1, 5, -3]))} == {"b"}
    parts = random_split(data, [0.75, 0.25])
    found = [loaded(part, shuffle=True) for part in parts]
    assert [len(part) for part in found] == [30, 10]
    assert len({*found[0], *found[1]}) == 40
    assert len(loaded(data, batch_size=7, drop_last=True)) == 35
    often = RandomSampler(data, replacement=True, num_samples=100)
    assert len(set(loaded(data, sampler=often))) == 100
    weights = [name == "c" for name in data.names] * data.patches_per_case
    only_c = loaded(data, sampler=WeightedRandomSampler(weights, 30))
    assert {patch[0] for patch in only_c} == {"c"}
    assert len({*only_c}) == 30
    # 40 patches for 3 ranks: two indices come twice.
    ranks: Any = [
        DistributedSampler(data, num_replicas=3, rank=rank) for rank in range(3)
    ]
    shares = [loaded(data, sampler=sampler) for sampler in ranks]
    assert len({patch for share in shares for patch in share}) == 42


@pytest.mark.parametrize(
    "variable", ["RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK"]
)
def test_ranks_of_launchers(
    variable: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(rank: str) -> list[Patch]:
        monkeypatch.setenv(variable, rank)
        torch.manual_seed(0)
        return patches(DataLoader(anywhere(store), num_workers=2))

    first, second, third, unknown = map(draw, ["0", "1", "2", "local"])
    assert unknown == first
    assert len({*first, *second, *third}) == 120


@pytest.mark.parametrize(
    "contexts", [("fork",), pytest.param(("fork", "spawn"), marks=pytest.mark.slow)]
)
def test_two_processes(contexts: tuple[str, ...], store: Store, tmp_path: Path) -> None:
    """Without a launcher's variables, and without a sampler that shares out."""
    given = (str(store.path), str(tmp_path), contexts)
    spawn(draw_as_rank, given, nprocs=2)
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    for context in contexts:
        drawn = [tuple(patch) for rank in ranks for patch in rank[context]]
        assert len(set(drawn)) == len(drawn) == 80
        # A worker has its process's rank, however it was started.
        assert [rank[context] == rank["fork"] for rank in ranks] == [True, True]


def with_noise(sample: dict[str, Any]) -> dict[str, Any]:
    return {**sample, "torch": torch.rand(()), "noise": torch.zeros(1, 1)}


def test_transforms_in_workers(store: Store) -> None:
    changes = Compose([with_noise, RandGaussianNoised("noise", prob=1.0)])
    data = anywhere(store, transform=changes)

    def noise(seed: int, workers: int) -> list[float]:
        torch.manual_seed(seed)
        loader = DataLoader(data, num_workers=workers, shuffle=True)
        batches = [batch for _ in range(2) for batch in loader]
        return [float(batch[key]) for key in ("torch", "noise") for batch in batches]

    for workers in (0, 2):
        drawn = noise(0, workers)
        assert len(set(drawn)) == 160
        assert noise(0, workers) == drawn
        assert noise(1, workers) != drawn
