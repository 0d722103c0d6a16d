"""Paths that say what a file is: ``{case}_{rater}.nii.gz`` and the like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from svls_cli.errors import InputError
from svls_cli.labels.cases import safe_name, suffix_of

_WILD = {"*": "[^/]*", "?": "[^/]"}


def match_files(
    folder: Path, pattern: str, fields: Sequence[str]
) -> list[tuple[tuple[str, ...], Path]]:
    """Image files whose path inside a folder matches a pattern, and what it names.

    Parameters
    ----------
    folder
        Searched.
    pattern
        Holds each of ``fields`` in braces, the same text wherever it stands; ``*`` and
        ``?`` stay within a folder's name.
    fields
        Names, in the order in which they come back.

    Raises
    ------
    InputError
        If a field is missing or unknown, or nothing matches.
    """
    expression = _expression(pattern, fields)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found = []
    for path in sorted(folder.glob("/".join("*" * (pattern.count("/") + 1)))):
        inside = path.relative_to(folder).as_posix()
        match = expression.fullmatch(inside)
        if match and path.is_file() and suffix_of(path):
            found.append((tuple(safe_name(match[field]) for field in fields), path))
    if not found:
        raise InputError(f"{folder}: no image files match {pattern!r}")
    return found


def _expression(pattern: str, fields: Sequence[str]) -> re.Pattern[str]:
    """A pattern as a regular expression.

    Examples
    --------
    >>> pattern = _expression("{case}_{rater}.nii.gz", ["case", "rater"])
    >>> pattern.fullmatch("a_1_bob.nii.gz").groupdict()
    {'case': 'a_1', 'rater': 'bob'}
    >>> pattern = _expression("{case}/{case}-{channel}.nii", ["case", "channel"])
    >>> pattern.fullmatch("a/b-t1.nii") is None  # two cases
    True
    """
    if set(re.findall(r"\{(.*?)\}", pattern)) != set(fields):
        names = " and ".join(f"{{{field}}}" for field in fields)
        raise InputError(
            f"pattern {pattern!r} needs {names}, and no other name in braces"
        )
    seen: set[str] = set()

    def part(piece: str) -> str:
        if not piece.startswith("{"):
            return _WILD.get(piece) or re.escape(piece)
        name, again = piece[1:-1], piece in seen
        seen.add(piece)
        return f"(?P={name})" if again else f"(?P<{name}>[^/]+)"

    pieces = re.split(r"(\{.*?\}|\*|\?)", pattern)
    return re.compile("".join(map(part, pieces)))
