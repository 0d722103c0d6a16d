"""Reading the label maps of all raters of a case, onto one grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from svls_cli.arrays import UIntArray
from svls_cli.errors import InputError
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.output import resample_nearest
from svls_cli.labels.raters import RatedCase
from svls_cli.labels.segments import Segment, add_segments, check_names, number_segments
from svls_cli.labels.sources import Labels, SoftLabels
from svls_cli.labels.suffixes import suffix_of
from svls_cli.labels.values import listed


@dataclass(frozen=True)
class RaterMaps:
    """The label maps of all raters of one case, on one grid."""

    geometry: Geometry  # the voxel grid, that of the first rater
    classes: ClassTable  # the classes that ``maps`` index
    raters: tuple[str, ...]
    # (z, y, x) or (y, x) each: class index of each voxel; ``len(classes)`` where the
    # rater ignores it.
    maps: tuple[UIntArray, ...]
    notes: tuple[str, ...] = ()  # remarks: who is missing, and what was lost
    # The soft labels of raters who gave such, by rater.
    soft: Mapping[str, SoftLabels] = field(default_factory=dict)


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
        outside of them become background, label 0. Labels that lie outside of the first
        rater's grid are lost, which is noted. By default other grids are an error.

    Raises
    ------
    InputError
        If a file cannot be read or is no label map, holds other values than
        ``classes``, lies on another grid than the first, or names a label differently;
        if it has names only and there are no ``classes``; or if resampling loses all of
        a rater's labels.
    """
    with ExitStack() as stack:
        files = []
        for shown, source in case.sources:
            with _naming(shown):
                files.append(stack.enter_context(source.open()))
        segments: dict[int, Segment] = {}
        for file in files:
            add_segments(segments, file.segments)
        first = files[0].geometry
        for (_, source), file in zip(case.raters[1:], files[1:], strict=True):
            difference = first.difference(file.geometry)
            if difference and not resample_to_first:
                hint = "--resample-to-first brings one onto the other"
                if not suffix_of(source.paths[0]):
                    hint += ", and --series puts DICOM segmentations on their series"
                raise InputError(
                    f"{case.raters[0][1].paths[0]} and {source.paths[0]} lie on "
                    f"different grids: {difference}; {hint}"
                )
        if classes is None:
            classes = _own_classes(files, segments, ignore_label)
        raters = tuple(rater for rater, _ in case.raters)
        maps, notes = [], [case.missing_note]
        soft: dict[str, SoftLabels] = {}
        for rater, (shown, _), file in zip(raters, case.sources, files, strict=True):
            with _naming(shown):
                check_names(file.segments, classes)
                indices, own = _indices(file, classes, ignore_label)
            notes += [f"rater {rater}: {note}" for note in file.notes(classes)]
            if first.difference(file.geometry):
                indices, note = _onto(first, indices, file.geometry, classes, rater)
                notes.append(note)
                own = own and _soft_onto(first, own, file.geometry, classes)
            maps.append(indices)
            soft |= {rater: own} if own else {}
    told = tuple(note for note in notes if note)
    return RaterMaps(first, classes, raters, tuple(maps), told, soft)


def _own_classes(
    files: Sequence[Labels], segments: Mapping[int, Segment], ignore_label: int | None
) -> ClassTable:
    """The label values of a case, and the segments that have one and are named."""
    named = [segment for file in files for segment in file.named]
    if any(segment.value is None for segment in named):
        raise InputError(
            "contours and masks have names and no label values, others have: say which "
            "classes there are (--classes)"
        )
    values = {value for file in files for value in file.distinct()}
    numbered = number_segments(values, segments, named)
    return ClassTable.from_values(
        (values | {value for value in numbered if value not in segments})
        - {ignore_label},
        names={value: segment.name for value, segment in numbered.items()},
    )


def _indices(
    file: Labels, classes: ClassTable, ignore_label: int | None
) -> tuple[UIntArray, SoftLabels | None]:
    """Class index of each voxel; and the soft labels, if there are."""
    soft = file.soft(classes, ignore_label=ignore_label)
    if soft is not None:
        return soft.indices(), soft
    return file.indices(classes, ignore_label=ignore_label), None


def rater_inputs(case: RatedCase) -> list[dict[str, Any]]:
    """Records of each rater's files, as `LabelSource.records` has them.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    records = []
    for (rater, source), (shown, _) in zip(case.raters, case.sources, strict=True):
        with _naming(shown):
            records += source.records(rater)
    return records


@contextmanager
def _naming(shown: str) -> Iterator[None]:
    """Say which file it is that cannot be read, and whose."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{shown}: {error}") from error


def _onto(
    target: Geometry,
    indices: UIntArray,
    source: Geometry,
    classes: ClassTable,
    rater: str,
) -> tuple[UIntArray, str | None]:
    """Bring a rater's map onto another grid; also say which labels are lost by that."""
    if 0 not in classes.values:
        raise InputError("resampling needs a background, label 0, among the classes")
    background = int(classes.values.tolist().index(0))
    resampled = resample_nearest(indices, source, target, outside=background)
    everywhere = np.ones(target.shape, np.uint8)
    inside = resample_nearest(everywhere, target, source, outside=0)
    # Voxels that are ignored are no labels.
    labelled = (indices != background) & (indices < len(classes))
    total = np.count_nonzero(labelled)
    outside = np.count_nonzero(labelled & (inside == 0))
    before, after = np.unique(indices[labelled]), np.unique(resampled)
    gone = classes.values[np.setdiff1d(before, after)].tolist()
    if total and len(gone) == len(before):
        raise InputError(
            f"rater {rater}: resampling to the first rater's grid loses all of its "
            f"{total} labelled voxels, {outside} of which lie outside of that grid"
        )
    lost = []
    if outside:
        lost.append(
            f"{outside} of {total} labelled voxels lie outside of the first rater's "
            "grid and are lost"
        )
    if gone:
        lost.append(f"nothing is left of label {listed(gone)}")
    return resampled, f"rater {rater}: {', '.join(lost)}" if lost else None


def _soft_onto(
    target: Geometry, soft: SoftLabels, source: Geometry, classes: ClassTable
) -> SoftLabels:
    """Bring soft labels onto another grid; outside of theirs there is background."""
    outside, background = len(soft.table), classes.values == 0
    codes = soft.codes.astype(np.min_scalar_type(outside), copy=False)
    return SoftLabels(
        resample_nearest(codes, source, target, outside=outside),
        np.vstack([soft.table, background]),
        np.append(soft.hard, background.argmax()),
    )
