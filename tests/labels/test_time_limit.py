import os
import signal
import time
from pathlib import Path

import pytest

from svls_cli.labels import time_limit


@pytest.fixture
def board(tmp_path: Path) -> Path:
    path = tmp_path / "deadlines"
    path.touch()
    return path


def ended_by(seconds: float, work_s: float, board: Path) -> int:
    """The signal that ends a process bounded so, or 0."""
    process = os.fork()
    if process == 0:
        time_limit.enable(os.open(board, os.O_RDWR), 3)
        with time_limit.time_limit(seconds):
            time.sleep(work_s)
        time.sleep(2 * seconds)
        os._exit(0)
    status = os.waitpid(process, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def test_a_worker_is_ended_and_why_is_noted(board: Path) -> None:
    assert ended_by(0.1, 60, board) == signal.SIGALRM
    assert time_limit.overdue(board, 3)
    assert not time_limit.overdue(board, 2)
    assert not time_limit.overdue(board, 4)


def test_the_limit_ends_with_the_block(board: Path) -> None:
    assert ended_by(0.3, 0, board) == 0
    assert not time_limit.overdue(board, 3)


def test_no_other_process_is_bounded() -> None:
    with time_limit.time_limit(0.01):
        time.sleep(0.1)
