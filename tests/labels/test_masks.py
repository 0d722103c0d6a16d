"""One mask per class, as one label map."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.cases import LabelMapFiles, find_cases
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.masks import MaskFiles
from tests.helpers.label_maps import blobs, touch, write_image

SHAPE = (4, 5, 6)
NAMES = {0: "background", 1: "heart", 2: "lung", 3: "rib"}
TABLE = ClassTable.from_values(NAMES, names=NAMES)
Masks = dict[str, npt.NDArray[np.bool_]]


def files(
    folder: Path, masks: Masks, overlap: str = "fail", *, value: int = 1
) -> MaskFiles:
    for name, inside in masks.items():
        write_image(folder / f"{name}.nrrd", (value * inside).astype(np.uint8))
    paths = ((name, folder / f"{name}.nrrd") for name in sorted(masks))
    return MaskFiles(tuple(paths), overlap)


def one_hot(labels: npt.NDArray[np.integer]) -> Masks:
    return {name: labels == value for value, name in NAMES.items() if value}


def indices(source: MaskFiles, table: ClassTable = TABLE) -> npt.NDArray[np.integer]:
    with source.open() as file:
        return file.indices(table, ignore_label=None)


@pytest.mark.parametrize("value", [1, 255])
@pytest.mark.parametrize("shape", [SHAPE, SHAPE[1:]])
def test_masks_of_a_label_map_are_that_map(
    shape: tuple[int, ...], value: int, tmp_path: Path
) -> None:
    labels = blobs(shape, 4)
    source = files(tmp_path, one_hot(labels), value=value)
    np.testing.assert_array_equal(indices(source), labels)
    with source.open() as file:
        assert file.soft(TABLE, ignore_label=None) is None
        assert file.notes(TABLE) == []
        assert file.geometry.shape == shape


def test_classes_are_found_by_name(tmp_path: Path) -> None:
    labels = blobs(SHAPE, 4)
    source = files(tmp_path, one_hot(labels))
    names = {0: "background", 7: "rib", 9: "heart", 11: "spine"}
    found = indices(source, ClassTable.from_values(names, names=names))
    np.testing.assert_array_equal(found, np.array([0, 2, 0, 1])[labels])
    with source.open() as file:
        assert file.notes(ClassTable.from_values(names, names=names)) == [
            "masks that are not among the classes: lung",
            "no mask, which counts as empty: spine",
        ]
    with pytest.raises(InputError, match="none of its masks is among the classes"):
        indices(source, ClassTable.from_values([0, 1, 2, 3]))
    with pytest.raises(InputError, match="masks need a background, label 0"):
        indices(source, ClassTable.from_values([1], names={1: "rib"}))


@given(masks=arrays(bool, (3, *SHAPE)))
def test_overlaps(
    masks: npt.NDArray[np.bool_], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.getbasetemp() / "overlaps"
    named = dict(zip(("heart", "lung", "rib"), masks, strict=True))
    count = masks.sum(axis=0)
    first = np.where(count > 0, 1 + masks.argmax(axis=0), 0)
    last = np.where(count > 0, 3 - masks[::-1].argmax(axis=0), 0)
    np.testing.assert_array_equal(indices(files(folder, named, "first")), first)
    np.testing.assert_array_equal(indices(files(folder, named, "last")), last)
    with files(folder, named, "share").open() as file:
        soft = file.soft(TABLE, ignore_label=None)
        np.testing.assert_array_equal(file.indices(TABLE, ignore_label=None), first)
    shares = np.moveaxis(masks / np.maximum(count, 1), 0, -1)
    np.testing.assert_allclose(soft.table[soft.codes][..., 1:], shares)
    np.testing.assert_allclose(soft.table.sum(axis=1), 1)
    np.testing.assert_array_equal(soft.hard[soft.codes], first)
    if count.max() < 2:
        np.testing.assert_array_equal(indices(files(folder, named)), first)
        return
    with pytest.raises(InputError, match=r"masks overlap: .* and .* \([0-9]+ voxels"):
        indices(files(folder, named))


def test_overlaps_are_named(tmp_path: Path) -> None:
    heart = np.zeros(SHAPE, bool)
    heart[1, :2, :3] = True
    source = files(tmp_path, {"heart": heart, "rib": heart, "lung": ~heart})
    with pytest.raises(InputError, match=r"heart and rib \(6 voxels\); --overlap"):
        indices(source)


@pytest.mark.parametrize("bad", [2, 255])
def test_what_is_no_mask(bad: int, tmp_path: Path) -> None:
    source = files(tmp_path, one_hot(blobs(SHAPE, 4)))
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, 0, 0], labels[3, 4, 5] = 1, bad
    write_image(tmp_path / "lung.nrrd", labels)
    message = rf"lung.nrrd: not a mask: it has the values 1, {bad}"
    with pytest.raises(InputError, match=message):
        indices(source)


def test_masks_on_two_grids(tmp_path: Path) -> None:
    source = files(tmp_path, one_hot(blobs(SHAPE, 4)))
    write_image(tmp_path / "rib.nrrd", np.zeros(SHAPE, np.uint8), origin=(0, 0, 9))
    message = "heart.nrrd and rib.nrrd lie on different grids: origin_mm is"
    with pytest.raises(InputError, match=message), source.open():
        pass


def test_a_damaged_mask_is_named(tmp_path: Path) -> None:
    source = files(tmp_path, one_hot(blobs(SHAPE, 4)))
    path = tmp_path / "lung.nrrd"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"lung.nrrd: corrupt or truncated"):
        indices(source)


def test_records_tell_classes_and_overlaps(tmp_path: Path) -> None:
    heart = {"heart": np.ones(SHAPE, bool)}
    (record,) = files(tmp_path, heart, "share").records("r1")
    assert record | {"sha256": ""} == {
        "name": "heart.nrrd",
        "rater": "r1",
        "sha256": "",
        "class": "heart",
        "overlap": "share",
    }
    with pytest.raises(InvalidParameterError, match="overlap must be one of fail, fir"):
        files(tmp_path, heart, "largest")


def test_masks_are_found_by_a_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "p1/heart.nii.gz", "p1/rib.nii.gz", "p2/heart.nii.gz", "p2/a.txt")
    p1, p2 = tmp_path / "p1", tmp_path / "p2"
    both = tuple((c, p1 / f"{c}.nii.gz") for c in ("heart", "rib"))
    found = find_cases(
        tmp_path, pattern="{case}/{class}.nii.gz", files=LabelMapFiles("first")
    )
    assert {case.name: case.source for case in found} == {
        "p1": MaskFiles(both, "first"),
        "p2": MaskFiles((("heart", p2 / "heart.nii.gz"),), "first"),
    }
    touch(tmp_path, "p1/rib.nrrd")
    with pytest.raises(InputError, match="two masks of one case are of class 'rib'"):
        find_cases(tmp_path, pattern="{case}/{class}.*")
