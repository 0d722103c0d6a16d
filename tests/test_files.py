import os
from pathlib import Path

import pytest

from svls_cli.files import UNFINISHED, aligned, machine, unfinished_folder, write_json
from tests.helpers.commands import dead_pid


def left(folder: Path, owner: str) -> Path:
    """What a run leaves behind when it is killed."""
    unfinished = folder / f"{UNFINISHED}{owner}"
    unfinished.mkdir()
    (unfinished / "half").touch()
    return unfinished


def test_what_killed_runs_left_is_removed(tmp_path: Path) -> None:
    folder = left(tmp_path, f"{machine()}~{dead_pid()}~abc")
    write_json({}, tmp_path / "report.json")
    assert not folder.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    "owner", ["{machine}~{pid}~abc", "another-host.0~999999999~abc", "abc"]
)
def test_unfinished_files_of_others_are_left_alone(owner: str, tmp_path: Path) -> None:
    folder = left(tmp_path, owner.format(machine=machine(), pid=os.getpid()))
    with unfinished_folder(tmp_path) as own:
        assert own.is_dir()
    assert (folder / "half").exists()
    assert not own.exists()


LONG = "left ventricle of the heart with all of its papillary muscles inside"
HEADER = ("label", "name", "cases", "Dice", "surface Dice")


@pytest.mark.parametrize("width", [40, 60, 80])
def test_long_names_are_cut_and_numbers_are_not(width: int) -> None:
    wide = "肝臓"
    numbers = ["4294967295", "30", "0.9123 [0.9011]", "0.5"]
    body = [(numbers[0], LONG, *numbers[1:]), ("1", wide * 30, "3", "0.1", "0.2")]
    lines = aligned(HEADER, body, width=width, keys=2)
    shown = [len(line) + sum(map(line.count, wide)) for line in lines]
    assert max(shown) <= width
    assert "left v" in lines[1]
    assert all(number in "\n".join(lines) for number in numbers)
    assert ["…" in line for line in lines[:3]] == [False, True, True]


def test_columns_are_as_wide_as_a_terminal_shows_them() -> None:
    # A wide letter takes two columns, a combining accent none.
    body = [("肝臓", "1"), ("le\u0301sion", "2"), ("a", "3")]
    assert aligned(("name", "n"), body) == [
        "name    n",
        "肝臓    1",
        "le\u0301sion  2",
        "a       3",
    ]
