"""Running one function over many cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, time
from typing import Generic, Protocol, TypeVar

from svls_cli.batch.part import Part
from svls_cli.batch.records import Finished, Outcome, Record, Result, Status
from svls_cli.batch.workers import Progress, Workers, no_progress
from svls_cli.errors import InvalidParameterError, SvlsError, check_type


class Item(Protocol):
    """Something to work on: a case, and the files it comes from."""

    @property
    def name(self) -> str: ...

    @property
    def inputs(self) -> tuple[str, ...]: ...


AnyItem = TypeVar("AnyItem", bound=Item)


def ignore(record: Record) -> None:
    """Do nothing with a record."""


@dataclass(frozen=True)
class Batch:
    """How a run goes through its cases; the same for every function on many cases.

    Parameters
    ----------
    jobs
        Number of worker processes, or workers already started, or a `Cluster`.
        Default: one process for each core that this process may use.
    part
        Only this share of the cases. Default: all of them.
    fail_fast
        Stop at the first case that fails; by default the others go on.
    progress
        Wraps the cases while they finish, to show how far the run is.
    on_record
        Called with each case's record as soon as the case is finished.

    Raises
    ------
    InvalidParameterError
        If ``jobs`` or ``part`` is of the wrong type; and when it is used, if ``jobs``
        is less than 1.

    Examples
    --------
    >>> Batch(jobs=4, on_record=lambda record: print(record.case, record.status)).jobs
    4
    """

    jobs: int | Workers | None = None
    part: Part | None = None
    fail_fast: bool = False
    progress: Progress = no_progress
    on_record: Callable[[Record], None] = ignore

    def __post_init__(self) -> None:
        jobs = "a number of processes, Workers or a Cluster"
        check_type("jobs", self.jobs, int | Workers | None, jobs)
        check_type("part", self.part, Part | None, "a Part, such as Part(1, 4)")

    def own(self, items: Sequence[AnyItem]) -> list[AnyItem]:
        """The items of this run's part."""
        return self.part.of(items) if self.part else list(items)

    @contextmanager
    def workers(self, items: int) -> Iterator[Workers]:
        """Workers for so many items; those started here are stopped after the block."""
        if isinstance(self.jobs, Workers):
            yield self.jobs
            return
        with Workers(self.jobs, items=items) as started:
            yield started


def run_cases(
    work: Callable[[AnyItem], Outcome[Result]],
    items: Sequence[AnyItem],
    batch: Batch,
    *,
    doing: str,
) -> list[Finished[Result]]:
    """Run one function over many cases.

    A case that fails, or crashes its worker process, costs that case only.

    Parameters
    ----------
    work
        Runs in a worker, so it can be pickled. Whatever it raises becomes the record
        of a failed case.
    items
        The cases.
    batch
        Workers, part, progress, and who hears of the records.
    doing
        Verb for what is done to the cases, shown by the progress bar.

    Returns
    -------
    list of Finished
        In the order in which the cases finish; none after the first that failed if
        ``batch.fail_fast``.

    Raises
    ------
    InvalidParameterError
        If the number of jobs is less than 1, or two cases have one name.
    WorkersError
        If worker processes cannot be started, or a cluster's cannot be used.
    """
    own = batch.own(items)
    names = [item.name for item in own]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidParameterError(f"two cases are named {twice!r}")
    finished = []
    with (
        batch.workers(len(own)) as workers,
        closing(
            workers.map(
                _Attempt(work), own, again=_Attempt(work, time()), crashed=_crashed
            )
        ) as results,
    ):
        for each in batch.progress(results, len(own), doing):
            finished.append(each)
            batch.on_record(each.record)
            if batch.fail_fast and each.record.status == "failed":
                break
    return finished


@dataclass(frozen=True)
class _Attempt(Generic[AnyItem, Result]):
    """The work on one case; whatever happens, a record comes back."""

    work: Callable[[AnyItem], Outcome[Result]]
    # For a second try: when the run began, whose first try may have been a success.
    since: float | None = None

    def __call__(self, item: AnyItem) -> Finished[Result]:
        start, outcome = perf_counter(), self._outcome(item)
        if self.since is not None and outcome.skipped and outcome.output is not None:
            size = _size_if_newer(Path(outcome.output), self.since)
            if size is not None:
                outcome = Outcome(outcome.output, size)
        status: Status = "done"
        if outcome.failure or outcome.skipped:
            status = "failed" if outcome.failure else "skipped"
        record = Record(
            item.name,
            status,
            outcome.failure or outcome.skipped or outcome.note,
            item.inputs,
            outcome.output,
            perf_counter() - start,
            outcome.bytes,
        )
        return Finished(record, outcome.result)

    def _outcome(self, item: AnyItem) -> Outcome[Result]:
        try:
            return self.work(item)
        except SvlsError as error:
            return Outcome(failure=str(error) or repr(error))
        except OSError as error:
            at = f": {error.filename}" if error.filename else ""
            return Outcome(failure=f"{error.strerror or error}{at}" or repr(error))
        except MemoryError:
            return Outcome(failure="out of memory")
        # The other cases go on, so a bug must not end the run; it is told as one.
        except Exception as error:
            if str(error) == "can't start new thread":
                few = "too little memory, or too many threads"
                return Outcome(failure=f"{few}: {error}")
            return Outcome(failure=f"unexpected {error!r}: please report this bug")


def _size_if_newer(output: Path, since: float) -> int | None:
    """Size of a file or folder, bytes; None if it is older, or not on this disk."""
    try:
        if output.stat().st_mtime < since:
            return None
        files = [output, *output.rglob("*")]
        return sum(path.stat().st_size for path in files if path.is_file())
    except OSError:
        return None


def _crashed(item: Item, how: str) -> Finished[Result]:
    """The record of a case whose worker died."""
    return Finished(Record.failure(item.name, how, item.inputs))
