"""Which cases several raters annotated, and who they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from svls_cli.errors import InputError
from svls_cli.labels.cases import (
    LABEL_MAPS,
    MASKS,
    LabelFiles,
    each_once,
    image_of,
)
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.listing import check_folder
from svls_cli.labels.names import check_letter_case, composed, safe_name
from svls_cli.labels.segments import Segment, number_segments
from svls_cli.labels.sources import LabelSource

# The store keeps the consensus beside the raters' maps, under this name.
HARD = "hard"


@dataclass(frozen=True)
class RatedCase:
    """One scan and its label map by each rater.

    Parameters
    ----------
    name
        Safe as the name of one folder.
    raters
        Rater, and where their labels are read from, in the order in which the raters
        were given; at least one.
    missing
        Raters of the data set who did not annotate this case.
    shown
        Names that users gave the files, if not their paths.
    image
        The image that was labelled, if it is of use.
    """

    name: str
    raters: tuple[tuple[str, LabelSource], ...]
    missing: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    image: Path | None = None

    @property
    def sources(self) -> tuple[tuple[str, LabelSource], ...]:
        """Each rater's source of labels, with whose and which it is, to show."""
        found, names = [], self.inputs
        for rater, source in self.raters:
            n_files = len(source.paths)
            # Of several masks the folder: errors name the file in it.
            shown = names[0] if n_files == 1 else str(Path(names[0]).parent)
            found.append((f"rater {rater}: {shown}", source))
            names = names[n_files:]
        return tuple(found)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of its files in records, the image last."""
        files = [path for _, source in self.raters for path in source.paths]
        return self.shown or tuple(map(str, filter(None, (*files, self.image))))

    @property
    def missing_note(self) -> str | None:
        """Note of a record on a case that lacks raters, or None."""
        if not self.missing:
            return None
        return f"no label map of rater {', '.join(self.missing)}"

    def absolute(self) -> RatedCase:
        """The same for a process in another folder."""
        raters = tuple((rater, source.absolute()) for rater, source in self.raters)
        image = self.image and self.image.absolute()
        return RatedCase(self.name, raters, self.missing, self.inputs, image)


def find_rated_cases(
    inputs: str | Path | Iterable[str | Path],
    *,
    pattern: str | None = None,
    lines: Iterable[str] = (),
    files: LabelFiles = LABEL_MAPS,
) -> list[RatedCase]:
    """All cases of several raters, sorted by name.

    Parameters
    ----------
    inputs
        A folder per rater, in which files of one case have one name; or, with a
        ``pattern`` that holds ``{rater}``, folders of all raters; ``-`` stands for
        ``lines``.
    pattern
        Path inside a folder, as in `list_images`: ``{case}_{rater}.nii.gz``,
        ``{case}/{rater}.nii.gz`` and the like in folders of all raters;
        ``{case}_seg.nii.gz`` or ``*_seg.nii.gz`` in a folder per rater.
    lines
        A JSON record ``{"case": ..., "raters": {"r1": path, ...}}`` per line, which may
        also name the ``image``.
    files
        As in `find_cases`.

    Raises
    ------
    InputError
        If there are no cases, an input does not exist, a line is not understood, a
        rater has two files for one case, or a case two images.
    """
    given = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    folders = [Path(path) for path in given if str(path) != "-"]
    found: list[tuple[str, str | None, LabelSource]] = []
    images: dict[str, Path] = {}
    for line in lines if len(folders) < len(given) else ():
        if line.strip():
            maps, image = _parse_line(line, files)
            found += maps
            case = maps[0][0]
            if image is not None and images.setdefault(case, image) != image:
                raise InputError(
                    f"two files are the image of case {case!r}: {images[case]} and "
                    f"{image}"
                )
    of_all = "{rater}" in (pattern or "")
    for folder in folders:
        check_folder(folder, "" if of_all else "; give one for each rater")
    raters = [None] * len(folders) if of_all else _rater_names(folders)
    for rater, folder in zip(raters, folders, strict=True):
        for names, source in files.listed(folder, pattern, ("case", "rater")):
            found.append((names["case"], names.get("rater", rater), source))
    return _by_case(found, images)


def named_classes(cases: Iterable[RatedCase]) -> ClassTable | None:
    """Classes of labels that go by their names, numbered; None if some go by values.

    What cannot be read is left out: its case fails when it is needed.
    """
    sources = [source for case in cases for _, source in case.raters]
    if not sources:
        return None
    named: list[Segment] = []
    for source in sources:
        with suppress(InputError):
            segments = source.named()
            if segments is None:
                return None
            named += segments
    numbered = number_segments([0], {}, named)
    return ClassTable.from_values(
        [0, *numbered],
        names={value: segment.name for value, segment in numbered.items()},
        colors={value: segment.color for value, segment in numbered.items()},
        codes={value: (s.category, s.type) for value, s in numbered.items()},
    )


def _by_case(
    found: Sequence[tuple[str, str | None, LabelSource]], images: Mapping[str, Path]
) -> list[RatedCase]:
    if not found:
        raise InputError("no cases: no label maps of any rater were found")
    known = {rater: each.paths[0] for _, rater, each in found if rater is not None}
    _check_names(known)
    check_letter_case(known.items(), "raters")
    check_letter_case([(case, each.paths[0]) for case, _, each in found], "cases")
    # Whose a folder is that cannot be read may be unknown: its case fails anyway.
    everyone = list(known) or ["unknown"]
    cases: dict[str, dict[str, LabelSource]] = {}
    for case, rater, source in found:
        rater = everyone[0] if rater is None else rater
        other = cases.setdefault(case, {}).setdefault(rater, source)
        if other != source:
            raise InputError(
                f"two files are case {case!r} of rater {rater!r}: {other.paths[0]} and "
                f"{source.paths[0]}; {MASKS}"
            )
    return [
        RatedCase(
            name,
            tuple((rater, maps[rater]) for rater in everyone if rater in maps),
            tuple(rater for rater in everyone if rater not in maps),
            image=images.get(name),
        )
        for name, maps in sorted(cases.items())
    ]


def _check_names(raters: Iterable[str]) -> None:
    """A rater's map is stored in a folder of this name."""
    for rater in raters:
        if rater.casefold() == HARD or safe_name(rater) != rater:
            raise InputError(
                f"{rater!r} cannot be a rater's name: the store needs it, or it is no "
                "folder's name; rename the folder or give JSON records"
            )


def _rater_names(folders: Sequence[Path]) -> list[str]:
    """The folders' names; with as many of their parents' as tell them apart.

    Examples
    --------
    >>> _rater_names([Path("/data/r1/labels"), Path("/data/r2/labels")])
    ['r1_labels', 'r2_labels']
    """
    parts = [folder.resolve().parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise InputError("a rater's folder is given twice")
    for depth in range(1, max(map(len, parts), default=1) + 1):
        names = [safe_name("_".join(path[-depth:])) for path in parts]
        if len({name.casefold() for name in names}) == len(names):
            return names
    raise InputError(
        "two raters' folders have one name on some file systems: "
        f"{', '.join(map(str, folders))}; rename one"
    )


def _parse_line(
    line: str, files: LabelFiles
) -> tuple[list[tuple[str, str, LabelSource]], Path | None]:
    """Case, rater and file of each label map that a record names, and its image."""
    text = line.rstrip("\r\n")
    try:
        record = json.loads(text, object_pairs_hook=each_once)
        case, raters = record["case"], record["raters"]
        if not isinstance(case, str) or not isinstance(raters, Mapping) or not raters:
            raise TypeError("case is text, raters an object")
        if any("\0" in path for path in raters.values()):
            raise ValueError("a null byte")
        case = safe_name(case)
        maps = [
            (case, composed(rater), files.source(Path(path)))
            for rater, path in raters.items()
        ]
        return maps, image_of(record)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            'standard input: expected {"case": ..., "raters": {"r1": path, ...}} per '
            f"line, found {text[:200]!r}"
        ) from error
