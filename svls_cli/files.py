"""Files that are checked before the work and then written whole or not at all."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import socket
import unicodedata
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


def check_report_path(path: Path, suffixes: Sequence[str] = REPORT_SUFFIXES) -> None:
    """Check that a report can be written, before work is spent on it.

    Raises
    ------
    InvalidParameterError
        If its name ends in none of the suffixes, or as `check_target`.
    """
    if path.suffix.lower() not in suffixes:
        raise InvalidParameterError(
            f"a report ends in {' or '.join(suffixes)}, found {path}"
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
    the first ``keys`` columns, which say what a row is of. These are cut, the widest
    first, if no other column would fit beside them; whole numbers are not.

    Examples
    --------
    >>> rows = [("case", "Dice", "IoU"), ("liver", "0.9", "0.8")]
    >>> aligned(rows[0], rows[1:])
    ['case   Dice  IoU', 'liver  0.9   0.8']
    >>> aligned(rows[0], rows[1:], width=12)
    ['case   Dice', 'liver  0.9', '', 'case   IoU', 'liver  0.8']
    >>> aligned(rows[0], rows[1:], width=10)
    ['case  Dice', 'liv…  0.9', '', 'case  IoU', 'liv…  0.8']
    """
    columns = list(zip(header, *body, strict=True))
    widths = [max(map(_width, cells)) for cells in columns]
    room = width - 2 * keys - max(widths[keys:], default=0)
    widths[:keys] = _narrowed(columns[:keys], widths[:keys], room)
    first = list(range(keys))
    parts = [first]
    for at in range(keys, len(columns)):
        beside = sum(widths[other] + 2 for other in parts[-1])
        if len(parts[-1]) > keys and beside + widths[at] > width:
            parts.append(first)
        parts[-1] = [*parts[-1], at]
    padded = [
        [_fitted(cell, wide) for cell in cells]
        for cells, wide in zip(columns, widths, strict=True)
    ]
    lines: list[str] = []
    for part in parts:
        rows = zip(*(padded[at] for at in part), strict=True)
        lines += ["", *("  ".join(row).rstrip() for row in rows)]
    return lines[1:]


def _narrowed(
    columns: Sequence[Sequence[str]], widths: Sequence[int], room: float
) -> list[int]:
    """Widths of columns that share ``room``, the widest narrowed first."""
    narrowed = list(widths)
    least = [max([2, *map(len, filter(str.isdecimal, cells))]) for cells in columns]
    while sum(narrowed) > room:
        wide = [at for at, limit in enumerate(least) if narrowed[at] > limit]
        if not wide:
            break
        narrowed[max(wide, key=narrowed.__getitem__)] -= 1
    return narrowed


def _fitted(text: str, width: int) -> str:
    """A text filled up with blanks, or cut, to columns of a terminal."""
    if _width(text) > width:
        while _width(text) >= width:
            text = text[:-1]
        text += "…"
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Columns of a text in a terminal: 2 for wide letters, 0 for marks on others.

    Examples
    --------
    >>> _width("liver"), _width("肝臓"), _width("le\\u0301sion")
    (5, 4, 6)
    """
    if text.isascii():
        return len(text)
    marks = ("Mn", "Me", "Cf")
    return sum(
        1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
        if unicodedata.category(letter) not in marks
    )


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
