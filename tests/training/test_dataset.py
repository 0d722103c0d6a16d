"""Patches for training loops."""

import resource
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchio
from monai.data import MetaTensor, list_data_collate
from monai.transforms import LoadImage, Orientation
from scipy.spatial.transform import Rotation
from torch.utils.data import default_collate

from svls_cli import Batch, Store, find_rated_cases, fuse_cases, open_store
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.scans import Scan
from svls_cli.training import (
    SoftLabelDataset,
    as_probabilities,
    find_images,
    unpack_images,
)
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


def test_a_sample(store: Store, images: Any) -> None:
    sample = SoftLabelDataset(store, images, patch_size=PATCH, stored=True)[2]
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


def test_targets_are_probabilities(store: Store) -> None:
    torch.manual_seed(0)
    sample = SoftLabelDataset(store, patch_size=PATCH)[1]
    torch.manual_seed(0)
    stored = SoftLabelDataset(store, patch_size=PATCH, stored=True)[1]
    assert sample["target"].dtype == torch.float32
    assert "image" not in sample
    assert "scale" not in sample
    assert torch.equal(sample["target"], as_probabilities(stored["target"]))
    torch.testing.assert_close(sample["target"], stored["target"] * stored["scale"])


def test_nothing_in_a_batch_is_float64(store: Store, images: Any) -> None:
    """Apple's GPUs have none."""
    for stored in (False, True):
        dataset = SoftLabelDataset(store, images, patch_size=PATCH, stored=stored)
        for collate in (default_collate, list_data_collate):
            batch = collate(dataset[:2])
            assert batch["case"] == ["case_01", "case_02"]
            tensors = [v for v in batch.values() if isinstance(v, torch.Tensor)]
            assert len(tensors) == len(batch) - 1
            assert all(len(tensor) == 2 for tensor in tensors)
            assert torch.float64 not in {tensor.dtype for tensor in tensors}


def test_indices(store: Store) -> None:
    dataset = SoftLabelDataset(store, patch_size=PATCH, patches_per_case=2)
    assert len(dataset) == 6
    assert dataset.names == ("case_01", "case_02", "case_03")
    numbers: list[Any] = [4, -2, np.int64(4), np.uint8(4), torch.tensor(4)]
    assert {dataset[number]["case"] for number in numbers} == {"case_02"}
    names = [*dataset.names, *dataset.names]
    assert [sample["case"] for sample in dataset] == names
    assert [sample["case"] for sample in dataset[-1:0:-2]] == names[-1:0:-2]
    assert dataset[6:] == []
    for outside in (6, -7, torch.tensor(6)):
        with pytest.raises(IndexError, match="out of range"):
            dataset[outside]
    wrong: list[Any] = [
        1.0,
        "1",
        None,
        [0, 1],
        True,
        torch.tensor(1.0),
        torch.arange(2),
    ]
    for index in wrong:
        with pytest.raises(TypeError, match="integer"):
            dataset[index]


# Columns are a NIfTI file's axes: straight, flipped, permuted, oblique.
AXES = [
    np.diag([1.0, 2.0, 3.0]),
    np.diag([-1.0, -2.0, 3.0]),
    np.array([[0, 0, -2.5], [0.7, 0, 0], [0, 1.1, 0]]),
    Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
    @ np.diag([0.5, -0.8, 2.0]),
]


def nifti(path: Path, axes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Write label values to a file; return its affine."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, (-31.5, 70, 12.25)
    nibabel.save(nibabel.Nifti1Image(blobs((12, 14, 16), 2), affine), path)
    return affine


@pytest.mark.parametrize("axes", AXES)
def test_affines_are_those_of_nibabel(
    axes: npt.NDArray[np.float64], tmp_path: Path
) -> None:
    affine = nifti(tmp_path / "a.nii", axes)
    store = smoothed(tmp_path / "a.nii", tmp_path / "a.zarr")
    sizes = [(5, 6, 7), (16, 14, 20)]  # inside, and beyond the volume
    for sample in (SoftLabelDataset(store, patch_size=size)[0] for size in sizes):
        for z, y, x in [(0, 0, 0), (4, 0, 6), (1, 2, 3)]:
            found = sample["affine"].numpy() @ (z, y, x, 1)
            k, j, i = np.add(sample["corner"].numpy(), (z, y, x))
            np.testing.assert_allclose(found, affine @ (i, j, k, 1), atol=1e-4)


@pytest.mark.parametrize("axes", AXES)
def test_affines_are_those_of_monai_and_torchio(
    axes: npt.NDArray[np.float64], tmp_path: Path
) -> None:
    """Turned to RAS by either library, a sample is what the library reads."""
    path = tmp_path / "a.nii"
    nifti(path, axes)
    store = smoothed(path, tmp_path / "a.zarr")
    sample = SoftLabelDataset(store, patch_size=(16, 14, 12), target="hard")[0]
    hard, affine = sample["target"][1:], sample["affine"]
    straight = Orientation("RAS", labels=None)
    theirs = straight(LoadImage(image_only=True, ensure_channel_first=True)(path))
    ours = straight(MetaTensor(hard, affine=affine))
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
    straight = torchio.ToCanonical()
    theirs = straight(torchio.ScalarImage(path))
    ours = straight(torchio.ScalarImage(tensor=hard, affine=affine))
    np.testing.assert_array_equal(ours.data, theirs.data)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)


@pytest.mark.parametrize("plane", [None, 42.0])
def test_affines_of_slices(plane: float | None, tmp_path: Path) -> None:
    affine = np.array([[-2.0, 0, 0, 5], [0, 3, 0, -7], [0, 0, 1, 0], [0, 0, 0, 1]])
    labels = blobs((12, 14), 2)
    if plane is None:
        path = write_image(
            tmp_path / "a.nrrd",
            labels.T,
            spacing=(2, 3),
            origin=(-5, 7),
            direction=(1, 0, 0, -1),
        )
    else:
        affine[2, 3], path = plane, tmp_path / "a.nii"
        nibabel.save(nibabel.Nifti1Image(labels, affine), path)
    sample = SoftLabelDataset(smoothed(path, tmp_path / "a.zarr"), patch_size=(5, 6))[0]
    y, x = sample["corner"].tolist()
    found = sample["affine"].numpy() @ (3, 4, 0, 1)
    np.testing.assert_allclose(found, affine @ (x + 4, y + 3, 0, 1), atol=1e-5)
    assert sample["target"].shape == (2, 5, 6)


def test_what_lies_outside_weighs_nothing(store: Store, images: Any) -> None:
    dataset = SoftLabelDataset(store, images, patch_size=(24, 64, 64), stored=True)
    sample = dataset[0]
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
    torch.manual_seed(0)
    soft = SoftLabelDataset(store, patch_size=PATCH)[0]
    torch.manual_seed(0)
    hard = SoftLabelDataset(store, patch_size=PATCH, target="hard")[0]
    assert hard["corner"].tolist() == soft["corner"].tolist()
    assert set(hard["target"].unique().tolist()) == {0, 1}
    assert torch.equal(hard["target"].argmax(dim=0), soft["target"].argmax(dim=0))
    assert not torch.equal(hard["target"], soft["target"])


def test_rater_targets(tmp_path: Path, store: Store) -> None:
    cases = find_rated_cases([SAMPLE / "raters" / rater for rater in "abc"])
    records = fuse_cases(cases, tmp_path / "f.zarr", batch=Batch(jobs=1))
    assert all(record.status == "done" for record in records)
    fused = open_store(tmp_path / "f.zarr")
    dataset = SoftLabelDataset(
        fused, patch_size=(20, 56, 60), target="rater", patches_per_case=30
    )
    drawn: dict[str, set[str]] = {name: set() for name in fused}
    for sample in dataset[:30]:
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
        dataset = SoftLabelDataset(
            store, patch_size=(8, 10, 12), target=target, stored=True
        )
        sample = dataset[0]
        assert sample["target"].dtype == expected
        assert sample["target"].max() == top
        assert sample["scale"] * top == 1
        np.testing.assert_array_equal(sample["weight"][0], labels != 7)


def test_one_size_stands_for_every_axis(store: Store) -> None:
    dataset = SoftLabelDataset(store, patch_size=16)
    assert dataset.patch_size == (16, 16, 16)
    assert dataset[0]["weight"].shape == (1, 16, 16, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": (8, 8)}, r"patch size \(8, 8\) has 2 axes"),
        ({"patch_size": None}, "patch_size must be one int, or one per axis"),
        ({"target": "best"}, "target must be one of"),
        ({"patch_size": (16, 0, -4)}, "patch_size must be"),
        ({"foreground_share": 9}, "foreground_share must be in"),
        ({"patches_per_case": 0}, "patches_per_case must be a whole number from 1"),
        ({"patches_per_case": 1.5}, "patches_per_case must be a whole number from 1"),
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
    wrong: list[Any] = [
        ("out.zarr", None, "cases must be a store, as open_store opens it"),
        (store, "images/", "images must be images by name, as unpack_images"),
        (store, {"case_01": "a.nii"}, "the image of case_01 must be as unpack_images"),
    ]
    for cases, given, message in wrong:
        with pytest.raises(InvalidParameterError, match=message):
            SoftLabelDataset(cases, given, patch_size=PATCH)


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


class Subjects(torchio.SubjectsDataset):  # type: ignore[misc]
    """Patches as the large volumes that TorchIO's queue cuts small ones from."""

    def __init__(self, dataset: SoftLabelDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def dry_iter(self) -> range:
        return range(len(self))


def to_subject(sample: dict[str, Any]) -> Any:
    changes = [
        torchio.RandomAffine(default_pad_value=0),
        torchio.RandomNoise(exclude=["target"]),
    ]
    parts = {
        name: torchio.ScalarImage(tensor=sample[name], affine=sample["affine"])
        for name in ("image", "target")
    }
    return torchio.Compose(changes)(torchio.Subject(parts))


@pytest.mark.parametrize("workers", [0, 2])
def test_subjects_in_a_queue_of_torchio(
    workers: int, store: Store, images: Any
) -> None:
    dataset = SoftLabelDataset(
        store, images, patch_size=PATCH, patches_per_case=4, transform=to_subject
    )
    queue = torchio.Queue(
        Subjects(dataset),
        max_length=10,
        samples_per_volume=3,
        sampler=torchio.UniformSampler((4, 12, 12)),
        num_workers=workers,
    )
    loader = torchio.SubjectsLoader(queue, batch_size=9)
    for batches in (list(loader), list(loader)):  # two epochs
        assert [len(batch["image"]["data"]) for batch in batches] == [9, 9, 9, 9]
        target = torch.cat([batch["target"]["data"] for batch in batches])
        assert target.shape[2:] == (4, 12, 12)
        total = target.sum(dim=1)
        assert target.min() >= 0
        assert total.max() == pytest.approx(1, abs=1e-4)  # no noise, no other classes
        assert total.median() == pytest.approx(1, abs=1e-4)
