"""Patches for training loops."""

import pickle
import resource
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.utils.data import DataLoader

from svls_cli import Batch, Store, find_rated_cases, fuse_cases, open_store
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.scans import Scan
from svls_cli.training import SoftLabelDataset, find_images, unpack_images
from svls_cli.training.image_cache import (
    ImageUnpacker,
    Scaling,
    ScanOnGrid,
    clear_cache,
)
from svls_cli.training.sampling import Landmarks, corner_of
from tests.helpers.commands import SAMPLE
from tests.helpers.label_maps import blobs, grid, write_image
from tests.helpers.stores import smoothed

PATCH = (8, 24, 20)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    paths = sorted((SAMPLE / "labels").glob("case_0[1-3]*"))
    return smoothed(paths, tmp_path_factory.mktemp("store") / "a.zarr")


@pytest.fixture(scope="module")
def images(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return unpacked(store, SAMPLE / "images", tmp_path_factory.mktemp("cache"))


def unpacked(store: Store, images: Path, cache: Path) -> Any:
    scans = find_images(store, images)
    return unpack_images(store, scans, cache, batch=Batch(jobs=1))


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.array_equal(value, other[key]) for key, value in one.items())


def test_a_sample(store: Store, images: Any) -> None:
    sample = SoftLabelDataset(store, images, patch_size=PATCH)[5]
    case, corner = store[sample["case"]], sample["corner"].numpy()
    region = tuple(map(slice, corner, corner + PATCH))
    np.testing.assert_array_equal(sample["target"], case.patch(region))
    assert sample["target"].dtype == torch.uint8
    assert sample["weight"].shape == (1, *PATCH)
    assert sample["weight"].min() == 1
    whole = images[case.name].patch((slice(None),) * 3)
    assert whole.mean() == pytest.approx(0, abs=1e-5)
    assert whole.std() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(sample["image"], whole[(slice(None), *region)])
    geometry = case.geometry
    direction = np.reshape(geometry.direction, (3, 3))
    origin = geometry.origin_mm + direction @ (corner * geometry.spacing_mm)
    np.testing.assert_allclose(sample["affine"].numpy()[:3, 3], origin)


def test_patches_are_the_same_for_everybody(store: Store, images: Any) -> None:
    dataset = SoftLabelDataset(store, images, patch_size=PATCH, seed=3)
    twin = pickle.loads(pickle.dumps(dataset))
    for number in (0, 7, 10**9):
        assert same(dataset[number], twin[number])
    other = SoftLabelDataset(store, images, patch_size=PATCH, seed=4)
    assert not same(dataset[0], other[0])
    loader = DataLoader(
        dataset, sampler=range(4, 10), num_workers=2, multiprocessing_context="spawn"
    )
    for number, batch in zip(range(4, 10), loader, strict=True):
        assert torch.equal(batch["image"][0], dataset[number]["image"])
        assert torch.equal(batch["target"][0], dataset[number]["target"])


def test_each_case_comes_once_in_a_pass(store: Store) -> None:
    dataset = SoftLabelDataset(store, patch_size=PATCH)
    assert len(dataset) == 3
    orders = [[dataset[3 * n + k]["case"] for k in range(3)] for n in range(6)]
    assert all(sorted(order) == sorted(store) for order in orders)
    assert len(set(map(tuple, orders))) > 1
    assert [sample["case"] for sample in dataset] == orders[0]
    assert "image" not in dataset[0]


def test_what_lies_outside_weighs_nothing(store: Store, images: Any) -> None:
    sample = SoftLabelDataset(store, images, patch_size=(24, 64, 64))[0]
    assert sample["corner"].tolist() == [-2, -4, -2]
    inside = (slice(2, 22), slice(4, 60), slice(2, 62))
    weight = torch.zeros(24, 64, 64, dtype=torch.uint8)
    weight[inside] = 1
    assert torch.equal(sample["weight"][0], weight)
    assert torch.equal(sample["target"].sum(dim=0), 255 * weight.long())
    assert not sample["image"][0][weight == 0].any()
    case = store[sample["case"]]
    np.testing.assert_array_equal(sample["target"][:, *inside], case.patch())


def test_hard_targets(store: Store) -> None:
    soft = SoftLabelDataset(store, patch_size=PATCH)[0]
    hard = SoftLabelDataset(store, patch_size=PATCH, target="hard")[0]
    assert hard["corner"].tolist() == soft["corner"].tolist()
    assert set(hard["target"].unique().tolist()) == {0, 255}
    assert torch.equal(hard["target"].argmax(dim=0), soft["target"].argmax(dim=0))
    assert not torch.equal(hard["target"], soft["target"])


def test_rater_targets(tmp_path: Path, store: Store) -> None:
    cases = find_rated_cases([SAMPLE / "raters" / rater for rater in "abc"])
    records = fuse_cases(cases, tmp_path / "f.zarr", batch=Batch(jobs=1))
    assert all(record.status == "done" for record in records)
    fused = open_store(tmp_path / "f.zarr")
    dataset = SoftLabelDataset(fused, patch_size=(20, 56, 60), target="rater")
    drawn: dict[str, set[str]] = {name: set() for name in fused}
    for number in range(30):
        sample = dataset[number]
        case = fused[sample["case"]]
        values = case.classes.values[sample["target"].argmax(dim=0).numpy()]
        [rater] = [r for r in case.raters if (case.label_patch(r) == values).all()]
        drawn[case.name].add(rater)
    assert set.union(*drawn.values()) == {"a", "b", "c"}
    with pytest.raises(InputError, match="needs a store of fuse-raters"):
        SoftLabelDataset(store, patch_size=PATCH, target="rater")


@pytest.mark.parametrize(
    ("dtype", "expected", "top"),
    [("uint16", torch.int32, 65535), ("float32", torch.float32, 1)],
)
def test_other_types_and_ignored_voxels(
    dtype: str, expected: torch.dtype, top: int, tmp_path: Path
) -> None:
    labels = blobs((8, 10, 12), 3)
    labels[:, :2] = 7
    path = write_image(tmp_path / "a.nrrd", labels)
    store = smoothed(path, tmp_path / "a.zarr", dtype=dtype, ignore_label=7)
    for target in ("soft", "hard"):
        sample = SoftLabelDataset(store, patch_size=(8, 10, 12), target=target)[0]
        assert sample["target"].dtype == expected
        assert sample["target"].max() == top
        np.testing.assert_array_equal(sample["weight"][0], labels != 7)


def test_slices(tmp_path: Path) -> None:
    store = smoothed(SAMPLE / "slice", tmp_path / "a.zarr")
    sample = SoftLabelDataset(store, patch_size=(16, 16))[0]
    assert sample["target"].shape == (4, 16, 16)
    assert sample["affine"].shape == (3, 3)


def test_transforms_have_a_seed(store: Store) -> None:
    seeds: list[int] = []

    def note(sample: dict[str, Any], seed: int) -> dict[str, Any]:
        seeds.append(seed)
        return sample

    dataset = SoftLabelDataset(store, patch_size=PATCH, transform=note)
    assert [dataset[0]["case"], dataset[1]["case"]]
    assert dataset[0]
    assert seeds[0] == seeds[2] != seeds[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": (8, 8)}, r"patch size \(8, 8\) has 2 axes"),
        ({"target": "best"}, "target must be one of"),
        ({"patch_size": (16, 0, -4)}, "patch_size must be"),
        ({"foreground_share": 9}, "foreground_share must be in"),
    ],
)
def test_wrong_parameters(options: dict[str, Any], message: str, store: Store) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        SoftLabelDataset(store, **{"patch_size": PATCH, **options})


def test_wrong_datasets(store: Store, images: Any) -> None:
    with pytest.raises(InputError, match="no cases"):
        SoftLabelDataset({}, patch_size=PATCH)
    some = {"case_01": images["case_01"]}
    with pytest.raises(InputError, match="no image for case_02, case_03"):
        SoftLabelDataset(store, some, patch_size=PATCH)


def landmarks(labels: npt.NDArray[np.uint8]) -> Landmarks:
    return Landmarks.of(labels, ignore_label=None, name="a")


def test_where_patches_lie() -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[4:7, 4:7, 4:7] = 1
    labels[15, 15, 15] = 2
    labels[0] = 9
    marks = Landmarks.of(labels, ignore_label=9, name="a")
    assert [len(voxels) for voxels in marks.foreground] == [27, 1]
    beside = {tuple(voxel) for voxel in marks.boundary.tolist()}
    assert {(15, 15, 15), (15, 15, 14), (3, 5, 5), (4, 4, 4)} <= beside
    assert not {(5, 5, 5), (10, 10, 10), (14, 14, 15)} & beside
    assert not {(0, 3, 3), (1, 3, 3)} & beside  # beside nothing but what is ignored
    rng = np.random.default_rng(0)
    shares = {"foreground_share": 0.5, "boundary_share": 0.0}
    centres = [marks.centre(rng, **shares) for _ in range(400)]
    values = [labels[tuple(voxel)] for voxel in centres if voxel is not None]
    assert 150 < len(values) < 250
    assert 0.4 < np.mean(np.array(values) == 2) < 0.6  # each class as often
    shares = {"foreground_share": 0.0, "boundary_share": 1.0}
    assert all(tuple(marks.centre(rng, **shares) or ()) in beside for _ in range(50))
    empty = landmarks(np.zeros((4, 4), np.uint8))
    assert empty.centre(rng, foreground_share=0.5, boundary_share=0.5) is None


def test_few_landmarks_are_kept() -> None:
    marks = landmarks(np.ones((40, 40, 40), np.uint8))
    assert len(marks.foreground[0]) == 2000
    again = landmarks(np.ones((40, 40, 40), np.uint8))
    np.testing.assert_array_equal(marks.foreground[0], again.foreground[0])


def test_corners() -> None:
    rng = np.random.default_rng(0)
    assert corner_of(rng, (20, 20), (8, 8), (10, 1)) == (6, 0)
    assert corner_of(rng, (20, 20), (8, 8), (19, 19)) == (12, 12)
    assert corner_of(rng, (5, 8), (8, 8), None) == (-1, 0)
    corners = {corner_of(rng, (20, 20), (18, 20), None) for _ in range(50)}
    assert corners == {(0, 0), (1, 0), (2, 0)}


def test_windows() -> None:
    scaling = Scaling((0.0,), (1.0,)).within((-100, 300))
    scaled = scaling.apply(np.array([[[-500, -100, 100, 300, 9000]]], np.int16))
    assert scaled.dtype == np.float32
    assert scaled.tolist() == [[[-1, -1, 0, 1, 1]]]


def test_a_flat_image_stays_finite() -> None:
    flat = np.full((1, 3, 3), 7, np.uint8)
    assert not Scaling.of(flat).apply(flat).any()


def test_images_are_unpacked_once(store: Store, tmp_path: Path) -> None:
    unpacked(store, SAMPLE / "images", tmp_path)
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert len(before) == 6
    [notes] = tmp_path.glob("case_02.*.json")
    notes.write_text("{")  # as if it had been ended there
    found = unpacked(store, SAMPLE / "images", tmp_path)
    after = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {notes.name, notes.with_suffix(".npy").name}
    assert np.load(found["case_01"].path).dtype == np.int16
    (tmp_path / "case_01.json").write_text("the user's own")
    clear_cache(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["case_01.json"]
    (tmp_path / "case_01.json").unlink()
    clear_cache(tmp_path)
    clear_cache(tmp_path)
    assert not tmp_path.exists()


def test_images_that_changed_are_unpacked_again(tmp_path: Path) -> None:
    labels = blobs((4, 8, 8), 2)
    store = smoothed(write_image(tmp_path / "a.nrrd", labels), tmp_path / "a.zarr")
    for value in (3, 5):
        write_image(tmp_path / "images" / "a.nrrd", labels + np.uint8(value))
        found = unpacked(store, tmp_path / "images", tmp_path / "cache")
        assert np.load(found["a"].path).min() == value
    # The first run's are still what they were.
    assert len(list((tmp_path / "cache").glob("a.*.npy"))) == 2


def test_images_that_cannot_be_used(store: Store, tmp_path: Path) -> None:
    write_image(tmp_path / "x" / "case_01.nrrd", blobs((4, 4, 4), 2))
    write_image(tmp_path / "x" / "case_02.nrrd", blobs((4, 4, 4), 2))
    with pytest.raises(InputError, match=r"no image for 1 of 3 cases: case_03"):
        find_images(store, tmp_path / "x")
    write_image(tmp_path / "x" / "case_03.nrrd", blobs((20, 56, 60), 2))
    (tmp_path / "x" / "case_02.nrrd").write_bytes(b"nothing")
    with pytest.raises(InputError) as caught:
        unpacked(store, tmp_path / "x", tmp_path / "c")
    text = str(caught.value)
    assert text.startswith("3 of 3 images cannot be used: ")
    assert "case_01: labels and image on different grids: shape" in text
    assert "case_02: case_02.nrrd: not an NRRD file" in text
    assert "case_03: labels and image on different grids: spacing_mm" in text


def test_other_numbers_of_channels(store: Store, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        for channel in range(1 + (number < 3)):
            name = f"case_0{number}-{channel}.nrrd"
            write_image(tmp_path / name, blobs((4, 4, 4), 2))
    with pytest.raises(InputError, match=r"case_01 has 2 .*, that of case_03"):
        find_images(store, tmp_path, pattern="{case}-{channel}.nrrd")


def test_a_disk_that_refuses_an_image_says_why(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    path = write_image(tmp_path / "a.nii", blobs((8, 9, 10), 2))
    scan = ScanOnGrid(Scan("a", (path,)), grid((8, 9, 10)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            ImageUnpacker(tmp_path / "cache")(scan)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "cache").iterdir()) == []
