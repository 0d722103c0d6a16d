"""`verify_case` finds what was done to a store behind its back."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from svls_cli import Method, find_cases, open_store, smooth_cases
from svls_cli.store.verify import verify_case
from tests.helpers.label_maps import blobs, write_image


@pytest.fixture(scope="module", params=["uint8", "float16"])
def original(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    labels = blobs((70, 70, 70), 9)
    labels[:4] = 9
    path = write_image(folder / "case.nrrd", labels)
    options = {"ignore_label": 9, "dtype": request.param}
    assert smooth_cases(find_cases([path]), folder / "a.zarr", **options)
    return folder / "a.zarr"


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "a.zarr"))


@pytest.mark.parametrize("array", ["0", "labels/hard/0"])
def test_methods_without_argmax_miss_no_shard_either(
    array: str, tmp_path: Path
) -> None:
    path = write_image(tmp_path / "case.nrrd", blobs((20, 20, 20), 4))
    method = Method("gaussian")
    smooth_cases(find_cases([path]), tmp_path / "a.zarr", method=method)
    shard(tmp_path / "a.zarr", array).unlink()
    assert problems(tmp_path / "a.zarr") == f"array {array} has 0 of 1 files"


def problems(store: Path) -> str:
    return "\n".join(verify_case(open_store(store)["case"]))


def shard(store: Path, array: str) -> Path:
    return next(p for p in (store / "case" / array / "c").rglob("*") if p.is_file())


def test_whole_store(store: Path) -> None:
    assert problems(store) == ""


@pytest.mark.parametrize("array", ["0", "labels/hard/0"])
def test_missing_shard(array: str, store: Path) -> None:
    shard(store, array).unlink()
    assert f"array {array} has " in problems(store)


@pytest.mark.parametrize("array", ["0", "labels/hard/0"])
@pytest.mark.parametrize("where", [0.01, 0.4, 0.999])
def test_flipped_bits(array: str, where: float, store: Path) -> None:
    path = shard(store, array)
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 0xFF
    path.write_bytes(content)
    assert "labels cannot be decoded" in problems(store)


@pytest.mark.parametrize("array", ["0", "labels/hard/0"])
def test_truncated_shard(array: str, store: Path) -> None:
    path = shard(store, array)
    path.write_bytes(path.read_bytes()[:-50])
    assert "labels cannot be decoded" in problems(store)


def edit(store: Path, array: str, change: Callable[[np.ndarray], None]) -> None:
    opened = zarr.open_array(store / "case", path=array, mode="r+")
    content = opened[...]
    change(content)
    opened[...] = content


def test_sum_that_is_off_by_one_level(store: Path) -> None:
    def change(soft: np.ndarray) -> None:
        soft[0, 40, 40, 40] += 1

    edit(store, "0", change)
    assert "soft labels of 1 voxels do not sum" in problems(store)


def test_not_a_number(tmp_path: Path) -> None:
    path = write_image(tmp_path / "case.nrrd", blobs((9, 9, 9), 2))
    smooth_cases(find_cases([path]), tmp_path / "a.zarr", dtype="float32")

    def change(soft: np.ndarray) -> None:
        soft[0, 4, 4, 4] = np.nan

    edit(tmp_path / "a.zarr", "0", change)
    assert "do not sum" in problems(tmp_path / "a.zarr")


def test_hard_label_of_another_class(store: Path) -> None:
    def change(hard: np.ndarray) -> None:
        hard[40:50, 40:50, 40:50] = (hard[40:50, 40:50, 40:50] + 1) % 9

    edit(store, "labels/hard/0", change)
    assert "favour another class than their hard label" in problems(store)


def test_hard_label_of_no_class(store: Path) -> None:
    def change(hard: np.ndarray) -> None:
        hard[40, 40, 40] = 77

    edit(store, "labels/hard/0", change)
    assert "hard labels [77] are not classes" in problems(store)


def test_ignored_voxel_with_a_soft_label(store: Path) -> None:
    def change(soft: np.ndarray) -> None:
        soft[:, 0, 0, 0] = soft[:, 40, 40, 40]

    edit(store, "0", change)
    assert "soft labels of 1 voxels do not sum" in problems(store)


def test_geometry_of_another_shape(store: Path) -> None:
    group = zarr.open_group(store / "case")
    svls = dict(group.attrs["svls"])
    svls["geometry"] = {**svls["geometry"], "shape": [70, 70, 71]}
    group.attrs["svls"] = svls
    assert "the geometry says (70, 70, 71)" in problems(store)


def test_array_that_is_gone(store: Path) -> None:
    shutil.rmtree(store / "case" / "0")
    assert "array 0 cannot be opened" in problems(store)


@pytest.mark.parametrize(
    "method",
    [
        Method("gaussian", sigma=2.0, size=5),
        Method(strength=1.0),
        Method("ls", alpha=0.3),
        Method("onehot"),
        Method(sigma_mm=0.4),
    ],
)
def test_every_method_verifies(method: Method, tmp_path: Path) -> None:
    path = write_image(tmp_path / "case.nrrd", blobs((20, 20, 20), 4))
    smooth_cases(find_cases([path]), tmp_path / "a.zarr", method=method)
    assert problems(tmp_path / "a.zarr") == ""
