"""DICOM segmentations, written for tests by highdicom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import numpy.typing as npt
import pydicom
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.sr.codedict import codes

_EMPTY = (
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
)


def headers(folder: Path) -> list[pydicom.Dataset]:
    """Images of a series, by position along z of the file's own order."""
    images = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    images = [image for image in images if image.Modality == "CT"]
    for image in images:
        for keyword in _EMPTY:
            setattr(image, keyword, "")
    first = images[0]
    normal = np.cross(*np.reshape(first.ImageOrientationPatient, (2, 3)))
    return sorted(images, key=lambda image: image.ImagePositionPatient @ normal)


def describe(number: int, name: str, **more: Any) -> SegmentDescription:
    return SegmentDescription(
        number,
        name,
        codes.SCT.Organ,
        codes.SCT.Liver,
        hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        **more,
    )


def segmentation(
    series: Path,
    array: npt.NDArray[Any],
    kind: str = "BINARY",
    names: Sequence[str] = ("liver", "tumour", "vessel"),
    numbers: Sequence[int] = (),
    **more: Any,
) -> Segmentation:
    """A segmentation of all slices of a series.

    ``array`` is (z, y, x), segment numbers; or (z, y, x, segments), shares of each.
    """
    count = array.shape[3] if array.ndim == 4 else int(array.max())
    numbers = numbers or range(1, count + 1)
    found = [
        describe(number, name, display_color=hd.color.CIELabColor.from_rgb(255, 0, 0))
        for number, name in zip(numbers, names, strict=False)
    ]
    return Segmentation(
        headers(series),
        array,
        kind,
        found,
        series_instance_uid=hd.UID(),
        series_number=1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="m",
        manufacturer_model_name="m",
        software_versions="1",
        device_serial_number="1",
        **more,
    )


def save(dataset: pydicom.Dataset, path: Path) -> Path:
    dataset.save_as(path)
    return path
