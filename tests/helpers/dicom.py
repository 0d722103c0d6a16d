"""DICOM image series and contours, written for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

CT = UID("1.2.840.10008.5.1.4.1.1.2")
RTSTRUCT = UID("1.2.840.10008.5.1.4.1.1.481.3")
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class SeriesGrid:
    """Grid of an image series, all in the order of DICOM's headers."""

    shape: tuple[int, int, int] = (5, 24, 28)  # (z, y, x)
    spacing_mm: tuple[float, float, float] = (2.5, 0.8, 0.5)  # (z, y, x)
    origin_mm: tuple[float, float, float] = (-7.0, 11.0, -40.0)  # (x, y, z), LPS
    orientation: tuple[float, ...] = AXIAL  # along a row, then along a column
    uid: str = field(default_factory=generate_uid)
    frame_of_reference: str = field(default_factory=generate_uid)
    image_uids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.image_uids:
            uids = tuple(generate_uid() for _ in range(self.shape[0]))
            object.__setattr__(self, "image_uids", uids)

    def mm(self, voxels: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Points (x, y, z), LPS, of voxel coordinates (z, y, x)."""
        along_row, along_column = np.reshape(self.orientation, (2, 3))
        axes = np.array([np.cross(along_row, along_column), along_column, along_row])
        steps = np.asarray(voxels, np.float64) * self.spacing_mm
        return np.asarray(steps @ axes + self.origin_mm)


def write_series(
    folder: Path, grid: SeriesGrid, *, leave_out: Sequence[int] = ()
) -> None:
    """Write a CT series, a file a slice, named in no order; voxels are all 0."""
    folder.mkdir(parents=True, exist_ok=True)
    for z, uid in enumerate(grid.image_uids):
        if z in leave_out:
            continue
        image = _dataset(CT, uid, grid)
        image.Modality = "CT"
        image.SeriesInstanceUID = grid.uid
        image.InstanceNumber = z + 1
        image.Rows, image.Columns = grid.shape[1:]
        image.ImagePositionPatient = [round(v, 6) for v in grid.mm((z, 0, 0)).tolist()]
        image.ImageOrientationPatient = list(grid.orientation)
        image.PixelSpacing = list(grid.spacing_mm[1:])
        image.SliceThickness = grid.spacing_mm[0]
        image.SamplesPerPixel = 1
        image.PhotometricInterpretation = "MONOCHROME2"
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation = 15, 1
        image.RescaleIntercept, image.RescaleSlope = -1024, 1
        image.PixelData = bytes(2 * image.Rows * image.Columns)
        image.save_as(folder / f"{(z * 7) % 11:02}_{z}.dcm", enforce_file_format=True)


@dataclass(frozen=True)
class Drawn:
    """A structure to write: contours in mm, (x, y, z), each of one type."""

    name: str
    contours: Sequence[npt.ArrayLike] | None  # None: the file has no entry for it
    color: tuple[int, int, int] | None = None
    kind: str = "CLOSED_PLANAR"
    number: int | None = None


def drawn(
    name: str,
    grid: SeriesGrid,
    slices: Mapping[int, Sequence[npt.ArrayLike]],
    **more: Any,
) -> Drawn:
    """A structure from contours in voxels (y, x) by slice."""
    contours = [
        grid.mm(np.c_[np.full(len(np.asarray(points)), float(z)), np.asarray(points)])
        for z, several in slices.items()
        for points in several
    ]
    return Drawn(name, contours, **more)


def write_rtstruct(
    path: Path,
    grid: SeriesGrid,
    structures: Sequence[Drawn],
    *,
    with_images: bool = True,
    with_series: bool = True,
) -> Dataset:
    """Write an RTSTRUCT that refers to a series (and to its images)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = _dataset(RTSTRUCT, generate_uid(), grid)
    found.Modality = "RTSTRUCT"
    found.SeriesInstanceUID = generate_uid()
    found.StructureSetLabel = "test"
    series = Dataset()
    series.SeriesInstanceUID = grid.uid
    if with_images:
        series.ContourImageSequence = [_reference(uid) for uid in grid.image_uids]
    study = _reference(generate_uid())
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = grid.frame_of_reference
    if with_series:
        frame.RTReferencedStudySequence = [study]
    found.ReferencedFrameOfReferenceSequence = [frame]
    found.StructureSetROISequence, found.ROIContourSequence = [], []
    for place, structure in enumerate(structures, 1):
        roi, number = Dataset(), structure.number or place
        roi.ROINumber, roi.ROIName = number, structure.name
        roi.ReferencedFrameOfReferenceUID = grid.frame_of_reference
        roi.ROIGenerationAlgorithm = "MANUAL"
        found.StructureSetROISequence.append(roi)
        if structure.contours is None:
            continue
        item = Dataset()
        item.ReferencedROINumber = number
        if structure.color:
            item.ROIDisplayColor = list(structure.color)
        item.ContourSequence = []
        for points in structure.contours:
            contour, flat = Dataset(), np.asarray(points, np.float64).ravel()
            contour.ContourGeometricType = structure.kind
            contour.NumberOfContourPoints = len(flat) // 3
            contour.ContourData = [round(value, 9) for value in flat.tolist()]
            item.ContourSequence.append(contour)
        found.ROIContourSequence.append(item)
    found.save_as(path, enforce_file_format=True)
    return found


def _dataset(sop_class: UID, uid: str, grid: SeriesGrid) -> Dataset:
    """The elements that every DICOM file has, of a patient who must not be named."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, UID(uid)
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "MRN-12345"
    dataset.StudyInstanceUID = UID("1.2.826.0.1.3680043.8.498.1")
    dataset.FrameOfReferenceUID = grid.frame_of_reference
    return dataset


def _reference(uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, uid
    return reference
