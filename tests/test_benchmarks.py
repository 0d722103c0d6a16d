"""Benchmarks run, on volumes so small that their times mean nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.mark.parametrize(
    ("script", "rows"),
    [
        ("engine.py", 3),
        ("command.py", 3),
        ("stages.py", 7),
        ("fusion.py", 1),
        ("cluster.py", 1),
    ],
)
def test_benchmarks_print_their_table(script: str, rows: int) -> None:
    options = ["--scale", "0.1", "--rounds", "1"]
    if script == "cluster.py":
        pytest.importorskip("distributed")
    if script in ("command.py", "cluster.py"):
        options += ["--volumes", "2"]
    result = subprocess.run(
        [sys.executable, BENCHMARKS / script, *options],
        capture_output=True,
        text=True,
        check=True,
    )
    table = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert len(table) == rows + 2
    measured = r"\d\.\d{3}" if script == "stages.py" else r"\d\.\dx"
    assert all(re.search(measured, row) for row in table[2:])
