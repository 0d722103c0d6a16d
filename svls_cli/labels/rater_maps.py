"""Reading the label maps of all raters of a case, onto one grid."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svls_cli.arrays import UIntArray
from svls_cli.errors import InputError
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import LabelFile, input_record, open_label_file
from svls_cli.labels.output import resample_nearest
from svls_cli.labels.raters import RatedCase
from svls_cli.labels.segments import Segment, add_segments, check_names


@dataclass(frozen=True)
class RaterMaps:
    """The label maps of all raters of one case, on one grid."""

    geometry: Geometry  # the voxel grid, that of the first rater
    classes: ClassTable  # the classes that ``maps`` index
    raters: tuple[str, ...]
    # (z, y, x) or (y, x) each: class index of each voxel; ``len(classes)`` where the
    # rater ignores it.
    maps: tuple[UIntArray, ...]


def read_rater_maps(
    case: RatedCase,
    classes: ClassTable | None = None,
    *,
    ignore_label: int | None = None,
    resample_to_first: bool = False,
) -> RaterMaps:
    """Read and check the label maps of all raters of a case.

    Parameters
    ----------
    case
        The files.
    classes
        Default: the label values that occur in this case.
    ignore_label
        Label value that means "no label here".
    resample_to_first
        Resample maps on other grids onto the first rater's by nearest neighbour; voxels
        outside of them become background, label 0. By default they are an error.

    Raises
    ------
    InputError
        If a file cannot be read or is no label map, holds other values than
        ``classes``, lies on another grid than the first, or names a label differently.
    """
    with ExitStack() as stack:
        files = [_open(stack, rater, path) for rater, path in case.raters]
        segments: dict[int, Segment] = {}
        for file in files:
            add_segments(segments, file.segments)
        first = files[0].geometry
        for path, file in zip(case.paths[1:], files[1:], strict=True):
            difference = first.difference(file.geometry)
            if difference and not resample_to_first:
                raise InputError(
                    f"{case.paths[0]} and {path} lie on different grids: {difference}; "
                    "--resample-to-first brings one onto the other"
                )
        if classes is None:
            values = {value for file in files for value in file.distinct()}
            classes = ClassTable.from_values(values - {ignore_label})
        maps = tuple(_indices(file, first, classes, ignore_label) for file in files)
    raters = tuple(rater for rater, _ in case.raters)
    return RaterMaps(first, classes, raters, maps)


def rater_inputs(case: RatedCase) -> list[dict[str, Any]]:
    """`input_record` of each file.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    return [input_record(path, rater) for rater, path in case.raters]


def _open(stack: ExitStack, rater: str, path: Path) -> LabelFile:
    try:
        return stack.enter_context(open_label_file(path))
    except InputError as error:
        raise InputError(f"rater {rater}: {error}") from error


def _indices(
    file: LabelFile, first: Geometry, classes: ClassTable, ignore_label: int | None
) -> UIntArray:
    check_names(file.segments, classes)
    indices = file.indices(classes, ignore_label=ignore_label)
    if not first.difference(file.geometry):
        return indices
    if 0 not in classes.values:
        raise InputError("resampling needs a background, label 0, among the classes")
    outside = int(classes.values.tolist().index(0))
    return resample_nearest(indices, file.geometry, first, outside=outside)
