"""Stores in an object store: an S3 server of its own process, on this machine."""

import asyncio
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import ROOT, SAMPLE, Run, records, shell, start, tree
from tests.helpers.crashes import fault, start_until
from tests.helpers.label_maps import blobs, write_image

pytest.importorskip("s3fs")
pytest.importorskip("moto")

from svls_cli import open_store
from svls_cli.errors import StoreError, UnreachableError
from svls_cli.store import objects as objects_module
from svls_cli.store.objects import ObjectFolder, file_sizes, object_store
from svls_cli.store.uploads import put_case, put_root
from tests.helpers.object_stores import KEYS, objects, s3_server, stuck_server
from tests.helpers.stores import smoothed

Stuck = Callable[[bytes], AbstractContextManager[str]]

RATERS = [SAMPLE / "raters" / rater for rater in "abc"]
NOWHERE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    for number in range(3):
        array = blobs((10, 270, 20), 3, seed=number)  # two shards each
        write_image(tmp_path / "labels" / f"case_{number}.nii.gz", array)
    return tmp_path / "labels"


def test_smooth_inspect_export(s3: Any, labels: Path, run: Run, tmp_path: Path) -> None:
    run("smooth", labels, "here.zarr")
    result = run("smooth", "--json", labels, "s3://bucket/there.zarr")
    found = records(result.stdout)
    assert found["case_0"]["output"] == "s3://bucket/there.zarr/case_0"
    assert result.stderr == ""
    assert objects(s3, "there.zarr/") == tree(tmp_path / "here.zarr")
    again = run("smooth", "--json", labels, "s3://bucket/there.zarr/")
    assert {r["status"] for r in records(again.stdout).values()} == {"skipped"}
    result = run("inspect", "--verify", "s3://bucket/there.zarr")
    assert result.stderr == ""
    here = run("inspect", "--verify", "here.zarr").stdout
    assert result.stdout == here.replace("here.zarr", "s3://bucket/there.zarr")
    for store, out in (("s3://bucket/there.zarr", "a"), ("here.zarr", "b")):
        run("export", store, "case_0", out)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@pytest.mark.slow
def test_readme(s3: Any, tmp_path: Path) -> None:
    text, example = (
        (ROOT / "README.md").read_text(),
        "svls-cli smooth [^`]*? s3://[^`]*?",
    )
    (block,) = re.findall(rf"^```bash\n({example})^```", text, re.M | re.S)
    (tmp_path / "sample_data").symlink_to(SAMPLE)
    result = shell(block, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(list((tmp_path / "probabilities").iterdir())) == 4


def test_fuse_raters(s3: Any, run: Run, tmp_path: Path) -> None:
    options = ("--report", "r.json")
    run("fuse-raters", *options, *RATERS, "here.zarr")
    run("fuse-raters", *options, *RATERS, "s3://bucket/f/there.zarr")
    assert objects(s3, "f/there.zarr/") == tree(tmp_path / "here.zarr")


def test_python(s3: Any, labels: Path) -> None:
    store = smoothed(labels, "s3://bucket/py.zarr")
    assert sorted(store) == ["case_0", "case_1", "case_2"]
    patch = store["case_0"].probabilities((slice(0, 4),) * 3)
    assert patch.shape == (3, 4, 4, 4)
    assert abs(patch.sum(axis=0) - 1).max() < 1e-6


def test_changed_case_is_replaced_whole(s3: Any, labels: Path, run: Run) -> None:
    """By fewer objects than it had."""
    run("smooth", "--classes", "0,1,2", labels, "s3://bucket/a.zarr")
    write_image(labels / "case_1.nii.gz", blobs((8, 9, 10), 3, seed=9))
    result = run("smooth", "--json", labels, "s3://bucket/a.zarr")
    assert records(result.stdout)["case_1"]["status"] == "done"
    run("smooth", "--classes", "0,1,2", labels, "fresh.zarr")
    assert objects(s3, "a.zarr/") == tree(labels.parent / "fresh.zarr")


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment", ["open:/c/0:2", "open:/c/0:6", "open:/case/zarr.json:4"]
)
def test_kill_9(moment: str, s3: Any, labels: Path, run: Run) -> None:
    """While a case is built, and while its objects are put."""
    run("smooth", labels, "good.zarr")
    good = tree(labels.parent / "good.zarr")
    arguments = ("smooth", "-j1", "labels", "s3://bucket/a.zarr")
    process = start(*arguments, cwd=labels.parent, env=fault(f"kill:{moment}"))
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    left = objects(s3, "a.zarr/")
    assert {name: good[name] for name in left} == left
    assert not {name for name in left if re.fullmatch(r"case_./zarr\.json", name)}
    if "zarr.json" in moment:
        whole = {name for name in good if name.startswith("case_0")}
        assert whole - set(left) == {"case_0/zarr.json"}, "all but the marker are put"
        assert not run("inspect", "--json", "s3://bucket/a.zarr").stdout
    run(*arguments)
    assert objects(s3, "a.zarr/") == good


@pytest.mark.slow
def test_parts_at_once(s3: Any, run: Run, tmp_path: Path) -> None:
    run("smooth", SAMPLE / "labels", "good.zarr")
    command = ("smooth", SAMPLE / "labels", "s3://bucket/a.zarr", "-j1", "--part")
    parts = [start(*command, f"{number}/2", cwd=tmp_path) for number in (1, 2)]
    for part in parts:
        _, complaint = part.communicate(timeout=60)
        assert (part.returncode, complaint) == (0, "")
    assert objects(s3, "a.zarr/") == tree(tmp_path / "good.zarr")


@pytest.mark.slow
def test_cluster(s3: Any, run: Run, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    from tests.helpers.clusters import dask_cluster

    run("smooth", SAMPLE / "labels", "good.zarr")
    with dask_cluster(tmp_path / "cluster") as cluster:
        arguments = ("smooth", "--scheduler", cluster.address, SAMPLE / "labels")
        run(*arguments, "--dry-run", "s3://bucket/a.zarr")
        assert not objects(s3, "")
        run(*arguments, "s3://bucket/a.zarr")
    assert objects(s3, "a.zarr/") == tree(tmp_path / "good.zarr")


def test_dry_run_and_failures_put_nothing(s3: Any, labels: Path, run: Run) -> None:
    run("smooth", "--dry-run", labels, "s3://bucket/a.zarr")
    run("smooth", "--classes", "0", labels, "s3://bucket/a.zarr", code=4)
    assert not objects(s3, "")


def test_overwrite_is_refused(s3: Any, labels: Path, run: Run) -> None:
    arguments = ("smooth", "--overwrite", labels, "s3://bucket/a.zarr")
    run(*arguments)  # there is nothing yet
    before = objects(s3, "")
    result = run(*arguments, code=2)
    assert "nothing can be renamed" in result.stderr
    other = run("smooth", "--strength", "0.3", labels, "s3://bucket/a.zarr", code=3)
    assert "strength is 0.5 in the store, 0.3 now" in other.stderr
    assert objects(s3, "") == before


def test_damage_is_found(s3: Any, labels: Path, run: Run) -> None:
    run("smooth", labels, "s3://bucket/a.zarr")
    keys = [k for k in objects(s3, "a.zarr/case_1/") if k.startswith("0/c/")]
    s3.delete_object(Bucket="bucket", Key=f"a.zarr/case_1/{keys[0]}")
    result = run("inspect", "--verify", "--json", "s3://bucket/a.zarr", code=4)
    found = records(result.stdout)
    assert found["case_1"]["reason"] == f"{keys[0]} is missing"
    assert found["case_0"]["status"] == "done"
    with pytest.raises(StoreError, match="is missing or empty"):
        open_store("s3://bucket/a.zarr")["case_1"].patch()


def test_case_names(s3: Any, run: Run, tmp_path: Path) -> None:
    """Kept as they are, whatever they mean in URLs and patterns."""
    names = ["a b", "ä", "x#y", "p&q", "50%25", "[z]", "m!n", "~", "k=v&w"]
    for name in names:
        write_image(tmp_path / "l" / f"{name}.nrrd", blobs((4, 5, 6), 2))
    other = write_image(tmp_path / "other.nrrd", blobs((4, 5, 6), 2))
    other.rename(tmp_path / "l" / os.fsdecode(b"\xff.nrrd"))
    result = run("smooth", "--json", "l", "s3://bucket/a.zarr", code=4)
    found = records(result.stdout)
    failed = [r["reason"] for r in found.values() if r["status"] == "failed"]
    assert failed == ["its name is not valid Unicode, which object stores require"]
    assert sorted(open_store("s3://bucket/a.zarr")) == sorted(names)
    run("inspect", "--verify", "s3://bucket/a.zarr")


@pytest.mark.parametrize(
    ("environment", "url", "message"),
    [
        (None, "s3://no-such-bucket/a.zarr", "no such bucket"),
        (NOWHERE, "s3://bucket/a.zarr", "Could not connect to the endpoint URL"),
    ],
)
@pytest.mark.parametrize("command", ["smooth", "inspect", "export"])
def test_unreachable(
    environment: Any, url: str, message: str, command: str, s3: Any, run: Run
) -> None:
    before = [SAMPLE / "labels"] if command == "smooth" else []
    after = ["out"] if command == "export" else []
    result = run(command, *before, url, *after, code=3, env=environment)
    assert result.stderr.startswith(f"svls-cli: {url}: {message}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "http://[", "ftp://x"])
def test_endpoint_that_is_no_url(endpoint: str, run: Run) -> None:
    env = {"AWS_ENDPOINT_URL": endpoint, **KEYS}
    result = run("inspect", "s3://bucket/a.zarr", code=3, env=env)
    assert result.stderr.startswith("svls-cli: s3://bucket/a.zarr: ")
    assert result.stderr.count("\n") == 1


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stuck]:
    """A server that this process finds, takes requests, says so much, and no more."""
    monkeypatch.setattr(objects_module, "_PATIENCE_S", 0.5)

    @contextmanager
    def server(says: bytes) -> Iterator[str]:
        with stuck_server(says=says) as endpoint:
            for name, value in ({"AWS_ENDPOINT_URL": endpoint} | KEYS).items():
                monkeypatch.setenv(name, value)
            objects_module._file_system.cache_clear()  # and its connections
            yield endpoint

    yield server
    objects_module._file_system.cache_clear()


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_server_that_never_answers(says: bytes, tmp_path: Path, stuck: Stuck) -> None:
    write_image(tmp_path / "c.nii", blobs((4, 5, 6), 2))
    smoothed(tmp_path / "c.nii", tmp_path / "a.zarr")
    target = ObjectFolder("s3://bucket/b.zarr/c")
    with stuck(says) as endpoint:
        silent = f"s3://bucket/b.zarr.*: {endpoint} gave no answer within [01] s"
        with pytest.raises(UnreachableError, match=silent):
            put_root(tmp_path / "a.zarr", target)
        with pytest.raises(UnreachableError, match=silent):
            put_case(tmp_path / "a.zarr" / "c", target)
        with pytest.raises(UnreachableError, match=silent):
            open_store("s3://bucket/b.zarr")


def test_server_that_never_ends_its_answer(stuck: Stuck) -> None:
    beginning = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc"
    with (
        stuck(beginning) as endpoint,
        pytest.raises(UnreachableError, match=f"{endpoint} gave no answer"),
    ):
        ObjectFolder("s3://bucket/b.zarr/zarr.json").read_bytes()


def test_a_slow_upload_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound grows with the size."""
    monkeypatch.setattr(objects_module, "_PATIENCE_S", 0.01)
    file_system = object_store()
    slow = file_system._in_time(asyncio.sleep(0.3, "done"), size=2**14)
    assert asyncio.run(slow) == "done"


def test_no_permission(labels: Path, run: Run) -> None:
    with s3_server(INITIAL_NO_AUTH_ACTION_COUNT="1") as endpoint:
        env = {"AWS_ENDPOINT_URL": endpoint, **KEYS}
        result = run("smooth", labels, "s3://bucket/a.zarr", code=3, env=env)
    assert "s3://bucket/a.zarr: The AWS Access Key Id you provided" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_server_that_goes_away(labels: Path, run: Run) -> None:
    """Cases fail with the reason; the run ends."""
    with s3_server() as endpoint:
        extra = {"AWS_ENDPOINT_URL": endpoint, **KEYS, "SVLS_WAIT_S": "2"}
        arguments = ("smooth", "-j1", "labels", "s3://bucket/a.zarr")
        process = start_until("open:/c/0:1", *arguments, cwd=labels.parent, **extra)
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 4
    assert complaint.count("Could not connect to the endpoint") == 3


def test_no_store_there(s3: Any, run: Run) -> None:
    with pytest.raises(StoreError, match="no such store"):
        open_store("s3://bucket/none.zarr")
    s3.put_object(Bucket="bucket", Key="other/file", Body=b"precious")
    result = run("smooth", SAMPLE / "labels", "s3://bucket/other", code=3)
    assert "not a Zarr v3 group" in result.stderr
    assert objects(s3, "") == {"other/file": b"precious"}


def test_s3fs_is_an_extra(run: Run, tmp_path: Path) -> None:
    for name in ("s3fs", "botocore"):
        (tmp_path / f"{name}.py").write_text("raise ImportError")
    env = {"PYTHONPATH": str(tmp_path)}
    result = run("inspect", "s3://bucket/a.zarr", code=2, env=env)
    assert result.stderr == "svls-cli: s3:// needs s3fs: pip install 'svls-cli[s3]'\n"


@pytest.mark.parametrize(
    "url", ["gs://b/a.zarr", "https://h/a.zarr", "s3://bucket", "s3:/bucket/a.zarr"]
)
def test_other_places(url: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"expected a folder, or s3://bucket/name"):
        open_store(url)
    result = run("smooth", SAMPLE / "labels", url, code=3)
    assert "expected a folder, or s3://bucket/name" in result.stderr
    assert not list(tmp_path.iterdir())


def test_image_files_go_to_disks(run: Run, tmp_path: Path) -> None:
    result = run("fuse-raters", *RATERS, "s3://bucket/folder", code=3)
    assert "only stores are written into object stores" in result.stderr
    assert not list(tmp_path.iterdir())


def test_file_sizes_of_a_folder_on_a_disk(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "data").write_text("12345")
    assert file_sizes(tmp_path / "a") == {"b/data": 5}
