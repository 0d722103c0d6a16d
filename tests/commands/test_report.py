"""`svls-cli report` as users run it."""

import sys
import time
from pathlib import Path

import pytest

from tests.helpers.commands import SAMPLE, Run, records, start, tree
from tests.helpers.label_maps import blobs, write_image
from tests.helpers.stores import smoothed


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for n in range(4):
        image = blobs((8, 30, 30), 3, seed=n)
        write_image(tmp_path / "labels" / f"case {n}.nii.gz", image)
        write_image(tmp_path / "images" / f"case {n}.nii.gz", 100 * image)
    smoothed(tmp_path / "labels", tmp_path / "a.zarr")
    return tmp_path / "a.zarr"


def test_installed_command_says_what_to_open(store: Path, installed: Run) -> None:
    result = installed("report", store, "--images", "images", "--jobs", "2")
    folder = store.parent / "a-report"
    assert result.stdout.splitlines() == [
        f"{folder}: 4 pages made ({_size(folder)})",
        f"open: {folder / 'index.html'}",
    ]
    again = records(installed("report", store, "--images", "images", "--json").stdout)
    assert {each["status"] for each in again.values()} == {"skipped"}
    pages = [Path(each["output"]) for each in again.values()]
    assert sorted(pages) == sorted(folder.glob("cases/*.html"))


def _size(folder: Path) -> str:
    from svls_cli.cli.console import readable

    files = [*folder.glob("cases/*.html"), *folder.glob("cases/*.webp")]
    return readable(sum(path.stat().st_size for path in files))


@pytest.mark.slow
def test_run_that_was_killed_goes_on(store: Path, installed: Run) -> None:
    out = store.parent / "killed"
    process = start("report", store, "--out", out, "--jobs", "1", cwd=store.parent)
    while process.poll() is None and not list(out.glob("cases/*.json")):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    installed("report", store, "--out", out, "--jobs", "1")
    installed("report", store, "--out", store.parent / "whole", "--jobs", "1")
    assert tree(out) == tree(store.parent / "whole")


def test_predictions_of_other_classes_are_refused(store: Path, run: Run) -> None:
    run("smooth", SAMPLE / "labels" / "case_01.nii.gz", "other.zarr", "--jobs", "1")
    complaint = run("report", store, "other.zarr", code=3).stderr
    assert "the classes differ" in complaint
    run("smooth", "--classes", "0,1,2", "labels", "b.zarr", "--jobs", "1")
    (store.parent / "b.zarr" / "case 1").rename(store.parent / "gone")
    run("report", store, "b.zarr", "--jobs", "1", "--out", "partly")
    index = (store.parent / "partly" / "index.html").read_text("utf-8")
    assert index.count("no prediction") == 1


def test_images_of_no_case_are_refused(store: Path, run: Run) -> None:
    images = SAMPLE / "images"
    assert "has an image" in run("report", store, "--images", images, code=3).stderr


def test_image_on_another_grid_fails_its_case(store: Path, run: Run) -> None:
    write_image(store.parent / "images" / "case 2.nii.gz", blobs((8, 30, 31), 3))
    result = run("report", store, "--images", "images", "--jobs", "1", code=4)
    assert "case 2: labels and image on different grids" in result.stderr
    index = (store.parent / "a-report" / "index.html").read_text("utf-8")
    assert "failed: labels and image on different grids" in index


def test_missing_library_says_what_to_install(
    store: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "contourpy", None)
    complaint = run("report", store, code=2).stderr
    assert "pip install 'svls-cli[report]'" in complaint
