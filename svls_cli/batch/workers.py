"""Many cases in worker processes; one that crashes costs its own case only."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from ctypes import CDLL
from importlib import import_module
from types import TracebackType
from typing import Any, TypeVar

import joblib
from joblib.externals.loky import ProcessPoolExecutor

from svls_cli.errors import InvalidParameterError, WorkersError

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
# Parameters of glibc's mallopt: up to which size memory is its own, and how much of
# that may lie idle. 32 MiB is the most that it allows.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
_OWN_BYTES, _IDLE_BYTES = 2**25, 2**27


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

    def start(self) -> Workers:
        """Start the workers now, so that they import while this process does."""
        self._submit(_nothing, None)
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
        crashed: Callable[[Item, str], Result],
    ) -> Generator[Result]:
        """Results as they come, in no order; closing it early stops the workers.

        When a worker process dies, the pool is replaced and everything that was in
        flight runs again, one at a time: what kills its process alone has crashed.

        ``crashed`` makes the result of an item whose worker died, told how.
        """
        waiting = deque(items)
        running: dict[Future[Result], Item] = {}
        try:
            while waiting or running:
                while waiting and len(running) < 2 * self._processes:
                    try:
                        running[self._submit(task, waiting[0])] = waiting[0]
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
                    for item in in_flight:
                        yield self._alone(task, item, crashed)
        finally:
            if running:  # left early: nobody may go on writing
                self._stop()

    def _alone(
        self,
        task: Callable[[Item], Result],
        item: Item,
        crashed: Callable[[Item, str], Result],
    ) -> Result:
        self._stop()
        try:
            return self._submit(task, item).result()
        except BrokenProcessPool as error:
            self._stop()
            return crashed(item, _cause(error))

    def _submit(self, task: Callable[[Item], Result], item: Item) -> Future[Result]:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self._processes,
                timeout=_IDLE_S,
                env=_ENVIRONMENT,
                initializer=_prepare,
                initargs=(self._module,),
            )
        try:
            future: Future[Result] = self._executor.submit(task, item)
        except BrokenProcessPool:
            raise
        except OSError as error:
            raise WorkersError(
                f"worker processes cannot be started: {error}"
            ) from error
        return future

    def _stop(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)
            self._executor = None
            _join_feeders()


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
        crashed: Callable[[Item, str], Result],
    ) -> Generator[Result]:
        """Results in the order of the items."""
        yield from map(task, items)


def _join_feeders() -> None:
    """Wait for the threads that feed loky's queues, as loky does not.

    One that the end of the process cuts short leaves a semaphore registered, of which
    Python complains on stderr.
    """
    for thread in threading.enumerate():
        if thread.name == "QueueFeederThread":
            thread.join(_FEEDER_S)


def _died(future: Future[Any]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def keep_freed_memory() -> None:
    """Let this process keep the memory that one block frees for the next one (glibc).

    Returning it to the system and fetching it again costs a tenth of the time, and a
    third where all of it is returned at once, as in Dask's workers.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):
            mallopt = CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, _OWN_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _IDLE_BYTES)


def _prepare(module: str) -> None:
    # Ctrl-C reaches every process of a terminal; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    import_module(module)


def _nothing(item: None) -> None:
    """Do nothing: the first task starts the workers."""


def _cause(error: Any) -> str:
    signal_name = re.search(r"SIG[A-Z]+", str(error))
    how = f" ({signal_name.group()})" if signal_name else ""
    return f"the process that worked on it crashed{how}"
