"""Records of what became of cases."""

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
        Reason why the case failed or was skipped, or a remark on it, else None.
    inputs
        The files it came from.
    output
        Path of the result, None if there is none.
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
    """What the work on one case returns, unless an error ended it."""

    # As in `Record`.
    output: str | None = None
    bytes: int | None = None
    skipped: str | None = None  # reason why there was nothing to do
    failure: str | None = None  # the fault that was found
    note: str | None = None  # a remark on a case that went well
    result: Result | None = None  # the result of work that does not end in a file


@dataclass(frozen=True)
class Finished(Generic[Result]):
    """A case's record and, beside it, the result of its work."""

    record: Record  # the outcome of the case
    # None if the case failed or was skipped, or its work ends in a file.
    result: Result | None = None
