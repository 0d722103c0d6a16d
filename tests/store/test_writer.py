"""The store as other people's software sees it, and as ours does."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ome_zarr_models.v05 as ome_models
import pytest
import tensorstore
import xarray
import yaozarrs
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_zarr_models.v05.image_label import ImageLabel

from svls_cli import Method, find_cases, open_store, smooth, smooth_cases
from svls_cli.errors import StoreError, UnknownCaseError
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.classes import ClassTable
from svls_cli.store.inspect import inspect_cases
from svls_cli.store.layout import Layout
from svls_cli.store.reader import Store
from svls_cli.store.shards import encode_chunk, encode_shard
from tests.helpers.commands import tree
from tests.helpers.label_maps import OBLIQUE, LabelMap, blobs, write_image
from tests.helpers.stores import edit_svls, make_version_1, smoothed

# A third class count crosses from shared chunks to a chunk per class.
KINDS = {
    "3-D": ((70, 66, 81), 4),
    "many classes": ((140, 30, 66), 12),
    "2-D": ((90, 600), 3),
    "one class": ((9, 10, 11), 1),
}


def make(folder: Path, labels: LabelMap, name: str = "case", **options: Any) -> Store:
    """A store of one case."""
    geometry: dict[str, Any] = {}
    if labels.ndim == 3:
        geometry = {
            "spacing": (0.5, 0.75, 2.5),
            "origin": (-10.5, 20.25, 30.125),
            "direction": OBLIQUE.ravel().tolist(),
        }
    path = write_image(folder / "labels" / f"{name}.nrrd", labels, **geometry)
    return smoothed(path, folder / "a.zarr", **options)


Stored = tuple[Store, npt.NDArray[Any]]


@pytest.fixture(scope="module", params=KINDS)
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Stored:
    labels = blobs(*KINDS[request.param])
    return make(tmp_path_factory.mktemp("store"), labels), labels


def test_round_trip(stored: Stored) -> None:
    store, labels = stored
    case = store["case"]
    np.testing.assert_array_equal(case.soft[...], smooth(labels, dtype="uint8"))
    np.testing.assert_array_equal(case.hard[...], labels)
    # Half a level for each class; what they leave or take is the own class's.
    error = (len(store.classes) - 1) * 0.5 / 255 + 1e-6
    np.testing.assert_allclose(case.probabilities(), smooth(labels), atol=error)


def test_yaozarrs_validates(stored: Stored) -> None:
    path = stored[0].path / "case"
    assert yaozarrs.validate_zarr_store(str(path)) is not None
    yaozarrs.validate_zarr_store(str(path / "labels" / "hard"))


def test_ome_zarr_models_validate(stored: Stored) -> None:
    path = stored[0].path / "case"
    image = ome_models.Image.from_zarr(zarr.open_group(path, mode="r"))
    spatial = image.attributes.ome.multiscales[0].axes[1:]
    assert {axis.unit for axis in spatial} == {"millimeter"}
    label = ImageLabel.from_zarr(zarr.open_group(path / "labels" / "hard", mode="r"))
    assert label.attributes.ome.image_label.source.image == "../../"


def test_tensorstore_reads_the_same(stored: Stored) -> None:
    store, labels = stored
    for array, expected in (("0", store["case"].soft[...]), ("labels/hard/0", labels)):
        file = {"driver": "file", "path": str(store.path / "case" / array)}
        opened = tensorstore.open({"driver": "zarr3", "kvstore": file}).result()
        np.testing.assert_array_equal(opened.read().result(), expected)


def test_xarray_decodes_probabilities(stored: Stored) -> None:
    case = stored[0]["case"]
    data = xarray.open_zarr(case.path, consolidated=False)["0"]
    assert data.dims == ("c", *case.geometry.axes)
    np.testing.assert_allclose(data.to_numpy(), case.soft[...] / 255, atol=1e-7)


def test_what_is_said_of_the_case(stored: Stored) -> None:
    store, labels = stored
    case = store["case"]
    assert case.attributes["state"] == "complete"
    assert case.attributes["geometry"]["space"] == "LPS"
    assert case.attributes["inputs"][0]["name"] == "case.nrrd"
    assert case.attributes["method"]["size_vox"] == [3] * labels.ndim
    assert case.geometry.shape == labels.shape
    meta = json.loads((case.path / "zarr.json").read_text("utf-8"))["attributes"]["ome"]
    (image,) = meta["multiscales"][0]["datasets"]
    scale, translation = image["coordinateTransformations"]
    assert tuple(scale["scale"][1:]) == case.geometry.spacing_mm
    assert tuple(translation["translation"][1:]) == case.geometry.origin_mm
    channels = meta["omero"]["channels"]
    assert [c["label"] for c in channels] == [c.name for c in store.classes.classes]


def test_chunks_shards_and_codecs(stored: Stored) -> None:
    soft = stored[0]["case"].soft
    assert soft.chunks[0] == (1 if soft.shape[0] > 8 else soft.shape[0])
    assert all(s % c == 0 for s, c in zip(soft.shards, soft.chunks, strict=True))
    zstd = {"name": "zstd", "configuration": {"level": 3, "checksum": True}}
    assert [c.to_dict() for c in soft.compressors] == [zstd]
    assert soft.metadata.dimension_names[0] == "c"
    assert soft.attrs["scale_factor"] == 1 / 255


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_types(dtype: str, tmp_path: Path) -> None:
    labels = blobs((20, 21, 22), 3)
    case = make(tmp_path, labels, dtype=dtype)["case"]
    expected = smooth(labels)
    tolerance = {"uint8": 6e-3, "uint16": 3e-5, "float16": 1e-3, "float32": 0}[dtype]
    np.testing.assert_allclose(case.probabilities(), expected, atol=tolerance)
    data = xarray.open_zarr(case.path, consolidated=False)["0"].to_numpy()
    np.testing.assert_allclose(data, expected, atol=tolerance + 1e-7)


def test_ignored_voxels_are_zero_and_stay_in_the_hard_map(tmp_path: Path) -> None:
    labels = blobs((20, 21, 22), 3)
    labels[3:6] = 200
    case = make(tmp_path, labels, ignore_label=200)["case"]
    assert len(case.classes) == 3
    assert not case.soft[:, 3:6].any()
    np.testing.assert_array_equal(case.hard[...], labels)


def test_values_need_not_be_contiguous(tmp_path: Path) -> None:
    labels = np.array([0, 7, 70_000], np.uint32)[blobs((12, 13, 14), 3)]
    case = make(tmp_path, labels)["case"]
    assert case.hard.dtype == "uint32"
    np.testing.assert_array_equal(case.hard[...], labels)
    assert case.classes.values.tolist() == [0, 7, 70_000]


def test_region_of_probabilities(tmp_path: Path) -> None:
    labels = blobs((70, 20, 20), 3)
    case = make(tmp_path, labels)["case"]
    region = (slice(60, 68), slice(1, 4), slice(None))
    found = case.probabilities(region, classes=2)
    np.testing.assert_array_equal(found, case.probabilities()[(2, *region)])


def test_store_is_a_mapping_of_complete_cases(tmp_path: Path) -> None:
    store = make(tmp_path, blobs((9, 9, 9), 2))
    (store.path / "half" / "labels").mkdir(parents=True)
    zarr.create_group(store.path / "halved", attributes={"svls": {"state": "writing"}})
    assert list(store) == ["case"]
    assert len(store) == 1
    assert store.incomplete() == {
        "half": "incomplete: it has no zarr.json",
        "halved": "damaged: its zarr.json is none of a case",
    }
    for name in ("half", "halved", "none", "../labels", ""):
        with pytest.raises(UnknownCaseError, match="no case"):
            store[name]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("inputs", None),
        ("geometry", 5),
        ("classes", 5),
        ("shards", [1]),
        ("method", {}),
        ("dtype", "int8"),
        ("state", "writing"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_case_of_damaged_attributes_is_none(
    version: int, key: str, value: Any, tmp_path: Path
) -> None:
    store = make(tmp_path, blobs((9, 9, 9), 2))
    if version == 1:
        make_version_1(store.path)
    edit_svls(store.path / "case", lambda svls: svls.update({key: value}))
    assert list(open_store(store.path)) == []
    damage = "does not match its own sha256"
    if version == 1:
        damage = "is none of a complete case"
    assert damage in open_store(store.path).incomplete()["case"]
    with pytest.raises(UnknownCaseError, match=damage):
        store["case"]
    (inspected,) = inspect_cases(store.path)
    assert f"damaged: its zarr.json {damage}" in str(inspected.record)
    again = smooth_cases(find_cases(tmp_path / "labels"), store.path)
    assert [record.status for record in again] == ["done"]


def test_newer_case(tmp_path: Path) -> None:
    store = make(tmp_path, blobs((9, 9, 9), 2))
    edit_svls(store.path / "case", lambda svls: svls.update(format_version=3))
    with pytest.raises(UnknownCaseError, match="version 3 is newer than this svls-cli"):
        store["case"]


def test_store_of_version_1_is_gone_on_with(tmp_path: Path) -> None:
    store = make(tmp_path, blobs((9, 9, 9), 2))
    old, new = tree(make_version_1(store.path)), "new/zarr.json"
    write_image(tmp_path / "labels" / "new.nrrd", blobs((9, 9, 9), 2, seed=1))
    cases = find_cases(tmp_path / "labels")
    found = {r.case: r.status for r in smooth_cases(cases, store.path)}
    assert found == {"case": "skipped", "new": "done"}
    now = tree(store.path)
    assert {name: now[name] for name in old} == old
    assert json.loads(now[new])["attributes"]["svls"]["format_version"] == 2


def test_what_others_leave_in_a_store_is_no_case(tmp_path: Path) -> None:
    store = make(tmp_path, blobs((9, 9, 9), 2))
    for name in ("@eaDir", "#recycle", "__MACOSX", "lost+found", "my notes"):
        (store.path / name / "deeper").mkdir(parents=True)
    (store.path / ".ipynb_checkpoints" / "labels").mkdir(parents=True)
    assert list(store) == ["case"]
    assert store.incomplete() == {}
    (store.path / "case" / "zarr.json").unlink()
    assert store.incomplete() == {"case": "incomplete: it has no zarr.json"}


def test_metadata_that_is_no_object(tmp_path: Path) -> None:
    store = make(tmp_path, blobs((9, 9, 9), 2))
    (store.path / "case" / "zarr.json").write_text("null")
    assert list(open_store(store.path)) == []
    (store.path / "zarr.json").write_text("null")
    with pytest.raises(StoreError, match="not a Zarr v3 group"):
        open_store(store.path)


def test_case_of_another_store(tmp_path: Path) -> None:
    make(tmp_path / "x", blobs((9, 9, 9), 2))
    make(tmp_path / "y", blobs((9, 9, 9), 2), name="other", method=Method(sigma=5))
    shutil.copytree(tmp_path / "y/a.zarr/other", tmp_path / "x/a.zarr/other")
    found = {i.record.case: i.record for i in inspect_cases(tmp_path / "x/a.zarr")}
    assert found["other"].reason == "made with other parameters than its store"
    assert found["case"].status == "done"


def test_renamed_cases_are_refused(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        labels = blobs((9, 9, 9), 2, seed=number)
        write_image(tmp_path / "labels" / f"{name}.nrrd", labels)
    store = smoothed(tmp_path / "labels", tmp_path / "a.zarr")
    for old, new in ("ac", "ba", "cb"):
        (tmp_path / "a.zarr" / old).rename(tmp_path / "a.zarr" / new)
    assert list(store) == []
    for name, other in ("ab", "ba"):
        reason = f"is the document of {other}: cases cannot be renamed"
        assert reason in store.incomplete()[name]
        with pytest.raises(UnknownCaseError, match=reason):
            store[name]
    assert set(smoothed(tmp_path / "labels", tmp_path / "a.zarr")) == {"a", "b"}


def test_open_arrays_do_not_travel(tmp_path: Path) -> None:
    case = make(tmp_path, blobs((9, 9, 9), 2))["case"]
    before = len(pickle.dumps(case))
    expected = case.soft[...]
    assert len(pickle.dumps(case)) == before
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(case)).soft[...], expected)


def test_what_is_not_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    zarr.create_group(tmp_path / "two", zarr_format=2)
    zarr.create_group(tmp_path / "plain", zarr_format=3)
    for name, message in {
        "none": "no such store",
        "": "not a Zarr v3 group",
        "file": "not a Zarr v3 group",
        "two": "Zarr version 2",
        "plain": "not a soft-label store",
    }.items():
        with pytest.raises(StoreError, match=message):
            open_store(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 3}, "format version 3 is newer than this svls-cli"),
        ({"format_version": 0}, "format version 0 is unknown"),
        ({"format_version": "x"}, "format version 'x' is unknown"),
        ({"classes": []}, "damaged attributes"),
        ({"dtype": "int8"}, "damaged attributes"),
        ({"dtype": "uint16"}, "damaged attributes: their hash is another"),
        ({"method": None}, "damaged attributes"),
        ({"method": {}}, "damaged attributes"),
    ],
)
def test_attributes_of_a_root(change: Any, message: str, tmp_path: Path) -> None:
    store = make(tmp_path, blobs((9, 9, 9), 2))
    edit_svls(store.path, lambda svls: svls.update(change))
    with pytest.raises(StoreError, match=message):
        open_store(store.path)


def test_class_shards_beyond_a_thousand_classes(tmp_path: Path) -> None:
    labels = np.arange(1500, dtype=np.uint16).reshape(30, 50)
    case = make(tmp_path, labels)["case"]
    assert case.soft.shards[0] == 1024
    np.testing.assert_array_equal(case.soft[...], smooth(labels, dtype="uint8"))


@settings(max_examples=200)
@given(
    shape=st.lists(st.integers(1, 1100), min_size=2, max_size=3).map(tuple),
    n_classes=st.integers(1, 70_000),
    itemsize=st.sampled_from([1, 2, 4]),
)
def test_layouts(shape: tuple[int, ...], n_classes: int, itemsize: int) -> None:
    layout = Layout.choose(shape, n_classes=n_classes, itemsize=itemsize)
    seen = 0
    chunks = layout.chunks_per_shard
    for shard in layout.shards():
        for place, voxels in layout.blocks(shard):
            assert all(p < n for p, n in zip(place, chunks, strict=True))
            seen += int(np.prod([s.stop - s.start for s in voxels]))
    assert seen == np.prod(shape)
    whole = layout.shard_classes * itemsize * int(np.prod(layout.shard))
    assert whole <= 2**28 or layout.shard == layout.chunk
    assert layout.shard_classes % layout.chunk_classes == 0


def test_the_designed_layout() -> None:
    brats = Layout.choose((155, 240, 240), n_classes=4, itemsize=1)
    assert (brats.chunk, brats.chunk_classes) == ((64, 64, 64), 4)
    assert brats.shard == (192, 256, 256)
    many = Layout.choose((1000, 512, 512), n_classes=117, itemsize=1)
    assert (many.chunk, many.chunk_classes) == ((128, 128, 128), 1)
    assert many.shard_classes == 117
    small = Layout.choose((35, 51, 36), n_classes=3, itemsize=1)
    assert small.chunk == small.shard == (35, 51, 36)


def crc32c(data: bytes) -> int:
    """Bit by bit, from the polynomial."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def test_golden_shard() -> None:
    """Two of four chunks: their bytes, then offsets and lengths, then crc32c."""
    chunk = encode_chunk(np.arange(4, dtype=np.uint8))
    shard = encode_shard([((1, 1), chunk), ((0, 0), chunk)], (2, 2))
    size, absent = len(chunk), 2**64 - 1
    index = np.frombuffer(shard[2 * size : -4], "<u8").reshape(4, 2)
    assert int.from_bytes(shard[-4:], "little") == crc32c(shard[2 * size : -4])
    assert index.tolist() == [[0, size], [absent] * 2, [absent] * 2, [size, size]]


def test_names_and_colours(tmp_path: Path) -> None:
    table = ClassTable.from_values([0, 1], names={1: "œsophagus"}, colors={1: "12AB34"})
    store = make(tmp_path, blobs((9, 9, 9), 2), classes=ClassSpec(table))
    assert store.classes == table
    text = (store.path / "case/labels/hard/zarr.json").read_text("utf-8")
    label = json.loads(text)["attributes"]["ome"]["image-label"]
    assert {"label-value": 1, "rgba": [0x12, 0xAB, 0x34, 255]} in label["colors"]
    assert {"label-value": 1, "name": "œsophagus"} in label["properties"]


def test_every_method_says_its_parameters(tmp_path: Path) -> None:
    labels = blobs((9, 9, 9), 2)
    method = Method(sigma_mm=1.0, strength=0.8)
    case = make(tmp_path, labels, method=method)["case"]
    assert case.attributes["method"] == {
        "name": "svls",
        "sigma_mm": 1.0,
        "size": "auto",
        "strength": 0.8,
        "sigma_vox": pytest.approx([1 / 2.5, 1 / 0.75, 1 / 0.5]),
        "size_vox": [5, 9, 13],
    }
