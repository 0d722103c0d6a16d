"""The classes of a data set: label values, names and colours."""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from svls_cli.arrays import IntArray, UIntArray
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.values import MAX_VALUE, listed, look_up
from svls_cli.palette import class_color

MAX_CLASSES = 65_535
# Up to this value a table lookup beats a binary search and costs at most 2 MB.
_LOOKUP_LIMIT = 2**20
_CODES = ("category", "type")
# Lengths are those that DICOM allows.
CODE = re.compile(r"[^^]{1,16}\^[^^]{1,64}\^[^^]{1,64}")


@dataclass(frozen=True)
class LabelClass:
    """One class: its channel in soft labels, value in label maps, name and colour."""

    index: int  # channel of the soft label
    value: int  # value in label maps
    name: str
    color: str  # colour to show: six hexadecimal digits, RRGGBB
    # What DICOM calls it and the category of that, as ``SCHEME^VALUE^MEANING``; or
    # empty.
    category: str = ""
    type: str = ""


@dataclass(frozen=True)
class ClassTable:
    """All classes of a store, ordered by channel.

    Parameters
    ----------
    classes
        Classes of indices 0, 1, 2, ...; each value and each name occurs once.

    Raises
    ------
    InputError
        If there are no classes or too many, a value is out of range, a value or name
        occurs twice, or a code is none.
    """

    classes: tuple[LabelClass, ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise InputError("no classes are left or given")
        if len(self.classes) > MAX_CLASSES:
            raise InputError(
                f"{len(self.classes)} distinct labels; at most {MAX_CLASSES} are "
                "possible: is this a label map?"
            )
        values = [c.value for c in self.classes]
        if not 0 <= min(values) <= max(values) <= MAX_VALUE:
            raise InputError(
                f"label values must lie in 0..{MAX_VALUE}, found {min(values)} to "
                f"{max(values)}"
            )
        for field in ("value", "name"):
            counts = Counter(getattr(c, field) for c in self.classes)
            twice = [v for v, n in counts.items() if n > 1]
            if twice:
                raise InputError(f"class {field} given twice: {listed(twice)}")
        for label in self.classes:
            for code in filter(None, (label.category, label.type)):
                if not CODE.fullmatch(code):
                    raise InputError(
                        f"{code!r} is no code of class {label.name!r}: expected "
                        "SCHEME^VALUE^MEANING, such as SCT^10200004^Liver"
                    )

    @classmethod
    def from_values(
        cls,
        values: Iterable[int],
        *,
        names: Mapping[int, str] | None = None,
        colors: Mapping[int, str] | None = None,
        codes: Mapping[int, tuple[str, str]] | None = None,
    ) -> ClassTable:
        """Build a table, ascending by value; the rest is optional.

        A name that is given wins over another value's default name. ``codes`` are
        category and type.

        Raises
        ------
        InputError
            If there are no values, one is no whole number, or a value or name occurs
            twice or is out of range.
        """
        try:
            ordered = sorted(map(operator.index, values))
        except TypeError as error:
            raise InputError(
                f"classes must be label values, such as [0, 1, 2], found {values!r}"
            ) from error
        colors, codes = colors or {}, codes or {}
        names = {value: name for value, name in (names or {}).items() if name}
        taken = set(names.values())
        return cls(
            tuple(
                LabelClass(
                    index,
                    value,
                    names.get(value) or _free_name(value, taken),
                    colors.get(value) or class_color(value),
                    *codes.get(value, ("", "")),
                )
                for index, value in enumerate(ordered)
            )
        )

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def values(self) -> IntArray:
        """(classes,) label value of each channel."""
        return np.array([c.value for c in self.classes], dtype=np.int64)

    def to_json(self) -> list[dict[str, Any]]:
        """One record per class, as stored: codes that are there."""
        records = [asdict(c) for c in self.classes]
        return [
            {key: v for key, v in record.items() if key not in _CODES or v}
            for record in records
        ]

    @classmethod
    def from_json(cls, records: Sequence[Mapping[str, Any]]) -> ClassTable:
        """Rebuild a table from its stored records, in the order of their indices.

        Raises
        ------
        ValueError, KeyError, TypeError, OverflowError
            If they are no classes.
        """
        table = cls(
            tuple(
                LabelClass(
                    int(r["index"]),
                    int(r["value"]),
                    str(r["name"]),
                    str(r["color"]),
                    *(str(r.get(key, "")) for key in _CODES),
                )
                for r in records
            )
        )
        if [c.index for c in table.classes] != list(range(len(table))):
            raise ValueError("classes are not in the order of their indices")
        return table

    def unknown(self, values: Iterable[int], *, ignore_label: int | None) -> list[int]:
        """Members of ``values`` that are neither a class nor ignored, sorted."""
        return sorted(set(values) - set(self.values.tolist()) - {ignore_label})

    def indices(
        self, label_map: UIntArray, *, ignore_label: int | None = None
    ) -> UIntArray:
        """Channel of every voxel; ``len(self)`` where the voxel is ignored.

        Parameters
        ----------
        label_map : any shape, unsigned integers
            Only values of this table, or ``ignore_label``.
        ignore_label
            Value of voxels that belong to no class.

        Returns
        -------
        same shape, uint8 up to 255 classes, else uint16 or uint32

        Examples
        --------
        >>> table = ClassTable.from_values([0, 5, 531])
        >>> table.indices(np.array([531, 0, 5, 9], np.uint16), ignore_label=9)
        array([2, 0, 1, 3], dtype=uint8)
        """
        dtype = np.min_scalar_type(len(self))
        values = self.values
        if ignore_label is not None:
            values = np.append(values, ignore_label)
        if np.array_equal(values, np.arange(len(values))):
            return label_map.astype(dtype, copy=False)
        if values.max() > _LOOKUP_LIMIT:
            order = np.argsort(values)
            ranks = np.searchsorted(values[order], label_map)
            return order[ranks].astype(dtype)
        table = np.zeros(int(values.max()) + 1, dtype)
        table[values] = np.arange(len(values))
        return look_up(table, label_map)

    def value_dtype(self, ignore_label: int | None) -> np.dtype[Any]:
        """Smallest unsigned type that holds every label value."""
        return np.min_scalar_type(max(int(self.values.max()), ignore_label or 0))


def check_ignore_label(ignore_label: int | None, table: ClassTable) -> None:
    """Raise InvalidParameterError unless it is a label value that is not a class."""
    if ignore_label is None:
        return
    if not 0 <= ignore_label <= MAX_VALUE:
        raise InvalidParameterError(
            f"ignore_label must lie in 0..{MAX_VALUE}, found {ignore_label}"
        )
    if ignore_label in table.values:
        raise InvalidParameterError(f"ignore_label {ignore_label} is also a class")


def default_name(value: int) -> str:
    """Default name of a class."""
    return "background" if value == 0 else f"label {value}"


def _free_name(value: int, taken: Container[str]) -> str:
    """The default name of a class, or one like it that no other class has."""
    name = default_name(value)
    if name in taken:
        name = f"label {value}"
    while name in taken:
        name = f"other {name}"
    return name
