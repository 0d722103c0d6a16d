"""Many cases on a Dask cluster; Dask is an extra.

joblib's Dask backend would be less code, but a task whose worker dies leaves it waiting
for ever. Here every task is a future of its own.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from svls_cli.batch.version import __version__
from svls_cli.batch.worker_process import keep_freed_memory
from svls_cli.batch.workers import Item, Result, Workers
from svls_cli.errors import InvalidParameterError, WorkersError

if TYPE_CHECKING:
    from distributed import Client, Future

_CONNECT_S = 10
_LOOK_S = 2
# Long enough for workers that are started again, or by a cluster that grows on demand.
_PATIENCE_S = 300


@runtime_checkable
class Travels(Protocol):
    """Something that names files, perhaps by paths relative to the current folder."""

    def absolute(self) -> Any: ...


class _WorkersDiedError(Exception):
    """Every worker that the scheduler gave a task to died."""


class Cluster(Workers):
    """The workers of a Dask cluster, in place of processes of this machine.

    Paths travel, arrays do not: inputs and output are where all workers find them by
    the same names, and each has the same svls-cli. A case whose worker dies is done
    again by another. One that is at hand whenever workers die is tried once more when
    all others are done, alone: if they still die, it has failed.

    Parameters
    ----------
    address
        Address of the scheduler, such as ``tcp://host:8786``.
    patience_s
        How long the cluster may have no worker at all.

    Raises
    ------
    InvalidParameterError
        If Dask is not installed, or this is no address.
    WorkersError
        When it is used: if the scheduler does not answer or is lost, no worker comes,
        or a worker has no svls-cli or another version.
    """

    remote = True

    def __init__(self, address: str, *, patience_s: float = _PATIENCE_S) -> None:
        if not re.fullmatch(r"(tcp|tls)://[^/\s]+:[0-9]{1,5}", address):
            raise InvalidParameterError(
                f"scheduler {address!r}: expected an address such as tcp://host:8786"
            )
        super().__init__(1, items=1)  # one thread a case: all cores have cases
        self._address = address
        self._patience_s = patience_s
        self._client: Client | None = None

    def start(self) -> Cluster:
        """Connect now, so that errors come before any work is done."""
        self._connect()
        return self

    def map(
        self,
        task: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        again: Callable[[Item], Result] | None = None,
        crashed: Callable[[Item, str], Result],
    ) -> Generator[Result]:
        """Results as in `Workers.map`; closing it drops tasks that have not begun."""
        suspects: list[Item] = []
        finished = False
        try:
            for item, future in self._run(task, list(items)):
                try:
                    result = self._result(future)
                except _WorkersDiedError:
                    suspects.append(item)
                else:
                    yield result
            for item in suspects:
                yield self._alone(again or task, item, crashed)
            finished = True
        finally:
            if not finished:
                self._stop()

    def _alone(
        self,
        task: Callable[[Item], Result],
        item: Item,
        crashed: Callable[[Item, str], Result],
    ) -> Result:
        try:
            ((_, future),) = self._run(task, [item])
            result: Result = self._result(future)
        except _WorkersDiedError:
            return crashed(item, "all workers that worked on it died")
        return result

    def _run(
        self, task: Callable[[Item], Result], items: list[Item]
    ) -> Generator[tuple[Item, Future]]:
        """Finished futures with their items, in the order in which they finish."""
        client = self._connect()
        from distributed.protocol.pickle import dumps, loads

        done: Queue[Future] = Queue()
        travelling = [i.absolute() if isinstance(i, Travels) else i for i in items]
        packed = [dumps(_Packed(__version__, task, item)) for item in travelling]
        futures = client.map(loads, packed, key="svls-cli", pure=False)
        item_of = {
            future.key: item for future, item in zip(futures, items, strict=True)
        }
        for future in futures:
            future.add_done_callback(done.put)
        del futures  # one that is done is forgotten, by the scheduler too
        for _ in range(len(items)):
            future = self._next(client, done)
            yield item_of[future.key], future

    def _next(self, client: Client, done: Queue[Future]) -> Future:
        alone_since: float | None = None
        while True:
            try:
                return done.get(timeout=_LOOK_S)
            except Empty:
                pass
            if client.nthreads():
                alone_since = None
                continue
            alone_since = alone_since or time.monotonic()
            if time.monotonic() - alone_since > self._patience_s:
                raise WorkersError(
                    f"the cluster at {self._address} has no workers; start some: dask "
                    f"worker {self._address} --nthreads 1"
                )

    def _result(self, future: Future) -> Any:
        from distributed import CancelledError, KilledWorker

        try:
            # Done, but if its worker has died since then, done again meanwhile.
            return future.result()
        except KilledWorker as died:
            raise _WorkersDiedError from died
        except CancelledError as gone:
            raise WorkersError(f"the scheduler at {self._address} is gone") from gone
        except Exception as failure:
            error = failure
        lacking: BaseException | None = error
        while lacking is not None and not isinstance(lacking, ImportError):
            lacking = lacking.__cause__
        if lacking is not None:
            raise WorkersError(
                f"the cluster at {self._address} cannot run svls-cli: {lacking}; "
                f"install svls-cli {__version__} for its scheduler and workers"
            ) from error
        raise error

    def _connect(self) -> Client:
        if self._client is not None:
            return self._client
        try:
            from distributed import Client
        except ImportError as error:
            raise InvalidParameterError(
                "a cluster needs Dask: pip install 'svls-cli[dask]'"
            ) from error
        # In a thread: it waits for ever where something else listens in silence.
        answer: Queue[Client | OSError] = Queue()

        def dial() -> None:
            try:
                answer.put(
                    Client(self._address, timeout=_CONNECT_S, set_as_default=False)
                )
            except OSError as error:
                answer.put(error)

        Thread(target=dial, daemon=True).start()
        try:
            client = answer.get(timeout=2 * _CONNECT_S)
        except Empty:
            client = TimeoutError()
        if isinstance(client, OSError):
            raise WorkersError(
                f"no Dask scheduler answers at {self._address}"
            ) from client
        self._client = client
        return client

    def _stop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def silence_dask() -> None:
    """Switch off Dask's log: in tracebacks it has what our errors say in a line."""
    with suppress(ImportError):  # which is an error as soon as Dask is used
        import distributed  # noqa: F401 -- gives its loggers their levels
    parents = ("asyncio", "dask", "distributed", "tornado")
    for name in (*parents, *logging.root.manager.loggerDict):
        if name.partition(".")[0] in parents:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True)
class _Packed:
    """A task whose unpacking is its work.

    All that a worker is asked is to unpack bytes, so that one without svls-cli says so.
    It would die of a task that it cannot even read.
    """

    version: str
    task: Callable[[Any], Any]
    item: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return _run_task, (self.version, self.task, self.item)


def _run_task(version: str, task: Callable[[Item], Result], item: Item) -> Result:
    """Run a task in a worker of the cluster, if its version is this one."""
    if version != __version__:
        raise WorkersError(
            f"a worker of the cluster has svls-cli {__version__}, this machine "
            f"{version}: install the same"
        )
    keep_freed_memory()
    return task(item)
