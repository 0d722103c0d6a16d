"""A GPU that is none."""

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from svls_cli.soften import devices
from tests.helpers.cupy_stand_in import StandIn, extras

CACHED = (devices.gpu_problem, devices.find_gpu, devices._report_missing)


@pytest.fixture
def forget() -> Iterator[None]:
    """What a process finds out once."""
    for function in CACHED:
        function.cache_clear()
    yield
    for function in CACHED:
        function.cache_clear()


def driver(code: int = 0, count: int = 1) -> SimpleNamespace:
    """A CUDA driver that answers so much."""

    def device_count(place: Any) -> int:
        place._obj.value = count
        return 0

    return SimpleNamespace(cuInit=lambda flags: code, cuDeviceGetCount=device_count)


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch, forget: None) -> StandIn:
    """The stand-in as CuPy, with a driver and two GPUs."""
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "cupy", stand_in)
    monkeypatch.setitem(sys.modules, "cupyx", extras())
    monkeypatch.setattr(devices, "CDLL", lambda name: driver(count=2))
    return stand_in
