import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from svls_cli.batch.records import Outcome
from svls_cli.batch.run import Batch, run_cases
from svls_cli.errors import InvalidParameterError


@dataclass(frozen=True)
class Case:
    name: str
    output: Path
    inputs: tuple[str, ...] = ()


def write_once(case: Case) -> Outcome[None]:
    """The worker of case b dies when it has written, and takes the others with it."""
    if case.output.exists():
        return Outcome(str(case.output), skipped="already complete")
    case.output.mkdir()
    (case.output / "data").write_text("12345")
    if case.name == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(str(case.output), 5)


def test_what_a_worker_did_before_it_died_is_done(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    os.utime(tmp_path / "old", (1, 1))
    cases = [Case(name, tmp_path / name) for name in ("a", "b", "c", "old")]
    records = [f.record for f in run_cases(write_once, cases, Batch(1), doing="write")]
    found = {record.case: (record.status, record.bytes) for record in records}
    assert found == dict.fromkeys("abc", ("done", 5)) | {"old": ("skipped", None)}


@pytest.mark.parametrize("wrong", [{"jobs": "2"}, {"jobs": True}, {"part": "1/2"}])
def test_parameters_of_another_type(wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(
        InvalidParameterError, match=f"{name} must be .*, found {value!r}"
    ):
        Batch(**wrong)


def no_thread(case: Case) -> Outcome[None]:
    raise RuntimeError("can't start new thread")


def too_much(case: Case) -> Outcome[None]:
    raise MemoryError


def too_many(case: Case) -> Outcome[None]:
    raise OSError(24, "Too many open files")


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (no_thread, "too little memory, or too many threads: can't start new thread"),
        (too_much, "out of memory"),
        (too_many, "Too many open files"),
    ],
)
def test_too_few_resources_are_no_bug(
    work: Callable[[Case], Outcome[None]], reason: str, tmp_path: Path
) -> None:
    (finished,) = run_cases(work, [Case("a", tmp_path)], Batch(1), doing="work")
    assert (finished.record.status, finished.record.reason) == ("failed", reason)
