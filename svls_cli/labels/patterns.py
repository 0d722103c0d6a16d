"""Path patterns: globs in which names in braces, as ``{case}``, say what a file is."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from svls_cli.errors import InvalidParameterError
from svls_cli.labels.names import composed

_ANY_DEPTH = "**"
_PIECES = re.compile(r"(\{.*?\}|\[!?\]?[^\]]*\]|\*|\?)")
_HIDDEN = r"(?!\.)"


@dataclass(frozen=True)
class Match:
    """A path that a pattern matches, or a way to such that cannot be followed."""

    path: Path
    # What the names in braces stand for, as far as the path tells.
    names: Mapping[str, str]


def match_paths(
    folder: Path, pattern: str, fields: Collection[str], suffixes: Collection[str]
) -> list[Match]:
    """Paths inside a folder that match a pattern, sorted.

    Whatever has a matching name is among them, readable or not: a link to nothing or a
    pipe as well as a file; a folder, unless a path inside it matches, too; and folders
    and links on the way that cannot be followed, where files may match.

    Parameters
    ----------
    folder
        Where paths are searched.
    pattern
        A path inside the folder. ``*``, ``?`` and ``[...]`` stay within a file's or
        folder's name, ``**`` is folders of any depth. Names that begin with a dot are
        matched where the pattern has the dot. A name in braces stands for any text, the
        same wherever it is repeated. Composed and decomposed characters are the same.
    fields
        Names that may stand in braces; the first of them must if any does.
    suffixes
        Ends of names that match, in lower case.

    Raises
    ------
    InvalidParameterError
        If the pattern is no path inside the folder, or has other names in braces.
    """
    _check_fields(pattern, fields)
    parts = [part for part in composed(pattern).split("/") if part != "."]
    if parts[-1:] == [_ANY_DEPTH]:
        parts.append("*")
    if not pattern or {"", ".."} & {*parts}:
        raise InvalidParameterError(
            f"pattern {pattern!r}: expected a path inside the folder"
        )
    if any(_ANY_DEPTH in part for part in parts if part != _ANY_DEPTH):
        raise InvalidParameterError(
            f"pattern {pattern!r}: ** is a path's part by itself, as **/*"
        )
    try:
        found = _matches(folder, parts, tuple(suffixes))
    except re.error as error:
        raise InvalidParameterError(f"pattern {pattern!r}: {error}") from error
    return [found[path] for path in sorted(found)]


def name_field(pattern: str, name: str, field: str) -> str | None:
    """What a name in braces stands for in a name that a pattern matches, or None.

    Raises
    ------
    InvalidParameterError
        If the pattern cannot be understood, or has other names in braces.

    Examples
    --------
    >>> name_field("{patient}_*", "p3_left_1", "patient")
    'p3_left'
    """
    _check_fields(pattern, (field,))
    try:
        match = re.fullmatch(_expression([composed(pattern)]), composed(name))
    except re.error as error:
        raise InvalidParameterError(f"pattern {pattern!r}: {error}") from error
    return match[field] if match else None


def _check_fields(pattern: str, fields: Collection[str]) -> None:
    allowed = [f"{{{field}}}" for field in fields]
    written = set(_PIECES.findall(pattern)) - {"*", "?"}
    names = {piece for piece in written if piece.startswith("{")}
    stray = re.search(r"[{}]", _PIECES.sub("", pattern))
    if names - {*allowed} or stray:
        wrong = ", ".join(sorted(names - {*allowed})) or "a brace by itself"
        most, last = ", ".join(allowed[:-1]), allowed[-1]
        raise InvalidParameterError(
            f"pattern {pattern!r} has {wrong}; in braces may stand "
            f"{f'{most} and ' if most else ''}{last}"
        )
    if names and allowed[0] not in names:
        raise InvalidParameterError(f"pattern {pattern!r} needs {allowed[0]}, too")


def _matches(
    root: Path, parts: Sequence[str], suffixes: tuple[str, ...]
) -> dict[Path, Match]:
    """Only folders in which files may match are looked into."""
    whole = re.compile(_expression(parts))
    leading = [re.compile(_expression([*parts[:n], ""])) for n in range(len(parts))]
    # Links that `**` stands for are not followed: they may lead in a circle.
    followed = [each for n, each in enumerate(leading) if parts[n - 1] != _ANY_DEPTH]
    found: dict[Path, Match] = {}
    folders = False  # whether some match in which others may
    waiting: list[tuple[Path, str, Mapping[str, str]]] = [(root, "", {})]
    while waiting:
        here, inside, names = waiting.pop()
        try:
            with os.scandir(here) as opened:
                entries = list(opened)
        except OSError:
            found.setdefault(here, Match(here, names))
            continue
        for entry in entries:
            path, name = here / entry.name, inside + composed(entry.name)
            match = whole.fullmatch(name)
            if match and name.lower().endswith(suffixes):
                found[path] = Match(path, match.groupdict())
            expressions = followed if entry.is_symlink() else leading
            ways = (each.fullmatch(f"{name}/") for each in expressions)
            way = next(filter(None, ways), None)
            if way and _may_be_folder(entry):
                waiting.append((path, f"{name}/", way.groupdict()))
                folders |= path in found
    if folders:  # to tell what lies inside which takes a while
        around = {parent for path in found for parent in path.parents}
        for outer in around & found.keys():
            del found[outer]
    return found


def _may_be_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link that leads nowhere."""
    try:
        if entry.is_symlink():
            return stat.S_ISDIR(entry.stat().st_mode)
        return entry.is_dir()
    except OSError:
        return True


def _expression(parts: Sequence[str]) -> str:
    """A path's parts as one regular expression, with a group for each name in braces.

    Examples
    --------
    >>> pattern = re.compile(_expression(["{case}_{rater}.nii.gz"]))
    >>> pattern.fullmatch("a_1_bob.nii.gz").groupdict()
    {'case': 'a_1', 'rater': 'bob'}
    >>> pattern = re.compile(_expression(["**", "{case}", "{case}-{channel}.nii"]))
    >>> pattern.fullmatch("x/y/a/a-t1.nii").groupdict()
    {'case': 'a', 'channel': 't1'}
    >>> pattern.fullmatch("a/b-t1.nii") is None  # two cases
    True
    """
    seen: set[str] = set()
    folders = (
        f"(?:{_HIDDEN}[^/]+/)*" if p == _ANY_DEPTH else f"{_glob(p, seen)}/"
        for p in parts[:-1]
    )
    return "".join(folders) + _glob(parts[-1], seen)


def _glob(part: str, seen: set[str]) -> str:
    """One part of a path; names in braces that were seen before stand for the same."""

    def piece(text: str) -> str:
        if text in ("*", "?"):
            return "[^/]*" if text == "*" else "[^/]"
        if text.startswith("[") and text.endswith("]"):
            return _one_of(text[1:-1])
        if not text.startswith("{"):
            return re.escape(text)
        name, again = text[1:-1], text in seen
        seen.add(text)
        return f"(?P={name})" if again else f"(?P<{name}>[^/]+)"

    pieces = [each for each in _PIECES.split(part) if each]
    hidden = _HIDDEN if pieces and _PIECES.fullmatch(pieces[0]) else ""
    return hidden + "".join(map(piece, pieces))


def _one_of(characters: str) -> str:
    """``[...]`` of a glob, where ``!`` and not ``^`` stands for all others."""
    inside = re.sub(r"([\\\[\]^])", r"\\\1", characters)
    return f"[^/{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
