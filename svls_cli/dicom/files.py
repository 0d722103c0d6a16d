"""Opening DICOM files, with errors that say what is wrong with them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom

from svls_cli.errors import InputError
from svls_cli.labels.header import check_regular
from svls_cli.labels.suffixes import is_dicom

# SOP classes of what holds labels.
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
LABEL_CLASSES = (*SEGMENTATIONS, RTSTRUCT)


def dicom_files(folder: Path) -> list[Path]:
    """All DICOM files of a folder and the folders in it, sorted by path.

    Raises
    ------
    InputError
        If there are none.
    """
    found = [
        path
        for place, folders, names in os.walk(folder)
        for path in (Path(place, name) for name in sorted(names))
        if not folders.sort() and is_dicom(path)
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
            known = "SOPClassUID" in dataset
    except InputError:
        if is_dicom(path):
            raise
        known = False
    if not known:
        raise InputError(
            "not a DICOM file: it says of no kind of object that it is one"
        )
    return dataset


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
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}") from error
    except MemoryError:
        raise
    except Exception as error:  # pydicom lets through whatever a broken file leads to
        raise InputError(
            f"broken DICOM file: {type(error).__name__}: {error}"
        ) from error


def element(dataset: pydicom.Dataset, keyword: str) -> Any:
    """The value of a data element that has to be there.

    Raises
    ------
    InputError
        If it is not, or is empty.
    """
    value = dataset.get(keyword)
    if value is None or value == "" or (isinstance(value, Sequence) and not len(value)):
        raise InputError(f"broken DICOM file: it has no {keyword}")
    return value


def first_item(dataset: pydicom.Dataset, keyword: str) -> pydicom.Dataset | None:
    """The first item of a sequence, if there is one."""
    items = dataset.get(keyword)
    return items[0] if items else None
