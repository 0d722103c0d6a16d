import os
from pathlib import Path

import pytest

from svls_cli.files import UNFINISHED, machine, unfinished_folder, write_json
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
