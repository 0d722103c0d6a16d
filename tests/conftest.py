"""Fixtures that all tests share."""

import os

# Before NumPy and PyTorch are imported, and for all child processes: tests run two at a
# time, and threads that spin for work would only fight the others.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.commands import Run, run_here, run_installed
from tests.helpers.object_stores import KEYS, objects, s3_server
from tests.helpers.pools import shared_pools

# No test asserts a time, not even on a busy machine.
slow = [HealthCheck.too_slow]
settings.register_profile("busy", deadline=None, suppress_health_check=slow)
settings.load_profile("busy")

# Children inherit that a signal is ignored, as `nohup pytest &` has it, but no handler.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no long one is left for the end."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session", autouse=True)
def pools() -> Iterator[None]:
    with shared_pools():
        yield


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command in an empty folder; with an environment, in a process of its own."""

    def call(
        *arguments: str | Path, env: dict[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        if env is None:
            return run_here(*arguments, cwd=tmp_path, **options)
        return run_installed(*arguments, cwd=tmp_path, env=env, **options)

    return call


@pytest.fixture
def installed(tmp_path: Path) -> Run:
    """The installed command, in a process of its own, in an empty folder."""
    return partial(run_installed, cwd=tmp_path)


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """An S3 server for all tests."""
    with s3_server() as found:
        yield found


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the empty server; this process finds it by the usual variables."""
    boto3 = pytest.importorskip("boto3")
    variables = {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "us-east-1"} | KEYS
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    for key in objects(client, ""):
        client.delete_object(Bucket="bucket", Key=key)
    yield client
    client.close()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster for all tests; its workers come back when a test kills them."""
    from tests.helpers.clusters import dask_cluster

    with dask_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running
