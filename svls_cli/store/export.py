"""From a store back to image files: probability volumes and hard label maps."""

from __future__ import annotations

import filecmp
import os
import re
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.batch.records import Outcome, Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.errors import (
    InputError,
    InvalidParameterError,
    StoreError,
    check_choice,
)
from svls_cli.files import unfinished_folder
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.images import file_sha256
from svls_cli.labels.output import write_image
from svls_cli.labels.values import listed
from svls_cli.store.choices import CONTENTS, FORMATS, Content, Format
from svls_cli.store.objects import disk_folder
from svls_cli.store.reader import Store, StoredCase, open_store
from svls_cli.store.verify import verify_case


@dataclass(frozen=True)
class ExportOptions:
    """What is written for each case.

    Parameters
    ----------
    content
        ``soft``: one probability volume per class; ``hard``: the hard label map.
    format
        One of `FORMATS`. NRRD and MetaImage keep the geometry to the last digit; NIfTI
        has single precision, and PNG room for the hard labels of an image only.
    bids
        Names as BIDS derivatives have them, ``_probseg`` and ``_dseg``, and a
        ``dseg.tsv`` with the classes.
    overwrite
        Replace files that exist, but for those that the store was made from.
    """

    content: Content = "soft"
    format: Format = "nii.gz"
    bids: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_choice("content", self.content, CONTENTS)
        check_choice("format", self.format, FORMATS)
        if self.format == "png" and self.content == "soft":
            raise InvalidParameterError("png holds hard labels only: content is soft")


def export_cases(
    store: str | Path,
    out: str | Path,
    *,
    cases: Sequence[str] = (),
    options: ExportOptions | None = None,
    batch: Batch | None = None,
) -> list[Record]:
    """Write cases of a store as image files.

    Parameters
    ----------
    store
        A soft-label store.
    out
        Folder for the files; made if it does not exist.
    cases
        Names; by default all.
    options
        Content and format of the files.
    batch
        As in `smooth_cases`.

    Returns
    -------
    list of Record
        One per case, in the order in which they finish; incomplete and damaged ones
        have failed. A case is skipped if its files are there with the same content.

    Raises
    ------
    StoreError
        If ``store`` is no soft-label store.
    UnknownCaseError
        If it has no case of a name.
    """
    opened, options = open_store(store), options or ExportOptions()

    def exporter(folder: Path, unfinished: Path) -> CaseExporter:
        if options.bids:
            _write_table(folder / "dseg.tsv", opened.classes, options)
        return CaseExporter(folder, unfinished, options, _inputs(opened, options))

    return run_export(opened, out, exporter, cases=cases, batch=batch)


def run_export(
    store: Store,
    out: str | Path,
    exporter: Callable[[Path, Path], Callable[[StoredCase], Outcome[None]]],
    *,
    cases: Sequence[str] = (),
    batch: Batch | None = None,
) -> list[Record]:
    """Write a file or several for each case of a store, whatever their format.

    Parameters
    ----------
    store, out, cases, batch
        As in `export_cases`.
    exporter
        Given the folder and one for unfinished files in it, what writes a case.

    Raises
    ------
    InputError
        If ``out`` lies inside the store.
    UnknownCaseError
        If the store has no case of a name.
    """
    batch = batch or Batch()
    chosen = [store[name] for name in cases or store]
    folder = folder_outside(store, out)
    folder.mkdir(parents=True, exist_ok=True)
    damaged = {} if cases else store.incomplete()
    records = [Record.failure(name, damage) for name, damage in damaged.items()]
    for record in records:
        batch.on_record(record)
    if records and batch.fail_fast:
        return records
    with unfinished_folder(folder) as unfinished:
        work = exporter(folder, unfinished)
        finished = run_cases(work, chosen, batch, doing="export")
    return records + [each.record for each in finished]


def folder_outside(store: Store, out: str | Path) -> Path:
    """The folder ``out``; raise InputError if it lies inside the store."""
    folder, inside = disk_folder(out), store.path
    if isinstance(inside, Path) and folder.resolve().is_relative_to(inside.resolve()):
        raise InputError(f"{out}: inside the store, which holds nothing but cases")
    return folder


def check_whole(case: StoredCase) -> None:
    """Raise StoreError if anything of a case is damaged.

    What is missing from a store reads as zeros, which nobody must export.
    """
    if problems := verify_case(case):
        raise StoreError(f"the stored case is damaged: {listed(problems, 3)}")


def _inputs(store: Store, options: ExportOptions) -> frozenset[str]:
    """The sha256 of every file that the store was made from, if files are replaced."""
    if not options.overwrite:
        return frozenset()
    cases = store.values()
    return frozenset(file["sha256"] for c in cases for file in c.attributes["inputs"])


@dataclass(frozen=True)
class CaseExporter:
    """Writes the files of one case, in a worker process."""

    folder: Path
    unfinished: Path  # folder for files that are being written, on the same file system
    options: ExportOptions
    inputs: frozenset[str]  # sha256 of files that are never replaced

    def __call__(self, case: StoredCase) -> Outcome[None]:
        """Verify a case and write its volumes, each whole or not at all."""
        check_whole(case)
        paths, changed = [], False
        for name, voxels in _volumes(case, self.options):
            path = self.folder / f"{name}.{self.options.format}"
            part = self.unfinished / f"{uuid.uuid4().hex}.{self.options.format}"
            try:
                write_image(part, voxels, case.geometry)
                changed |= _replace(path, part, self.options.overwrite, self.inputs)
            finally:
                part.unlink(missing_ok=True)
            paths.append(path)
        output = str(paths[0] if len(paths) == 1 else self.folder)
        if not changed:
            return Outcome(output, skipped="already complete")
        return Outcome(output, sum(path.stat().st_size for path in paths))


def _volumes(
    case: StoredCase, options: ExportOptions
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """File name without suffix, and voxels; one class in memory at a time."""
    stem = re.sub("_(dseg|probseg)$", "", case.name) if options.bids else case.name
    if options.content == "hard":
        suffix = "_dseg" if options.bids else ""
        yield f"{stem}{suffix}", np.asarray(case.hard[...])
        return
    for index, name in enumerate(file_names(case.classes)):
        suffix = f"_label-{name}_probseg" if options.bids else f"_{name}"
        yield f"{stem}{suffix}", case.probabilities(classes=index)


def file_names(classes: ClassTable) -> list[str]:
    """Class names as parts of file names, each once.

    Examples
    --------
    >>> table = ClassTable.from_values([0, 1], names={1: "Optic nerve (left)"})
    >>> file_names(table)
    ['background', 'OpticNerveLeft']
    """
    names: list[str] = []
    for label in classes.classes:
        words = re.findall(r"\w+", label.name.replace("_", " "))
        first, rest = words[:1], words[1:]
        name = "".join(first + [word[0].upper() + word[1:] for word in rest])
        names.append(name or f"label{label.value}")
    counts = Counter(names)
    unique: list[str] = []
    for name, label in zip(names, classes.classes, strict=True):
        own = f"{name}{label.value}" if counts[name] > 1 else name
        while own in unique or (own != name and own in counts):
            own += f"v{label.value}"
        unique.append(own)
    return unique


def _write_table(path: Path, classes: ClassTable, options: ExportOptions) -> None:
    """The classes as BIDS lists them, if they do not stand there already."""
    names = [" ".join(c.name.split()) for c in classes.classes]
    rows = [
        f"{c.value}\t{name}\t#{c.color}\n"
        for c, name in zip(classes.classes, names, strict=True)
    ]
    content = "".join(["index\tname\tcolor\n", *rows])
    with unfinished_folder(path.parent) as folder:
        part = folder / path.name
        part.write_bytes(content.encode())
        _replace(path, part, options.overwrite)


def _replace(
    path: Path, part: Path, overwrite: bool, inputs: Collection[str] = ()
) -> bool:
    """Put a finished file in the place of ``path``; return whether that changed it.

    Raises
    ------
    InputError
        If another file is there that is not to be replaced, or is one of ``inputs``,
        or a folder.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder, where a file is to be written")
    if os.path.lexists(path):
        if (
            not path.is_symlink()
            and path.is_file()
            and filecmp.cmp(path, part, shallow=False)
        ):
            return False
        if not overwrite:
            raise InputError(f"{path} exists; use --overwrite to replace it")
        if path.is_file() and _sha256(path) in inputs:
            raise InputError(
                f"{path} is a file that the store was made from, which is never "
                "replaced; choose another folder"
            )
    part.replace(path)
    return True


def _sha256(path: Path) -> str | None:
    """The sha256 that the store would have of a file; None if it is no label map."""
    try:
        return file_sha256(path)
    except InputError:
        return None
