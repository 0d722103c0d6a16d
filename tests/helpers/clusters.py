"""Dask clusters of real processes, as the README starts them."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from distributed import Client

from tests.helpers.commands import COMMAND, ROOT, free_port


@dataclass
class DaskCluster:
    """A scheduler and its workers; both in a folder of their own."""

    address: str
    scheduler: subprocess.Popen[bytes]
    nanny: subprocess.Popen[bytes] | None

    def kill_workers(self) -> None:
        """As a node that goes down; the nanny starts them again."""
        assert self.nanny is not None
        for process in psutil.Process(self.nanny.pid).children():
            if "spawn_main" in " ".join(process.cmdline()):
                process.kill()


@contextmanager
def dask_cluster(
    folder: Path, *, workers: int = 2, threads: int = 1, **environment: str
) -> Iterator[DaskCluster]:
    """`dask scheduler` and `dask worker`, stopped after the block."""
    address = f"tcp://127.0.0.1:{free_port()}"
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        **environment,
    }
    folder.mkdir(exist_ok=True)
    dask = COMMAND.with_name("dask")
    host, port = address.removeprefix("tcp://").split(":")
    commands = [[dask, "scheduler", "--host", host, "--port", port, "--no-dashboard"]]
    if workers:
        count = ["--nworkers", str(workers), "--nthreads", str(threads)]
        commands.append([dask, "worker", address, *count, "--no-dashboard"])
    processes = []
    with (folder / "log").open("wb") as log:
        try:
            options: dict[str, Any] = {"cwd": folder, "env": env, "stdout": log}
            for command in commands:
                processes.append(subprocess.Popen(command, stderr=log, **options))
            with Client(address, timeout=60, set_as_default=False) as client:
                if workers:
                    client.wait_for_workers(workers, timeout=60)
            yield DaskCluster(address, *processes, *[None] * (2 - len(processes)))
        finally:
            for process in reversed(processes):
                process.send_signal(signal.SIGTERM)
            for process in processes:
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
