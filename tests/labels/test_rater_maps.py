"""Label maps of several raters, brought onto one grid."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svls_cli.errors import InputError
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.images import file_sha256
from svls_cli.labels.rater_maps import RaterMaps, rater_inputs, read_rater_maps
from svls_cli.labels.raters import RatedCase
from svls_cli.labels.sources import LabelMapFile
from tests.helpers.label_maps import (
    LIVER,
    OBLIQUE,
    LabelMap,
    blobs,
    row,
    segmentation,
    write_image,
)

Image = tuple[LabelMap, dict[str, Any]]
FLIPPED = (-1, 0, 0, 0, 1, 0, 0, 0, 1)


def case_of(*paths: Path) -> RatedCase:
    return RatedCase(
        "a", tuple((f"r{at}", LabelMapFile(path)) for at, path in enumerate(paths))
    )


def write(folder: Path, *images: Image, suffix: str = ".nrrd") -> RatedCase:
    paths = [
        write_image(folder / f"r{at}{suffix}", array, **geometry)
        for at, (array, geometry) in enumerate(images)
    ]
    return case_of(*paths)


def pair(folder: Path, first: LabelMap, second: LabelMap, **geometry: Any) -> RatedCase:
    """Maps of two raters; the second one's grid is another, if it is given."""
    return write(folder, (first, {}), (second, geometry))


def resampled(case: RatedCase) -> list[Any]:
    """The second rater's label values on the first one's grid."""
    found = read_rater_maps(case, resample_to_first=True)
    assert found.geometry.shape == found.maps[0].shape
    return found.classes.values[found.maps[1]].tolist()


def test_maps_and_classes_of_one_case(tmp_path: Path) -> None:
    a = np.array([[[0, 5], [5, 9]]], np.uint8)
    b = np.array([[[0, 0], [7, 9]]], np.uint8)
    geometry: dict[str, Any] = {"spacing": (1.0, 2.0, 3.0), "origin": (4.0, 5.0, 6.0)}
    found = read_rater_maps(write(tmp_path, (a, geometry), (b, geometry)))
    assert isinstance(found, RaterMaps)
    assert found.raters == ("r0", "r1")
    assert found.classes.values.tolist() == [0, 5, 7, 9]
    assert found.maps[0].tolist() == [[[0, 1], [1, 3]]]
    assert found.maps[1].tolist() == [[[0, 0], [2, 3]]]
    assert found.geometry.spacing_mm == (3.0, 2.0, 1.0)
    assert found.geometry.origin_mm == (6.0, 5.0, 4.0)


def test_ignored_voxels(tmp_path: Path) -> None:
    case = pair(tmp_path, row(0, 1, 255), row(0, 255, 2))
    found = read_rater_maps(case, ignore_label=255)
    assert found.classes.values.tolist() == [0, 1, 2]
    assert [m.tolist() for m in found.maps] == [[[0, 1, 3]], [[0, 3, 2]]]


def test_all_voxels_ignored(tmp_path: Path) -> None:
    case = write(tmp_path, (np.full((2, 2, 2), 9, np.uint8), {}))
    with pytest.raises(InputError, match="no classes are left"):
        read_rater_maps(case, ignore_label=9)


def test_given_classes(tmp_path: Path) -> None:
    case = pair(tmp_path, row(0, 5), row(5, 0))
    found = read_rater_maps(case, ClassTable.from_values([0, 2, 5]))
    assert [m.tolist() for m in found.maps] == [[[0, 2]], [[2, 0]]]


def test_values_that_are_no_class(tmp_path: Path) -> None:
    case = pair(tmp_path, row(0, 1), row(0, 6))
    classes = ClassTable.from_values([0, 1])
    with pytest.raises(InputError, match="label values 6 are not among the classes"):
        read_rater_maps(case, classes)
    assert len(read_rater_maps(case, classes, ignore_label=6).maps) == 2


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
def test_rounding_is_no_other_grid(suffix: str, tmp_path: Path) -> None:
    labels = blobs((6, 7, 8), 3)
    turned = OBLIQUE + np.array([[1e-7, 0, 0], [0, -1e-7, 0], [0, 0, 1e-7]])
    first: dict[str, Any] = {"spacing": (0.7, 0.8, 1.5), "origin": (-120.3, 44.1, 8.8)}
    first["direction"] = OBLIQUE.ravel()
    second: dict[str, Any] = {
        "spacing": (0.7 + 1e-7, 0.8 - 1e-7, 1.5),
        "origin": (-120.3 + 1e-7, 44.1, 8.8 - 1e-7),
        "direction": turned.ravel(),
    }
    case = write(tmp_path, (labels, first), (labels, second), suffix=suffix)
    for resample in (False, True):
        found = read_rater_maps(case, resample_to_first=resample)
        np.testing.assert_array_equal(found.maps[0], labels)
        np.testing.assert_array_equal(found.maps[1], labels)
        assert found.geometry.spacing_mm == pytest.approx((1.5, 0.8, 0.7))


@pytest.mark.parametrize(
    ("shape", "geometry", "difference"),
    [
        ((3, 4, 6), {}, "shape is (3, 4, 5) and (3, 4, 6)"),
        ((4, 5), {}, "shape is (3, 4, 5) and (4, 5)"),
        ((3, 4, 5), {"spacing": (1, 1, 2)}, "spacing_mm is {0} and (2.0, 1.0, 1.0)"),
        ((3, 4, 5), {"origin": (0, 0.5, 0)}, "origin_mm is {1} and (0.0, 0.5, 0.0)"),
        (
            (3, 4, 5),
            {"direction": FLIPPED},
            "direction is (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0) and "
            "(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)",
        ),
    ],
)
def test_other_grids(
    shape: tuple[int, ...], geometry: dict[str, Any], difference: str, tmp_path: Path
) -> None:
    same: Image = (np.zeros((3, 4, 5), np.uint8), {})
    case = write(tmp_path, same, same, (np.zeros(shape, np.uint8), geometry))
    difference = difference.format((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    first, _, third = case.inputs
    message = f"{first} and {third} lie on different grids: {difference}; --resample-to"
    with pytest.raises(InputError, match=re.escape(message)):
        read_rater_maps(case)


def test_resampling_a_shifted_map(tmp_path: Path) -> None:
    """Its voxel 0 is the first one's voxel (1, -1, 2); beyond it is background."""
    second = np.arange(1, 37, dtype=np.uint8).reshape(3, 3, 4)
    case = pair(tmp_path, np.zeros_like(second), second, origin=(2, -1, 1))
    expected = np.zeros((3, 3, 4), int)
    expected[1:, :2, 2:] = second[:2, 1:, :2]
    assert resampled(case) == expected.tolist()


def test_resampling_takes_the_nearest_voxel(tmp_path: Path) -> None:
    first, second = np.zeros((1, 1, 6), np.uint8), np.array([row(1, 2, 3)])
    # Centres at .4, 2.4 and 4.4.
    case = pair(tmp_path, first, second, origin=(0.4, 0, 0), spacing=(2.0, 1, 1))
    assert resampled(case) == [[[1, 1, 2, 2, 3, 3]]]


def test_resampling_a_finer_map(tmp_path: Path) -> None:
    first: Image = (np.zeros((1, 2, 2), np.uint8), {"spacing": (2, 2, 1)})
    second: Image = (np.arange(16, dtype=np.uint8).reshape(1, 4, 4), {})
    assert resampled(write(tmp_path, first, second)) == [[[0, 2], [8, 10]]]


def test_resampling_a_flipped_map(tmp_path: Path) -> None:
    labels = blobs((4, 5, 6), 3)
    flip: dict[str, Any] = {"origin": (5, 0, 0), "direction": FLIPPED}
    case = pair(tmp_path, labels, labels[..., ::-1], **flip)
    assert resampled(case) == labels.tolist()


def test_resampling_in_two_dimensions(tmp_path: Path) -> None:
    second = np.arange(12, dtype=np.uint8).reshape(3, 4)
    case = pair(tmp_path, np.zeros_like(second), second, origin=(1, 0))
    assert resampled(case) == [[0, 0, 1, 2], [0, 4, 5, 6], [0, 8, 9, 10]]


def test_resampling_keeps_ignored_voxels(tmp_path: Path) -> None:
    case = pair(tmp_path, row(0, 1, 1, 0), row(9, 1, 9, 0), origin=(1, 0))
    found = read_rater_maps(case, ignore_label=9, resample_to_first=True)
    assert found.classes.values.tolist() == [0, 1]
    assert found.maps[1].tolist() == [[0, 2, 1, 2]]


def test_resampling_outside_is_background_whichever_channel(tmp_path: Path) -> None:
    case = pair(tmp_path, row(3, 3), row(3, 3), origin=(1, 0))
    records = [
        {"index": 0, "value": 3, "name": "x", "color": "FF0000"},
        {"index": 1, "value": 0, "name": "background", "color": "000000"},
    ]
    table = ClassTable.from_json(records)
    found = read_rater_maps(case, table, resample_to_first=True)
    assert found.maps[1].tolist() == [[1, 0]]


def test_resampling_needs_background(tmp_path: Path) -> None:
    case = pair(tmp_path, row(3, 4), row(3, 4), origin=(1, 0))
    with pytest.raises(InputError, match="resampling needs a background, label 0"):
        read_rater_maps(case, resample_to_first=True)


def test_resampling_cannot_add_an_axis(tmp_path: Path) -> None:
    case = pair(tmp_path, np.zeros((3, 4, 5), np.uint8), np.zeros((3, 4), np.uint8))
    with pytest.raises(InputError, match="a 2-D label map cannot be resampled to 3-D"):
        read_rater_maps(case, resample_to_first=True)


def test_file_that_cannot_be_read_is_named_with_its_rater(tmp_path: Path) -> None:
    good = write_image(tmp_path / "good.nrrd", np.zeros((2, 2, 2), np.uint8))
    (tmp_path / "bad.nrrd").write_bytes(b"")
    with pytest.raises(InputError, match=r"^rater r1: .*bad\.nrrd: "):
        read_rater_maps(case_of(good, tmp_path / "bad.nrrd"))
    with pytest.raises(InputError, match=r"^rater r0: .*gone\.nrrd: cannot be read"):
        rater_inputs(case_of(tmp_path / "gone.nrrd", good))


def test_name_that_is_not_the_classes(tmp_path: Path) -> None:
    path = segmentation(tmp_path / "a.seg.nrrd", blobs((4, 5, 6), 2), **LIVER)
    classes = ClassTable.from_values([0, 1], names={1: "spleen"})
    named = "label 1 is named 'liver: left lobe' here and 'spleen' in the classes"
    with pytest.raises(InputError, match=named):
        read_rater_maps(case_of(path), classes)
    same = ClassTable.from_values([0, 1], names={1: "liver: left lobe"})
    assert len(read_rater_maps(case_of(path), same).maps) == 1


def test_raters_who_name_one_label_differently(tmp_path: Path) -> None:
    labels = blobs((4, 5, 6), 2)
    spleen = {**LIVER, "Segment0_Name": "spleen"}
    first = segmentation(tmp_path / "a.seg.nrrd", labels, **LIVER)
    second = segmentation(tmp_path / "b.seg.nrrd", labels, **spleen)
    with pytest.raises(InputError, match="label 1 is named 'spleen'"):
        read_rater_maps(case_of(first, second))


def test_inputs_are_the_files_and_who_drew_them(tmp_path: Path) -> None:
    case = pair(tmp_path, blobs((2, 3, 4), 2), blobs((2, 3, 4), 3))
    assert rater_inputs(case) == [
        {
            "name": source.paths[0].name,
            "rater": rater,
            "sha256": file_sha256(source.paths[0]),
        }
        for rater, source in case.raters
    ]
    assert len({record["sha256"] for record in rater_inputs(case)}) == 2
    with pytest.raises(InputError, match="cannot be read: No such file"):
        rater_inputs(case_of(tmp_path / "nowhere.nrrd"))


def test_labels_that_resampling_loses_are_named(tmp_path: Path) -> None:
    """The first rater's grid is a crop of the second's; label 2 lies outside of it."""
    case = pair(tmp_path, row(0, 1, 1), row(1, 1, 1, 0, 2), origin=(-2, 0))
    found = read_rater_maps(case, resample_to_first=True)
    assert found.classes.values[found.maps[1]].tolist() == [[1, 0, 2]]
    assert found.notes == (
        "rater r1: 2 of 4 labelled voxels lie outside of the first rater's grid and "
        "are lost",
    )
    case = pair(tmp_path, row(0, 1, 1), row(2, 1, 1, 0), origin=(-1, 0))
    (note,) = read_rater_maps(case, resample_to_first=True).notes
    assert note.startswith("rater r1: 1 of 3 labelled voxels lie outside")
    assert note.endswith("nothing is left of label 2")


def test_nothing_is_noted_where_nothing_is_lost(tmp_path: Path) -> None:
    case = pair(tmp_path, row(0, 1, 1), row(0, 1, 1, 9), origin=(0, 0))
    found = read_rater_maps(case, ignore_label=9, resample_to_first=True)
    assert found.notes == ()
    assert found.maps[1].tolist() == [[0, 1, 1]]


def test_all_labels_lost(tmp_path: Path) -> None:
    case = pair(tmp_path, row(0, 1, 1), row(1, 1, 1), origin=(70, 0))
    message = "rater r1: resampling to the first rater's grid loses all of its 3"
    with pytest.raises(InputError, match=message):
        read_rater_maps(case, resample_to_first=True)
