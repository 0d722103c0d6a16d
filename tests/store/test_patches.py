"""Patches hold what Zarr reads of the same region, whoever reads them."""

import itertools
import json
import multiprocessing
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from svls_cli import StoredCase, open_store
from svls_cli.errors import InvalidParameterError, StoreError
from svls_cli.store.shards import encode_chunk, encode_shard
from tests.helpers.commands import files
from tests.helpers.label_maps import blobs, write_image
from tests.helpers.stores import make_version_1, reseal, smoothed

Array = npt.NDArray[Any]
Cases = dict[str, StoredCase]

# Several chunks along some axes; many classes have a chunk each, absent ones none.
KINDS: dict[str, tuple[tuple[int, ...], int, str]] = {
    "3-D": ((70, 66, 131), 4, "uint8"),
    "absent shards": ((9, 8, 700), 2, "uint8"),
    "many classes": ((140, 30, 130), 12, "uint16"),
    "2-D": ((90, 1100), 3, "float32"),
    "one class": ((9, 10, 11), 1, "float16"),
}
IGNORED = 77
PLACES = list(itertools.product(range(2), range(2), range(3)))  # chunks of "3-D"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    found = {}
    for kind, (shape, n_classes, dtype) in KINDS.items():
        labels = blobs(shape, n_classes)
        labels[labels > 0] *= 5
        if kind == "absent shards":  # of three; background, blobs, ignored
            labels[..., :256] = 0
            labels[..., 500:] = IGNORED
        folder = tmp_path_factory.mktemp("patches")
        path = write_image(folder / "case.nrrd", labels)
        options: dict[str, Any] = {"ignore_label": IGNORED, "dtype": dtype}
        found[kind] = smoothed(path, folder / "a.zarr", **options)["case"]
    return found


@st.composite
def regions(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Non-empty, of an array of a shape, ends left open now and then."""
    slices = []
    for n in shape:
        start = draw(st.integers(0, n - 1))
        stop = draw(st.integers(start + 1, n))
        whole = draw(st.booleans())
        slices.append(slice(None) if whole else slice(start, stop))
    return tuple(slices)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_same_as_zarr(kind: str, cases: Cases, data: st.DataObject) -> None:
    case = cases[kind]
    classes, *region = data.draw(regions(case.soft.shape))
    expected = case.soft[(classes, *region)]
    patch = case.patch(tuple(region), classes=classes)
    assert patch.dtype == expected.dtype
    np.testing.assert_array_equal(patch, expected)
    labels = case.label_patch("hard", tuple(region))
    assert labels.dtype == case.hard.dtype
    np.testing.assert_array_equal(labels, case.hard[tuple(region)])


def test_shards_of_zeros_have_no_file(cases: Cases) -> None:
    case = cases["absent shards"]
    assert case.arrays.files.shards("0") == {(0, 0, 0, 0), (0, 0, 0, 1)}
    assert case.arrays.files.shards("labels/hard/0") == {(0, 0, 1), (0, 0, 2)}
    assert not case.patch()[..., 512:].any()
    assert not case.label_patch("hard")[..., :256].any()


def test_one_class_drops_the_axis(cases: Cases) -> None:
    for case in cases.values():
        last = len(case.classes) - 1
        np.testing.assert_array_equal(case.patch(classes=last), case.soft[last])


@pytest.mark.parametrize(
    ("region", "classes", "message"),
    [
        ((slice(-1, 5), slice(5), slice(5)), slice(None), r"-1:5, 0:5, 0:5 is empty"),
        ((slice(5), slice(60, 67), slice(5)), slice(None), "inside of 4 x 70 x 66"),
        ((slice(5, 5), slice(5), slice(5)), slice(None), "5:5, 0:5, 0:5 is empty"),
        ((slice(5), slice(5), slice(0, 5, 2)), slice(None), "4 slices of step 1"),
        ((slice(5), slice(5)), slice(None), "4 slices of step 1"),
        ((), 4, "region 4:5, 0:70"),
        ((), -1, "region -1:0, 0:70"),
        ((), slice(2, 5), "region 2:5, 0:70"),
    ],
)
def test_region_outside(
    region: tuple[slice, ...], classes: slice | int, message: str, cases: Cases
) -> None:
    for read in (cases["3-D"].patch, cases["3-D"].probabilities):
        with pytest.raises(InvalidParameterError, match=message):
            read(region, classes=classes)


def test_no_such_label_map(cases: Cases) -> None:
    with pytest.raises(StoreError, match="array labels/none/0 cannot be opened"):
        cases["3-D"].label_patch("none")


@pytest.fixture
def case(cases: Cases, tmp_path: Path) -> StoredCase:
    """A copy, for doing damage to."""
    store = cases["3-D"].path.parent
    return open_store(shutil.copytree(store, tmp_path / "copy.zarr"))["case"]


def shard(case: StoredCase) -> Path:
    return Path(str(case.path), "0/c/0/0/0/0")


def test_missing_shard(case: StoredCase) -> None:
    shard(case).unlink()
    with pytest.raises(StoreError, match="c/0/0/0/0 is missing"):
        case.patch()


def unreadable(case: StoredCase) -> None:
    """By its checksum, and without one by its codec."""
    with pytest.raises(StoreError, match="c/0/0/0/0 does not match its checksum"):
        case.patch()
    old = make_version_1(Path(str(case.path)).parent)
    with pytest.raises(StoreError, match="c/0/0/0/0 cannot be read"):
        open_store(old)["case"].patch()


@pytest.mark.parametrize("where", [0.01, 0.4, 0.98, 0.999999])
def test_flipped_bits(where: float, case: StoredCase) -> None:
    content = bytearray(shard(case).read_bytes())
    content[int(len(content) * where)] ^= 0xFF
    shard(case).write_bytes(content)
    unreadable(case)


@pytest.mark.parametrize("size", [0, 3, 100, -50, -1])
def test_truncated_shard(size: int, case: StoredCase) -> None:
    shard(case).write_bytes(shard(case).read_bytes()[:size])
    unreadable(case)


@pytest.mark.parametrize("n", [1, 3])
def test_chunk_of_another_size(n: int, case: StoredCase) -> None:
    chunks = [((0, *at), encode_chunk(np.ones(n * 10**6, np.uint8))) for at in PLACES]
    shard(case).write_bytes(encode_shard(chunks, (1, 2, 2, 3)))
    unreadable(case)


@pytest.mark.parametrize("array", ["0", "labels/hard/0"])
def test_shard_of_another_case(array: str, tmp_path: Path) -> None:
    for number in range(2):
        labels = blobs((20, 20, 20), 4, seed=number)
        write_image(tmp_path / "labels" / f"{number}.nrrd", labels)
    store = smoothed(tmp_path / "labels", tmp_path / "a.zarr")
    (swapped,) = files(Path(store.path, "0", array, "c"))
    (other,) = files(Path(store.path, "1", array, "c"))
    shutil.copy(other, swapped)
    case = store["0"]
    for _ in range(2):
        with pytest.raises(StoreError, match="does not match its checksum"):
            case.arrays.read(array, (slice(2),) * len(case.arrays.layout(array).shape))


def test_shard_that_is_gone_after_a_read(case: StoredCase) -> None:
    case.patch()
    test_missing_shard(case)


def test_case_replaced_between_two_reads(case: StoredCase, cases: Cases) -> None:
    before = case.patch()
    zeros = np.zeros((4, 64, 64, 64), np.uint8)
    other = encode_shard([((0, 0, 0, 1), encode_chunk(zeros + 9))], (1, 2, 2, 3))
    shard(case).write_bytes(other)
    after = case.patch()
    assert (after[..., 64:128][:, :64, :64] == 9).all()
    assert before.any(axis=0).all()
    assert after.sum(dtype=int) == 9 * zeros.size


VERSIONS = pytest.mark.parametrize("version", [1, 2])
READERS: dict[str, Callable[[StoredCase], Any]] = {
    "patch": lambda case: case.patch(),
    "probabilities": lambda case: case.probabilities(classes=1),
    "soft": lambda case: case.soft[...],
    "label_patch": lambda case: case.label_patch("hard"),
    "hard": lambda case: case.hard[...],
    "label_map": lambda case: case.label_map("hard")[...],
}
OF_LABELS = ("label_patch", "hard", "label_map")


@VERSIONS
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("damage", ["emptied", "removed"])
def test_every_reader_finds_lost_shards(
    damage: str, reader: str, version: int, case: StoredCase
) -> None:
    """Zarr itself would read zeros."""
    array = "labels/hard/0" if reader in OF_LABELS else "0"
    path = files(Path(str(case.path), array, "c"))[0]
    path.unlink()
    if damage == "emptied":
        path.touch()
    store = Path(str(case.path)).parent
    if version == 1:
        make_version_1(store)
    with pytest.raises(StoreError):
        READERS[reader](open_store(store)["case"])


@VERSIONS
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda document: document["shape"].__setitem__(0, ".."),
        lambda document: document["shape"].__setitem__(1, 10**100),
        lambda document: document["shape"].__setitem__(1, 0),
        lambda document: document["codecs"][0]["configuration"].update(
            chunk_shape=["uint8"]
        ),
        lambda document: document["codecs"][0]["configuration"].update(chunk_shape=[]),
        lambda document: document.update(codecs=[{"name": "bytes"}]),
        lambda document: document.update(data_type="complex64"),
        lambda document: document.update(fill_value=3),
        lambda document: document.clear(),
        None,
    ],
)
def test_every_reader_refuses_damaged_documents(
    damage: Any, reader: str, version: int, case: StoredCase
) -> None:
    array = "labels/hard/0" if reader in OF_LABELS else "0"
    path = Path(str(case.path), array, "zarr.json")
    document = json.loads(path.read_text())
    if damage is None:
        path.write_text("[" * 200_000)
    else:
        damage(document)
        path.write_text(json.dumps(document))
    store = Path(str(case.path)).parent
    reseal(store / "case")
    if version == 1:
        make_version_1(store)
    with pytest.raises(StoreError):
        READERS[reader](open_store(store)["case"])


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_refuses_changed_documents(reader: str, case: StoredCase) -> None:
    array = "labels/hard/0" if reader in OF_LABELS else "0"
    path = Path(str(case.path), array, "zarr.json")
    path.write_text(path.read_text().replace(":", " :"))
    with pytest.raises(StoreError, match="does not match its checksum"):
        READERS[reader](case)


@VERSIONS
def test_layouts_of_others_are_refused(version: int, case: StoredCase) -> None:
    """An array that was stored anew is not what was checked when it was written."""
    options = {"chunks": (4, 32, 32, 32), "overwrite": True}
    zarr.create_array(case.path, name="0", data=case.patch(), **options)
    store = Path(str(case.path)).parent
    if version == 1:
        make_version_1(store)
    with pytest.raises(StoreError):
        open_store(store)["case"].patch()


def total(case: StoredCase) -> int:
    return int(case.patch((slice(9), slice(9), slice(9))).sum(dtype=int))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_workers(method: str, cases: Cases) -> None:
    case = cases["3-D"]
    before = len(pickle.dumps(open_store(case.path.parent)["case"]))
    assert total(case) == 255 * 9**3
    assert len(pickle.dumps(case)) == before
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(total, [case, case]) == [255 * 9**3] * 2
