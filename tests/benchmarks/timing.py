"""Side by side: interleaved rounds, medians, ratios."""

import argparse
import gc
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

COMMAND = Path(sys.executable).with_name("svls-cli")


def option_parser(doc: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """The options of a benchmark; it may have more."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--scale", type=float, default=1.0, help="shrinks everything")
    return parser


@dataclass(frozen=True)
class Measured:
    """One run of a command."""

    seconds: float
    peak_bytes: int


def time_functions(
    contestants: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each, in turn in every round, the first round uncounted."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, function in contestants.items():
            gc.collect()
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return {name: median(runs[1:]) for name, runs in seconds.items()}


def time_command(command: Sequence[str | Path]) -> float:
    """Seconds that a command takes, with nobody looking."""
    start = time.perf_counter()
    subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def run_command(command: Sequence[str | Path]) -> Measured:
    """Run a command; memory is the largest sum over all its processes at a time.

    Looking at that takes part of a core: what is timed finely is `time_command`'s.
    """
    start = time.perf_counter()
    process = psutil.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _tree_bytes(process))
        time.sleep(0.1)
    seconds = time.perf_counter() - start
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return Measured(seconds, peak)


def print_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """A table for people and for Markdown."""
    print(f"\n{title}\n")
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, ["-" * width for width in widths], *rows):
        cells = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        print(f"| {' | '.join(cells)} |")


def _tree_bytes(process: psutil.Process) -> int:
    """Memory of a process and its descendants, what they share counted once."""
    total = 0
    try:
        for member in (process, *process.children(recursive=True)):
            total += member.memory_full_info().pss
    except psutil.Error:
        pass
    return total
