"""Text files that people write, on any system."""

from __future__ import annotations

from pathlib import Path

from svls_cli.errors import InputError

_MAX_CHARACTERS = 1 << 26


def read_text(path: Path, *, errors: str = "strict") -> str:
    """The content of a text file: UTF-8, with or without the mark that Windows puts.

    Raises
    ------
    OSError
        If it cannot be read.
    InputError
        If it is larger than 64 MiB, or is not UTF-8 and ``errors``, as in `open`, does
        not allow for that.
    """
    try:
        with path.open(encoding="utf-8-sig", errors=errors) as file:
            content = file.read(_MAX_CHARACTERS + 1)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8") from error
    if len(content) > _MAX_CHARACTERS:  # a device has no end
        raise InputError(f"{path}: larger than 64 MiB")
    return content
