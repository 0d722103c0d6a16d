"""Formats of label files: told by the files, so that users need not name them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from svls_cli.errors import InvalidParameterError
from svls_cli.labels.cases import LabelFiles, LabelMapFiles
from svls_cli.labels.choices import Overlap
from svls_cli.labels.sources import LabelSource
from svls_cli.labels.suffixes import is_dicom, suffix_of


@dataclass(frozen=True)
class AnyFiles:
    """Label maps and DICOM files; the latter's library is an extra, loaded if needed.

    Parameters
    ----------
    series
        Folder of the image series of DICOM labels.
    overlap
        What becomes of voxels in several masks, as in `MaskFiles`.
    """

    series: Path | None
    overlap: Overlap

    def name(self, path: Path) -> str:
        return self._of(path).name(path)

    def source(self, path: Path) -> LabelSource:
        return self._of(path).source(path)

    def listed(
        self, folder: Path, pattern: str | None, fields: Collection[str]
    ) -> list[tuple[dict[str, str], LabelSource]]:
        family = self._dicom if _holds_dicom(folder, pattern) else self._maps
        return family.listed(folder, pattern, fields)

    def _of(self, path: Path) -> LabelFiles:
        dicom = path.suffix.lower() == ".dcm" or (
            not suffix_of(path) and is_dicom(path)
        )
        return self._dicom if dicom else self._maps

    @property
    def _maps(self) -> LabelFiles:
        return LabelMapFiles(self.overlap)

    @cached_property
    def _dicom(self) -> LabelFiles:
        with dicom_library():
            from svls_cli.dicom.finding import DicomFiles
        return DicomFiles(self.series)


def label_files(series: Path | None, overlap: Overlap, pattern: str | None) -> AnyFiles:
    """The formats in which a command looks for labels.

    Raises
    ------
    InvalidParameterError
        If ``overlap`` is of no use, as the pattern is not that of masks.
    """
    if overlap != "fail" and "{class}" not in (pattern or ""):
        raise InvalidParameterError(
            "--overlap is for one mask per class: say with --pattern what names the "
            "class, as in '{case}/{class}.nii.gz'"
        )
    return AnyFiles(series, overlap)


@contextmanager
def dicom_library() -> Iterator[None]:
    """Around imports of modules that use pydicom and highdicom.

    Raises
    ------
    InvalidParameterError
        If one is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise InvalidParameterError(
            f"DICOM files need {error.name}: pip install 'svls-cli[dicom]'"
        ) from error


def _holds_dicom(folder: Path, pattern: str | None) -> bool:
    """Whether a folder holds DICOM files, going by the first that tell."""
    if pattern and pattern.lower().endswith(".dcm"):
        return True
    if pattern and suffix_of(Path(pattern)):
        return False
    for place, _, names in os.walk(folder):
        if any(suffix_of(Path(name)) for name in names):
            return False
        if any(is_dicom(Path(place, name)) for name in names):
            return True
    return False
