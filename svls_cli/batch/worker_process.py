"""What a worker process does as it starts, and around each task."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from ctypes import CDLL
from importlib import import_module
from pathlib import Path
from typing import Any

from joblib.externals.loky import process_executor

from svls_cli.labels import time_limit

# Parameters of glibc's mallopt: up to which size memory is its own, and how much of
# that may lie idle. 32 MiB is the most that it allows.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
_OWN_BYTES, _IDLE_BYTES = 2**25, 2**27


def keep_freed_memory() -> None:
    """Let this process keep the memory that one block frees for the next one (glibc).

    Returning it to the system and fetching it again costs a tenth of the time, and a
    third where all of it is returned at once, as in Dask's workers.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):
            mallopt = CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, _OWN_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _IDLE_BYTES)


# In a worker: the open file of deadlines.
_deadlines = -1


def prepare(module: str, board: Path) -> None:
    """Make this process a worker; ``board`` is the file of deadlines."""
    # Ctrl-C reaches every process of a terminal; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a large case leaves with the allocator is no leak: starting anew costs more.
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize
    keep_freed_memory()
    global _deadlines
    try:
        _deadlines = os.open(board, os.O_RDWR)
    except FileNotFoundError:  # the run was ended while this process started
        os._exit(0)
    tempfile.tempdir = str(board.parent)
    import_module(module)


def run_task(place: int, task: Callable[[Any], Any], item: Any) -> Any:
    """Do a task; `time_limit` notes its deadlines at ``place``."""
    time_limit.enable(_deadlines, place)
    return task(item)
