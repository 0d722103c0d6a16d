"""`verify_case` finds what was done to a store behind its back."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from svls_cli import Method, open_store
from svls_cli.store.verify import verify_case
from tests.helpers.commands import files
from tests.helpers.label_maps import blobs, write_image
from tests.helpers.stores import smoothed


@pytest.fixture(scope="module", params=["uint8", "float16"])
def original(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    labels = blobs((70, 70, 70), 9)
    labels[:4] = 9
    path = write_image(folder / "case.nrrd", labels)
    options = {"ignore_label": 9, "dtype": request.param}
    smoothed(path, folder / "a.zarr", **options)
    return folder / "a.zarr"


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "a.zarr"))


def problems(store: Path) -> str:
    return "\n".join(verify_case(open_store(store)["case"]))


def shard(store: Path, array: str) -> Path:
    return files(store / "case" / array / "c")[0]


def test_whole_store(store: Path) -> None:
    assert problems(store) == ""


@pytest.mark.parametrize("array", ["0", "labels/hard/0"])
def test_missing_shard(array: str, store: Path) -> None:
    shard(store, array).unlink()
    assert f"array {array} has " in problems(store)


def by(method: Method, folder: Path) -> Path:
    path = write_image(folder / "case.nrrd", blobs((20, 20, 20), 4))
    smoothed(path, folder / "a.zarr", method=method)
    return folder / "a.zarr"


@pytest.mark.parametrize("array", ["0", "labels/hard/0"])
def test_methods_without_argmax_miss_no_shard(array: str, tmp_path: Path) -> None:
    store = by(Method("gaussian"), tmp_path)
    shard(store, array).unlink()
    assert problems(store) == f"array {array} has 0 of 1 files"


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


def edit(store: Path, array: str, where: Any, change: Any) -> None:
    """Change some voxels of a stored array; a function is told what is there."""
    opened = zarr.open_array(store / "case", path=array, mode="r+")
    content = opened[...]
    content[where] = change(content) if callable(change) else change
    opened[...] = content


def test_not_a_number(tmp_path: Path) -> None:
    path = write_image(tmp_path / "case.nrrd", blobs((9, 9, 9), 2))
    smoothed(path, tmp_path / "a.zarr", dtype="float32")
    edit(tmp_path / "a.zarr", "0", (0, 4, 4, 4), np.nan)
    assert "do not sum" in problems(tmp_path / "a.zarr")


BLOCK = (slice(40, 50),) * 3


@pytest.mark.parametrize(
    ("array", "where", "change", "message"),
    [
        ("0", (0, 40, 40, 40), lambda a: a[0, 40, 40, 40] + 1, "labels of 1 voxels do"),
        ("0", np.s_[:, 0, 0, 0], lambda a: a[:, 40, 40, 40], "of 1 voxels do not sum"),
        ("labels/hard/0", BLOCK, lambda a: (a[BLOCK] + 1) % 9, "favour another class"),
        ("labels/hard/0", (40, 40, 40), 77, "hard labels [77] are not classes"),
    ],
    ids=["sum off by a level", "ignored, but soft", "other class", "no class"],
)
def test_voxels_that_were_changed(
    array: str, where: Any, change: Any, message: str, store: Path
) -> None:
    edit(store, array, where, change)
    assert message in problems(store)


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
    assert problems(by(method, tmp_path)) == ""
