import os
import subprocess
import sys
from pathlib import Path

import pytest

from svls_cli.errors import StoreError
from svls_cli.files import machine
from svls_cli.store.transaction import publish, replace_store, workspace
from tests.helpers.commands import dead_pid


def build(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "data").write_text(content)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty store."""
    folder = tmp_path / "a.zarr"
    folder.mkdir()
    return folder


def alone(root: Path) -> bool:
    """Nothing lies beside the store."""
    return [path.name for path in root.parent.iterdir()] == [root.name]


def stale(root: Path, pid: int, host: str | None = None) -> Path:
    """What a killed run leaves."""
    name = f"{host or machine()}~{pid}~abc"
    folder = root.with_name(f"{root.name}.tmp") / name
    build(folder / "half", "half a case")
    return folder


@pytest.mark.parametrize("old", [False, True])
def test_publish_puts_a_case_in_place(old: bool, root: Path) -> None:
    if old:
        build(root / "case", "old")
    with workspace(root) as area:
        publish(build(area / "x", "new"), root / "case", workspace=area)
        assert (root / "case" / "data").read_text() == "new"
    assert alone(root)


def test_old_case_comes_back_if_the_new_one_does_not_arrive(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(root / "case", "old")
    original = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name == "x" and not target.exists():  # the old one is aside
            raise KeyboardInterrupt
        return original(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt), workspace(root) as area:
        publish(build(area / "x", "new"), root / "case", workspace=area)
    assert (root / "case" / "data").read_text() == "old"
    assert alone(root)


@pytest.mark.parametrize("keep_old", [False, True])
def test_old_store_comes_back_if_the_new_one_does_not_arrive(
    keep_old: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(root / "case", "old")
    original = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name == "store" and target == root:
            raise OSError(28, "No space left on device")
        return original(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with workspace(root) as area:
        new = build(area / "store", "new")
        with pytest.raises(OSError, match="No space"):
            replace_store(root, new, workspace=area, keep_old=keep_old)
    assert (root / "case" / "data").read_text() == "old"
    assert alone(root)


def test_case_that_another_run_publishes_at_the_same_time(root: Path) -> None:
    with workspace(root) as first, workspace(root) as second:
        publish(build(first / "x", "same"), root / "case", workspace=first)
        publish(build(second / "x", "same"), root / "case", workspace=second)
    assert (root / "case" / "data").read_text() == "same"
    assert alone(root)


def test_next_run_clears_what_a_killed_one_left(root: Path) -> None:
    folder = stale(root, dead_pid())
    build(folder / "replaced" / "case", "old")
    with workspace(root):
        assert not folder.exists()
        assert (root / "case" / "data").read_text() == "old"
    assert alone(root)


@pytest.mark.parametrize(
    ("pid", "host"), [(None, None), (1, None), (999_999_999, "another-host")]
)
def test_living_runs_are_left_alone(
    pid: int | None, host: str | None, root: Path
) -> None:
    pid = pid or os.getpid()
    folder = stale(root, pid, host)
    with workspace(root):
        pass
    assert (folder / "half" / "data").exists()


def test_worker_of_a_killed_run_publishes_nothing(root: Path) -> None:
    build(root / "case", "good, by the next run")
    folder = stale(root, dead_pid())
    with pytest.raises(StoreError, match="the run that this case belonged to"):
        publish(folder / "half", root / "case", workspace=folder)
    assert (root / "case" / "data").read_text() == "good, by the next run"


def test_worker_that_goes_on_after_its_run_publishes_nothing(root: Path) -> None:
    """Its next file makes the folders again, without the files before."""
    with workspace(root) as area:
        built = build(area / "x", "whole")
    (built / "0" / "c").mkdir(parents=True)
    (built / "0" / "c" / "1").write_text("the last shard")
    with pytest.raises(StoreError, match="has ended"):
        publish(built, root / "case", workspace=area)
    assert not list(root.iterdir())


def test_workspaces_come_and_go_together(root: Path) -> None:
    """Each run removes the area that it leaves empty, and each needs it."""
    program = """if True:
        import sys
        from pathlib import Path
        from svls_cli.store.transaction import publish, workspace
        root, own = Path(sys.argv[1]), sys.argv[2]
        for number in range(60):
            with workspace(root) as area:
                (area / "x").mkdir()
                publish(area / "x", root / f"{own} {number}", workspace=area)
    """
    command = [sys.executable, "-c", program, str(root)]
    runs = [subprocess.Popen([*command, own]) for own in "abc"]
    assert [run.wait(timeout=120) for run in runs] == [0, 0, 0]
    assert len(list(root.iterdir())) == 180
    assert alone(root)


@pytest.mark.parametrize("keep_old", [True, False])
def test_store_is_replaced(keep_old: bool, tmp_path: Path) -> None:
    root = tmp_path / "a.zarr"
    build(root, "old")
    with workspace(root) as area:
        new = build(area / "store", "new")
        kept = replace_store(root, new, workspace=area, keep_old=keep_old)
    assert kept == (tmp_path / "a.zarr.old" if keep_old else None)
    assert (root / "data").read_text() == "new"
    names = ["a.zarr", "a.zarr.old"] if keep_old else ["a.zarr"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names


def test_old_stores_are_numbered(tmp_path: Path) -> None:
    root = tmp_path / "a.zarr"
    build(root, "0")
    for content in "123":
        with workspace(root) as area:
            new = build(area / "store", content)
            replace_store(root, new, workspace=area, keep_old=True)
    found = {p.name: (p / "data").read_text() for p in tmp_path.iterdir()}
    names = ("a.zarr.old", "a.zarr.old2", "a.zarr.old3", "a.zarr")
    assert found == dict(zip(names, "0123", strict=True))


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("keep_old", [True, False])
def test_killed_replacement(keep_old: bool, arrived: bool, tmp_path: Path) -> None:
    """Neither store is lost, nor one left behind that was not to be kept."""
    root = tmp_path / "a.zarr"
    folder = stale(root, dead_pid())
    build(folder / ("old store to keep" if keep_old else "old store"), "old")
    if arrived:
        build(root, "new")
    with workspace(root):
        pass
    assert (root / "data").read_text() == ("new" if arrived else "old")
    if arrived and keep_old:
        assert (tmp_path / "a.zarr.old" / "data").read_text() == "old"
    else:
        assert alone(root)


def test_old_store_is_kept_while_the_new_one_has_no_place(root: Path) -> None:
    """Another machine's run made a store where there was none for a moment."""
    folder = stale(root, dead_pid())
    build(folder / "old store", "old")
    build(folder / "store", "new")
    build(root / "case", "another run's")
    with workspace(root):
        pass
    assert (root / "case" / "data").read_text() == "another run's"
    assert (root.with_name("a.zarr.old") / "data").read_text() == "old"


def test_links_that_lead_nowhere(root: Path) -> None:
    """In an old case, moved aside and restored."""
    folder = stale(root, dead_pid())
    build(folder / "replaced" / "case", "old")
    for link, target in (("nowhere", "none"), ("loop", "loop"), ("self", ".")):
        (folder / "replaced" / "case" / link).symlink_to(target)
    with workspace(root):
        assert (root / "case" / "data").read_text() == "old"
    assert alone(root)
