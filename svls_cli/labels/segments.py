"""Segment names and colours that 3D Slicer keeps in the header of a `.seg.nrrd`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import count

from svls_cli.errors import InputError
from svls_cli.labels.classes import ClassTable, default_name
from svls_cli.labels.values import MAX_VALUE, listed


@dataclass(frozen=True)
class Segment:
    """Name and colour that a file gives to one label value."""

    name: str  # name to show; may be empty
    color: str  # RRGGBB, or empty
    # What DICOM calls it, ``SCHEME^VALUE^MEANING`` such as ``SCT^10200004^Liver``, and
    # the category of that; empty if the file has no codes.
    category: str = ""
    type: str = ""
    # Label value in the file, of a segment that is a class by its name.
    value: int | None = None


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
    values: Collection[int],
    segments: Mapping[int, Segment],
    named: Iterable[Segment],
    *,
    ignore_label: int | None = None,
) -> dict[int, Segment]:
    """Segments by label value; those that are classes by their names get one.

    That is the first value that a file gives the name, unless another name has it; if
    another has, or there is none, one above all ``values``, in the order of the names.

    Raises
    ------
    InputError
        If some labels have values and no names, and others names and no values: nobody
        knows which are the same.

    Examples
    --------
    >>> heart, lung = Segment("Heart", ""), Segment("Lung", "00FF00")
    >>> found = number_segments([0], {}, [lung, heart, Segment("Aorta", "", value=1)])
    >>> [(value, segment.name) for value, segment in sorted(found.items())]
    [(1, 'Aorta'), (2, 'Heart'), (3, 'Lung')]
    """
    numbered = dict(segments)
    known = {segment.name for segment in segments.values()}
    others: dict[str, Segment] = {}
    for segment in named:
        value = segment.value
        if segment.name in known:
            continue
        if value is None or (value in numbered and numbered[value].name):
            others.setdefault(segment.name, segment)
        else:
            numbered[value] = segment
            known.add(segment.name)
    rest = {name: others[name] for name in sorted(others.keys() - known)}
    unnamed = {value for value in values if value not in (0, ignore_label)}
    unnamed -= {value for value, segment in numbered.items() if segment.name}
    if unnamed and any(segment.value is None for segment in rest.values()):
        raise InputError(
            f"{listed(list(rest))} have names and no label values, and labels "
            f"{listed(sorted(unnamed))} have values and no names: say which classes "
            "there are (--classes)"
        )
    fresh = count(max([0, *values, *numbered]) + 1)
    numbers = (value for value in fresh if value != ignore_label)
    return numbered | dict(zip(numbers, rest.values(), strict=False))


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
