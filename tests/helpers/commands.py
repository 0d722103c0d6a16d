"""The command, in this process or in one of its own, and what it leaves."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from io import BytesIO, TextIOWrapper
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pytest
from click import Command
from click.testing import CliRunner, Result

from svls_cli.cli.group import main

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_data"
COMMAND = Path(sys.executable).with_name("svls-cli")

Run = Callable[..., "subprocess.CompletedProcess[str]"]
_TEXT: Any = {"encoding": "utf-8", "errors": "surrogateescape"}


def run_here(
    *arguments: str | Path,
    cwd: Path,
    code: int = 0,
    input: str = "",  # noqa: A002
) -> subprocess.CompletedProcess[str]:
    """The command in this process, which has imported everything already."""
    given = [str(argument) for argument in arguments]
    with ExitStack() as stack:
        stack.enter_context(chdir(cwd))
        stack.enter_context(_unchanged_process())
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        reader = TextIOWrapper(BytesIO(input.encode(**_TEXT)), **_TEXT)
        patch.setattr(sys, "stdin", reader)
        streams = [stack.enter_context(_redirected(name)) for name in _STREAMS]
        with pytest.raises(SystemExit) as ended:
            main(given)
        output, complaint = [read() for read in streams]
    result = subprocess.CompletedProcess(given, ended.value.code, output, complaint)
    assert result.returncode == code, complaint
    return result


def run_installed(
    *arguments: str | Path,
    cwd: Path,
    code: int = 0,
    env: dict[str, str] | None = None,
    input: str | None = None,  # noqa: A002
) -> subprocess.CompletedProcess[str]:
    """The installed command in a process of its own."""
    result = subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=input,
        timeout=300,
        start_new_session=True,
        **_TEXT,
    )
    assert result.returncode == code, result.stderr
    return result


def invoke(command: Command, *arguments: object, **options: Any) -> Result:
    """A command in this process; its exit code is the return value, errors come out."""
    options |= {"standalone_mode": False, "catch_exceptions": False}
    return CliRunner().invoke(command, list(map(str, arguments)), **options)


def run_python(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """A Python program in a process of its own."""
    line, env = [sys.executable, *map(str, arguments)], {**os.environ, **env}
    return subprocess.run(line, env=env, capture_output=True, text=True, check=True)


def start(
    *arguments: str | Path, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """The installed command as the leader of a process group, as a shell starts it."""
    return subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def dead_pid() -> int:
    """Of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def shell(line: str, *, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """A line of bash that finds the installed commands."""
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-ec", line],
        cwd=cwd,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        **options,
    )


def records(output: str) -> dict[str, dict[str, Any]]:
    """`--json` output by case."""
    lines = [json.loads(line) for line in output.splitlines()]
    return {line["case"]: line for line in lines}


def files(folder: Path) -> list[Path]:
    """Every file of a folder, in any depth."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder and its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in files(folder)}


def free_port() -> int:
    """A port of this machine that a server can have."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


_STREAMS = {"stdout": 1, "stderr": 2}


@contextmanager
def _redirected(name: str) -> Iterator[Callable[[], str]]:
    """A standard stream into a file, also for what is no Python; how to read it."""
    number = _STREAMS[name]
    with TemporaryFile("a+b") as file:
        getattr(sys, name).flush()
        kept = os.dup(number)
        os.dup2(file.fileno(), number)
        try:
            with (
                open(number, "w", closefd=False, **_TEXT) as stream,
                pytest.MonkeyPatch.context() as patch,
            ):
                patch.setattr(sys, name, stream)
                yield lambda: _content(stream, file)
        finally:
            os.dup2(kept, number)
            os.close(kept)


def _content(stream: IO[str], file: IO[bytes]) -> str:
    stream.flush()
    file.seek(0)
    return file.read().decode(**_TEXT)


@contextmanager
def _unchanged_process() -> Iterator[None]:
    """Without pytest's log handlers, so that warnings are printed; all put back."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    signals = {number: signal.getsignal(number) for number in (2, 15)}
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for number, handler in signals.items():
            signal.signal(number, handler)
