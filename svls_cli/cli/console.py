"""Output for users: records on stdout, progress and complaints on stderr."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
import textwrap
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from svls_cli.batch.records import Record
    from svls_cli.batch.run import Batch
    from svls_cli.batch.workers import Workers

EXIT_SOME_FAILED = 4
_UNITS = ("B", "kB", "MB", "GB", "TB")


class ReaderGoneError(Exception):
    """Standard output is a pipe that nobody reads any more."""


# Control characters, and those that turn the direction of what follows: in a file's or
# a class's name they could clear the terminal, or write something else on it.
_CONTROL = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)

_SURROGATE = re.compile("[\ud800-\udfff]")
# A message names all files of a case up to so many.
_FEW_FILES = 4


def printable(text: str) -> str:
    r"""Text for a terminal: control characters but for line ends and tabs are escaped.

    Examples
    --------
    >>> print(printable("a\x1b[2Jb"))
    a\u001b[2Jb
    """
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def echo(text: str, *, err: bool = False) -> None:
    """Print a line at once: the next program in the pipe may be waiting."""
    try:
        click.echo(printable(text), err=err)
    except BrokenPipeError as error:
        raise ReaderGoneError from error


class PrintableFormatter(logging.Formatter):
    """Warnings of the library, for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def stdin_lines(inputs: Sequence[str]) -> Iterator[str]:
    """Lines of standard input, if - stands for it among the inputs."""
    if "-" in inputs:
        for number, line in enumerate(sys.stdin.buffer):
            # Windows puts a mark before the first.
            yield os.fsdecode(line if number else line.removeprefix(BOM_UTF8))


def show_progress(items: Iterator[Any], total: int, doing: str) -> Iterator[Any]:
    """Show a progress bar on a terminal, nothing elsewhere."""
    from tqdm import tqdm

    bar: Iterator[Any] = tqdm(
        items, total=total, desc=doing, unit="", disable=None, leave=False
    )
    return bar


def check_targets(report: Path | None, figure: Path | None) -> None:
    """Complain before the work of files that cannot be written after it."""
    from svls_cli.files import check_target

    if figure is not None:
        from svls_cli.figures import check_figure

        check_figure(figure)
    for path in (report, figure):
        if path is not None:
            check_target(path)


@contextmanager
def batch(
    options: dict[str, Any],
    *,
    items: int = 0,
    module: str = "svls_cli",
    on_record: Callable[[Record], None] | None = None,
) -> Iterator[Batch]:
    """Take what every batch has out of a command's options, as one value.

    Where the number of cases is known, their workers are started at once, so that they
    import ``module`` while this process does.
    """
    from svls_cli.batch.run import Batch, ignore

    jobs, scheduler = options.pop("jobs", None), options.pop("scheduler", None)
    rest = {key: options.pop(key) for key in ("part", "fail_fast") if key in options}
    settings = Batch(
        jobs, **rest, progress=show_progress, on_record=on_record or ignore
    )
    if not items:
        yield settings
        return
    with _workers(jobs, scheduler, items, module) as workers:
        yield replace(settings, jobs=workers)


def _workers(
    jobs: int | None, scheduler: str | None, items: int, module: str
) -> Workers:
    from svls_cli.batch.workers import Workers

    if scheduler is None:
        return Workers(jobs, items=items, module=module).start()
    from svls_cli.batch.cluster import Cluster, silence_dask

    if jobs is not None:
        raise click.UsageError("--jobs is this machine's, --scheduler a cluster's")
    silence_dask()
    return Cluster(scheduler).start()


class Reporter:
    """Prints records as they come, and a summary: ``where``: 3 ``done``; or JSON.

    A note that several cases share is printed with the first of them; the others are
    counted.
    """

    def __init__(self, *, as_json: bool, done: str, where: str) -> None:
        self._as_json, self._done, self._where = as_json, done, where
        self._counts = {"done": 0, "skipped": 0, "failed": 0}
        self._bytes = 0
        self._notes: Counter[str] = Counter()

    def __call__(self, record: Record) -> None:
        """Print a record, or what is worth knowing of it."""
        self._counts[record.status] += 1
        self._bytes += record.bytes or 0
        if self._as_json:
            print_json(record.to_json())
        elif record.status == "failed":
            _above_bar(_failure(record))
        elif record.status == "done" and record.reason:
            self._notes[record.reason] += 1
            if self._notes[record.reason] == 1:
                _above_bar(f"note: {record.case}: {record.reason}")

    @property
    def tells_more(self) -> bool:
        """Whether people are told, and there is a result to tell them of."""
        counts = self._counts
        return not self._as_json and counts["done"] + counts["skipped"] > 0

    def finish(self) -> int:
        """Print the summary, and return the command's exit code."""
        counts = self._counts
        if not self._as_json:
            for note, n in self._notes.items():
                if n > 1:
                    cases = "case" if n == 2 else "cases"
                    echo(f"note: {n - 1} more {cases}: {note}", err=True)
            parts = [f"{counts['done']} {self._done} ({readable(self._bytes)})"]
            if counts["skipped"]:
                parts.append(f"{counts['skipped']} already complete")
            if counts["failed"]:
                parts.append(f"{counts['failed']} failed")
            echo(f"{self._where}: {', '.join(parts)}")
        return EXIT_SOME_FAILED if counts["failed"] else 0


def width() -> int:
    """Columns of the terminal, or of the environment's COLUMNS; in a pipe 100."""
    return shutil.get_terminal_size((100, 24)).columns


def table(
    header: Sequence[str], body: Iterable[Sequence[str]], *, keys: int = 1
) -> None:
    """Print a table, or several as wide as the terminal; ``keys`` as in `aligned`."""
    from svls_cli.files import aligned

    echo("\n".join(aligned(header, body, width=width(), keys=keys)))


def say(text: str) -> None:
    """Print sentences in lines as long as the terminal's."""
    echo(textwrap.fill(text, width(), break_on_hyphens=False, break_long_words=False))


def least_to_most(numbers: Iterable[int]) -> str:
    """The range of some numbers.

    Examples
    --------
    >>> least_to_most([3, 2, 4]), least_to_most([2, 2])
    ('2 to 4', '2')
    """
    ordered = sorted(numbers)
    return " to ".join(map(str, dict.fromkeys((ordered[0], ordered[-1]))))


def print_json(record: dict[str, Any]) -> None:
    r"""Print a record on one line of UTF-8.

    Bytes of a file's name that are no text are escaped, as ``\udcff``, from which
    `os.fsencode` makes them again.
    """
    line = json.dumps(record, ensure_ascii=False)
    echo(_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", line))


def by_reason(records: Iterable[Record]) -> list[str]:
    """A line for each reason, with three of its cases and their number."""
    from svls_cli.labels.values import listed

    cases: dict[str | None, list[str]] = {}
    for record in records:
        cases.setdefault(record.reason, []).append(record.case)
    return [f"{listed(names, 3)}: {reason}" for reason, names in cases.items()]


def complain(
    left_out: Iterable[Record], failed: Iterable[Record], noted: Iterable[Record] = ()
) -> None:
    """Name cases on standard error: by reason, but each that failed."""
    for what, records in (("note", noted), ("left out", left_out)):
        for line in by_reason(records):
            echo(f"{what}: {line}", err=True)
    for record in failed:
        echo(_failure(record), err=True)


def _failure(record: Record) -> str:
    """Why a case failed, with its files; of many, such as masks, the first."""
    files = ", ".join(record.inputs[: 1 if len(record.inputs) > _FEW_FILES else None])
    if len(record.inputs) > _FEW_FILES:
        files += f" and {len(record.inputs) - 1} more"
    return f"failed: {record.case}: {record.reason}" + (f" [{files}]" if files else "")


def readable(size: float) -> str:
    """A number of bytes in the unit that people read best.

    Examples
    --------
    >>> readable(1_234_567)
    '1.2 MB'
    """
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {_UNITS[-1]}"


def _above_bar(message: str) -> None:
    from tqdm import tqdm

    tqdm.write(printable(message), file=sys.stderr)
