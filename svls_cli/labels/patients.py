"""Patients of cases: several nodules or visits of one are not independent."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.names import composed, safe_name
from svls_cli.labels.patterns import name_field
from svls_cli.labels.texts import read_text
from svls_cli.labels.values import listed

_FIELD = "{patient}"


def find_patients(cases: Iterable[str], source: str | None) -> dict[str, str]:
    """Patient of each case.

    Parameters
    ----------
    cases
        Names of the cases.
    source
        A CSV file with the columns ``case`` and ``patient``, which may hold more cases
        and columns; or a pattern of the whole name of a case, such as ``{patient}_*``,
        in which ``{patient}`` stands for as much as the rest of the pattern leaves.
        None: each case is a patient of its own.

    Raises
    ------
    InvalidParameterError
        If it is neither a pattern nor a file that can be read.
    InputError
        If the file lacks a column, or a case has no patient or two.

    Examples
    --------
    >>> find_patients(["LIDC-0003_n01", "LIDC-0003_n02"], "{patient}_n*")
    {'LIDC-0003_n01': 'LIDC-0003', 'LIDC-0003_n02': 'LIDC-0003'}
    >>> find_patients(["LIDC-0003_n01"], "{patient}-*")
    {'LIDC-0003_n01': 'LIDC'}
    """
    names = list(cases)
    if source is None:
        return {name: name for name in names}
    if _FIELD in source:
        found = {name: name_field(source, name, "patient") for name in names}
        patients = {name: each for name, each in found.items() if each is not None}
    else:
        patients = dict(_read(source))
    if unknown := [name for name in names if name not in patients]:
        raise InputError(f"patients: {source} names none for {listed(unknown, 3)}")
    return {name: patients[name] for name in names}


def odd_grouping(patients: Mapping[str, str]) -> str | None:
    """A note if all of several cases are of one patient, or no two of them; else None.

    Examples
    --------
    >>> odd_grouping({"a_1": "a", "a_2": "a"})
    'all 2 cases are of one patient, a'
    >>> odd_grouping({"a_1": "a_1", "a_2": "a_2"})
    'no two of 2 cases are of the same patient, such as a_1'
    """
    named = set(patients.values())
    if len(patients) > 1 and len(named) == 1:
        return f"all {len(patients)} cases are of one patient, {named.pop()}"
    if len(patients) > 1 and len(named) == len(patients):
        first = next(iter(patients.values()))
        return (
            f"no two of {len(patients)} cases are of the same patient, such as {first}"
        )
    return None


def _read(source: str) -> Mapping[str, str]:
    path = Path(source)
    try:
        rows = list(csv.DictReader(read_text(path).splitlines()))
    except OSError as error:
        raise InvalidParameterError(
            f"patients: {source!r} is neither a pattern with {_FIELD} nor a CSV file "
            f"that can be read ({error.strerror})"
        ) from error
    except csv.Error as error:
        raise InputError(f"patients: {path}: {error}") from error
    patients: dict[str, str] = {}
    for row in rows:
        cells = {str(key).strip().lower(): value for key, value in row.items()}
        if "case" not in cells or "patient" not in cells:
            raise InputError(
                f"patients: {path}: expected the columns case and patient, found "
                f"{', '.join(map(str, row)) or 'nothing'}"
            )
        case, patient = (str(cells[k] or "").strip() for k in ("case", "patient"))
        if not case and not patient:  # as spreadsheets leave rows
            continue
        if not case or not patient:
            raise InputError(f"patients: {path}: a row lacks a case or a patient")
        if patients.setdefault(safe_name(composed(case)), patient) != patient:
            raise InputError(f"patients: {path}: case {case} has two patients")
    return patients
