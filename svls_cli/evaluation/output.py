"""Files that appear whole or not at all, where it was checked before the work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from svls_cli.errors import InvalidParameterError


def check_target(path: Path) -> None:
    """See that a file can be written, before work is spent on it.

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
        with _beside(path):
            pass
    except OSError as error:
        raise InvalidParameterError(
            f"{path} cannot be written: {error.strerror}"
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write to, of the same suffix; it becomes ``path`` if all goes well."""
    with _beside(path) as folder:
        part = folder / path.name
        yield part
        part.replace(path)


def write_json(record: dict[str, Any], path: Path) -> None:
    """Write a JSON file for people and programs, whole or not at all."""
    with replacing(path) as part:
        text = json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False)
        part.write_text(f"{text}\n", encoding="utf-8", errors="surrogateescape")


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A folder on the same file system, gone at the end."""
    with TemporaryDirectory(prefix=".svls-", dir=path.parent) as folder:
        yield Path(folder)
