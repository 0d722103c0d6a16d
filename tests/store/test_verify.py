"""`verify_case` finds what was done to a store behind its back."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from svls_cli import Batch, Method, open_store
from svls_cli.errors import StoreError
from svls_cli.store.inspect import inspect_cases
from svls_cli.store.verify import verify_case
from tests.helpers.commands import files
from tests.helpers.label_maps import blobs, write_image
from tests.helpers.stores import edit_svls, make_version_1, reseal, smoothed


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


@pytest.fixture
def old(store: Path) -> Path:
    return make_version_1(store)


def test_whole_store_of_version_1(old: Path) -> None:
    assert problems(old) == ""
    (inspected,) = inspect_cases(old, verify=True, batch=Batch(jobs=1))
    assert inspected.record.status == "done"
    assert "format version 1 has no checksums" in (inspected.record.reason or "")


ARRAYS = pytest.mark.parametrize("array", ["0", "labels/hard/0"])
DOCUMENTS = ["0", "labels", "labels/hard", "labels/hard/0"]


@ARRAYS
def test_missing_shard(array: str, store: Path) -> None:
    shard(store, array).unlink()
    assert f"{array}/c/" in problems(store)
    assert problems(store).endswith("is missing")


@ARRAYS
def test_missing_shard_of_version_1(array: str, old: Path) -> None:
    shard(old, array).unlink()
    assert f"array {array} has " in problems(old)


@pytest.mark.parametrize("group", DOCUMENTS)
def test_documents(group: str, store: Path) -> None:
    path = store / "case" / group / "zarr.json"
    path.write_text(path.read_text().replace(":", " :", 1))
    assert problems(store) == f"{group}/zarr.json does not match its checksum"
    path.unlink()
    assert problems(store) == f"{group}/zarr.json is missing"


@pytest.mark.parametrize("name", ["zarr.json", *(f"{d}/zarr.json" for d in DOCUMENTS)])
def test_pipes_are_no_files(name: str, store: Path) -> None:
    """Opening one would wait without end."""
    pipe(store / "case" / name)
    if name == "zarr.json":
        assert open_store(store).incomplete() == {
            "case": f"incomplete: it has no {name}"
        }
    else:
        assert problems(store) == f"{name} is missing"
    pipe(store / "zarr.json")
    with pytest.raises(StoreError, match="not a Zarr v3 group"):
        open_store(store)


@ARRAYS
def test_shards_that_are_pipes(array: str, store: Path) -> None:
    pipe(shard(store, array))
    assert problems(store).endswith("is missing")
    case = open_store(store)["case"]
    with pytest.raises(StoreError, match="is missing"):
        case.arrays.read(array, ())


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def test_files_in_addition(store: Path) -> None:
    """Those that Zarr would read are wrong; others cannot change anything."""
    extra = store / "case" / "0/c/0/0/0/9"
    shutil.copy(shard(store, "0"), extra)
    assert problems(store) == "0/c/0/0/0/9 is there, but not listed"
    extra.unlink()
    (store / "case" / "0" / ".DS_Store").write_text("")
    assert problems(store) == ""
    (inspected,) = inspect_cases(store, verify=True, batch=Batch(jobs=1))
    assert inspected.record.reason == "0/.DS_Store is none of the case's files"


@ARRAYS
def test_swapped_shards(array: str, tmp_path: Path) -> None:
    for number in range(2):
        labels = blobs((20, 20, 20), 4, seed=number)
        write_image(tmp_path / "labels" / f"{number}.nrrd", labels)
    store = smoothed(tmp_path / "labels", tmp_path / "a.zarr").path
    one, other = (tmp_path / "a.zarr" / name / array / "c" for name in "01")
    one.rename(tmp_path / "c")
    other.rename(one)
    (tmp_path / "c").rename(other)
    for case in open_store(store).values():
        assert verify_case(case)[0].endswith("does not match its checksum")


def by(method: Method, folder: Path) -> Path:
    path = write_image(folder / "case.nrrd", blobs((20, 20, 20), 4))
    smoothed(path, folder / "a.zarr", method=method)
    return folder / "a.zarr"


@ARRAYS
def test_methods_without_argmax_miss_no_shard(array: str, tmp_path: Path) -> None:
    store = by(Method("gaussian"), tmp_path)
    shard(store, array).unlink()
    assert "is missing" in problems(store)


@ARRAYS
@pytest.mark.parametrize("where", [0.01, 0.4, 0.999])
def test_flipped_bits(array: str, where: float, store: Path) -> None:
    path = shard(store, array)
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 0xFF
    path.write_bytes(content)
    assert "does not match its checksum" in problems(store)
    assert "cannot be read" in problems(make_version_1(store))


@ARRAYS
@pytest.mark.parametrize("left", [-50, 0])
def test_truncated_shard(array: str, left: int, store: Path) -> None:
    path = shard(store, array)
    path.write_bytes(path.read_bytes()[:left])
    assert "does not match its checksum" in problems(store)
    assert "cannot be read" in problems(make_version_1(store))


def edit(store: Path, array: str, where: Any, change: Any) -> None:
    """Change some voxels of a stored array; a function is told what is there."""
    opened = zarr.open_array(store / "case", path=array, mode="r+")
    content = opened[...]
    content[where] = change(content) if callable(change) else change
    opened[...] = content
    reseal(store / "case")


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
    edit_svls(store / "case", lambda svls: svls["geometry"].update(shape=[70, 70, 71]))
    assert list(open_store(store)) == []
    reseal(store / "case")
    assert "the case is (9, 70, 70, 71)" in problems(store)


def test_array_that_is_gone(store: Path) -> None:
    shutil.rmtree(store / "case" / "0")
    assert "0/zarr.json is missing" in problems(store)
    assert "array 0 has 0 of " in problems(make_version_1(store))


@pytest.mark.parametrize("side", [3000, 100_000])
@pytest.mark.parametrize("one_shard", [False, True])
@pytest.mark.parametrize("version", [1, 2])
def test_shapes_without_files(
    side: int, one_shard: bool, version: int, store: Path
) -> None:
    """Documents that promise far more than there is, checksums and all."""
    case, shape = store / "case", [side] * 3
    edit_svls(case, lambda svls: svls["geometry"].update(shape=shape))
    for array, first in (("0", [9]), ("labels/hard/0", [])):
        document = json.loads((case / array / "zarr.json").read_text())
        document["shape"] = first + shape
        if one_shard:
            chunk = document["codecs"][0]["configuration"]["chunk_shape"]
            whole = first + [side // n * n + n for n in chunk[-3:]]
            document["chunk_grid"]["configuration"]["chunk_shape"] = whole
        (case / array / "zarr.json").write_text(json.dumps(document))
    reseal(case)
    if version == 1:
        make_version_1(store)
    assert re.search("are possible|have a file", problems(store))
    opened = open_store(store)["case"]
    for read in (opened.patch, lambda: opened.label_patch("hard"), lambda: opened.hard):
        with pytest.raises(StoreError, match=r"are possible|have a file"):
            read()


def test_ignored_shards_have_no_file(tmp_path: Path) -> None:
    """Ignore label 0: neither soft nor hard labels of a shard are stored."""
    labels = np.zeros((10, 300, 20), np.uint8)
    labels[:, :9] = blobs((10, 9, 20), 2) + 1
    path = write_image(tmp_path / "case.nrrd", labels)
    store = smoothed(path, tmp_path / "a.zarr", ignore_label=0)
    assert problems(tmp_path / "a.zarr") == ""
    np.testing.assert_array_equal(store["case"].label_patch("hard"), labels)
    assert not store["case"].patch()[:, :, 9:].any()


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
