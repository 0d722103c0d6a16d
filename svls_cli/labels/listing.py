"""The image files of a folder."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from svls_cli.errors import InputError
from svls_cli.labels.names import composed, safe_name
from svls_cli.labels.patterns import Match, match_paths
from svls_cli.labels.suffixes import (
    JPEG,
    NO_JPEG,
    NO_SERIES,
    PICTURES,
    SUFFIXES,
    case_name,
    is_dicom,
    suffix_of,
)
from svls_cli.labels.values import listed


def list_images(
    folder: Path, pattern: str | None = None, fields: Collection[str] = ("case",)
) -> list[tuple[dict[str, str], Path]]:
    """Image files of a folder, each with the names that its path gives.

    Parameters
    ----------
    folder
        Where they lie.
    pattern
        As in `match_paths`; without it every image file directly in the folder.
    fields
        Names that the pattern may have in braces, ``case`` first.

    Returns
    -------
    list of (names, path)
        Sorted by path. The case, unless the pattern has it, is named after the file.
        What is no file, and folders that cannot be read, are among them: cases that
        fail, as nobody knows what they hold. Pictures of other formats are not; of
        those that nothing else is named like a warning tells.

    Raises
    ------
    InputError
        If there is no such folder, or nothing matches.
    InvalidParameterError
        As `match_paths`.
    """
    check_folder(folder)
    wanted = "*" if pattern is None else pattern
    matches = match_paths(folder, wanted, fields, (*SUFFIXES, *PICTURES))
    found = [
        ({"case": case_name(match.path)} | _names(match), match.path)
        for match in matches
        if not match.path.name.lower().endswith(PICTURES)
    ]
    if not found:
        deeper = match_paths(folder, "**/*", fields, SUFFIXES) if not pattern else ()
        advice = "; pattern '**/*' finds those in its folders" if deeper else ""
        if any(match.path.name.lower().endswith(JPEG) for match in matches):
            advice = f"; {NO_JPEG}"
        if not advice and any(map(is_dicom, folder.rglob("*"))):
            advice = f"; {NO_SERIES}"
        raise InputError(
            f"{folder}: no image files match {wanted}; expected files that end "
            f"in {', '.join(SUFFIXES)}{advice}"
        )
    _tell_others(folder, [match.path for match in matches])
    return found


def _tell_others(folder: Path, paths: Sequence[Path]) -> None:
    """Warn of pictures that we do not read, unless they show what we do read."""
    others = [path for path in paths if path.name.lower().endswith(PICTURES)]
    read = {path.with_name(case_name(path)) for path in paths if path not in others}
    alone = [p for p in others if p.with_name(case_name(p)) not in read]
    if alone:
        names = [str(path.relative_to(folder)) for path in alone]
        logging.getLogger(__name__).warning(
            "%s: left out, as pictures of these formats are not read: %s",
            folder,
            listed(names, 3),
        )


def check_folder(folder: Path, advice: str = "") -> None:
    """Raise InputError unless there is such a folder."""
    if is_folder(folder):
        return
    try:
        found = f"a link to {folder.readlink()}, which is not there"
    except OSError:  # no link
        found = "no such folder"
    raise InputError(f"{folder}: {found}{advice}")


def is_folder(path: Path) -> bool:
    """Whether a path is that of a folder, as far as can be told."""
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, or in a folder that cannot be read
        return False


def _names(match: Match) -> dict[str, str]:
    """What the path says, without the file's suffix.

    Of `a.nii.gz` both `{case}` and `{case}.*` say `a`.
    """
    suffix = suffix_of(match.path)
    first = suffix.rpartition(".")[0]
    file, stem = composed(match.path.name), composed(match.path.stem)

    def bare(name: str) -> str:
        for whole, end in ((file, suffix), (stem, first)):
            if end and whole.endswith(name) and name.lower().endswith(end):
                return name[: -len(end)] or name
        return name

    return {field: safe_name(bare(name)) for field, name in match.names.items()}
