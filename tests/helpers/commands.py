"""The installed command, and what it leaves."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_data"
# On PYTHONPATH, faults on demand in every process of the command.
FAULTS = Path(__file__).with_name("faults")
COMMAND = Path(sys.executable).with_name("svls-cli")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def records(output: str) -> dict[str, dict[str, Any]]:
    """`--json` output by case."""
    lines = [json.loads(line) for line in output.splitlines()]
    return {line["case"]: line for line in lines}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder and its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def free_port() -> int:
    """Of this machine, for a server."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
