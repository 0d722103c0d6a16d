"""Finding DICOM labels in files and folders, each with its image series."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pydicom

from svls_cli.dicom.files import RTSTRUCT, SEGMENTATIONS, first_item, read_dataset
from svls_cli.dicom.rtstruct import find_contour_file
from svls_cli.dicom.series import SeriesFiles, choose_series, read_folder
from svls_cli.dicom.sources import SegmentationFile
from svls_cli.errors import InputError
from svls_cli.labels.names import safe_name
from svls_cli.labels.patterns import match_paths
from svls_cli.labels.sources import Kind, LabelSource

# What may be cut off a file's name; other ends are parts of UIDs.
_SUFFIXES = (".dcm", ".dicom", ".ima")
_REFERENCE_TAGS = (
    "FrameOfReferenceUID",
    "ReferencedSeriesSequence",
    "SegmentationType",
)


@dataclass(frozen=True)
class DicomFiles:
    """DICOM label files, wherever they lie; for `find_cases` and its like.

    Parameters
    ----------
    series
        Folder of the image series that they were drawn on; by default the folder that
        is searched for labels, if the series is in it.
    """

    series: str | Path | None = None

    @cached_property
    def _series(self) -> dict[str, SeriesFiles]:
        return {} if self.series is None else read_folder(Path(self.series)).series

    def name(self, path: Path) -> str:
        """Name of the case of a file."""
        suffix = path.suffix if path.suffix.lower() in _SUFFIXES else ""
        return safe_name(path.name.removesuffix(suffix))

    def source(self, path: Path) -> LabelSource:
        """The source that reads a file."""
        return self._source(path, self._series)

    def listed(
        self, folder: Path, pattern: str | None, fields: Collection[str]
    ) -> list[tuple[dict[str, str], LabelSource]]:
        """Label files of a folder and the folders in it, with what their paths say.

        Without a pattern, a file directly in the folder is named after itself, and any
        other after the highest folder that holds no other.

        Raises
        ------
        InputError
            If there are none.
        InvalidParameterError
            As `match_paths`.
        """
        found = read_folder(folder)
        series = self._series or found.series
        if pattern is None:
            named = [
                ({"case": self._case(folder, p, found.labels)}, p) for p in found.labels
            ]
        else:
            wanted = set(found.labels)
            named = [
                ({"case": self.name(match.path)} | _names(match.names), match.path)
                for match in match_paths(folder, pattern, fields, ("",))
                if match.path in wanted
            ]
        if not named:
            raise InputError(
                f"{folder}: no DICOM segmentations or contours"
                + (f" match {pattern}" if pattern else "")
            )
        return [(names, self._source(path, series)) for names, path in named]

    def _case(self, folder: Path, path: Path, labels: Collection[Path]) -> str:
        for part in reversed(path.relative_to(folder).parents[:-1]):
            if sum(other.is_relative_to(folder / part) for other in labels) == 1:
                return safe_name(part.name)
        return self.name(path)

    def _source(self, path: Path, series: Mapping[str, SeriesFiles]) -> LabelSource:
        try:
            header = read_dataset(path, tags=_REFERENCE_TAGS)
        except InputError:  # its case fails, for this reason
            return SegmentationFile(path, "unknown")
        if header.SOPClassUID == RTSTRUCT:
            return find_contour_file(path, series)
        fractional = header.get("SegmentationType") == "FRACTIONAL"
        kind: Kind = "probabilities" if fractional else "hard"
        if header.SOPClassUID not in SEGMENTATIONS:
            kind = "unknown"
        try:
            return SegmentationFile(path, kind, self._drawn_on(header, series))
        except InputError as error:
            return SegmentationFile(path, kind, problem=str(error))

    def _drawn_on(
        self, header: pydicom.Dataset, series: Mapping[str, SeriesFiles]
    ) -> SeriesFiles | None:
        if not series:
            return None
        item = first_item(header, "ReferencedSeriesSequence")
        uid = str(item.get("SeriesInstanceUID") or "") if item else ""
        if self.series is None and uid not in series:
            return None
        frame = str(header.get("FrameOfReferenceUID") or "")
        return choose_series(series, uid=uid, frame_of_reference=frame)


def _names(names: Mapping[str, str]) -> dict[str, str]:
    return {field: safe_name(name) for field, name in names.items()}
