"""Patients of cases: files and patterns, and intervals over patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.patients import find_patients
from svls_cli.metrics.averages import bootstrap


def test_each_case_is_its_own_patient_by_default() -> None:
    assert find_patients(["b", "a"], None) == {"b": "b", "a": "a"}


def test_a_file_names_the_patients(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_bytes(
        b"\xef\xbb\xbfcase,Patient ,age\r\nn1,p1,3\r\nn2,p1,\r\n,,\r\nn3,p2,1\r\n"
    )
    assert find_patients(["n3", "n1"], str(path)) == {"n3": "p2", "n1": "p1"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("case,subject\nn1,p1\n", "expected the columns case and patient, found case"),
        ("case,patient\nn1,p1\nn1,p2\n", "case n1 has two patients"),
        ("case,patient\nn1,\n", "a row lacks a case or a patient"),
        ("case,patient\nn2,p1\n", "names none for n1"),
        ("", "names none for n1"),
    ],
)
def test_faults_in_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        find_patients(["n1"], str(path))


def test_a_pattern_names_the_patients() -> None:
    names = ["p_1_frame01", "p_1_frame12", "p_2_frame01"]
    found = find_patients(names, "{patient}_frame*")
    assert list(found.values()) == ["p_1", "p_1", "p_2"]
    with pytest.raises(InputError, match="names none for p_1_frame01"):
        find_patients(names, "{patient}-*")
    with pytest.raises(InvalidParameterError, match="in braces may stand"):
        find_patients(names, "{patient}_{case}")
    with pytest.raises(InvalidParameterError, match="neither a pattern"):
        find_patients(names, "cases.csv")


def test_patients_are_resampled_whole() -> None:
    rng = np.random.default_rng(0)
    of_patients = rng.normal(size=40)
    values, groups = np.repeat(of_patients, 5), np.repeat(np.arange(40), 5)
    alone = bootstrap(of_patients, seed=1)
    grouped = bootstrap(values, seed=1, groups=groups.tolist())
    # Five copies of each patient tell no more than one.
    assert grouped.mean == pytest.approx(alone.mean)
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.1)
    apart = bootstrap(values, seed=1)
    assert apart.high - apart.low < 0.6 * (grouped.high - grouped.low)
    assert bootstrap(values, seed=1, groups=range(200)) == apart


def test_patients_of_many_cases_weigh_more() -> None:
    values = np.array([0.0, 0.0, 0.0, 1.0])
    found = bootstrap(values, seed=0, groups=["a", "a", "a", "b"])
    assert (found.mean, found.low, found.high) == (0.25, 0.0, 1.0)
