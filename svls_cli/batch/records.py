"""What became of one case."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Generic, Literal, TypeVar

Status = Literal["done", "skipped", "failed"]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Record:
    """One case's outcome; a line of `--json` output.

    Parameters
    ----------
    case
        The case's name.
    status
        ``skipped`` means that there was nothing to do, for example because the case
        was complete already.
    reason
        Why the case failed or was skipped, or what is worth knowing of it, else None.
    inputs
        The files it came from.
    output
        Where the result is, None if there is none.
    seconds
        Time spent on it.
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
        """The record of a case on which no work could be done, or whose worker died."""
        return cls(case, "failed", reason, inputs, None, 0.0)

    @classmethod
    def left_out(cls, case: str, reason: str, inputs: tuple[str, ...] = ()) -> Record:
        """The record of a case on which there is no work to do."""
        return cls(case, "skipped", reason, inputs, None, 0.0)

    def to_json(self) -> dict[str, Any]:
        """The line of `--json` output."""
        return asdict(self) | {"seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What the work on one case returns, unless an error ended it.

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
    result
        What was computed, for work that does not end in a file.
    """

    output: str | None = None
    bytes: int | None = None
    skipped: str | None = None
    failure: str | None = None
    note: str | None = None
    result: Result | None = None


@dataclass(frozen=True)
class Finished(Generic[Result]):
    """A case's record and, beside it, the result of its work.

    Parameters
    ----------
    record
        What became of the case.
    result
        None if the case failed or was skipped, or its work ends in a file.
    """

    record: Record
    result: Result | None = None
