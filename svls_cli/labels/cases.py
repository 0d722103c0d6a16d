"""Which cases there are: files, folders, and lists of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.choices import Overlap
from svls_cli.labels.listing import is_folder, list_images
from svls_cli.labels.masks import group_masks
from svls_cli.labels.names import check_letter_case, safe_name
from svls_cli.labels.patterns import match_paths
from svls_cli.labels.sources import LabelMapFile, LabelSource
from svls_cli.labels.suffixes import SUFFIXES, case_name, suffix_of


@dataclass(frozen=True)
class Case:
    """One scan: its name in the store, and where its labels are.

    Parameters
    ----------
    name
        Safe as the name of one folder.
    source
        Where the labels are read from.
    shown
        Names that users gave the files, if not their paths.
    image
        The image that was labelled, if it is of use.
    """

    name: str
    source: LabelSource
    shown: tuple[str, ...] = ()
    image: Path | None = None

    @property
    def sources(self) -> tuple[tuple[str, LabelSource], ...]:
        """Its source of labels, with the name to show of it."""
        return ((self.inputs[0], self.source),)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of its files in records, the image last."""
        files = (*self.source.paths, self.image)
        return self.shown or tuple(map(str, filter(None, files)))

    def absolute(self) -> Case:
        """The same for a process in another folder."""
        image = self.image and self.image.absolute()
        return Case(self.name, self.source.absolute(), self.inputs, image)


# Advice where several files are one case.
MASKS = "if they are masks, one per class, {class} in the pattern says which"


class LabelFiles(Protocol):
    """A family of formats: which of its files there are, and how one is read."""

    def name(self, path: Path) -> str:
        """Name of the case of a file."""

    def source(self, path: Path) -> LabelSource:
        """The source that reads a file."""

    def listed(
        self, folder: Path, pattern: str | None, fields: Collection[str]
    ) -> list[tuple[dict[str, str], LabelSource]]:
        """As `list_images`."""


@dataclass(frozen=True)
class LabelMapFiles:
    """Files in the formats that `SUFFIXES` tell: label maps, or a mask per class.

    Parameters
    ----------
    overlap
        What becomes of voxels in several masks, as in `MaskFiles`.
    """

    overlap: Overlap = "fail"

    def name(self, path: Path) -> str:
        return case_name(path)

    def source(self, path: Path) -> LabelSource:
        return LabelMapFile(path)

    def listed(
        self, folder: Path, pattern: str | None, fields: Collection[str]
    ) -> list[tuple[dict[str, str], LabelSource]]:
        found = list_images(folder, pattern, (*fields, "class"))
        if "{class}" in (pattern or ""):
            return list(group_masks(found, self.overlap))
        return [(names, LabelMapFile(path)) for names, path in found]


LABEL_MAPS = LabelMapFiles()


def find_cases(
    inputs: str | Path | Iterable[str | Path],
    *,
    pattern: str | None = None,
    lines: Iterable[str] = (),
    files: LabelFiles = LABEL_MAPS,
) -> list[Case]:
    """All cases of files, folders and lists, sorted by name.

    Parameters
    ----------
    inputs
        Files and folders; ``-`` stands for ``lines``.
    pattern
        Path inside a folder, as in `list_images`: ``{case}_seg.nii.gz`` also names the
        case, ``**/*_seg.nii.gz`` picks files that name it themselves;
        ``{case}/{class}.nii.gz`` takes one mask per class. Without it every label map
        file directly in the folder.
    lines
        A path or a JSON record ``{"case": ..., "label": ...}`` per line; a record may
        also name the ``image``.
    files
        Family of their formats.

    Raises
    ------
    InputError
        If there are no cases, an input does not exist, a line is not understood, or
        two files have one name, or names that differ only in the case of letters. (What
        exists and cannot be read, such as a link to nothing, is a case that fails.)
    InvalidParameterError
        If the pattern is none, or is that of masks and an input a file.
    """
    cases: list[Case] = []
    for given in [inputs] if isinstance(inputs, str | Path) else inputs:
        path = Path(given)
        if str(given) == "-":
            cases += [_parse_line(line, files) for line in lines if line.strip()]
        elif is_folder(path) and not _is_named_as_file(path, pattern):
            listed = files.listed(path, pattern, ("case",))
            cases += [Case(names["case"], source) for names, source in listed]
        else:
            _check_exists(path)
            if "{class}" in (pattern or ""):
                raise InvalidParameterError(
                    f"{path}: a file; masks are found in folders, by the pattern"
                )
            cases.append(Case(files.name(path), files.source(path)))
    _check_unique(cases)
    cases = list(dict.fromkeys(cases))  # a file named twice is one
    if not cases:
        raise InputError(
            "no image files found; expected files that end in " + ", ".join(SUFFIXES)
        )
    return sorted(cases, key=lambda case: case.name)


def _is_named_as_file(folder: Path, pattern: str | None) -> bool:
    """Whether a folder has an image's name and holds none: a case that fails."""
    return bool(suffix_of(folder)) and not match_paths(
        folder, "*" if pattern is None else pattern, ("case",), SUFFIXES
    )


def _parse_line(line: str, files: LabelFiles) -> Case:
    text = line.rstrip("\r\n")
    try:
        if "\0" in text:
            raise ValueError("a null byte")
        if not text.lstrip().startswith("{"):
            return Case(files.name(Path(text)), files.source(Path(text)))
        record = json.loads(text, object_pairs_hook=each_once)
        path = Path(record["label"])
        if not isinstance(record.get("case", ""), str):
            raise TypeError("case is no text")
        name = safe_name(record["case"]) if "case" in record else files.name(path)
        return Case(name, files.source(path), image=image_of(record))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            'standard input: expected a path or {"case": ..., "label": ...} per line, '
            f"found {text[:200]!r}"
        ) from error


def image_of(record: Mapping[str, Any]) -> Path | None:
    """The image that a JSON record of a case names, if it does.

    Raises
    ------
    TypeError, ValueError
        If it is no path.
    """
    if "image" not in record:
        return None
    if not record["image"] or "\0" in record["image"]:
        raise ValueError("no path")
    return Path(record["image"])


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, none of whose names may stand there twice.

    Raises
    ------
    ValueError
        If one does: JSON itself keeps the last.
    """
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name is given twice")
    return dict(pairs)


def _check_exists(path: Path) -> None:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise InputError(f"{path}: no such file or folder") from error
    except OSError:  # its case fails, for this reason
        return


def _check_unique(cases: Sequence[Case]) -> None:
    first: dict[str, Case] = {}
    for case in cases:
        other = first.setdefault(case.name, case)
        if other.source != case.source:
            raise InputError(
                f"two files are case {case.name!r}: {_file(other)} and {_file(case)}; "
                "rename one, or name the cases by --pattern or with JSON records on "
                f"standard input; {MASKS}"
            )
        if other.image != case.image:
            raise InputError(
                f"case {case.name!r} is given twice, with image {other.image} and "
                f"{case.image}"
            )
    check_letter_case([(case.name, _file(case)) for case in cases], "cases")


def _file(case: Case) -> Path:
    return case.source.paths[0]
