"""Faults on demand in the processes of the installed command, and their moment."""

import os
import subprocess
import time
from pathlib import Path

from tests.helpers.commands import ROOT, start

FAULTS = Path(__file__).with_name("faults")


def fault(what: str, **extra: str) -> dict[str, str]:
    """The environment of a process that meets it; see `faults/sitecustomize.py`."""
    path = os.pathsep.join(map(str, (FAULTS, ROOT)))
    return {"PYTHONPATH": path, "SVLS_FAULT": what, **extra}


def wait_for(mark: Path, process: subprocess.Popen[str]) -> None:
    """Until the fault `wait` of that process has made its mark."""
    while not mark.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def start_until(
    moment: str, *arguments: str, cwd: Path, **extra: str
) -> subprocess.Popen[str]:
    """The command, when it waits at that moment."""
    mark = cwd / "mark"
    env = fault(f"wait:{moment}", SVLS_MARK=str(mark), **extra)
    process = start(*arguments, cwd=cwd, env=env)
    wait_for(mark, process)
    return process
