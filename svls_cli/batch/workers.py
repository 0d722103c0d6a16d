"""Many cases in worker processes; one that crashes costs its own case only."""

from __future__ import annotations

import re
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from itertools import count
from multiprocessing import resource_tracker
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from types import TracebackType
from typing import Any, TypeVar

import joblib
from joblib.externals.loky import ProcessPoolExecutor

from svls_cli.batch.worker_process import prepare, run_task
from svls_cli.errors import InvalidParameterError, WorkersError
from svls_cli.files import unfinished_directory
from svls_cli.labels import time_limit

Item = TypeVar("Item")
Result = TypeVar("Result")

# Wraps an iterator to show its progress: the iterator, its length, what is done.
Progress = Callable[[Iterator[Any], int, str], Iterator[Any]]


def no_progress(items: Iterator[Any], total: int, doing: str) -> Iterator[Any]:
    """Show nothing."""
    return items


# A worker whose parent was killed finds nothing to do and leaves after this long.
_IDLE_S = 30
_FEEDER_S = 1
# Cases are parallel already: threads in each worker would only fight the others.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_TOO_LONG = "reading it took longer than its size allows"


class Workers:
    """A pool of worker processes, which are started when they are needed.

    Parameters
    ----------
    jobs
        Number of processes; by default the cores that this process may use.
    items
        Number of items there will be; more processes are never started.
    module
        Module that each worker imports as it starts.

    Attributes
    ----------
    remote
        Whether they may be on other machines.
    """

    remote = False

    def __init__(
        self, jobs: int | None = None, *, items: int, module: str = "svls_cli"
    ) -> None:
        if jobs is not None and jobs < 1:
            raise InvalidParameterError(f"jobs must be at least 1, found {jobs}")
        self.jobs: int = jobs or joblib.cpu_count()
        self._processes = max(1, min(self.jobs, items))
        self._module = module
        self._executor: ProcessPoolExecutor | None = None
        # Here are temporary files of the workers: one that dies removes none.
        self._folder: TemporaryDirectory[str] | None = None
        self._places = count()  # of tasks among the deadlines
        self._late: set[int] = set()  # places of those that took too long

    def start(self) -> Workers:
        """Start the workers now, so that they import while this process does."""
        self._submit(_nothing, None, next(self._places))
        return self

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def map(
        self,
        task: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        again: Callable[[Item], Result] | None = None,
        crashed: Callable[[Item, str], Result],
    ) -> Generator[Result]:
        """Results as they come, in no order; closing it early stops the workers.

        When a worker process dies, the pool is replaced and everything that was in
        flight runs again, one at a time: what kills its process alone has crashed. Not
        so what took longer than its `time_limit`.

        ``again`` stands in for ``task`` where an item runs again; ``crashed`` makes the
        result of one whose worker died, told how.
        """
        waiting = deque(items)
        running: dict[Future[Result], tuple[Item, int]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < 2 * self._processes:
                    place = next(self._places)
                    try:
                        future = self._submit(task, waiting[0], place)
                        running[future] = waiting[0], place
                    except BrokenProcessPool:  # those in flight will say so below
                        if not running:
                            self._stop()
                        break
                    waiting.popleft()
                if not running:
                    continue
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                suspects = [f for f in done if _died(f)]
                for future in done.difference(suspects):
                    del running[future]
                    yield future.result()
                if suspects:
                    in_flight = list(running.values())
                    running.clear()
                    self._stop()
                    for item, place in in_flight:
                        yield self._again(again or task, item, place, crashed)
        finally:
            if running:  # left early: nobody may go on writing
                self._stop()

    def _again(
        self,
        task: Callable[[Item], Result],
        item: Item,
        place: int,
        crashed: Callable[[Item, str], Result],
    ) -> Result:
        if place in self._late:
            return crashed(item, _TOO_LONG)
        self._stop()
        place = next(self._places)
        try:
            return self._submit(task, item, place).result()
        except BrokenProcessPool as error:
            self._stop()
            return crashed(item, _TOO_LONG if place in self._late else _cause(error))

    def _submit(
        self, task: Callable[[Item], Result], item: Item, place: int
    ) -> Future[Result]:
        if self._executor is None:
            self._folder = unfinished_directory(Path(gettempdir()))
            self._board.touch()
            self._executor = ProcessPoolExecutor(
                self._processes,
                timeout=_IDLE_S,
                env=_ENVIRONMENT,
                initializer=prepare,
                initargs=(self._module, self._board),
            )
        try:
            with _ctrl_c_blocked():
                future: Future[Result] = self._executor.submit(
                    run_task, place, task, item
                )
        except BrokenProcessPool:
            raise
        except (OSError, RuntimeError) as error:  # too few processes, or threads
            raise WorkersError(
                f"worker processes cannot be started: {error}"
            ) from error
        # In loky's thread, at once: `_stop` waits for it.
        future.add_done_callback(partial(self._look, place))
        return future

    def _look(self, place: int, future: Future[Any]) -> None:
        """Note whether the worker died because its task took too long."""
        if _died(future) and time_limit.overdue(self._board, place):
            self._late.add(place)

    @property
    def _board(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name, "deadlines")

    def _stop(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)
            self._executor = None
            _join_feeders()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


class ThisProcess(Workers):
    """This process in place of workers, for what cannot travel to others.

    A case that crashes takes the whole run with it.
    """

    def __init__(self) -> None:
        super().__init__(1, items=1)

    def map(
        self,
        task: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        again: Callable[[Item], Result] | None = None,
        crashed: Callable[[Item, str], Result],
    ) -> Generator[Result]:
        """Results in the order of the items."""
        yield from map(task, items)


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Let processes that start here hear nothing of Ctrl-C, which reaches all.

    They would show where their first imports were.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which unblocks it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _join_feeders() -> None:
    """Wait for the threads that feed loky's queues, as loky does not.

    One that the end of the process cuts short leaves a semaphore registered, of which
    Python complains on stderr.
    """
    for thread in threading.enumerate():
        if thread.name == "QueueFeederThread":
            thread.join(_FEEDER_S)


def _died(future: Future[Any]) -> bool:
    if future.cancelled():
        return False
    return isinstance(future.exception(), BrokenProcessPool)


def _nothing(item: None) -> None:
    """Do nothing: the first task starts the workers."""


def _cause(error: Any) -> str:
    signal_name = re.search(r"SIG[A-Z]+", str(error))
    how = f" ({signal_name.group()})" if signal_name else ""
    return f"the process that worked on it crashed{how}"
