"""Bad input through the installed command: each fails alone, named, and costs nothing.

One run per kind of trouble; good cases beside the bad ones must come out as if alone.
"""

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import zarr

from svls_cli import open_store, smooth
from tests.helpers.commands import Run, records, tree
from tests.helpers.label_maps import (
    LIVER,
    OBLIQUE,
    blobs,
    patched,
    segmentation,
    write_image,
)

LABELS = blobs((8, 9, 10), 3)
Maker = Callable[[Path], Any]


def with_value(value: float, dtype: str = "float32") -> np.ndarray:
    array = LABELS.astype(dtype)
    array[2, 3, 1] = value
    return array


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def truncated(path: Path) -> None:
    cut(write_image(path, LABELS))


def holding(content: bytes) -> Maker:
    return lambda path: path.write_bytes(content)


def valued(value: float, dtype: str = "float32") -> Maker:
    return lambda path: write_image(path, with_value(value, dtype))


other = holding(b"GIF89a" * 99)


def five_dimensional(path: Path) -> None:
    """A 5-D NIfTI header over too few voxels: it made ITK corrupt its memory."""
    sizes = struct.pack("<8h", 5, 10, 9, 8, 1, 3, 1, 1)
    patched(write_image(path, LABELS), {40: sizes})


def time_series(path: Path) -> None:
    image = sitk.JoinSeries([sitk.GetImageFromArray(LABELS)] * 3)
    sitk.WriteImage(image, str(path))


def colours(path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((8, 9, 10, 3), np.uint8), isVector=True)
    sitk.WriteImage(image, str(path))


def overlapping(path: Path) -> None:
    segmentation(path, np.zeros((8, 9, 10, 2), np.uint8), **LIVER)


PLACE = "at voxel (z, y, x) = (2, 3, 1) is not a label"
BAD: dict[str, tuple[Maker, str]] = {
    "cut packed.nii.gz": (truncated, "corrupt or truncated"),
    "cut plain.nii": (truncated, "truncated: the header"),
    "cut nrrd.nrrd": (truncated, "corrupt or truncated"),
    "cut meta.mha": (truncated, "corrupt or truncated"),
    "empty.nii.gz": (holding(b""), "the file is empty"),
    "magic packed.nii.gz": (other, "corrupt or truncated"),
    "magic.nii": (other, "not a NIfTI file"),
    "magic nrrd.nrrd": (other, "not an NRRD file"),
    "text.mha": (holding(b"hello\n"), "not a MetaImage file"),
    "packed text.nii.gz": (holding(gzip.compress(b"hello" * 99)), "not a NIfTI file"),
    "half.nii.gz": (valued(0.5), f"0.5 {PLACE}"),
    "nan.nii.gz": (valued(np.nan), f"nan {PLACE}"),
    "inf.nrrd": (valued(np.inf), f"inf {PLACE}"),
    "negative.mha": (valued(-4, "int16"), f"-4 {PLACE}"),
    "series.nii.gz": (time_series, "4-D, 10 x 9 x 8 x 3; expected 2-D or 3-D"),
    "colours.nrrd": (colours, "3 components per voxel"),
    "five.nii": (five_dimensional, "3 components per voxel"),
    "overlap.seg.nrrd": (overlapping, "its segments lie in 2 layers"),
    "magic2.nii": (holding(struct.pack("<i", 540) + b"\0" * 700), "its magic is b''"),
}


def test_bad_files_fail_alone(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    write_image(folder / "good.nii.gz", LABELS)
    write_image(folder / "whole floats.nii.gz", LABELS.astype(np.float32))
    for name, (make, _) in BAD.items():
        make(folder / name)
    result = run("smooth", "--json", "labels", "a.zarr", code=4)
    found = records(result.stdout)
    for name, (_, message) in BAD.items():
        record = found[name.split(".")[0]]
        assert record["status"] == "failed", name
        assert message in record["reason"], (name, record["reason"])
        assert record["inputs"] == [f"labels/{name}"]
    store = open_store(tmp_path / "a.zarr")
    assert list(store) == ["good", "whole floats"]
    for case in store.values():
        np.testing.assert_array_equal(case.soft[...], smooth(LABELS, dtype="uint8"))
    assert not (tmp_path / "a.zarr.tmp").exists()
    assert "Traceback" not in result.stderr


def test_values_outside_the_classes(run: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "l" / "a.nrrd", LABELS)
    write_image(tmp_path / "l" / "b.nrrd", with_value(7, "uint8"))
    result = run("smooth", "--json", "--classes", "0,1,2", "l", "a.zarr", code=4)
    found = records(result.stdout)
    assert found["a"]["status"] == "done"
    assert found["b"]["reason"] == "label values 7 are not among the classes (0, 1, 2)"


def test_more_labels_than_classes_can_be(run: Run, tmp_path: Path) -> None:
    many = np.arange(65_600, dtype=np.uint32).reshape(1, 400, 164)
    write_image(tmp_path / "l" / "many.nrrd", many)
    write_image(tmp_path / "l" / "good.nrrd", LABELS)
    alone = run("smooth", "--json", "l/many.nrrd", "b.zarr", code=4)
    assert "65600 distinct labels" in records(alone.stdout)["many"]["reason"]
    assert "at most 65535 are possible" in records(alone.stdout)["many"]["reason"]
    found = records(run("smooth", "--json", "l", "a.zarr", code=4).stdout)
    assert found["good"]["status"] == "done"
    assert "labels that no other case has: is this" in found["many"]["reason"]


GEOMETRIES: dict[str, dict[str, Any]] = {
    "oblique": {"direction": OBLIQUE.ravel().tolist(), "spacing": (0.7, 0.9, 3.3)},
    "flipped": {"direction": (-1, 0, 0, 0, 1, 0, 0, 0, -1), "origin": (1 / 3, 2, 3)},
    "anisotropic": {"spacing": (0.123456789, 1, 7)},
}


def two_forms(path: Path) -> None:
    """A NIfTI file whose sform and qform put it in different places."""
    write_image(path, LABELS, origin=(1, 2, 3))
    patched(path, {252: struct.pack("<2h", 1, 2), 268: struct.pack("<3f", 7, 8, 9)})


def negative_spacing(path: Path) -> None:
    content = write_image(path, LABELS).read_bytes()
    path.write_bytes(content.replace(b"ElementSpacing = 1", b"ElementSpacing = -1"))


def test_unusual_geometry_is_kept_exactly(run: Run, tmp_path: Path) -> None:
    for name, geometry in GEOMETRIES.items():
        write_image(tmp_path / "l" / f"{name}.nrrd", LABELS, **geometry)
    write_image(tmp_path / "l" / "flat.nrrd", LABELS[0], spacing=(0.3, 0.4))
    write_image(tmp_path / "l" / "thin.nrrd", LABELS[:, :1])
    write_image(tmp_path / "l" / "voxel.nrrd", LABELS[:1, :1, :1])
    two_forms(tmp_path / "l" / "forms.nii")
    write_image(tmp_path / "l" / "straight.nii", LABELS, origin=(1, 2, 3))
    negative_spacing(tmp_path / "l" / "negative.mha")
    run("smooth", "--size", "9", "--sigma", "2", "l", "a.zarr")
    run("export", "--content", "hard", "--format", "nrrd", "a.zarr", "out")
    for path in (tmp_path / "l").iterdir():
        stored = open_store(tmp_path / "a.zarr")[path.stem].geometry
        numbers = stored.direction + stored.origin_mm + stored.spacing_mm
        # ITK takes either the sform or the qform, by their codes.
        followed = "straight.nii" if path.stem == "forms" else path.name
        given = sitk.ReadImage(str(tmp_path / "l" / followed))
        exported = sitk.ReadImage(str(tmp_path / "out" / f"{path.stem}.nrrd"))
        for image in (given, exported):
            found = image.GetSpacing() + image.GetOrigin() + image.GetDirection()
            np.testing.assert_allclose(numbers[::-1], found, atol=1e-9)
        voxels = sitk.GetArrayFromImage(given)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(exported), voxels)


def test_names_that_would_lead_outside(run: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "seg.nrrd", LABELS)
    wanted = ["../escape", "/etc/x", "a/b", "..", "with space", "naïve 名", "zarr.json"]
    lines = [json.dumps({"case": name, "label": "seg.nrrd"}) for name in wanted]
    result = run("smooth", "--json", "-", "deep/a.zarr", input="\n".join(lines))
    names = set(records(result.stdout))
    safe = {".._escape", "_etc_x", "a_b", "_", "with space", "naïve 名", "_zarr.json"}
    assert names == safe
    assert set(open_store(tmp_path / "deep" / "a.zarr")) == names
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "seg.nrrd"]
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["a.zarr"]


def test_stores_that_are_not_ours(run: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "seg.nrrd", LABELS)
    run("smooth", "seg.nrrd", "newer.zarr")
    group = zarr.open_group(tmp_path / "newer.zarr")
    group.attrs["svls"] = {**group.attrs["svls"], "format_version": 3}
    zarr.create_group(tmp_path / "other.zarr", zarr_format=3)
    zarr.create_group(tmp_path / "old.zarr", zarr_format=2)
    before = tree(tmp_path)
    for name, message in (
        ("newer.zarr", "format version 3 is newer than this svls-cli (2)"),
        ("other.zarr", "a Zarr group, but not a soft-label store"),
        ("old.zarr", "Zarr version 2"),
    ):
        for arguments in (
            ["smooth", "seg.nrrd", name],
            ["smooth", "--overwrite", "seg.nrrd", name],
            ["inspect", name],
            ["export", name, "out"],
        ):
            assert message in run(*arguments, code=3).stderr
    assert tree(tmp_path) == before


def test_failing_run_changes_nothing_that_is_stored(run: Run, tmp_path: Path) -> None:
    for name in "ab":
        write_image(tmp_path / "l" / f"{name}.nii.gz", LABELS)
    run("smooth", "l", "a.zarr")
    before = tree(tmp_path / "a.zarr")
    cut(tmp_path / "l" / "a.nii.gz")
    run("smooth", "l", "a.zarr", code=4)
    run("smooth", "--strength", "0.3", "l", "a.zarr", code=3)
    run("smooth", "--strength", "7", "l", "a.zarr", code=2)
    assert tree(tmp_path / "a.zarr") == before
