"""One pool of worker processes for all tests: each process takes a second to import."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from joblib.externals.loky import ProcessPoolExecutor

from svls_cli.batch import workers


class SharedPool:
    """Stands for loky's executor: its processes outlive whoever asked for them.

    A task finds what it would find in a process of its own: the folder, the environment
    and the standard streams of the test. What is at work when its user leaves is waited
    for, where loky would kill it; a pool in which something died ends with its user.
    """

    _pools: ClassVar[dict[int, ProcessPoolExecutor]] = {}

    def __init__(self, processes: int, **options: Any) -> None:
        self._processes, self._options = processes, {**options, "timeout": None}
        self._futures: list[Future[Any]] = []

    def submit(self, task: Callable[..., Any], *arguments: Any) -> Future[Any]:
        if self._processes not in self._pools:
            self._pools[self._processes] = started(self._processes, self._options)
        caller = os.getpid(), str(Path.cwd()), dict(os.environ)
        pool = self._pools[self._processes]
        future: Future[Any] = pool.submit(as_caller, caller, task, *arguments)
        self._futures.append(future)
        return future

    def shutdown(self, **options: bool) -> None:
        running = [future for future in self._futures if not future.cancel()]
        if any(isinstance(future.exception(), BrokenProcessPool) for future in running):
            self._pools.pop(self._processes).shutdown(**options)
        self._futures.clear()

    @classmethod
    def close(cls) -> None:
        """End all processes."""
        while cls._pools:
            cls._pools.popitem()[1].shutdown(wait=True, kill_workers=True)


@contextmanager
def shared_pools() -> Iterator[None]:
    """Let `Workers` share their processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "ProcessPoolExecutor", SharedPool)
        yield
    SharedPool.close()


def started(processes: int, options: dict[str, Any]) -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(processes, **options)
    pool.submit(os.getpid).result()
    # `Workers` waits for threads of this name to end with their pool.
    for thread in threading.enumerate():
        if thread.name == "QueueFeederThread":
            thread.name = "SharedPool"
    return pool


def as_caller(
    caller: tuple[int, str, dict[str, str]],
    task: Callable[..., Any],
    *arguments: Any,
) -> Any:
    process, folder, environment = caller
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # that of the first test is gone
    for stream in (1, 2):
        there = os.open(f"/proc/{process}/fd/{stream}", os.O_WRONLY | os.O_APPEND)
        os.dup2(there, stream)
        os.close(there)
    return task(*arguments)
