"""The split of the cases into training and validation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.files import replacing
from svls_cli.labels.names import composed
from svls_cli.labels.patients import find_patients
from svls_cli.labels.texts import read_text
from svls_cli.labels.values import listed


def split_cases(
    names: Sequence[str], validation: str, *, seed: int, patients: str | None = None
) -> tuple[list[str], list[str]]:
    """Names to train on and names for validation, each sorted.

    Parameters
    ----------
    names
        Names of all cases; their order does not matter.
    validation
        As in `TrainingConfig`: share, fold or file.
    seed
        Seed of the draw, for shares and folds.
    patients
        As in `find_patients`; all cases of a patient are on one side. A share or fold
        is one of the patients.

    Raises
    ------
    InvalidParameterError
        If ``validation`` is none of the three; or as `find_patients`.
    InputError
        If no case is left to train on or to validate on, the file names unknown cases,
        or some but not all cases of a patient; or as `find_patients`.

    Examples
    --------
    >>> split_cases(list("abcde"), "0.4", seed=0)
    (['a', 'b', 'd'], ['c', 'e'])
    """
    ordered = sorted(names)
    if re.fullmatch(r"0?\.0+|0", validation):
        return ordered, []
    patient_of = find_patients(ordered, patients)
    named = sorted(set(patient_of.values()))
    if patients is not None and len(named) == 1:
        raise InputError(
            f"patients {patients!r}: all {len(ordered)} cases are of one patient, "
            f"{named[0]}, so none can be held out; --validation 0 holds none out"
        )
    held = {*_held(ordered, patient_of, validation, seed)}
    if not held:
        raise InputError(f"validation {validation!r} holds none of the cases")
    train = [name for name in ordered if name not in held]
    if not train:
        of = f" of {len(named)} patients" * (len(named) < len(ordered))
        raise InputError(
            f"validation {validation!r} leaves none of {len(ordered)} cases{of} to "
            "train on; --validation 0 holds none out"
        )
    both = {patient_of[name] for name in train} & {patient_of[name] for name in held}
    if both:
        raise InputError(
            f"{validation} holds some cases of a patient, but not all: "
            f"{listed(sorted(both), 3)}"
        )
    return train, sorted(held)


def _held(
    ordered: Sequence[str], patient_of: Mapping[str, str], validation: str, seed: int
) -> Iterable[str]:
    """Names for validation."""
    patients = sorted(set(patient_of.values()))
    drawn = np.random.default_rng(seed).permutation(len(patients))
    if fold := re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", validation):
        number, count = map(int, fold.groups())
        if not 1 <= number <= count or count < 2:
            raise InvalidParameterError(
                f"validation {validation!r}: expected fold I/N with N at least 2 and I "
                "from 1 to N"
            )
        if count > len(patients):
            of = "patients" if len(patients) < len(ordered) else "cases"
            raise InputError(
                f"validation {validation!r}: {count} folds of {len(patients)} {of}; "
                "expected at least one for each fold"
            )
        held = {patients[at] for at in drawn[number - 1 :: count]}
    elif re.fullmatch(r"1(\.0*)?", validation):
        raise InvalidParameterError(
            f"validation {validation!r} is all cases: expected a share below 1, "
            "such as 0.2"
        )
    elif re.fullmatch(r"0?\.[0-9]+|0", validation):
        count = max(1, round(float(validation) * len(patients)))
        held = {patients[at] for at in drawn[:count]}
    else:
        return _listed(Path(validation), set(ordered))
    return [name for name in ordered if patient_of[name] in held]


def _listed(path: Path, known: set[str]) -> set[str]:
    if not path.is_file():
        raise InvalidParameterError(
            f"validation {str(path)!r} is neither a share such as 0.2, nor a fold such "
            "as 1/5, nor a file of case names"
        )
    held = set(read_names(path))
    if unknown := sorted(held - known):
        raise InputError(f"{path} names unknown cases: {listed(unknown)}")
    return held


def read_names(path: Path) -> list[str]:
    """Names of cases in a file, one per line.

    Raises
    ------
    InputError, OSError
        As `read_text`.
    """
    lines = read_text(path, errors="surrogateescape").splitlines()
    return [composed(line.strip()) for line in lines if line.strip()]


def write_names(names: Iterable[str], path: Path) -> None:
    """Write names of cases as `read_names` reads them; no file if there are none."""
    content = "".join(f"{name}\n" for name in names)
    if not content:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as part:
        part.write_text(content, encoding="utf-8", errors="surrogateescape")
