"""Names, colours and codes of DICOM segments."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pydicom
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
from highdicom.sr import CodedConcept

from svls_cli.dicom.files import element, first_item, text
from svls_cli.errors import InputError
from svls_cli.labels.classes import CODE, LabelClass
from svls_cli.labels.segments import Segment

# Category and type of a class that has no codes, as of 3D Slicer and dcmqi.
DEFAULT_CODE = "SCT^85756007^Tissue"


def read_segments(dataset: pydicom.Dataset, *, lowest: int) -> dict[int, Segment]:
    """Names, colours and codes by segment number.

    Parameters
    ----------
    dataset
        Header of a segmentation.
    lowest
        Smallest number that a segment may have: 1 unless the background has one too.

    Raises
    ------
    InputError
        If there are none, a number is too small, or two segments have it.
    """
    found: dict[int, Segment] = {}
    for item in element(dataset, "SegmentSequence"):
        number = int(element(item, "SegmentNumber"))
        if number in found:
            raise InputError(f"two segments have number {number}")
        if number < lowest:
            raise InputError(f"a segment has number {number}")
        name = text(item, "SegmentLabel")
        found[number] = Segment(
            name,
            _color(item.get("RecommendedDisplayCIELabValue")),
            _code(first_item(item, "SegmentedPropertyCategoryCodeSequence")),
            _code(first_item(item, "SegmentedPropertyTypeCodeSequence")),
        )
    # The standard lets labels repeat, as for several lesions; classes need names.
    counts = Counter(segment.name for segment in found.values())
    return {
        number: replace(segment, name=f"{segment.name} {number}")
        if segment.name and counts[segment.name] > 1
        else segment
        for number, segment in found.items()
    }


def describe(
    number: int, label: LabelClass, algorithm: AlgorithmIdentificationSequence
) -> SegmentDescription:
    """A class as a segment; without codes of its own it is a tissue."""
    return SegmentDescription(
        number,
        # A backslash would part it in two; 64 characters is what there is room for.
        label.name.replace("\\", "/")[:64],
        _concept(label.category),
        _concept(label.type),
        SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm,
        display_color=CIELabColor.from_string(f"#{label.color}"),
    )


def _concept(code: str) -> CodedConcept:
    scheme, value, meaning = (code or DEFAULT_CODE).split("^")
    return CodedConcept(value, scheme, meaning)


def _color(value: Any) -> str:
    if value is None or len(value) != 3:
        return ""
    rgb = CIELabColor.from_dicom_value([int(part) for part in value]).to_rgb(clip=True)
    return "".join(f"{round(part):02X}" for part in rgb)


def _code(item: pydicom.Dataset | None) -> str:
    """A coded concept as ``SCHEME^VALUE^MEANING``; empty if there is none."""
    if item is None:
        return ""
    value = (
        item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue")
    )
    text = f"{item.get('CodingSchemeDesignator')}^{value}^{item.get('CodeMeaning')}"
    return text if CODE.fullmatch(text) else ""
