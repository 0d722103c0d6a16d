"""What became of one case."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, Protocol

from svls_cli.errors import SvlsError

Status = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class Record:
    """One case's outcome; a line of `--json` output.

    Parameters
    ----------
    case
        Its name.
    status
        ``skipped`` means that it was complete already.
    reason
        Why it failed or was skipped, or what is worth knowing of it, else None.
    inputs
        The files it came from.
    output
        Where the result is, None if there is none.
    seconds
        Spent on it.
    bytes
        Size of the result on disk, None if unknown.
    """

    case: str
    status: Status
    reason: str | None
    inputs: tuple[str, ...]
    output: str | None
    seconds: float
    bytes: int | None = None

    @classmethod
    def failure(cls, case: str, reason: str, inputs: tuple[str, ...] = ()) -> Record:
        """Of a case on which no work could be done, or whose worker died."""
        return cls(case, "failed", reason, inputs, None, 0.0)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class Outcome:
    """What a case's work returns if it was not ended by an error.

    Parameters
    ----------
    output, bytes
        As in `Record`.
    skipped
        Why there was nothing to do.
    failure
        What was found wrong.
    note
        What is worth knowing of a case that went well.
    """

    output: str | None = None
    bytes: int | None = None
    skipped: str | None = None
    failure: str | None = None
    note: str | None = None


def recorded(case: str, inputs: tuple[str, ...], work: Callable[[], Outcome]) -> Record:
    """Run one case's work; whatever happens, a record comes back."""
    start = perf_counter()

    def record(status: Status, reason: str | None, outcome: Outcome | None) -> Record:
        output = outcome.output if outcome else None
        size = outcome.bytes if outcome else None
        seconds = perf_counter() - start
        return Record(case, status, reason, inputs, output, seconds, size)

    try:
        outcome = work()
    except SvlsError as error:
        return record("failed", str(error), None)
    except OSError as error:
        return record("failed", f"{error.strerror or error}{_at(error)}", None)
    except MemoryError:
        return record("failed", "out of memory", None)
    # The other cases go on, so a bug must not end the run; it is told as one.
    except Exception as error:
        return record("failed", f"unexpected {error!r}: please report this bug", None)
    if outcome.failure:
        return record("failed", outcome.failure, outcome)
    if outcome.skipped:
        return record("skipped", outcome.skipped, outcome)
    return record("done", outcome.note, outcome)


def until_failure(records: Generator[Record], *, fail_fast: bool) -> Generator[Record]:
    """All records; with ``fail_fast`` none after the first that failed."""
    with closing(records):
        for record in records:
            yield record
            if fail_fast and record.status == "failed":
                return


def _at(error: OSError) -> str:
    return f": {error.filename}" if error.filename else ""


class Scannable(Protocol):
    """A case and its label map files."""

    @property
    def name(self) -> str: ...

    @property
    def paths(self) -> tuple[Path, ...]: ...

    @property
    def inputs(self) -> tuple[str, ...]: ...


def crashed(case: Scannable, how: str) -> Record:
    """The record of a case whose worker died."""
    return Record.failure(case.name, how, case.inputs)
