"""Make the study in `dicom/` of this folder; the same bytes every time.

    python sample_data/make_dicom.py

A CT series of an abdomen in few slices (`study/patient_1/ct/`), a segmentation of liver
and kidney on it that leaves out empty slices, as most do (`seg.dcm` beside it), and the
contours of two raters (`raters/`). Needs pydicom.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    RTStructureSetStorage,
    SegmentationStorage,
)

HERE = Path(__file__).parent / "dicom"
STUDY = HERE / "study" / "patient_1"
SHAPE = (12, 40, 40)
SPACING_MM = (4.0, 1.5, 1.5)
ORIGIN_MM = (-30.0, -40.0, 115.0)  # (x, y, z)
# How far outside of the true boundary each rater draws, in mm.
RATERS = {"a": 0.6, "b": -0.6}
# Centre and radii in mm from the first voxel, (z, y, x); SNOMED's code; RGB and CIELab.
ORGANS = {
    "liver": (
        (22, 26, 20), (15, 15, 13),
        "10200004", (86, 180, 233), (45761, 29808, 23959),
    ),
    "kidney": (
        (22, 35, 45), (11, 9, 6),
        "64033007", (213, 94, 0), (35512, 44018, 49160),
    ),
}  # fmt: skip


def uid(name: str) -> str:
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_DNS, f'svls-cli sample {name}').int}"


def item(**elements: Any) -> Dataset:
    found = Dataset()
    for keyword, value in elements.items():
        setattr(found, keyword, value)
    return found


def write(path: Path, kind: str, modality: str, **elements: Any) -> None:
    """Write an object of the one patient and study."""
    name = path.relative_to(HERE).as_posix()
    file = item(
        SpecificCharacterSet="ISO_IR 192",
        SOPClassUID=kind,
        SOPInstanceUID=uid(name),
        StudyDate="20260101",
        StudyTime="120000",
        AccessionNumber="",
        Modality=modality,
        Manufacturer="svls-cli",
        ManufacturerModelName="sample data",
        DeviceSerialNumber="1",
        SoftwareVersions="1",
        ReferringPhysicianName="",
        PatientName="Phantom^One",
        PatientID="phantom-1",
        PatientBirthDate="",
        PatientSex="O",
        StudyInstanceUID=uid("study"),
        SeriesInstanceUID=uid("ct" if modality == "CT" else f"series of {name}"),
        StudyID="1",
        SeriesNumber=1,
        InstanceNumber=1,
        FrameOfReferenceUID=uid("frame of reference"),
        PositionReferenceIndicator="",
        **elements,
    )
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.ImplementationClassUID = uid("implementation")
    file.file_meta.ImplementationVersionName = "SVLS_CLI_SAMPLE"
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


def ellipse(name: str, z: int, margin_mm: float = 0) -> tuple[Any, Any]:
    """Centre and radii (y, x) of an organ's section, in mm from the first voxel."""
    centre, radii = np.array(ORGANS[name][0]), np.array(ORGANS[name][1]) + margin_mm
    height = (z * SPACING_MM[0] - centre[0]) / radii[0]
    return centre[1:], radii[1:] * np.sqrt(max(0, 1 - height**2))


def mask(name: str, z: int) -> npt.NDArray[np.bool_]:
    centre, radii = ellipse(name, z)
    if not radii.all():
        return np.zeros(SHAPE[1:], bool)
    points = np.moveaxis(np.indices(SHAPE[1:]), 0, 2) * SPACING_MM[1:]
    return np.asarray((((points - centre) / radii) ** 2).sum(axis=2) < 1)


def position(z: int) -> list[float]:
    return [*ORIGIN_MM[:2], ORIGIN_MM[2] + z * SPACING_MM[0]]


def pixel_format(bits: int, *, signed: bool) -> dict[str, Any]:
    return {
        "Rows": SHAPE[1],
        "Columns": SHAPE[2],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(signed),
    }


def write_series() -> None:
    rng = np.random.default_rng(1)
    for z in range(SHAPE[0]):
        image = rng.normal(-80, 15, SHAPE[1:])
        for name, level in zip(ORGANS, (60, 120), strict=True):
            image[mask(name, z)] += level + 80
        write(
            STUDY / "ct" / f"slice_{z + 1:02}.dcm",
            CTImageStorage,
            "CT",
            ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            BodyPartExamined="ABDOMEN",
            PatientPosition="HFS",
            AcquisitionNumber=1,
            KVP=120,
            SliceThickness=SPACING_MM[0],
            ImagePositionPatient=position(z),
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=list(SPACING_MM[1:]),
            **pixel_format(16, signed=True),
            RescaleIntercept=0,
            RescaleSlope=1,
            RescaleType="HU",
            PixelData=np.rint(image).astype("<i2").tobytes(),
        )


def images() -> list[Dataset]:
    """References to all images of the series."""
    return [
        item(
            ReferencedSOPClassUID=CTImageStorage,
            ReferencedSOPInstanceUID=uid(f"study/patient_1/ct/slice_{z + 1:02}.dcm"),
        )
        for z in range(SHAPE[0])
    ]


def code(value: str, meaning: str, scheme: str = "SCT") -> list[Dataset]:
    return [item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


def source(image: Dataset) -> Dataset:
    """What a frame was made from."""
    image.PurposeOfReferenceCodeSequence = code(
        "121322", "Source image for image processing operation", "DCM"
    )
    return item(
        SourceImageSequence=[image],
        DerivationCodeSequence=code("113076", "Segmentation", "DCM"),
    )


def write_segmentation() -> None:
    masks = {
        (number, z): mask(name, z)
        for number, name in enumerate(ORGANS, 1)
        for z in range(SHAPE[0])
        if mask(name, z).any()
    }
    bits = np.concatenate([each.ravel() for each in masks.values()])
    organization = {"DimensionOrganizationUID": uid("dimensions")}
    # The segment's number, then the position.
    pointers = ((0x0062000B, 0x0062000A), (0x00200032, 0x00209113))
    axial = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    spacing = item(
        PixelSpacing=list(SPACING_MM[1:]),
        SliceThickness=SPACING_MM[0],
        SpacingBetweenSlices=SPACING_MM[0],
    )
    organ = code("123037004", "Anatomical Structure")
    write(
        STUDY / "seg.dcm",
        SegmentationStorage,
        "SEG",
        ImageType=["DERIVED", "PRIMARY"],
        ContentDate="20260101",
        ContentTime="120000",
        ReferencedSeriesSequence=[
            item(SeriesInstanceUID=uid("ct"), ReferencedInstanceSequence=images())
        ],
        DimensionOrganizationSequence=[item(**organization)],
        DimensionIndexSequence=[
            item(DimensionIndexPointer=a, FunctionalGroupPointer=b, **organization)
            for a, b in pointers
        ],
        ContentLabel="ORGANS",
        ContentDescription="",
        ContentCreatorName="",
        SegmentationType="BINARY",
        SegmentsOverlap="NO",
        SegmentSequence=[
            item(
                SegmentNumber=number,
                SegmentLabel=name,
                SegmentAlgorithmType="MANUAL",
                SegmentedPropertyCategoryCodeSequence=organ,
                SegmentedPropertyTypeCodeSequence=code(ORGANS[name][2], name.title()),
                RecommendedDisplayCIELabValue=list(ORGANS[name][4]),
            )
            for number, name in enumerate(ORGANS, 1)
        ],
        SharedFunctionalGroupsSequence=[
            item(PlaneOrientationSequence=[axial], PixelMeasuresSequence=[spacing])
        ],
        PerFrameFunctionalGroupsSequence=[
            item(
                DerivationImageSequence=[source(images()[z])],
                FrameContentSequence=[item(DimensionIndexValues=[number, z + 1])],
                PlanePositionSequence=[item(ImagePositionPatient=position(z))],
                SegmentIdentificationSequence=[item(ReferencedSegmentNumber=number)],
            )
            for number, z in masks
        ],
        NumberOfFrames=len(masks),
        **pixel_format(1, signed=False),
        LossyImageCompression="00",
        PixelData=np.packbits(bits, bitorder="little").tobytes(),
    )


def contours(name: str, margin_mm: float) -> Iterator[Dataset]:
    """An organ's contours as a hand draws them: 32 points where a slice meets it."""
    angles = np.arange(32) * 2 * np.pi / 32
    for z, image in enumerate(images()):
        centre, radii = ellipse(name, z, margin_mm)
        if not radii.all():
            continue
        y, x = (np.transpose([np.sin(angles), np.cos(angles)]) * radii + centre).T
        points = np.array(position(z)) + np.transpose([x, y, np.zeros(32)])
        yield item(
            ContourImageSequence=[image],
            ContourGeometricType="CLOSED_PLANAR",
            NumberOfContourPoints=len(points),
            ContourData=[f"{mm:.2f}" for mm in points.ravel()],
        )


def write_contours(rater: str, margin_mm: float) -> None:
    series = item(SeriesInstanceUID=uid("ct"), ContourImageSequence=images())
    study = item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=uid("study"),
        RTReferencedSeriesSequence=[series],
    )
    frame = uid("frame of reference")
    write(
        HERE / "raters" / rater / "patient_1.dcm",
        RTStructureSetStorage,
        "RTSTRUCT",
        OperatorsName="",
        StructureSetLabel=f"RATER {rater}",
        StructureSetDate="20260101",
        StructureSetTime="120000",
        ReferencedFrameOfReferenceSequence=[
            item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])
        ],
        StructureSetROISequence=[
            item(
                ROINumber=number,
                ReferencedFrameOfReferenceUID=frame,
                ROIName=name,
                ROIGenerationAlgorithm="MANUAL",
            )
            for number, name in enumerate(ORGANS, 1)
        ],
        ROIContourSequence=[
            item(
                ROIDisplayColor=list(ORGANS[name][3]),
                ContourSequence=list(contours(name, margin_mm)),
                ReferencedROINumber=number,
            )
            for number, name in enumerate(ORGANS, 1)
        ],
        RTROIObservationsSequence=[
            item(
                ObservationNumber=number,
                ReferencedROINumber=number,
                RTROIInterpretedType="ORGAN",
                ROIInterpreter="",
            )
            for number, _ in enumerate(ORGANS, 1)
        ],
        ApprovalStatus="UNAPPROVED",
    )


def main() -> None:
    write_series()
    write_segmentation()
    for rater, margin_mm in RATERS.items():
        write_contours(rater, margin_mm)


if __name__ == "__main__":
    main()
