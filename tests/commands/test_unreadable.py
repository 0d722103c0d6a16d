"""What matches and cannot be read fails by name; the rest comes out as if alone."""

import os
import socket
from pathlib import Path

import pytest

from svls_cli import open_store
from tests.helpers.commands import records, run_here
from tests.helpers.label_maps import blobs, write_image

LABELS = blobs((8, 9, 10), 3)
TROUBLES = ("folder", "link", "pipe", "socket")


def troubled(folder: Path) -> Path:
    """A folder with one good file and what is none."""
    write_image(folder / "good.nii.gz", LABELS)
    (folder / "folder.nii.gz").mkdir()
    (folder / "link.nii.gz").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.nii.gz")
    with socket.socket(socket.AF_UNIX) as listening, pytest.MonkeyPatch.context() as m:
        m.chdir(folder)  # a socket's path is short
        listening.bind("socket.nii.gz")
    return folder


def whole(folder: Path) -> Path:
    """A folder with a good file for each case."""
    for name in ("good", *TROUBLES):
        write_image(folder / f"{name}.nii.gz", LABELS)
    return folder


def failed(output: str) -> list[str]:
    """Cases that failed, each because of a file that cannot be read."""
    found = records(output)
    reasons = {
        name: r["reason"] for name, r in found.items() if r["status"] == "failed"
    }
    assert all("cannot be read" in reason for reason in reasons.values()), reasons
    return sorted(reasons)


def test_label_maps(tmp_path: Path) -> None:
    troubled(tmp_path / "l")
    each = [f"l/{name}.nii.gz" for name in ("good", *TROUBLES)]
    for inputs in (["l"], each, ["--pattern", "**/*", "."]):
        out = run_here(
            "smooth", "--json", "-j1", *inputs, "a.zarr", cwd=tmp_path, code=4
        )
        assert failed(out.stdout) == sorted(TROUBLES)
        assert list(open_store(tmp_path / "a.zarr")) == ["good"]
    arguments = ("smooth", "--json", "-j1", "-", "b.zarr")
    out = run_here(*arguments, cwd=tmp_path, code=4, input="\n".join(each))
    assert failed(out.stdout) == sorted(TROUBLES)


def test_raters(tmp_path: Path) -> None:
    """No case is fused from the raters left."""
    whole(tmp_path / "r" / "ann")
    troubled(tmp_path / "r" / "bob")
    for arguments in (["r/ann", "r/bob"], ["--pattern", "{rater}/{case}.nii.gz", "r"]):
        line = ["fuse-raters", "--json", "-j1", *arguments, "a.zarr"]
        out = run_here(*line, cwd=tmp_path, code=4)
        assert failed(out.stdout) == sorted(TROUBLES)
        assert "bob" in records(out.stdout)["link"]["reason"]
        assert list(open_store(tmp_path / "a.zarr")) == ["good"]


def test_references(tmp_path: Path) -> None:
    whole(tmp_path / "l")
    troubled(tmp_path / "reference")
    run_here("smooth", "l", "a.zarr", cwd=tmp_path)
    line = ("evaluate", "--json", "-j1", "a.zarr", "--reference", "reference")
    out = run_here(*line, cwd=tmp_path, code=4)
    assert failed(out.stdout) == sorted(TROUBLES)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_images_to_train_on(trouble: str, tmp_path: Path) -> None:
    whole(tmp_path / "l")
    troubled(tmp_path / "i")
    run_here("smooth", "-j1", f"l/{trouble}.nii.gz", "a.zarr", cwd=tmp_path)
    line = ("train", "a.zarr", "--images", f"i/{trouble}.nii.gz", "--out", "run")
    out = run_here(*line, "--validation", "0", cwd=tmp_path, code=3)
    assert f"i/{trouble}.nii.gz: cannot be read: a" in out.stderr
