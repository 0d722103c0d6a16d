"""Tables fit the terminal, in whatever they are shown."""

import re
from pathlib import Path

import pexpect
import pytest

from tests.helpers.commands import COMMAND, SAMPLE, run_here

RATERS = [str(SAMPLE / "raters" / name) for name in "abc"]
COMMANDS = {
    "evaluate": ["eight.zarr", "--reference", "eight.zarr"],  # enough for intervals
    "tune": [*RATERS, "--sigmas", "1", "--strengths", "0.5"],
    "fuse-raters": [*RATERS, "out.zarr", "--report", "report.json"],
    "inspect": ["out.zarr"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    run_here("fuse-raters", *RATERS, "out.zarr", cwd=folder)
    run_here("smooth", str(SAMPLE / "labels"), "eight.zarr", cwd=folder)
    return folder


def tables(text: str) -> list[str]:
    """The lines of tables: cells lie two spaces or more apart."""
    return [line for line in text.splitlines() if re.search(r"\S   *\S", line)]


@pytest.mark.parametrize("command", COMMANDS)
def test_as_wide_as_the_terminal(
    monkeypatch: pytest.MonkeyPatch, folder: Path, command: str
) -> None:
    cells, widest = set(), []
    for width in ("80", "100", "135", "1000"):
        monkeypatch.setenv("COLUMNS", width)
        result = run_here(command, *COMMANDS[command], cwd=folder)
        lines = tables(result.stderr if command == "fuse-raters" else result.stdout)
        widest.append(max(map(len, lines)))
        assert widest[-1] <= int(width)
        cells.add(frozenset(c for line in lines for c in re.split("   *", line)))
    assert len(cells) == 1  # nothing is lost
    assert widest == sorted(widest)


def test_a_hundred_columns_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    shown = run_here("evaluate", *COMMANDS["evaluate"], cwd=folder).stdout
    assert 90 < max(map(len, shown.splitlines())) <= 100
    assert shown.count("label  name ") == 2  # says in each part what a row is of


def test_a_real_terminal(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    child = pexpect.spawn(
        str(COMMAND),
        ["evaluate", *COMMANDS["evaluate"]],
        cwd=str(folder),
        dimensions=(24, 70),
        encoding="utf-8",
    )
    shown = child.read()
    child.close()
    assert "whole volume" in shown
    assert max(map(len, tables(shown))) <= 70
