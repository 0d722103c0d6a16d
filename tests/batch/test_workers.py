import os
import signal
import tempfile
import threading
import time
from pathlib import Path
from tempfile import mkstemp

import joblib
import psutil
import pytest
from joblib.externals.loky import ProcessPoolExecutor

from svls_cli.batch import workers as module
from svls_cli.batch.workers import Workers
from svls_cli.errors import InvalidParameterError
from svls_cli.labels.time_limit import time_limit


@pytest.fixture(autouse=True)
def own_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pool that other tests share: pools are what is tested here."""
    monkeypatch.setattr(module, "ProcessPoolExecutor", ProcessPoolExecutor)


def double(item: int) -> int:
    return 2 * item


def double_or_die(item: int) -> int:
    if item in (3, 4, 17):
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(0.01)
    return 2 * item


def complain(item: int) -> int:
    raise ValueError(f"item {item}")


def hang_or_double(item: int) -> int:
    with time_limit(1 if item == 4 else 30):
        if item == 4:
            time.sleep(60)
        time.sleep(0.01)
    time.sleep(0.01)
    return 2 * item


def name_and_reason(item: int, how: str) -> str:
    return f"{item} {how}"


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_of_all_items(jobs: int) -> None:
    with Workers(jobs, items=20) as workers:
        found = set(workers.map(double, range(20), crashed=name_and_reason))
        again = set(workers.map(double, range(3), crashed=name_and_reason))
    assert found == set(range(0, 40, 2))
    assert again == {0, 2, 4}


@pytest.mark.parametrize("jobs", [1, 2])
def test_crashes_cost_their_own_items_only(jobs: int) -> None:
    with Workers(jobs, items=20) as workers:
        found = list(workers.map(double_or_die, range(20), crashed=name_and_reason))
    reason = "the process that worked on it crashed (SIGSEGV)"
    expected = {n: 2 * n for n in range(20)} | {n: f"{n} {reason}" for n in (3, 4, 17)}
    assert sorted(found, key=str) == sorted(expected.values(), key=str)


@pytest.mark.parametrize("jobs", [1, 2])
def test_work_that_hangs_is_ended_once(jobs: int) -> None:
    begin = time.monotonic()
    with Workers(jobs, items=20) as workers:
        found = list(workers.map(hang_or_double, range(20), crashed=name_and_reason))
    reason = "reading it took longer than its size allows"
    expected = {n: 2 * n for n in range(20)} | {4: f"4 {reason}"}
    assert sorted(found, key=str) == sorted(expected.values(), key=str)
    assert time.monotonic() - begin < 30


def leave_a_file(item: int) -> int:
    mkstemp()
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_worker_that_dies_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Workers(1, items=4) as workers:
        list(workers.map(leave_a_file, range(4), crashed=name_and_reason))
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_the_parents_from_the_start(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It reaches all processes; one that imports would show where."""
    with Workers(2, items=2).start() as workers:
        for child in psutil.Process().children(recursive=True):
            child.send_signal(signal.SIGINT)
        found = set(workers.map(double, range(4), crashed=name_and_reason))
    assert found == {0, 2, 4, 6}
    assert capfd.readouterr().err == ""


def grow(item: int) -> int:
    kept.append(bytearray(os.urandom(1)) * 35 * 10**7)
    time.sleep(1.1)  # loky looks once a second
    return os.getpid()


kept: list[bytearray] = []


def test_a_worker_that_grows_is_not_started_anew() -> None:
    with Workers(1, items=3) as workers:
        assert len(set(workers.map(grow, range(3), crashed=name_and_reason))) == 1


def test_no_thread_of_the_pool_outlives_it() -> None:
    """One that the end of the process cut short would be complained of on stderr."""
    for _ in range(8):
        with Workers(1, items=1).start() as workers:
            list(workers.map(double, [1], crashed=name_and_reason))
        names = [thread.name for thread in threading.enumerate()]
        assert "QueueFeederThread" not in names


def test_errors_are_raised() -> None:
    with Workers(1, items=1) as workers, pytest.raises(ValueError, match="item 5"):
        list(workers.map(complain, [5], crashed=name_and_reason))


def mark_and_linger(path: Path) -> None:
    time.sleep(0.3)
    path.touch()


def test_closing_early_ends_the_work(tmp_path: Path) -> None:
    paths = [tmp_path / str(n) for n in range(40)]
    with Workers(2, items=40) as workers:
        results = workers.map(mark_and_linger, paths, crashed=name_and_reason)
        next(results)
        results.close()
        done = len(list(tmp_path.iterdir()))
        time.sleep(1)
        assert len(list(tmp_path.iterdir())) == done < 10


def test_crash_while_a_result_is_looked_at() -> None:
    """The pool breaks behind the caller's back, between two submissions."""
    found = []
    with Workers(1, items=20) as workers:
        for result in workers.map(double_or_die, range(20), crashed=name_and_reason):
            found.append(result)
            time.sleep(0.3)
    assert len(found) == 20
    assert sum(isinstance(f, str) for f in found) == 3


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_jobs(jobs: int) -> None:
    with pytest.raises(InvalidParameterError, match="jobs must be at least 1"):
        Workers(jobs, items=1)


def test_jobs_default_to_the_cores_at_hand() -> None:
    assert Workers(items=1).jobs == joblib.cpu_count()
