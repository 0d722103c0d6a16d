"""Text files that people write, on any system."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path, *, errors: str = "strict") -> str:
    """The content of a text file: UTF-8, with or without the mark that Windows puts.

    Raises
    ------
    OSError
        If it cannot be read.
    UnicodeDecodeError
        If it is not UTF-8 and ``errors``, as in `open`, does not allow for that.
    """
    return path.read_text(encoding="utf-8-sig", errors=errors)
