"""Opening DICOM files, with errors that say what is wrong with them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.uid import MediaStorageDirectoryStorage

from svls_cli.errors import InputError
from svls_cli.labels.header import check_regular
from svls_cli.labels.suffixes import is_dicom

# SOP classes of what holds labels.
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
LABEL_CLASSES = (*SEGMENTATIONS, RTSTRUCT)
_DIRECTORY = "DICOMDIR"  # the name that the standard gives the list of a medium's files
_UNDEFINED_LENGTH = 0xFFFFFFFF


def dicom_files(folder: Path) -> list[Path]:
    """All DICOM files of a folder and the folders in it, sorted by path.

    A DICOMDIR, which lists them, is left out.

    Raises
    ------
    InputError
        If there are none, or it is no folder.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}"
        )
    found = [
        path
        for place, folders, names in os.walk(folder)
        for path in (Path(place, name) for name in sorted(names))
        if not folders.sort() and path.name.upper() != _DIRECTORY and is_dicom(path)
    ]
    if not found:
        raise InputError(f"{folder}: no DICOM files in this folder")
    return sorted(found)


def read_dataset(
    path: Path, *, pixels: bool = False, tags: Sequence[str] = ()
) -> pydicom.FileDataset:
    """The data elements of a DICOM file.

    Parameters
    ----------
    path
        DICOM file, with or without the 128 bytes and the mark that it should begin
        with.
    pixels
        Read the pixel data as well, and what follows it.
    tags
        Keywords of the elements to read; by default all.

    Raises
    ------
    InputError
        If it cannot be read, or is not a DICOM file.
    """
    check_regular(path)
    try:
        with understood(path):
            dataset = pydicom.dcmread(
                path,
                stop_before_pixels=not pixels,
                force=True,
                specific_tags=["SOPClassUID", *tags] if tags else None,
            )
            kind = dataset.file_meta.get("MediaStorageSOPClassUID")
            if kind == MediaStorageDirectoryStorage:
                raise InputError("a DICOMDIR, which names files; give their folder")
            known = "SOPClassUID" in dataset
    except InputError:
        if is_dicom(path):
            raise
        known = False
    if not known and not is_dicom(path):
        raise InputError("not a DICOM file: it does not start as one")
    _check_ends(dataset)
    element(dataset, "SOPClassUID")
    return dataset


def _check_ends(dataset: pydicom.Dataset) -> None:
    """Check elements' lengths: pydicom takes what a file that was cut has left."""
    for each in dataset.values():
        if not isinstance(each, RawDataElement) or not isinstance(each.value, bytes):
            continue
        if len(each.value) < each.length != _UNDEFINED_LENGTH:
            name = keyword_for_tag(each.tag) or each.tag
            raise InputError(f"truncated: it ends within {name}")


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turn what pydicom raises on a broken file into an InputError, warn of nothing."""
    try:
        with warnings.catch_warnings():
            # Values that break a rule of the standard can be read nonetheless.
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # pydicom lets through whatever a broken file leads to
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"cannot be read: {error.strerror}") from error
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"broken or truncated DICOM file: {reason}") from error


def element(dataset: pydicom.Dataset, keyword: str) -> Any:
    """The value of a data element that has to be there.

    Raises
    ------
    InputError
        If it is not, or is empty.
    """
    value = dataset.get(keyword)
    if value is None or value == "" or (isinstance(value, Sequence) and not len(value)):
        raise InputError(f"broken or truncated DICOM file: it has no {keyword}")
    return value


def text(dataset: pydicom.Dataset, keyword: str) -> str:
    """A data element of one text, in which a backslash parts nothing; or empty."""
    value = dataset.get(keyword) or ""
    parts = value if isinstance(value, MultiValue) else [value]
    return "\\".join(str(part) for part in parts).strip()


def first_item(dataset: pydicom.Dataset, keyword: str) -> pydicom.Dataset | None:
    """The first item of a sequence, if there is one."""
    items = dataset.get(keyword)
    return items[0] if items else None
