"""Cases on a Dask cluster: the same store, whatever happens to its workers."""

import os
import re
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from svls_cli import Batch
from tests.helpers.commands import (
    ROOT,
    SAMPLE,
    Run,
    free_port,
    records,
    shell,
    start,
    tree,
)
from tests.helpers.crashes import fault, wait_for
from tests.helpers.label_maps import blobs, write_image

pytest.importorskip("distributed")

from svls_cli import Cluster, find_cases, smooth_cases
from svls_cli.batch.cluster import _run_task
from svls_cli.errors import InvalidParameterError, WorkersError
from svls_cli.store import destination
from svls_cli.store.writer import create_root
from tests.helpers.clusters import DaskCluster, dask_cluster

RATERS = [f"raters/{rater}" for rater in "abc"]


@pytest.mark.slow
def test_readme(tmp_path: Path) -> None:
    """Its commands as they stand, but for the port, which may be in use here."""
    text = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"^```bash\n(dask .*?)^```", text, re.M | re.S)
    shutil.copytree(SAMPLE, tmp_path / "sample_data")
    port = str(free_port())
    block = block.replace("scheduler --", f"scheduler --port {port} --")
    script = f"trap 'kill %1 %2; wait' EXIT\nset -m\n{block.replace('8786', port)}"
    result = shell(script, cwd=tmp_path, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "cluster.zarr: 8 smoothed" in result.stdout


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """Where the command runs, beside its inputs; the workers are elsewhere."""
    for name in ("labels", "raters"):
        (tmp_path / name).symlink_to(SAMPLE / name)
    return tmp_path


def smoothing(cluster: DaskCluster) -> list[str]:
    """The command that does it there."""
    return ["smooth", "--scheduler", cluster.address, "labels", "a.zarr"]


def shown(output: str) -> dict[str, tuple[object, ...]]:
    """What records say, times aside, of stores `a` and `b` alike."""
    return {
        case: (r["status"], r["inputs"], (r["output"] or "")[1:])
        for case, r in records(output).items()
    }


@pytest.mark.parametrize(
    "command",
    [
        ["smooth", "--json", "labels", "{}.zarr"],
        ["fuse-raters", "--json", "--report", "{}.json", *RATERS, "{}.zarr"],
        ["fuse-raters", "--json", *RATERS, "{}"],
    ],
    ids=["smooth", "fuse", "consensus"],
)
def test_same_store_and_records(
    command: list[str], cluster: DaskCluster, sample: Path, run: Run
) -> None:
    here = run(*(part.format("b") for part in command))
    there = [part.format("a") for part in command]
    first = run(*there, "--scheduler", cluster.address)
    assert shown(first.stdout) == shown(here.stdout)
    suffix = "" if command[-1] == "{}" else ".zarr"
    assert tree(sample / f"a{suffix}") == tree(sample / f"b{suffix}")
    again = run(*there, "--scheduler", cluster.address)
    assert {r["status"] for r in records(again.stdout).values()} == {"skipped"}
    if "--report" in command:
        report = (sample / "a.json").read_text()
        assert report == (sample / "b.json").read_text()


@pytest.mark.slow
def test_several_threads_in_a_worker(tmp_path: Path, sample: Path, run: Run) -> None:
    run("smooth", "labels", "b.zarr")
    with dask_cluster(tmp_path / "cluster", workers=1, threads=4) as cluster:
        run(*smoothing(cluster))
    assert tree(sample / "a.zarr") == tree(sample / "b.zarr")


def die_once(path: Path) -> str:
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def die_always(item: int) -> int:
    if item in (3, 4):
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * item


def name_and_reason(item: object, how: str) -> str:
    return f"{item} {how}"


def test_item_of_a_killed_worker_comes_again(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    with Cluster(cluster.address) as workers:
        paths = [tmp_path / str(number) for number in range(2)]
        done = set(workers.map(die_once, paths, crashed=name_and_reason))
    assert done == {"0", "1"}


def test_items_that_kill_all_their_workers(cluster: DaskCluster) -> None:
    """Those beside them, killed as often, are done all the same."""
    with Cluster(cluster.address) as workers:
        found = list(workers.map(die_always, range(10), crashed=name_and_reason))
        again = set(workers.map(die_always, range(2), crashed=name_and_reason))
    reason = "all workers that worked on it died"
    expected = {n: 2 * n for n in range(10)} | {n: f"{n} {reason}" for n in (3, 4)}
    assert sorted(found, key=str) == sorted(expected.values(), key=str)
    assert again == {0, 2}


@pytest.mark.slow
def test_workers_killed_in_the_middle(tmp_path: Path, sample: Path, run: Run) -> None:
    run("smooth", "labels", "b.zarr")
    mark = tmp_path / "mark"
    env = fault("wait:open:/c/0:2", SVLS_MARK=str(mark), SVLS_WAIT_S="2")
    with dask_cluster(tmp_path / "cluster", **env) as cluster:
        process = start(*smoothing(cluster), cwd=sample)
        wait_for(mark, process)
        cluster.kill_workers()
        output, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (0, "")
    assert "failed" not in output
    assert tree(sample / "a.zarr") == tree(sample / "b.zarr")
    assert not (sample / "a.zarr.tmp").exists()


@pytest.mark.slow
def test_case_that_kills_its_workers_fails_alone(tmp_path: Path, run: Run) -> None:
    for number in range(3):
        labels = blobs((8, 9, 10), 3, seed=number)
        write_image(tmp_path / "l" / f"case_{number}.nii.gz", labels)
    arguments = ("smooth", "--json", "l", "a.zarr")
    with dask_cluster(tmp_path / "cluster", **fault("crash:open:case_1:1")) as cluster:
        result = run(*arguments, "--scheduler", cluster.address, code=4)
    found = records(result.stdout)
    assert found["case_1"]["reason"] == "all workers that worked on it died"
    assert found["case_1"]["inputs"] == ["l/case_1.nii.gz"]
    assert found["case_0"]["status"] == found["case_2"]["status"] == "done"
    assert result.stderr == ""


@pytest.mark.slow
def test_ctrl_c(tmp_path: Path, sample: Path, run: Run) -> None:
    """What waits is dropped; what a worker was at when the run ended is not seen."""
    run("smooth", "labels", "b.zarr")
    mark = tmp_path / "mark"
    env = fault("wait:open:/c/0:3", SVLS_MARK=str(mark), SVLS_WAIT_S="3")
    with dask_cluster(tmp_path / "cluster", workers=1, **env) as cluster:
        process = start(*smoothing(cluster), cwd=sample)
        wait_for(mark, process)
        os.killpg(process.pid, signal.SIGINT)
        _, complaint = process.communicate(timeout=30)
        assert process.returncode == 130
        again = "run the same command again to go on"
        assert complaint.strip() == f"svls-cli: interrupted; {again}"
        run(*smoothing(cluster))
    assert tree(sample / "a.zarr") == tree(sample / "b.zarr")


def test_our_own_warnings_are_heard(
    sample: Path, cluster: DaskCluster, run: Run
) -> None:
    smooth = smoothing(cluster)
    run(*smooth)
    (sample / "a.zarr" / "notes.txt").write_text("mine")
    result = run(*smooth, "--overwrite")
    assert result.stderr.startswith("the old store is kept as ")


@pytest.mark.slow
def test_scheduler_that_dies(tmp_path: Path, sample: Path) -> None:
    mark = tmp_path / "mark"
    env = fault("wait:open:/c/0:1", SVLS_MARK=str(mark), SVLS_WAIT_S="60")
    with dask_cluster(tmp_path / "cluster", **env) as cluster:
        process = start(*smoothing(cluster), cwd=sample)
        wait_for(mark, process)
        cluster.scheduler.kill()
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 3
    assert complaint == f"svls-cli: the scheduler at {cluster.address} is gone\n"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("svls_cli.batch.cluster._CONNECT_S", 1)


@pytest.mark.usefixtures("impatient")
def test_nobody_answers(sample: Path, run: Run) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    result = run("smooth", "--scheduler", address, "labels", "a.zarr", code=3)
    assert result.stderr == f"svls-cli: no Dask scheduler answers at {address}\n"


@pytest.mark.parametrize(
    "address", ["here", "tcp://127.0.0.1", "no://host:1", "http://h:1"]
)
def test_no_address(address: str) -> None:
    with pytest.raises(InvalidParameterError, match="expected an address such as"):
        Cluster(address).start()


@pytest.mark.usefixtures("impatient")
def test_something_else_listens(sample: Path, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        result = run("smooth", "--scheduler", address, "labels", "a.zarr", code=3)
    assert result.stderr == f"svls-cli: no Dask scheduler answers at {address}\n"


def test_jobs_and_scheduler(sample: Path, run: Run) -> None:
    options = ("-j1", "--scheduler", "tcp://127.0.0.1:1")
    result = run("smooth", *options, "labels", "a.zarr", code=2)
    assert "--jobs is this machine's" in result.stderr


@pytest.mark.slow
def test_cluster_without_workers(tmp_path: Path) -> None:
    with (
        dask_cluster(tmp_path / "cluster", workers=0) as cluster,
        Cluster(cluster.address, patience_s=0.5) as workers,
        pytest.raises(WorkersError, match="has no workers; start some: dask worker"),
    ):
        list(workers.map(die_always, range(2), crashed=name_and_reason))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("raise ImportError('No svls_cli here')", "cannot run svls-cli: No svls_cli"),
        (
            """
import svls_cli.batch.version
svls_cli.batch.version.__version__ = "0.0"
""",
            "has svls-cli 0.0, this machine",
        ),
    ],
)
def test_worker_of_another_environment(
    package: str, message: str, tmp_path: Path
) -> None:
    """It is named by its first task, whenever it comes."""
    name = "svls_cli" if "No" in package else "sitecustomize"
    (tmp_path / f"{name}.py").write_text(package)
    with (
        dask_cluster(tmp_path / "cluster", PYTHONPATH=str(tmp_path)) as cluster,
        Cluster(cluster.address) as workers,
        pytest.raises(WorkersError, match=message),
    ):
        list(workers.map(die_always, range(2), crashed=name_and_reason))


def test_worker_of_another_version() -> None:
    with pytest.raises(WorkersError, match=r"this machine 0\.0: install the same"):
        _run_task("0.0", abs, -1)
    assert _run_task(__import__("svls_cli").__version__, abs, -1) == 1


def test_dask_is_an_extra(tmp_path: Path, sample: Path, run: Run) -> None:
    (tmp_path / "distributed.py").write_text("raise ImportError")
    command = ("smooth", "--scheduler", "tcp://127.0.0.1:1", "labels", "a.zarr")
    result = run(*command, code=2, env={"PYTHONPATH": str(tmp_path)})
    expected = "svls-cli: a cluster needs Dask: pip install 'svls-cli[dask]'\n"
    assert result.stderr == expected


def test_store_that_workers_do_not_share(
    cluster: DaskCluster, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the workers look into the workspace when its run has removed it."""

    def create_and_lose(folder: Path, config: Any) -> None:
        create_root(folder, config)
        shutil.rmtree(folder.parent)

    monkeypatch.setattr(destination, "create_root", create_and_lose)
    cases = find_cases([sample / "labels"])
    with Cluster(cluster.address) as workers:
        found = smooth_cases(cases, sample / "a.zarr", batch=Batch(jobs=workers))
    assert {record.status for record in found} == {"failed"}
    assert "no file system that this worker shares" in (found[0].reason or "")
