"""Which cases there are: files, folders, and lists of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from svls_cli.errors import InputError

# Longest first: `.nii.gz` is one suffix. Only formats whose integrity we can check.
SUFFIXES = (
    ".seg.nrrd",
    ".nii.gz",
    ".nrrd",
    ".nhdr",
    ".nii",
    ".hdr",
    ".mha",
    ".mhd",
)
# Names that Zarr keeps for itself.
_RESERVED = {"", ".", "..", "zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"}


@dataclass(frozen=True)
class Case:
    """One scan: its name in the store and the label map's file.

    Parameters
    ----------
    name
        Safe as the name of one folder.
    path
        Label map file.
    shown
        How users named it, if not by ``path``.
    """

    name: str
    path: Path
    shown: str | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All label map files: this one."""
        return (self.path,)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What records call its files."""
        return (self.shown or str(self.path),)

    def absolute(self) -> Case:
        """The same for a process in another folder."""
        return Case(self.name, self.path.absolute(), self.inputs[0])


def find_cases(
    inputs: str | Path | Iterable[str | Path],
    *,
    pattern: str | None = None,
    lines: Iterable[str] = (),
) -> list[Case]:
    """All cases of files, folders and lists, sorted by name.

    Parameters
    ----------
    inputs
        Files and folders; ``-`` stands for ``lines``.
    pattern
        Glob that picks files in folders, such as ``**/*_seg.nii.gz``; without it every
        label map file directly in the folder.
    lines
        A path or a JSON record ``{"case": ..., "label": ...}`` per line.

    Raises
    ------
    InputError
        If there are no cases, an input does not exist, a line is not understood, or
        two files have one name. (A folder that cannot be read is a case that fails.)
    """
    cases: list[Case] = []
    for given in [inputs] if isinstance(inputs, str | Path) else inputs:
        path = Path(given)
        if str(given) == "-":
            cases += [_parse_line(line) for line in lines if line.strip()]
        elif path.is_dir():
            cases += [_case(found) for found in _search(path, pattern)]
        elif path.exists():
            cases.append(_case(path))
        else:
            raise InputError(f"{given}: no such file or folder")
    _check_unique(cases)
    cases = list(dict.fromkeys(cases))  # a file named twice is one
    if not cases:
        raise InputError(
            "no image files found; expected files that end in " + ", ".join(SUFFIXES)
        )
    return sorted(cases, key=lambda case: case.name)


def suffix_of(path: Path) -> str:
    """The file's suffix if it is one we read, else ``""``.

    Examples
    --------
    >>> suffix_of(Path("a.b/case.1.nii.gz"))
    '.nii.gz'
    """
    return next((s for s in SUFFIXES if path.name.lower().endswith(s)), "")


def case_name(path: Path) -> str:
    """The file's name without its suffix.

    Examples
    --------
    >>> case_name(Path("labels/liver_01.nii.gz"))
    'liver_01'
    """
    suffix = suffix_of(path) or path.suffix
    return safe_name(path.name[: len(path.name) - len(suffix)])


def safe_name(name: str) -> str:
    """A name that is one folder inside the store, whatever was asked for.

    Separators and control characters become ``_``; spaces and unicode are kept.

    Examples
    --------
    >>> safe_name("../../etc/passwd")
    '.._.._etc_passwd'
    """
    # Lone surrogates, too, but for those that stand for a file name's own bytes.
    safe = re.sub("[/\\\\\x00-\x1f\x7f\ud800-\udc7f\udd00-\udfff]", "_", name)
    # A leading "__" is reserved by the Zarr specification.
    safe = re.sub(r"^__+", "_", safe)
    return f"_{safe.strip('.')}" if safe in _RESERVED else safe


def _case(path: Path) -> Case:
    return Case(case_name(path), path)


def _search(folder: Path, pattern: str | None) -> Sequence[Path]:
    forbidden = _forbidden(folder, deep="/" in (pattern or ""))
    if folder in forbidden:
        return [folder]  # one failed case, when it is read: the others go on
    try:
        # Hidden files (macOS leaves `._case.nii.gz`) only where the pattern says so.
        found = [path for path in folder.glob(pattern or "[!.]*") if path.is_file()]
    except (ValueError, NotImplementedError) as error:
        raise InputError(f"pattern {pattern!r}: {error}") from error
    readable = [path for path in found if suffix_of(path)] + forbidden
    if not readable:
        raise InputError(
            f"{folder}: no image files match {pattern or '*'}; expected files that end "
            f"in {', '.join(SUFFIXES)}"
        )
    return readable


def _forbidden(folder: Path, *, deep: bool) -> list[Path]:
    """Folders that may not be read, which glob passes over in silence."""
    found: list[Path] = []
    for _ in os.walk(folder, onerror=lambda error: found.append(Path(error.filename))):
        if not deep:
            break
    return found


def _parse_line(line: str) -> Case:
    text = line.rstrip("\r\n")
    try:
        if "\0" in text:
            raise ValueError("a null byte")
        if not text.lstrip().startswith("{"):
            return _case(Path(text))
        record = json.loads(text)
        path = Path(record["label"])
        if not isinstance(record.get("case", ""), str):
            raise TypeError("case is no text")
        return (
            Case(safe_name(record["case"]), path) if "case" in record else _case(path)
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            'standard input: expected a path or {"case": ..., "label": ...} per line, '
            f"found {text[:200]!r}"
        ) from error


def _check_unique(cases: Sequence[Case]) -> None:
    first: dict[str, Path] = {}
    for case in cases:
        other = first.setdefault(case.name, case.path)
        if other != case.path:
            raise InputError(
                f"two files are case {case.name!r}: {other} and {case.path}; rename "
                "one, or name the cases with JSON records on standard input"
            )
