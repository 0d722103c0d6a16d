"""A bound on the time of work that may hang in C code or in the system.

Nothing in a process can end such work, so the kernel ends the process; that is only
fair to one that is there to be replaced, a worker.
"""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DEADLINE = struct.Struct("d")
# In a worker: a file that all of them share, and the place of its task there.
_board: tuple[int, int] | None = None


def enable(board: int, place: int) -> None:
    """Let `time_limit` end this process, a worker, and note why in an open file."""
    global _board
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        _board = board, place


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End a worker process that takes longer than this for the block.

    Whoever started it tells why its case failed, and goes on with the other cases. In
    any other process, and on systems without such timers, nothing is bounded.
    """
    if _board is None:
        yield
        return
    _note(*_board, time.monotonic() + seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _note(*_board, 0)


def overdue(board: Path, place: int) -> bool:
    """Whether the task of this place was at work past its `time_limit`."""
    with board.open("rb") as file:
        file.seek(place * _DEADLINE.size)
        noted = file.read(_DEADLINE.size)
    deadline = _DEADLINE.unpack(noted)[0] if noted else 0
    return 0 < deadline <= time.monotonic()


def _note(board: int, place: int, deadline: float) -> None:
    os.pwrite(board, _DEADLINE.pack(deadline), place * _DEADLINE.size)
