"""Runs that end badly: nothing half done is seen, and the next run finishes the job."""

import os
import signal
import subprocess
import time
from itertools import product
from pathlib import Path

import pytest

from tests.helpers.commands import COMMAND, Run, records, shell, start, tree
from tests.helpers.crashes import fault, start_until
from tests.helpers.label_maps import blobs, write_image

Tree = dict[str, bytes]  # files and their content


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    for number in range(3):
        # Two shards each, so that a case can be caught half written.
        array = blobs((10, 270, 20), 3, seed=number)
        write_image(tmp_path / "labels" / f"case_{number}.nii.gz", array)
    return tmp_path / "labels"


@pytest.fixture
def undisturbed(labels: Path, run: Run) -> Tree:
    run("smooth", labels, "good.zarr")
    return tree(labels.parent / "good.zarr")


def run_until_killed(*arguments: str, cwd: Path, moment: str) -> None:
    """Run the command; `kill -9` ends it and its workers at that moment."""
    process = start(*arguments, cwd=cwd, env=fault(f"kill:{moment}"))
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def only_complete(store: Path, undisturbed: Tree) -> None:
    """What is in the store is what an undisturbed run writes, whole cases only."""
    if not store.exists():
        return
    found = tree(store)
    assert {name: undisturbed[name] for name in found} == found
    for case in (p.name for p in store.iterdir() if p.is_dir()):
        whole = {name for name in undisturbed if name.startswith(f"{case}/")}
        assert whole <= set(found)


MOMENTS = [
    "open:.zarr.tmp:1",  # the first file of all
    "open:.zarr.tmp:6",  # a case's metadata
    "open:/c/0:1",  # its first shard
    "open:/c/0:2",
    "open:/c/0:5",  # another case's
    "os.rename:.zarr.tmp:1",  # before the root appears
    "os.rename:.zarr.tmp:2",  # before a case appears
    "open:labels/case_2:2",  # while reading
]
FAST = [("open:/c/0:5", "1"), ("os.rename:.zarr.tmp:2", "2")]


@pytest.mark.parametrize(
    ("moment", "jobs"),
    [
        pytest.param(*case, marks=[] if case in FAST else pytest.mark.slow)
        for case in product(MOMENTS, ("1", "2"))
    ],
)
def test_kill_9(
    moment: str, jobs: str, labels: Path, undisturbed: Tree, run: Run
) -> None:
    arguments = ("smooth", "--jobs", jobs, "labels", "a.zarr")
    run_until_killed(*arguments, cwd=labels.parent, moment=moment)
    store = labels.parent / "a.zarr"
    only_complete(store, undisturbed)
    run(*arguments)
    assert tree(store) == undisturbed
    assert not (labels.parent / "a.zarr.tmp").exists()


def test_ctrl_c_while_importing(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    result = subprocess.run(
        [COMMAND, "--version"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
    )
    assert (result.returncode, result.stderr) == (130, b"")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_ctrl_c_and_sigterm(
    number: int, code: int, labels: Path, undisturbed: Tree, run: Run
) -> None:
    arguments = ("smooth", "-j1", "labels", "a.zarr")
    process = start_until("open:/c/0:3", *arguments, cwd=labels.parent)
    os.killpg(process.pid, number)
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in complaint
    only_complete(labels.parent / "a.zarr", undisturbed)
    assert not (labels.parent / "a.zarr.tmp").exists()
    run("smooth", "labels", "a.zarr")
    assert tree(labels.parent / "a.zarr") == undisturbed


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_crash_costs_its_case_only(
    jobs: str, labels: Path, undisturbed: Tree, run: Run
) -> None:
    env = fault("crash:open:case_1:1")
    options = ("--json", "--jobs", jobs)
    result = run("smooth", *options, "labels", "a.zarr", code=4, env=env)
    found = records(result.stdout)
    assert found["case_1"]["status"] == "failed"
    assert "crashed (SIGSEGV)" in found["case_1"]["reason"]
    assert found["case_0"]["status"] == found["case_2"]["status"] == "done"
    only_complete(labels.parent / "a.zarr", undisturbed)
    again = run("smooth", "--json", "labels", "a.zarr")
    assert {r["status"] for r in records(again.stdout).values()} == {"done", "skipped"}
    assert tree(labels.parent / "a.zarr") == undisturbed


def test_full_disk(labels: Path, undisturbed: Tree, run: Run) -> None:
    env = fault("enospc:open:/c/0:3")
    result = run("smooth", "--json", "-j1", "labels", "a.zarr", code=4, env=env)
    reasons = [r["reason"] for r in records(result.stdout).values() if r["reason"]]
    assert reasons
    assert all("No space left on device" in reason for reason in reasons)
    only_complete(labels.parent / "a.zarr", undisturbed)
    assert not (labels.parent / "a.zarr.tmp").exists()
    run("smooth", "labels", "a.zarr")
    assert tree(labels.parent / "a.zarr") == undisturbed


def test_full_disk_from_the_start(labels: Path, run: Run) -> None:
    env = fault("enospc:open:.zarr.tmp:1")
    result = run("smooth", "--classes", "0,1,2", "labels", "a.zarr", code=3, env=env)
    assert "No space left on device" in result.stderr
    assert not (labels.parent / "a.zarr").exists()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["open:/c/0:3", "os.rename:.zarr.tmp:1"])
def test_killed_overwrite_keeps_the_old_store(
    moment: str, labels: Path, undisturbed: Tree, run: Run
) -> None:
    arguments = ("smooth", "--overwrite", "--strength", "0.3", "labels", "good.zarr")
    run_until_killed(*arguments, cwd=labels.parent, moment=moment)
    assert tree(labels.parent / "good.zarr") == undisturbed
    run(*arguments)
    assert tree(labels.parent / "good.zarr") != undisturbed
    assert sorted(p.name for p in labels.parent.iterdir()) == ["good.zarr", "labels"]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["os.rename:/store:1", "os.rename:good.zarr:1"])
def test_kill_while_stores_change_places(
    moment: str, labels: Path, undisturbed: Tree, run: Run
) -> None:
    """Whenever it dies, one whole store is there, or comes back with the next run."""
    arguments = ("smooth", "--overwrite", "--strength", "0.3", "labels", "good.zarr")
    run_until_killed(*arguments, cwd=labels.parent, moment=moment)
    run("smooth", "labels", "good.zarr")
    assert tree(labels.parent / "good.zarr") == undisturbed
    run_until_killed(*arguments, cwd=labels.parent, moment=moment)
    run(*arguments)
    run("smooth", "--strength", "0.3", "labels", "fresh.zarr")
    assert tree(labels.parent / "good.zarr") == tree(labels.parent / "fresh.zarr")
    left = sorted(path.name for path in labels.parent.iterdir())
    assert left == ["fresh.zarr", "good.zarr", "labels"]


@pytest.mark.slow
def test_worker_that_outlives_its_run(
    labels: Path, undisturbed: Tree, run: Run, tmp_path: Path
) -> None:
    """The parent alone is killed, a rerun finishes, then the orphan wakes up."""
    arguments = ("open:/c/0:2", "smooth", "-j1", "labels", "a.zarr")
    process = start_until(*arguments, cwd=tmp_path, SVLS_WAIT_S="3")
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        assert stream
        stream.close()  # the orphan has them too: there is no end to wait for
    run("smooth", "labels", "a.zarr")
    assert tree(tmp_path / "a.zarr") == undisturbed
    time.sleep(4)
    assert tree(tmp_path / "a.zarr") == undisturbed
    run("smooth", "labels", "a.zarr")
    assert not (tmp_path / "a.zarr.tmp").exists()


def test_folder_that_may_not_be_read(labels: Path, run: Run) -> None:
    write_image(labels.parent / "secret" / "x.nrrd", blobs((3, 4, 5), 2))
    env = fault("eacces:os.scandir:secret:1")
    options = ("--json", "--pattern", "**/*")
    result = run("smooth", *options, "labels", "secret", "a.zarr", code=4, env=env)
    found = records(result.stdout)
    assert found["secret"]["status"] == "failed"
    assert "cannot be read" in found["secret"]["reason"]
    assert sum(r["status"] == "done" for r in found.values()) == 3


def test_file_that_may_not_be_read(labels: Path, run: Run) -> None:
    env = fault("eacces:open:case_1:1")
    result = run("smooth", "--json", "labels", "a.zarr", code=4, env=env)
    reason = records(result.stdout)["case_1"]["reason"]
    assert reason == "cannot be read: Permission denied"


def test_store_that_is_forbidden(labels: Path, run: Run) -> None:
    env = fault("eacces:os.mkdir:a.zarr.tmp:1")
    result = run("smooth", "labels", "a.zarr", code=3, env=env)
    assert "Permission denied" in result.stderr
    assert not (labels.parent / "a.zarr").exists()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd"])
def test_export_onto_a_full_disk(suffix: str, undisturbed: Tree, labels: Path) -> None:
    """ITK's NIfTI writer does not notice; a limit on file sizes plays the full disk."""
    line = f"ulimit -f 1; svls-cli export --format {suffix} good.zarr out"
    result = shell(line, cwd=labels.parent)
    assert result.returncode == 4, result.stderr
    assert "report this bug" not in result.stderr
    assert not list((labels.parent / "out").iterdir())


def test_store_that_may_not_be_written(labels: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("smooth", "labels", "file/a.zarr", code=3)
    assert "Not a directory" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_two_runs_into_one_store(labels: Path, undisturbed: Tree, run: Run) -> None:
    """As SLURM arrays do: both finish, and the store is what one run makes."""
    runs = [start("smooth", "-j1", "labels", "a.zarr", cwd=labels.parent) for _ in "ab"]
    for process in runs:
        _, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint
    assert tree(labels.parent / "a.zarr") == undisturbed
    assert not (labels.parent / "a.zarr.tmp").exists()
