"""From a store back to image files: probability volumes and hard label maps."""

from __future__ import annotations

import os
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.batch.records import Outcome, Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.errors import InputError, StoreError, check_choice
from svls_cli.files import UNFINISHED
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.output import write_image
from svls_cli.labels.values import listed
from svls_cli.store.choices import CONTENTS, FORMATS, Content, Format
from svls_cli.store.objects import disk_folder
from svls_cli.store.reader import StoredCase, open_store
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
        has single precision.
    bids
        Names as BIDS derivatives have them, ``_probseg`` and ``_dseg``, and a
        ``dseg.tsv`` with the classes.
    overwrite
        Replace files that exist.
    """

    content: Content = "soft"
    format: Format = "nii.gz"
    bids: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_choice("content", self.content, CONTENTS)
        check_choice("format", self.format, FORMATS)


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
        One per case, in the order in which they finish.

    Raises
    ------
    StoreError
        If ``store`` is no soft-label store.
    UnknownCaseError
        If it has no case of a name.
    """
    opened, options = open_store(store), options or ExportOptions()
    chosen = [opened[name] for name in cases or opened]
    folder, inside = disk_folder(out), opened.path
    if isinstance(inside, Path) and folder.resolve().is_relative_to(inside.resolve()):
        raise InputError(f"{out}: inside the store, which holds nothing but cases")
    folder.mkdir(parents=True, exist_ok=True)
    if options.bids:
        _write_table(folder / "dseg.tsv", opened.classes, options)
    with TemporaryDirectory(prefix=UNFINISHED, dir=folder) as unfinished:
        exporter = CaseExporter(folder, Path(unfinished), options)
        finished = run_cases(exporter, chosen, batch or Batch(), doing="export")
    return [each.record for each in finished]


@dataclass(frozen=True)
class CaseExporter:
    """Writes the files of one case, in a worker process."""

    folder: Path
    unfinished: Path  # folder for files that are being written, on the same file system
    options: ExportOptions

    def __call__(self, case: StoredCase) -> Outcome[None]:
        """Verify a case and write its volumes, each whole or not at all."""
        # What is missing from a store reads as zeros, which nobody must export.
        if problems := verify_case(case):
            raise StoreError(f"the stored case is damaged: {listed(problems, 3)}")
        paths = []
        for name, voxels in _volumes(case, self.options):
            path = self.folder / f"{name}.{self.options.format}"
            with _replacing(path, self.unfinished, self.options) as part:
                write_image(part, voxels, case.geometry)
            paths.append(path)
        output = paths[0] if len(paths) == 1 else self.folder
        return Outcome(str(output), sum(path.stat().st_size for path in paths))


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
    content = "".join(["index\tname\tcolor\n", *rows]).encode()
    if path.is_file() and path.read_bytes() == content:
        return
    with _replacing(path, path.parent, options) as part:
        part.write_bytes(content)


@contextmanager
def _replacing(path: Path, parts: Path, options: ExportOptions) -> Iterator[Path]:
    """A file in ``parts`` that replaces ``path`` if the block succeeds."""
    if os.path.lexists(path) and not options.overwrite:
        raise InputError(f"{path} exists; use --overwrite to replace it")
    part = parts / f".{uuid.uuid4().hex}.{options.format}"
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
