"""From a store to DICOM segmentations on the images that were labelled."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import numpy.typing as npt
from pydicom.uid import generate_uid

from svls_cli.arrays import UIntArray
from svls_cli.batch.records import Outcome, Record
from svls_cli.batch.run import Batch
from svls_cli.dicom.compose import MODEL, compose
from svls_cli.dicom.files import read_dataset, understood
from svls_cli.dicom.segments import DEFAULT_CODE
from svls_cli.dicom.series import Series, read_folder, read_series
from svls_cli.errors import InputError, check_choice
from svls_cli.labels.classes import LabelClass
from svls_cli.labels.values import listed
from svls_cli.soften.levels import levels, quantise
from svls_cli.store.choices import CONTENTS, Content
from svls_cli.store.export import check_whole, run_export
from svls_cli.store.reader import StoredCase, open_store
from svls_cli.store.schema import SOFT
from svls_cli.store.verify import stored_blocks


def export_segmentations(
    store: str | Path,
    out: str | Path,
    *,
    series: str | Path,
    cases: Sequence[str] = (),
    content: Content = "soft",
    overwrite: bool = False,
    batch: Batch | None = None,
) -> list[Record]:
    """Write cases of a store as DICOM segmentations.

    Parameters
    ----------
    store
        A soft-label store.
    out
        Folder for the files, ``CASE.dcm``; made if it does not exist.
    series
        Folder of the image series that was labelled, on whose slices each case lies. If
        several lie on its grid, they are searched in the folder that is named after the
        case. So is the only one if other cases lie on its grid, too, as cases are not
        exported onto the images of another patient unless ``cases`` names them.
    cases
        Names; by default all.
    content
        ``soft``: a fractional segmentation, probabilities in steps of 1/255; ``hard``:
        a binary one.
    overwrite
        Replace files that exist, if they were written by this function.
    batch
        As in `smooth_cases`.

    Returns
    -------
    list of Record
        As `export_cases`.

    Raises
    ------
    InvalidParameterError
        If ``content`` is unknown.
    InputError
        If ``series`` has no images.
    StoreError
        If ``store`` is no soft-label store.
    UnknownCaseError
        If it has no case of a name.
    """
    check_choice("content", content, CONTENTS)
    opened, folder = open_store(store), Path(series)
    found, problems = _read_all(folder)
    unnamed = [] if cases else [opened[name] for name in opened]
    claims = {
        each.files.uid: [
            case.name for case in unnamed if not case.geometry.difference(each.geometry)
        ]
        for each in found
    }
    grids = _Grids(folder, found, problems, claims)

    def exporter(folder: Path, unfinished: Path) -> SegmentationExporter:
        return SegmentationExporter(folder, unfinished, grids, content, overwrite)

    return run_export(opened, out, exporter, cases=cases, batch=batch)


def _read_all(folder: Path) -> tuple[list[Series], list[str]]:
    """All series of a folder, and what is wrong with those that are no grid."""
    found, problems = [], []
    files = read_folder(folder).series
    if not files:
        raise InputError(f"{folder}: no images in its DICOM files")
    for each in files.values():
        try:
            found.append(read_series(each))
        except InputError as error:
            problems.append(str(error))
    return found, problems


@dataclass(frozen=True)
class _Grids:
    """Image series of a folder, to find the one that a case lies on."""

    folder: Path
    series: Sequence[Series]
    problems: Sequence[str]  # what is wrong with the others
    # Cases on the grid of each series, by SeriesInstanceUID, of those that are
    # exported because nobody named any.
    claims: Mapping[str, Sequence[str]]

    def of(self, case: StoredCase) -> Series:
        """The series on whose grid a case lies.

        Raises
        ------
        InputError
            If there is none in a folder of the case's name, and elsewhere there is
            none, or several, or one that other cases lie on, too.
        """
        differences = [case.geometry.difference(s.geometry) for s in self.series]
        same = [s for s, d in zip(self.series, differences, strict=True) if not d]
        inside = self.folder / case.name
        own = [s for s in same if s.files.folder.is_relative_to(inside)]
        if len(own or same) == 1:
            [series] = own or same
            claims = self.claims[series.files.uid]
            if not own and len(claims) > 1:
                raise InputError(
                    f"the grid of the image series in {series.files.folder} is that of "
                    f"{listed(claims, 3)}: name the folder of each case's series after "
                    "the case, or name the cases that are of this one"
                )
            return series
        if same := own or same:
            raise InputError(
                f"{len(same)} image series lie on its grid, in "
                f"{listed([str(s.files.folder) for s in same], 3)}: name the folder of "
                "one with --series"
            )
        others = [
            f"{difference} in {series.files.folder}"
            for series, difference in zip(self.series, differences, strict=True)
        ]
        raise InputError(
            "the case and the image series are on different grids: "
            + listed([*others, *self.problems], 3)
        )


@dataclass(frozen=True)
class SegmentationExporter:
    """Writes the segmentation of one case, in a worker process."""

    folder: Path
    unfinished: Path  # folder for files that are being written, on the same file system
    grids: _Grids
    content: Content
    overwrite: bool

    def __call__(self, case: StoredCase) -> Outcome[None]:
        """Verify a case and write its file, whole or not at all."""
        check_whole(case)
        series = self.grids.of(case)
        classes = [label for label in case.classes.classes if label.value != 0]
        if not classes:
            raise InputError("it has no class but the background")
        planes: Mapping[tuple[int, int], UIntArray] = dict(self._planes(case, classes))
        path = self.folder / f"{case.name}.dcm"
        digest = hashlib.sha256()
        for (index, z), plane in planes.items():
            digest.update(f"{index} {z} ".encode() + plane.tobytes())
        key = [self.content, case.name, str(classes), series.files.uid]
        uid = str(generate_uid(entropy_srcs=[*key, digest.hexdigest()]))
        if self._is_there(path, uid):
            return Outcome(str(path), skipped="already complete")
        dataset = compose(
            series,
            classes,
            planes,
            fractional=self.content == "soft",
            method=str(case.attributes["method"]["name"]),
            uids=(str(generate_uid(entropy_srcs=key[:2] + key[3:])), uid),
        )
        part = self.unfinished / f"{uuid.uuid4().hex}.dcm"
        try:
            with understood(part):
                dataset.save_as(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        notes = _notes(case, classes, self.content)
        return Outcome(str(path), path.stat().st_size, note="; ".join(notes) or None)

    def _is_there(self, path: Path, uid: str) -> bool:
        """Whether the same file is there already.

        Raises
        ------
        InputError
            If another is that is not to be replaced, or was not written here.
        """
        if not path.exists() and not path.is_symlink():
            return False
        try:
            tags = ("SOPInstanceUID", "ManufacturerModelName")
            header = read_dataset(path, tags=tags)
        except InputError:
            header = None
        if header is None or header.get("ManufacturerModelName") != MODEL:
            raise InputError(
                f"{path} exists and was not written by {MODEL}, so it is never "
                "replaced; choose another folder"
            )
        if header.get("SOPInstanceUID") == uid:
            return True
        if not self.overwrite:
            raise InputError(f"{path} exists; use --overwrite to replace it")
        return False

    def _planes(
        self, case: StoredCase, classes: Sequence[LabelClass]
    ) -> Iterator[tuple[tuple[int, int], UIntArray]]:
        """Frames by class and slice: those with something in them.

        The first class has the first and the last slice in any case, so that the file
        alone tells the grid.
        """
        n_slices = case.geometry.shape[0]
        hard = case.label_patch("hard") if self.content == "hard" else None
        soft = None if hard is not None else _as_uint8(case, self.unfinished)
        for index, label in enumerate(classes):
            if hard is not None:
                volume: UIntArray = (hard == label.value).astype(np.uint8)
            elif soft is not None:
                volume = soft[label.index]
            else:
                volume = case.patch(classes=label.index)
            for z in range(n_slices):
                if volume[z].any() or (index == 0 and z in (0, n_slices - 1)):
                    yield (index, z), np.ascontiguousarray(volume[z])


def _as_uint8(case: StoredCase, folder: Path) -> npt.NDArray[np.uint8] | None:
    """Soft labels as steps of 1/255, in a file; None if they are stored so."""
    if case.soft.dtype == np.uint8:
        return None
    with TemporaryFile(dir=folder) as file:
        shape = (len(case.classes), *case.geometry.shape)
        result = np.memmap(file, np.uint8, "w+", shape=shape)
    top = levels(case.soft.dtype)
    for block in stored_blocks(case, case.arrays.layout(SOFT)):
        stored = case.patch(block)
        steps = np.where(stored == top, np.uint8(levels("uint8")), np.uint8(0))
        # Of all other voxels but those that are ignored.
        mixed = stored.any(axis=0) & ~steps.any(axis=0)
        steps[:, mixed] = quantise(stored[:, mixed], "uint8")
        result[:, *block] = steps
    return result


def _notes(
    case: StoredCase, classes: Sequence[LabelClass], content: Content
) -> list[str]:
    notes = []
    if content == "soft" and case.soft.dtype != np.uint8:
        notes.append(f"probabilities of {case.soft.dtype} rounded to steps of 1/255")
    moved = [c.value for n, c in enumerate(classes, 1) if c.value != n]
    if moved:
        notes.append(
            f"segments are numbered from 1: labels {listed(moved)} have other numbers"
        )
    if bare := [label.name for label in classes if not label.type]:
        meaning = DEFAULT_CODE.rpartition("^")[2]
        notes.append(f"{listed(bare, 3)} without a code: called {meaning!r}")
    if case.attributes.get("ignore_label") is not None:
        notes.append("voxels without a label are background there")
    return notes
