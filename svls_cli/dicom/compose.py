"""A DICOM segmentation of planes of labels, beside the series they were drawn on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pydicom
from highdicom import AlgorithmIdentificationSequence
from highdicom.seg import Segmentation, SegmentationTypeValues
from pydicom.sr.codedict import codes
from pydicom.valuerep import format_number_as_ds

from svls_cli.arrays import UIntArray
from svls_cli.batch.version import __version__
from svls_cli.dicom.files import read_dataset, understood
from svls_cli.dicom.frames import place_planes, segment_numbers
from svls_cli.dicom.planes import planes_of
from svls_cli.dicom.segments import describe
from svls_cli.dicom.series import Series
from svls_cli.errors import InputError
from svls_cli.labels.classes import LabelClass

# ManufacturerModelName of the files written here.
MODEL = "svls-cli"
_MOST_BYTES = 2**32 - 2  # that an element may have
# Elements that a segmentation takes over, and that may be empty.
_TAKEN_OVER = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
)


def compose(
    series: Series,
    classes: Sequence[LabelClass],
    planes: Mapping[tuple[int, int], UIntArray],
    *,
    fractional: bool,
    method: str,
    uids: tuple[str, str],
) -> pydicom.Dataset:
    """The segmentation of a series.

    Parameters
    ----------
    series
        Images that were labelled; patient and study are taken from them.
    classes
        Classes in the order of the segments.
    planes : (y, x) uint8 each
        Frames by index of ``classes`` and slice: 0..255, or 0 and 1 of a binary one.
    fractional
        Whether it is of probabilities.
    method
        How the labels were smoothed.
    uids
        SeriesInstanceUID and SOPInstanceUID of the segmentation.

    Raises
    ------
    InputError
        If the images cannot be read, or the segmentation is larger than DICOM allows.
    """
    # highdicom wants all pixels of all segments at once. One pixel of each tells it
    # what frames there are; the frames themselves come in afterwards.
    images = _headers(series)
    order = np.array(series.frames) if len(images) == 1 else np.arange(len(images))
    present = np.zeros((len(order), 1, 1, len(classes)), np.uint8)
    for index, z in planes:
        present[order[z], 0, 0, index] = 1
    algorithm = AlgorithmIdentificationSequence(
        f"{MODEL} {method}", codes.cid7162.MorphologicalOperations, __version__
    )
    kinds = SegmentationTypeValues
    with understood(series.slice_paths[0]):
        result = Segmentation(
            images,
            present,
            kinds.FRACTIONAL if fractional else kinds.BINARY,
            [describe(n, label, algorithm) for n, label in enumerate(classes, 1)],
            series_instance_uid=uids[0],
            series_number=1,
            sop_instance_uid=uids[1],
            instance_number=1,
            manufacturer=MODEL,
            manufacturer_model_name=MODEL,
            software_versions=__version__,
            device_serial_number=__version__,
            specific_character_set="ISO_IR 192",  # UTF-8, for any name of a class,
        )
    result.Rows, result.Columns = series.geometry.shape[1:]
    _, slices = place_planes(planes_of(result), series)
    numbers = segment_numbers(result, len(slices))
    frames = [planes[n - 1, z] for n, z in zip(numbers, slices, strict=True)]
    result.PixelData = _encoded(frames, fractional=fractional)
    result.SegmentsOverlap = "UNDEFINED" if fractional and len(classes) > 1 else "NO"
    return result


def _headers(series: Series) -> list[pydicom.Dataset]:
    """Headers of the images, as if of one pixel each."""
    images: list[pydicom.Dataset] = []
    for path in dict.fromkeys(series.slice_paths):
        image = read_dataset(path)
        for keyword in _TAKEN_OVER:
            if keyword not in image:
                setattr(image, keyword, "")
        image.Rows = image.Columns = 1
        if "ImageOrientationPatient" in image:
            spacing = format_number_as_ds(series.geometry.spacing_mm[0])
            image.SpacingBetweenSlices = spacing
            image.SliceThickness = image.get("SliceThickness") or spacing
            # Within our tolerance, and highdicom has none.
            image.ImageOrientationPatient = list(series.planes[0].orientation)
        images.append(image)
    return images


def _encoded(frames: Sequence[UIntArray], *, fractional: bool) -> bytes:
    pixels = b"".join(frame.data for frame in frames)
    if not fractional:
        bits = np.packbits(np.frombuffer(pixels, np.uint8), bitorder="little")
        pixels = bits.tobytes()
    if len(pixels) > _MOST_BYTES:
        raise InputError(
            f"{len(pixels)} bytes of pixels, more than a DICOM file has room for"
        )
    return pixels + b"\0" * (len(pixels) % 2)
