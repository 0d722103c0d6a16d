"""Frames of DICOM segmentations: their places on the grid, and their segments."""

from __future__ import annotations

from collections.abc import Sequence

import pydicom

from svls_cli.dicom.files import element, first_item
from svls_cli.dicom.planes import Plane, stack_planes
from svls_cli.dicom.series import Series
from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry

# Gaps between frames are filled up to this, so that no header fills the memory.
_MOST_SLICES = 4096


def place_planes(
    planes: Sequence[Plane], series: Series | None
) -> tuple[Geometry, list[int]]:
    """The grid of frames, or of their series, and the slice of it that each frame is.

    Raises
    ------
    InputError
        As `stack_planes`, or if the frames do not lie on the series' slices.
    """
    names = [f"frame {i}" for i in range(1, len(planes) + 1)]
    if series is None:
        stack = stack_planes(planes, names)
        if stack.geometry.shape[0] > max(_MOST_SLICES, len(planes)):
            raise InputError(
                f"its {len(planes)} frames lie so far apart that "
                f"{stack.geometry.shape[0]} slices would be between them: give the "
                "image series"
            )
        return stack.geometry, stack.slices.tolist()
    try:
        stack = stack_planes((*series.planes, *planes), (*series.names, *names))
        if difference := series.geometry.difference(stack.geometry):
            raise InputError(f"with its frames, {difference}")
    except InputError as error:
        raise InputError(
            "it does not lie on the grid of its image series in "
            f"{series.files.folder}: {error}"
        ) from error
    return series.geometry, stack.slices[-len(planes) :].tolist()


def segment_numbers(dataset: pydicom.Dataset, n_frames: int) -> list[int]:
    """Number of the segment that each frame shows.

    Raises
    ------
    InputError
        If a frame is of none.
    """
    return [_segment_number(dataset, index) for index in range(n_frames)]


def _segment_number(dataset: pydicom.Dataset, index: int) -> int:
    for groups in (
        dataset.get("PerFrameFunctionalGroupsSequence", ())[index : index + 1],
        dataset.get("SharedFunctionalGroupsSequence", ()),
    ):
        for group in groups:
            if item := first_item(group, "SegmentIdentificationSequence"):
                number = int(element(item, "ReferencedSegmentNumber"))
                if number < 1:
                    raise InputError(f"frame {index + 1} is of segment {number}")
                return number
    raise InputError(f"broken DICOM file: frame {index + 1} is of no segment")
