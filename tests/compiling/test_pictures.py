"""Two-dimensional data sets: PNG and TIFF masks of several raters, and images."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from svls_cli import find_cases, open_store, smooth, smooth_cases
from svls_cli.labels.images import read_header
from tests.helpers.commands import Run
from tests.helpers.label_maps import LabelMap, blobs, read, touch

SHAPE = (24, 30)
White = pytest.LogCaptureFixture


def mask(seed: int) -> LabelMap:
    return blobs(SHAPE, 2, seed=seed)


def save(path: Path, pixels: LabelMap, dpi: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"dpi": (dpi, dpi)} if dpi else {}))
    return path


def classes(folder: Path, *masks: LabelMap) -> list[tuple[int, str]]:
    for number, pixels in enumerate(masks):
        save(folder / f"{number}.png", pixels)
    smooth_cases(find_cases(folder), folder / "a.zarr")
    found = open_store(folder / "a.zarr").classes.classes
    return [(each.value, each.name) for each in found]


def test_masks_of_0_and_255_have_a_foreground(tmp_path: Path, caplog: White) -> None:
    empty = np.zeros(SHAPE, np.uint8)
    found = classes(tmp_path, 255 * mask(0), 255 * mask(1), empty)
    assert found == [(0, "background"), (255, "foreground")]
    assert not caplog.records
    case = open_store(tmp_path / "a.zarr")["0"]
    np.testing.assert_allclose(
        case.soft[...] / 255, smooth(mask(0), classes=[0, 1]), atol=0.004
    )


def test_255_among_other_labels_is_asked_about(tmp_path: Path, caplog: White) -> None:
    found = classes(tmp_path, mask(0), 255 * mask(1))
    assert found[1:] == [(1, "label 1"), (255, "label 255")]
    assert "255 is taken for a class among 0, 1, 255: if it means" in caplog.text


def test_consensus_of_png_is_png(run: Run, tmp_path: Path) -> None:
    for rater in range(3):
        save(tmp_path / f"r{rater}" / "eye.png", 255 * mask(rater), dpi=254)
    folders = [tmp_path / f"r{rater}" for rater in range(3)]
    run("fuse-raters", *folders, tmp_path / "out")
    votes = sum(mask(rater).astype(int) for rater in range(3))
    path = tmp_path / "out" / "eye.png"
    np.testing.assert_array_equal(read(path), 255 * (votes > 1))
    assert read_header(path).geometry.spacing_mm == pytest.approx((0.1, 0.1))


def test_a_folder_as_people_have_it(run: Run, tmp_path: Path) -> None:
    """PNG, TIFF and what file managers and notebooks leave; one file is damaged."""
    labels = tmp_path / "labels"
    save(labels / "a.png", mask(0))
    save(labels / "b.tif", mask(1))
    content = save(labels / "c.png", mask(2)).read_bytes()
    (labels / "c.png").write_bytes(content[:-20])
    save(labels / "d.png", np.zeros((*SHAPE, 3), np.uint8))
    touch(labels, "Thumbs.db", "._a.png", ".ipynb_checkpoints/a.png", "photo.jpg")
    done = run("smooth", "--json", labels, tmp_path / "a.zarr", code=4)
    found = {each["case"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert {case: each["status"] for case, each in found.items()} == {
        "a": "done",
        "b": "done",
        "c": "failed",
        "d": "failed",
    }
    assert "truncated" in found["c"]["reason"]
    assert "its pixels are RGB: expected one number" in found["d"]["reason"]


def test_jpeg_alone(run: Run, tmp_path: Path) -> None:
    save(tmp_path / "labels" / "a.jpg", mask(0))
    done = run("smooth", tmp_path / "labels", tmp_path / "a.zarr", code=3)
    assert "JPEG changes the values of pixels" in done.stderr


def test_two_formats_of_one_case(run: Run, tmp_path: Path) -> None:
    save(tmp_path / "labels" / "a.png", mask(0))
    save(tmp_path / "labels" / "a.tif", mask(0))
    done = run("smooth", tmp_path / "labels", tmp_path / "a.zarr", code=3)
    assert "two files are case 'a'" in done.stderr


def test_images_guide_the_smoothing(run: Run, tmp_path: Path) -> None:
    save(tmp_path / "labels" / "a.png", mask(0))
    save(tmp_path / "images" / "a.png", 200 * mask(1) + 9)
    options = ["--method", "bilateral", "--images", tmp_path / "images"]
    run("smooth", *options, tmp_path / "labels", tmp_path / "a.zarr")
    assert open_store(tmp_path / "a.zarr").classes.values.tolist() == [0, 1]
