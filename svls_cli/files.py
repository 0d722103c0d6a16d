"""Files that are checked before the work and then written whole or not at all."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from svls_cli.errors import InvalidParameterError

# A value in a CSV file; None is an empty cell.
Cell = str | int | float | None

REPORT_SUFFIXES = (".json", ".csv")
# Prefix of folders for unfinished files; a killed process leaves one behind.
UNFINISHED = ".svls-"


def check_target(path: Path) -> None:
    """Check that a file can be written, before work is spent on it.

    Raises
    ------
    InvalidParameterError
        If it is a folder, or its folder is missing or cannot be written to.
    """
    if path.is_dir():
        raise InvalidParameterError(f"{path} is a folder; expected a file's name")
    if not path.parent.is_dir():
        raise InvalidParameterError(f"{path}: there is no folder {path.parent}")
    try:
        with unfinished_folder(path.parent):
            pass
    except OSError as error:
        raise InvalidParameterError(
            f"{path} cannot be written: {error.strerror}"
        ) from error


def check_report_path(path: Path) -> None:
    """Check that a report can be written, before work is spent on it.

    Raises
    ------
    InvalidParameterError
        If the suffix is neither ``.json`` nor ``.csv``, or as `check_target`.
    """
    if path.suffix.lower() not in REPORT_SUFFIXES:
        raise InvalidParameterError(
            f"a report ends in {' or '.join(REPORT_SUFFIXES)}, found {path}"
        )
    check_target(path)


class Report(Protocol):
    """A result that can be written as JSON or as a table."""

    def to_json(self) -> dict[str, Any]:
        """The JSON object to write."""

    def csv_rows(self) -> Iterable[Sequence[Cell]]:
        """A header, then the rows of the table."""


def write_report(report: Report, path: Path) -> None:
    """Write a report as a ``.json`` or ``.csv`` file, whole or not at all.

    Raises
    ------
    InvalidParameterError
        As `check_report_path`.
    """
    check_report_path(path)
    if path.suffix.lower() == ".json":
        write_json(report.to_json(), path)
    else:
        write_csv(report.csv_rows(), path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write to, of the same suffix; it becomes ``path`` at the block's end.

    If the block raises, nothing changes.
    """
    with unfinished_folder(path.parent) as folder:
        part = folder / path.name
        yield part
        part.replace(path)


def write_json(record: dict[str, Any], path: Path) -> None:
    """Write a JSON file for people and programs, whole or not at all."""
    with replacing(path) as part:
        text = json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False)
        part.write_text(f"{text}\n", encoding="utf-8", errors="surrogateescape")


def write_csv(rows: Iterable[Sequence[Cell]], path: Path) -> None:
    """Write a CSV file, whole or not at all; None is an empty cell."""
    with (
        replacing(path) as part,
        part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows(rows)


def aligned(
    header: Sequence[str],
    body: Iterable[Sequence[str]],
    *,
    width: float = math.inf,
    keys: int = 1,
) -> list[str]:
    """Lines of a table to print, its columns as wide as their widest cell.

    A table wider than ``width`` becomes several, one below the other; each starts with
    the first ``keys`` columns, which say what a row is of.

    Examples
    --------
    >>> rows = [("case", "Dice", "IoU"), ("liver", "0.9", "0.8")]
    >>> aligned(rows[0], rows[1:])
    ['case   Dice  IoU', 'liver  0.9   0.8']
    >>> aligned(rows[0], rows[1:], width=12)
    ['case   Dice', 'liver  0.9', '', 'case   IoU', 'liver  0.8']
    """
    columns = list(zip(header, *body, strict=True))
    padded = [[cell.ljust(max(map(len, cells))) for cell in cells] for cells in columns]
    first, parts = padded[:keys], [padded[:keys]]
    for cells in padded[keys:]:
        if len(parts[-1]) > keys and _width([*parts[-1], cells]) > width:
            parts.append(first)
        parts[-1] = [*parts[-1], cells]
    lines: list[str] = []
    for part in parts:
        rows = zip(*part, strict=True)
        lines += ["", *("  ".join(row).rstrip() for row in rows)]
    return lines[1:]


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(len(cells[0]) + 2 for cells in columns) - 2


@contextmanager
def unfinished_folder(beside: Path) -> Iterator[Path]:
    """`unfinished_directory`, removed after the block."""
    with unfinished_directory(beside) as folder:
        yield Path(folder)


def unfinished_directory(beside: Path) -> TemporaryDirectory[str]:
    """A directory for unfinished files in the folder ``beside``.

    Folders of runs that were killed, on this machine, are removed before.
    """
    clear_unfinished(beside)
    return TemporaryDirectory(
        prefix=f"{UNFINISHED}{owner()}~", dir=beside, ignore_cleanup_errors=True
    )


def clear_unfinished(folder: Path) -> None:
    """Remove what killed runs of this machine left unfinished in a folder."""
    for left in folder.glob(f"{UNFINISHED}*"):
        if not may_be_at_work(left.name.removeprefix(UNFINISHED)):
            shutil.rmtree(left, ignore_errors=True)


def owner() -> str:
    """Name of this process for what it leaves unfinished: ``machine~pid``."""
    return f"{machine()}~{os.getpid()}"


def may_be_at_work(name: str) -> bool:
    """Whether the process that a name starts with, as `owner` gave it, may be alive.

    Any on another machine may, and so may one whose name is of another form.
    """
    host, _, rest = name.partition("~")
    pid = rest.partition("~")[0]
    return host != machine() or not pid.isdigit() or _alive(int(pid))


@cache
def machine() -> str:
    """Identifier of where a process id is valid: host and, on Linux, PID namespace."""
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        namespace = 0
    return f"{socket.gethostname()}.{namespace}"


def _alive(pid: int) -> bool:
    if os.name == "nt":  # signal 0 is no question there: it ends the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # alive, and owned by another user
        return True
    return True
