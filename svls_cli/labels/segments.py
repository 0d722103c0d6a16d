"""Segment names and colours that 3D Slicer keeps in the header of a `.seg.nrrd`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from operator import attrgetter

from svls_cli.errors import InputError
from svls_cli.labels.classes import ClassTable, default_name
from svls_cli.labels.values import MAX_VALUE


@dataclass(frozen=True)
class Segment:
    """Name and colour that a file gives to one label value."""

    name: str  # name to show; may be empty
    color: str  # RRGGBB, or empty
    # What DICOM calls it, ``SCHEME^VALUE^MEANING`` such as ``SCT^10200004^Liver``, and
    # the category of that; empty if the file has no codes.
    category: str = ""
    type: str = ""


def read_segments(fields: Mapping[str, str]) -> dict[int, Segment]:
    """Segments by label value, from the keys and values of a header.

    Raises
    ------
    InputError
        If the header's entries are not what 3D Slicer writes, or two segments share a
        name, or a value in one layer.
    """
    segments: dict[tuple[str, int], Segment] = {}  # by layer and label value
    for key in fields:
        if not (key.startswith("Segment") and key.endswith("_LabelValue")):
            continue
        prefix = key.removesuffix("LabelValue")
        layer, value = fields.get(f"{prefix}Layer", "0"), _number(fields[key], key)
        if (layer, value) in segments:
            raise InputError(f"two segments share label value {value}")
        name, color = fields.get(f"{prefix}Name", ""), fields.get(f"{prefix}Color", "")
        segments[layer, value] = Segment(name, _hex_color(color))
    # `images` refuses files of several layers.
    single = len({layer for layer, _ in segments}) == 1
    names = Counter(segment.name for segment in segments.values() if segment.name)
    if single and (twice := [name for name, n in names.items() if n > 1]):
        raise InputError(f"two segments are named {twice[0]!r}")
    return {value: segment for (_, value), segment in segments.items()}


def add_segments(known: dict[int, Segment], more: Mapping[int, Segment]) -> None:
    """Add the segments of another file of the same case to those known so far.

    Raises
    ------
    InputError
        If the files name one label value differently.
    """
    for value, segment in more.items():
        before = known.setdefault(value, segment)
        if segment.name and before.name and segment.name != before.name:
            raise InputError(
                f"label {value} is named {segment.name!r} by one rater and "
                f"{before.name!r} by another"
            )


def number_segments(
    values: Iterable[int],
    segments: Mapping[int, Segment],
    unnumbered: Iterable[Segment],
) -> dict[int, Segment]:
    """Segments by label value: those that have none get the next ones, by name.

    ``values`` are taken already; a name that has a value keeps it.

    Examples
    --------
    >>> heart, lung = Segment("Heart", ""), Segment("Lung", "00FF00")
    >>> sorted(number_segments([0], {}, [lung, heart]).items())
    [(1, Segment(name='Heart', color='')), (2, Segment(name='Lung', color='00FF00'))]
    """
    numbered = dict(segments)
    taken = {segment.name for segment in segments.values()}
    fresh = count(max([0, *values, *segments]) + 1)
    for segment in sorted(unnumbered, key=attrgetter("name")):
        if segment.name not in taken:
            taken.add(segment.name)
            numbered[next(fresh)] = segment
    return numbered


def check_names(segments: Mapping[int, Segment], classes: ClassTable) -> None:
    """Check that no segment would be smoothed under another segment's name.

    Raises
    ------
    InputError
        If a file and the classes name one label value differently.
    """
    for label in classes.classes:
        segment = segments.get(label.value)
        named = label.name != default_name(label.value)
        if segment and segment.name and named and segment.name != label.name:
            raise InputError(
                f"label {label.value} is named {segment.name!r} here and "
                f"{label.name!r} in the classes"
            )


def _number(text: str, key: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) > MAX_VALUE:
        raise InputError(f"broken header: {key} is {text!r}")
    return int(text)


def _hex_color(text: str) -> str:
    """RRGGBB from Slicer's three fractions; empty if the text is anything else."""
    try:
        rgb = [float(x) for x in text.split()]
    except ValueError:
        return ""
    if len(rgb) != 3 or not all(0 <= x <= 1 for x in rgb):
        return ""
    return "".join(f"{round(255 * x):02X}" for x in rgb)
