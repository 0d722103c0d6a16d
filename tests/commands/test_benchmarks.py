"""Benchmarks run, on volumes so small that their times mean nothing."""

import re
from pathlib import Path

import pytest

from tests.helpers.commands import run_python

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SMALL = {
    "command.py": ["--scale", "0.1", "--volumes", "2"],
    "cluster.py": ["--scale", "0.1", "--volumes", "2"],
    "memory.py": ["--scale", "0.1", "--slices", "128", "--classes", "4", "117"],
    "tiny.py": ["--cases", "4"],
    # Workers would take longer to start than all the rest.
    "loading.py": [
        "--scale",
        "0.1",
        "--cases",
        "2",
        "--patches",
        "8",
        "--workers",
        "0",
    ],
}


def test_without_a_gpu_there_is_nothing_to_measure() -> None:
    result = run_python(BENCHMARKS / "gpu.py", CUDA_VISIBLE_DEVICES="")
    [line] = result.stdout.splitlines()
    assert line.startswith("nothing to measure without a GPU: ")


@pytest.mark.parametrize(
    ("script", "rows"),
    [
        ("engine.py", 16),
        ("command.py", 15),
        ("stages.py", 9),
        ("fusion.py", 1),
        ("reading.py", 6),
        ("loading.py", 6),
        ("on_the_fly.py", 12),
        ("memory.py", 2),
        ("tiny.py", 2),
        ("cluster.py", 1),
        ("contours.py", 19),
    ],
)
def test_benchmarks_print_their_table(script: str, rows: int) -> None:
    if script == "cluster.py":
        pytest.importorskip("distributed")
    if script == "contours.py":
        pytest.importorskip("highdicom")
    options = ["--rounds", "1", *SMALL.get(script, ["--scale", "0.1"])]
    result = run_python(BENCHMARKS / script, *options)
    table = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert sum(bool(re.search(r"\d\.\d+x|\d\.\d{2,}", row)) for row in table) == rows
