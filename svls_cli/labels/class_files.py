"""Class tables that users already have: JSON, CSV, TSV, nnU-Net, BIDS."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svls_cli.errors import InputError, InvalidParameterError, check_type
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.texts import read_text
from svls_cli.labels.values import listed

_VALUES = re.compile(r"\s*[0-9]{1,10}\s*(,\s*[0-9]{1,10}\s*)*")
_SUFFIXES = (".json", ".csv", ".tsv")
_VALUE_COLUMNS = ("value", "index", "label", "id")
# BIDS writes n/a.
_MISSING = (None, "", "n/a")


@dataclass(frozen=True)
class ClassSpec:
    """The classes that a user names, and the label value to ignore."""

    table: ClassTable
    # Value that an nnU-Net ``dataset.json`` names ``ignore``, or None.
    ignore_label: int | None = None


def parse_classes(text: str) -> ClassSpec:
    """Classes from a comma-separated list of label values, or from a file.

    Parameters
    ----------
    text
        ``0,1,2`` or the path of a file: JSON (``{"0": "background"}``,
        ``{"background": 0}``, a list of objects with ``value``, ``name``, ``color``,
        or an nnU-Net ``dataset.json``), CSV or TSV (columns ``value`` or ``index``,
        ``name``, ``color``; a BIDS ``dseg.tsv`` is one). Lists and columns may also
        give DICOM's ``category`` and ``type``, as ``SCT^10200004^Liver``.

    Raises
    ------
    InvalidParameterError
        If it is no list of different label values, nor a file.
    InputError
        If the file cannot be read, or a value, name or colour in it is invalid.

    Examples
    --------
    >>> [c.name for c in parse_classes("0,1").table.classes]
    ['background', 'label 1']
    """
    check_type("classes", text, str, "label values such as '0,1,2', or a file's name")
    path = Path(text)
    if _VALUES.fullmatch(text):
        try:
            return ClassSpec(ClassTable.from_values(int(v) for v in text.split(",")))
        except InputError as error:
            raise InvalidParameterError(f"classes {text!r}: {error}") from error
    if path.suffix.lower() not in _SUFFIXES and not path.exists():
        raise InvalidParameterError(
            f"classes: {text!r} is neither label values such as 0,1,2 nor a file"
        )
    try:
        content = read_text(path)
    except OSError as error:
        raise InputError(
            f"classes: {text!r} is neither label values such as 0,1,2 nor a file that "
            f"can be read ({error.strerror})"
        ) from error
    try:
        if path.suffix.lower() == ".json":
            return _from_json(json.loads(content, object_pairs_hook=_unique))
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        rows = list(csv.DictReader(content.splitlines(), delimiter=delimiter))
        return ClassSpec(_from_rows(rows))
    except (ValueError, RecursionError, csv.Error) as error:
        raise InputError(f"classes: {path}: {error}") from error


def _from_json(content: Any) -> ClassSpec:
    if isinstance(content, list):
        if not all(isinstance(row, dict) for row in content):
            raise InputError('expected a list of objects such as {"value": 1}')
        return ClassSpec(_from_rows(content))
    if not isinstance(content, dict):
        raise InputError("expected an object or a list of objects")
    labels = content.get("labels", content)  # nnU-Net keeps them under "labels"
    if not isinstance(labels, dict):
        raise InputError('"labels" must map names to values')
    pairs = [_name_and_value(key, value) for key, value in labels.items()]
    names = dict(pairs)
    if len(names) < len(pairs):
        twice = [v for v, n in Counter(v for v, _ in pairs).items() if n > 1]
        raise InputError(f"class value given twice: {listed(twice)}")
    ignore_label = None
    if "labels" in content:  # in nnU-Net the name alone makes it no class
        ignore_label = next((v for v, n in names.items() if n == "ignore"), None)
        names = {v: n for v, n in names.items() if v != ignore_label}
    return ClassSpec(ClassTable.from_values(names, names=names), ignore_label)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; refuse repeated keys, of which `json` would keep the last."""
    counts = Counter(key for key, _ in pairs)
    if twice := [key for key, n in counts.items() if n > 1]:
        raise InputError(f"key given twice: {listed(twice)}")
    return dict(pairs)


def _name_and_value(key: str, value: Any) -> tuple[int, str]:
    """nnU-Net 2 maps names to values, nnU-Net 1 and most others values to names."""
    if isinstance(value, list):
        raise InputError(
            f"{key!r} is a region of several labels {value}; give one value per class"
        )
    if isinstance(value, str) and re.fullmatch("[0-9]{1,10}", key):
        return int(key), value
    return _integer(value), key


def _from_rows(rows: Iterable[Mapping[str, Any]]) -> ClassTable:
    values: list[int] = []
    names: dict[int, str] = {}
    colors: dict[int, str] = {}
    codes: dict[int, tuple[str, str]] = {}
    for row in rows:
        cells = {str(k).strip().lower(): v for k, v in row.items()}
        fields = {k: v for k, v in cells.items() if v not in _MISSING}
        if not fields:  # as spreadsheets leave them
            continue
        column = next((c for c in _VALUE_COLUMNS if c in fields), None)
        if column is None:
            raise InputError(
                f"no label value: expected a column {' or '.join(_VALUE_COLUMNS)}, "
                f"found {', '.join(map(str, row)) or 'nothing'}"
            )
        value = _integer(fields[column])
        values.append(value)
        if "name" in fields:
            names[value] = str(fields["name"]).strip()
        if "color" in fields:
            colors[value] = _color(str(fields["color"]))
        codes[value] = _code(fields, "category"), _code(fields, "type")
    return ClassTable.from_values(values, names=names, colors=colors, codes=codes)


def _integer(value: Any) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,10}(\.0*)?", text):
        raise InputError(f"{value!r} is not a label value (a whole number >= 0)")
    return int(text.partition(".")[0])


def _code(fields: Mapping[str, Any], column: str) -> str:
    """A code of DICOM; what has no ``^`` is meant for someone else."""
    text = str(fields.get(column, "")).strip()
    return text if "^" in text else ""


def _color(text: str) -> str:
    digits = text.strip().lstrip("#")
    if not re.fullmatch(r"[0-9A-Fa-f]{6}", digits):
        raise InputError(f"{text!r} is not a colour (six hexadecimal digits)")
    return digits.upper()
