"""Images: which belong to a case, and what they may hold."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.scans import Scan, find_images, find_scans
from tests.helpers.label_maps import write_image

IMAGE = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)


def files(folder: Path, *names: str) -> Path:
    for name in names:
        write_image(folder / name, IMAGE)
    return folder


def names(scans: dict[str, Scan]) -> dict[str, list[str]]:
    return {key: [path.name for path in scan.paths] for key, scan in scans.items()}


def test_a_file_is_a_case(tmp_path: Path) -> None:
    files(tmp_path, "b.nii.gz", "a.nrrd")
    assert names(find_scans(tmp_path)) == {"a": ["a.nrrd"], "b": ["b.nii.gz"]}


def test_channels_as_nnunet_names_them(tmp_path: Path) -> None:
    files(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz", "b_0001.nii.gz", "b_0000.nii.gz")
    assert names(find_scans(tmp_path)) == {
        case: [f"{case}_0000.nii.gz", f"{case}_0001.nii.gz"] for case in "ab"
    }


@pytest.mark.parametrize(
    "given",
    [
        ("brain_0001.nii.gz", "brain_0002.nii.gz"),  # numbered cases: not from 0
        ("a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz"),  # not all have the same
        ("a_0000.nii.gz", "b.nii.gz"),
    ],
)
def test_numbers_that_are_no_channels(given: tuple[str, ...], tmp_path: Path) -> None:
    found = find_scans(files(tmp_path, *given))
    assert sorted(found) == sorted(name.removesuffix(".nii.gz") for name in given)


def test_what_is_wanted_decides(tmp_path: Path) -> None:
    files(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz")
    assert sorted(find_scans(tmp_path)) == ["a"]
    wanted = ["a_0000", "a_0001"]
    assert sorted(find_scans(tmp_path, wanted=wanted)) == wanted


def test_the_number_of_channels_decides(tmp_path: Path) -> None:
    files(tmp_path, "scan_0000.nii.gz", "scan_0001.nii.gz")
    assert sorted(find_scans(tmp_path, n_channels=2)) == ["scan"]
    assert sorted(find_scans(tmp_path, n_channels=1)) == ["scan_0000", "scan_0001"]


def test_a_missing_channel_is_not_another_case(tmp_path: Path) -> None:
    files(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz")
    expected = {"a": ("0000", "0001"), "b": ("0000",)}
    for options in ({"wanted": ["a", "b", "c"]}, {"n_channels": 2}):
        found = find_scans(tmp_path, **options)
        assert {name: scan.channels for name, scan in found.items()} == expected


def test_patterns(tmp_path: Path) -> None:
    files(tmp_path / "a", "a_t2.nii.gz", "a_t1.nii.gz", "a_seg.nii.gz")
    found = find_scans(tmp_path, pattern="{case}/{case}_{channel}.nii.gz")
    assert names(found)["a"] == ["a_seg.nii.gz", "a_t1.nii.gz", "a_t2.nii.gz"]
    for pattern, expected in (
        ("{case}/*_t1.nii.gz", {"a": ["a_t1.nii.gz"]}),
        ("**/*_t2.nii.gz", {"a_t2": ["a_t2.nii.gz"]}),
        ("**/{case}_t2.nii.gz", {"a": ["a_t2.nii.gz"]}),
    ):
        assert names(find_scans(tmp_path, pattern=pattern)) == expected
    with pytest.raises(
        InvalidParameterError, match=r"has \{rater\}; .* \{case\} and \{channel\}"
    ):
        find_scans(tmp_path, pattern="{case}_{rater}.nii.gz")


def test_image_that_is_no_file_is_not_left_out(tmp_path: Path) -> None:
    files(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz")
    (tmp_path / "b_0001.nii.gz").symlink_to("nowhere")
    for options in ({}, {"pattern": "{case}_{channel}.nii.gz"}):
        scans = find_scans(tmp_path, **options)
        assert [len(scan.paths) for scan in scans.values()] == [2, 2]
    with pytest.raises(InputError, match="cannot be read"):
        scans["b"].read()


def test_two_files_for_one_channel(tmp_path: Path) -> None:
    files(tmp_path, "x1/a.nii.gz", "x2/a.nii.gz")
    with pytest.raises(InputError, match=r"of case 'a': .*a.nii.gz and .*a.nii.gz"):
        find_scans(tmp_path, pattern="*/{case}.nii.gz")


def test_two_files_for_one_numbered_channel(tmp_path: Path) -> None:
    files(tmp_path, "x1/a_0000.nii.gz", "x2/a_0000.nii.gz")
    with pytest.raises(InputError, match=r"of case 'a', channel '0000': .* and "):
        find_scans(tmp_path, pattern="*/{case}_{channel}.nii.gz")


def test_a_name_ends_before_the_suffix(tmp_path: Path) -> None:
    files(tmp_path, "a.b.nii.gz", "c.nrrd", "d.seg.nrrd", "f.nii")
    found = find_scans(tmp_path, pattern="{case}.*")
    assert sorted(found) == ["a.b", "c", "d", "f"]
    files(tmp_path / "x.nii", "a_t1.nii.gz")
    found = find_scans(tmp_path, pattern="{case}/*_{channel}.*")
    assert {name: scan.channels for name, scan in found.items()} == {"x.nii": ("t1",)}


def test_channels_of_some_images_only(tmp_path: Path) -> None:
    files(tmp_path, "a.nii.gz", "b_0000.nii.gz")
    with pytest.raises(InputError, match=r"b; .*only if all images .*--image-pattern"):
        find_images(["a", "b"], tmp_path)
    with pytest.raises(InputError, match=r"images of a, b$"):
        find_images(["c"], files(tmp_path / "x", "a.nii.gz", "b.nii.gz"))


def test_cases_that_differ_only_in_the_case_of_letters(tmp_path: Path) -> None:
    files(tmp_path, "Pat1_t1.nii.gz", "pat1_t2.nii.gz")
    with pytest.raises(InputError, match="cases 'Pat1' and 'pat1' differ only"):
        find_scans(tmp_path, pattern="{case}_{channel}.nii.gz")


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image files match"):
        find_scans(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        find_scans(tmp_path / "none")


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
def test_voxels_come_as_they_are(dtype: Any, suffix: str, tmp_path: Path) -> None:
    array = IMAGE.astype(dtype)
    path = write_image(tmp_path / f"a.{suffix}", array, spacing=(1, 2, 3))
    geometry, voxels = Scan("a", (path, path)).read()
    assert geometry.spacing_mm == (3, 2, 1)
    assert voxels.dtype == dtype
    np.testing.assert_array_equal(voxels, [array, array])


def test_channels_on_different_grids(tmp_path: Path) -> None:
    first = write_image(tmp_path / "a_0000.nii.gz", IMAGE)
    second = write_image(tmp_path / "a_0001.nii.gz", IMAGE, spacing=(1, 1, 2))
    with pytest.raises(InputError, match=r"different grids: spacing_mm .* a_0001"):
        Scan("a", (first, second)).read()


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(value: float, suffix: str, tmp_path: Path) -> None:
    array = IMAGE.astype(np.float32)
    array[1, 2, 3] = value
    path = write_image(tmp_path / f"a.{suffix}", array)
    with pytest.raises(InputError, match=rf"a.{suffix}: {value} at voxel \(1, 2, 3\)"):
        Scan("a", (path,)).read()


def test_truncated(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.nii.gz", IMAGE)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="corrupt or truncated gzip data"):
        Scan("a", (path,)).read()


def test_colour_is_no_image(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((2, 3, 4, 3), np.uint8), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    with pytest.raises(InputError, match="not an image: 3 components per voxel"):
        Scan("a", (tmp_path / "a.nrrd",)).read()


def test_paths_and_records_of_a_list(tmp_path: Path) -> None:
    files(tmp_path, "a.nii.gz", "b_t1.nrrd", "b_t2.nrrd", "c_0000.nii.gz")
    channels = [str(tmp_path / name) for name in ("b_t2.nrrd", "b_t1.nrrd")]
    lines = [
        f"{tmp_path / 'a.nii.gz'}\n",
        "\n",
        json.dumps({"image": str(tmp_path / "c_0000.nii.gz")}) + "\r\n",
        json.dumps({"case": "p 7/x", "image": str(tmp_path / "a.nii.gz")}),
        json.dumps({"case": "b", "images": channels}),
    ]
    assert names(find_scans("-", lines=lines)) == {
        "a": ["a.nii.gz"],
        "c_0000": ["c_0000.nii.gz"],
        "p 7_x": ["a.nii.gz"],
        "b": ["b_t2.nrrd", "b_t1.nrrd"],
    }
    assert sorted(find_scans(["-", tmp_path / "b_t1.nrrd"], lines=lines[2:3])) == [
        "b_t1",
        "c_0000",
    ]
    other = json.dumps({"case": "a", "image": str(tmp_path / "b_t1.nrrd")})
    with pytest.raises(InputError, match=r"two images are case 'a': .*a\.nii\.gz and"):
        find_scans("-", lines=[lines[0], other])
    with pytest.raises(InputError, match="differ only in the case of letters"):
        find_scans("-", lines=[lines[0], other.replace('"a"', '"A"')])
    with pytest.raises(InputError, match="no image files found"):
        find_scans("-", lines=[])


@pytest.mark.parametrize(
    "record",
    [
        '{"case": "a"}',
        '{"case": "a", "images": []}',
        '{"case": "a", "images": "a.nii.gz"}',
        '{"images": ["a.nii.gz", "b.nii.gz"]}',
        '{"case": "a", "image": "a.nii.gz", "images": ["b.nii.gz"]}',
        '{"case": 1, "image": "a.nii.gz"}',
        '{"case": "a", "image": 1}',
        '{"case": "a", "image": "a\\u0000.nii.gz"}',
        '{"case": "a", "case": "b", "image": "a.nii.gz"}',
        '{"case": "a", "image": "a.nii.gz"',
    ],
)
def test_records_that_are_none(record: str) -> None:
    with pytest.raises(InputError, match="standard input: expected a path, "):
        find_scans("-", lines=[record])
