"""Image series: the slices that labels were drawn on, by their headers alone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom

from svls_cli.dicom.files import LABEL_CLASSES, dicom_files, element, read_dataset
from svls_cli.dicom.planes import PLANE_TAGS, Plane, planes_of, stack_planes
from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.values import listed

_IDENTITY_TAGS = ("SeriesInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True)
class SeriesFiles:
    """Files of one image series.

    Parameters
    ----------
    uid
        SeriesInstanceUID.
    frame_of_reference
        FrameOfReferenceUID; empty if the headers have none.
    paths
        Its files, sorted by name.
    """

    uid: str
    frame_of_reference: str
    paths: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        """Folder of the first file."""
        return self.paths[0].parent

    def absolute(self) -> SeriesFiles:
        """The same for a process in another folder."""
        paths = tuple(path.absolute() for path in self.paths)
        return SeriesFiles(self.uid, self.frame_of_reference, paths)


@dataclass(frozen=True)
class Series:
    """An image series as one voxel grid.

    Parameters
    ----------
    files
        Where it lies.
    geometry
        Grid of its slices, which go along the normal of their planes.
    planes
        Plane of each slice, in the order of the grid.
    slice_paths, sop_instance_uids
        File and SOPInstanceUID of each slice; those of an image of several frames are
        repeated.
    frames
        Which frame of its file each slice is, from 0.
    """

    files: SeriesFiles
    geometry: Geometry
    planes: tuple[Plane, ...]
    slice_paths: tuple[Path, ...]
    sop_instance_uids: tuple[str, ...]
    frames: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What errors call each slice."""
        return tuple(path.name for path in self.slice_paths)


@dataclass(frozen=True)
class FolderFiles:
    """DICOM files of a folder and the folders in it.

    Parameters
    ----------
    series
        Image series by SeriesInstanceUID.
    labels
        Files that hold labels, or may, as nobody can read what they are; sorted.
    """

    series: dict[str, SeriesFiles]
    labels: tuple[Path, ...]


def read_folder(folder: Path) -> FolderFiles:
    """Look through a folder and the folders in it, headers only.

    Raises
    ------
    InputError
        If there are no DICOM files, or files of one image series have different frames
        of reference.
    """
    paths: dict[str, list[Path]] = {}
    frames: dict[str, str] = {}
    labels: list[Path] = []
    cut: list[Path] = []
    for path in dicom_files(folder):
        dataset = _identity(path)
        if dataset is None or dataset.SOPClassUID in LABEL_CLASSES:
            labels.append(path)
            continue
        uid = str(dataset.get("SeriesInstanceUID") or "")
        # As all classes of images are named, and none else.
        if not dataset.SOPClassUID.name.endswith("Image Storage"):
            continue
        if not uid:
            cut.append(path)
        else:
            paths.setdefault(uid, []).append(path)
            frame = str(dataset.get("FrameOfReferenceUID") or "")
            if frames.setdefault(uid, frame) != frame:
                raise InputError(
                    f"{path}: its FrameOfReferenceUID differs from that of "
                    f"{paths[uid][0]}, which is of the same series"
                )
    for path in cut:  # it may be a slice of any series beside it, which has to fail
        beside = [files for files in paths.values() if files[0].parent == path.parent]
        for files in beside or [labels]:
            files.append(path)
    series = {
        uid: SeriesFiles(uid, frames[uid], tuple(sorted(files)))
        for uid, files in paths.items()
    }
    return FolderFiles(series, tuple(sorted(labels)))


def _identity(path: Path) -> pydicom.Dataset | None:
    """What a file is and of which series; of one that was cut what is known of that."""
    for tags in (_IDENTITY_TAGS, ("SOPClassUID",)):
        with suppress(InputError):
            return read_dataset(path, tags=tags)
    return None


def choose_series(
    found: Mapping[str, SeriesFiles], *, uid: str = "", frame_of_reference: str = ""
) -> SeriesFiles:
    """The series that labels refer to.

    Parameters
    ----------
    found
        Series by SeriesInstanceUID, as `read_folder` gives them.
    uid
        SeriesInstanceUID that the labels name; empty if they name none.
    frame_of_reference
        FrameOfReferenceUID of the labels, by which the series is found if they name
        none; empty if they have none, so that there must be one series only.

    Raises
    ------
    InputError
        If no series is meant, or several may be.
    """
    if uid:
        if uid not in found:
            raise InputError(
                f"the labels were drawn on image series {uid}, and there is only "
                f"{listed(sorted(found), 3)}"
            )
        return found[uid]
    meant = [
        files
        for files in found.values()
        if not frame_of_reference or files.frame_of_reference == frame_of_reference
    ]
    if not found:
        raise InputError("there are no images in DICOM files")
    if not meant:
        raise InputError(
            f"no image series has the labels' frame of reference {frame_of_reference}"
        )
    if len(meant) > 1:
        raise InputError(
            f"{len(meant)} image series, and the labels do not say which is meant: "
            + listed([f"{files.uid} in {files.folder}" for files in meant], 3)
            + "; name the folder of one"
        )
    return meant[0]


def read_series(files: SeriesFiles) -> Series:
    """The grid of an image series, whose slices must be complete.

    Raises
    ------
    InputError
        If slices are missing, two lie at one place, or they are no grid: they differ in
        size, orientation or spacing, or are shifted against each other.
    """
    planes: list[Plane] = []
    paths: list[Path] = []
    uids: list[str] = []
    frames: list[int] = []
    for path in files.paths:
        try:
            dataset = read_dataset(path, tags=("SOPInstanceUID", *PLANE_TAGS))
            own = planes_of(dataset)
            planes += own
            paths += [path] * len(own)
            frames += range(len(own))
            uids += [str(element(dataset, "SOPInstanceUID"))] * len(own)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    names = [path.name for path in paths]
    if len(planes) > 1:  # positions tell the distance of slices; headers often err
        planes = [replace(plane, spacing_mm=None) for plane in planes]
    try:
        stack = stack_planes(planes, names)
    except InputError as error:
        raise InputError(f"the image series in {files.folder}: {error}") from error
    order = np.argsort(stack.slices, kind="stable")
    steps = np.diff(stack.slices[order])
    if bad := np.flatnonzero(steps != 1).tolist():
        before, after = (names[order[i]] for i in (bad[0], bad[0] + 1))
        missing = int(steps[bad[0]]) - 1
        raise InputError(
            f"the image series in {files.folder}: "
            + (
                f"slices are missing between {before} and {after}: {missing}"
                if missing > 0
                else f"two slices lie at one place: {before} and {after}"
            )
        )
    return Series(
        files,
        stack.geometry,
        tuple(planes[i] for i in order),
        tuple(paths[i] for i in order),
        tuple(uids[i] for i in order),
        tuple(frames[i] for i in order),
    )
