"""Which device does the work, and what is said of it."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svls_cli import smooth, smooth_cases
from svls_cli.errors import DeviceError, InvalidParameterError
from svls_cli.labels.cases import find_cases
from svls_cli.soften import devices
from svls_cli.soften.devices import DeviceName, parse_device
from tests.helpers.commands import ROOT, SAMPLE, Run, tree
from tests.helpers.cupy_stand_in import Array, StandIn
from tests.helpers.label_maps import blobs
from tests.soften.conftest import driver

LABELS = SAMPLE / "labels"

pytestmark = pytest.mark.usefixtures("forget")


@pytest.fixture
def cupy_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy seems to be there, and a driver with one GPU."""
    monkeypatch.setattr(devices, "find_spec", lambda name: object())
    monkeypatch.setattr(devices, "CDLL", lambda name: driver())


@pytest.mark.parametrize(
    ("name", "kind", "number"),
    [
        ("auto", "auto", 0),
        ("cpu", "cpu", 0),
        ("gpu", "gpu", 0),
        ("cuda", "gpu", 0),
        ("gpu:1", "gpu", 1),
        ("cuda:12", "gpu", 12),
    ],
)
def test_names_of_devices(name: str, kind: str, number: int) -> None:
    assert parse_device(name) == DeviceName(kind, number)


@pytest.mark.parametrize(
    "name",
    ["", "tpu", "GPU", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "auto:1", "gpu:1 "],
)
def test_names_of_none(name: str) -> None:
    with pytest.raises(InvalidParameterError, match="must be auto, cpu, gpu"):
        parse_device(name)


def test_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    problem = devices.gpu_problem()
    assert problem == "CuPy is not installed: pip install 'svls-cli[gpu]'"


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (driver(code=100), "finds no GPU"),
        (driver(count=0), "finds no GPU"),
        (driver(code=999), "does not start, CUDA error 999"),
    ],
)
@pytest.mark.usefixtures("cupy_found")
def test_what_the_driver_says(
    monkeypatch: pytest.MonkeyPatch, found: Any, problem: str
) -> None:
    monkeypatch.setattr(devices, "CDLL", lambda name: found)
    assert problem in str(devices.gpu_problem())


@pytest.mark.usefixtures("cupy_found")
def test_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(devices, "CDLL", missing)
    assert devices.gpu_problem() == "there is no NVIDIA driver"


@pytest.mark.usefixtures("cupy_found")
def test_broken_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "CuPy cannot be imported" in str(devices.gpu_problem())


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        ("cudaErrorInsufficientDriver: too old", "the NVIDIA driver is too old"),
        ("no libcudart.so", "CuPy cannot use it: no libcudart.so"),
    ],
)
def test_cupy_without_its_libraries(cupy: StandIn, error: str, problem: str) -> None:
    def fails() -> None:
        raise RuntimeError(error)

    cupy.cuda.runtime.getDeviceCount = fails
    assert problem in str(devices.gpu_problem())


def test_a_gpu_that_is_one_too_many(cupy: StandIn) -> None:
    assert devices.gpu_problem(1) is None
    assert "finds 2, number 0 the first, no 2" in str(devices.gpu_problem(2))
    assert devices.find_gpu("cuda:2") is None


def test_the_gpu_that_was_asked_for(cupy: StandIn) -> None:
    chosen = devices.find_gpu("cuda:1")
    assert chosen is not None
    assert cupy.devices == [1]


def test_auto_takes_a_gpu_that_works(cupy: StandIn) -> None:
    assert devices.find_gpu("cpu") is None
    assert devices.find_gpu("auto") is not None
    devices.find_gpu.cache_clear()
    cupy.broken = "on fire"
    assert devices.find_gpu("auto") is None
    # Who asks for it hears from the GPU what is wrong.
    with pytest.raises(DeviceError, match="on fire; --device cpu does without it"):
        smooth(np.eye(2, dtype=int), device="gpu")


@pytest.mark.parametrize("error", ["cudaErrorMemoryAllocation: out", "full"])
def test_too_little_memory(cupy: StandIn, error: str) -> None:
    """Of the GPU, or pinned."""
    labels = blobs((9, 10), 3)
    expected = smooth(labels, device="cpu")
    if "cuda" in error:
        cupy.broken = error
    else:
        cupy.memory.room = 3
    np.testing.assert_array_equal(smooth(labels, device="gpu"), expected)
    assert cupy.memory.released


@pytest.mark.parametrize("device", ["gpu", "auto"])
def test_the_cpu_takes_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, device: str
) -> None:
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    labels = blobs((9, 10), 3)
    with caplog.at_level(logging.DEBUG):
        soft = [smooth(labels, device=device) for _ in range(3)]
    np.testing.assert_array_equal(soft[0], smooth(labels, device="cpu"))
    assert len(caplog.messages) == (device == "gpu")


def test_refuses_other_devices(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="found 'tpu'"):
        smooth(np.eye(2, dtype=int), device="tpu")
    with pytest.raises(InvalidParameterError, match="found 'cuda1'"):
        list(smooth_cases(find_cases([LABELS]), tmp_path / "out.zarr", device="cuda1"))


@pytest.mark.parametrize("options", [{}, {"method": "onehot"}, {"sigma": 2, "size": 5}])
def test_a_volume_by_way_of_a_gpu(cupy: StandIn, options: dict[str, Any]) -> None:
    labels = blobs((70, 30, 80), 4)
    labels[60:, :9, :9] = 9
    options |= {"ignore_label": 9, "dtype": "uint8"}
    soft = smooth(labels, device="gpu", **options)
    np.testing.assert_array_equal(soft, smooth(labels, device="cpu", **options))
    assert bool(cupy.regions) == ("method" not in options)


def test_an_array_on_the_gpu_stays_there(cupy: StandIn) -> None:
    labels = blobs((20, 30, 25), 4)
    labels[3, 3, 3] = 9
    for options in ({}, {"ignore_label": 9}):
        soft = smooth(cupy.array(labels), **options)
        assert isinstance(soft, Array)
        np.testing.assert_array_equal(
            soft.tolist(), smooth(labels, device="cpu", **options)
        )


# Ends every process in which we import CuPy. (Zarr tries CuPy by itself.)
POISON = """
import os, sys

frame = sys._getframe()
while frame:
    if frame.f_globals.get("__name__") == "svls_cli.soften.devices":
        os._exit(77)
    frame = frame.f_back
raise ImportError
"""


@pytest.fixture
def without_gpu(tmp_path: Path) -> dict[str, str]:
    """An environment with a CuPy that nobody should need, and no GPU."""
    package = tmp_path / "poison" / "cupy"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(POISON)
    path = os.pathsep.join(filter(None, [str(package.parent), *sys.path]))
    return {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}


def test_nobody_without_a_gpu_imports_cupy(
    run: Run, without_gpu: dict[str, str], tmp_path: Path
) -> None:
    for device in ("cpu", "auto"):
        result = run(
            "smooth", "--device", device, LABELS, f"{device}.zarr", env=without_gpu
        )
        assert result.stderr == ""
    assert tree(tmp_path / "cpu.zarr") == tree(tmp_path / "auto.zarr")


@pytest.mark.parametrize("command", ["smooth", "fuse-raters"])
def test_one_line_says_why_there_is_no_gpu(
    run: Run, without_gpu: dict[str, str], command: str
) -> None:
    raters = [SAMPLE / "raters" / rater for rater in "abc"]
    inputs = [LABELS] if command == "smooth" else raters
    options = ["--device", "gpu", "--jobs", "2"]
    result = run(command, *options, *inputs, "out.zarr", env=without_gpu)
    [line] = result.stderr.splitlines()
    assert line.startswith("svls-cli: no GPU (")
    assert line.endswith("; the CPU does the work")


def test_consensus_folders_need_no_device(run: Run) -> None:
    raters = [SAMPLE / "raters" / rater for rater in "abc"]
    result = run("fuse-raters", "--device", "cpu", *raters, "folder", code=2)
    assert "--device: of no use for folder" in result.stderr


# The stand-in as the CuPy of every process of the command, with a driver; each notes
# what it uploads.
STAND_IN = """
import sys
from tests.helpers.cupy_stand_in import StandIn, extras

class Noting(list):
    def append(self, shape):
        with open({log!r}, "a") as log:
            print(shape, file=log)

sys.modules["cupy"] = cupy = StandIn()
sys.modules["cupyx"] = extras()
cupy.regions, cupy.memory.room = Noting(), {room}
"""
DRIVER = """
import ctypes

class CDLL(ctypes.CDLL):
    def __new__(cls, name, *arguments, **options):
        if name != "libcuda.so.1":
            return super().__new__(cls)
        from tests.soften.conftest import driver
        return driver()

ctypes.CDLL = CDLL
"""


@pytest.mark.parametrize(
    ("room", "command", "inputs"),
    [
        (2**40, "smooth", ["--sigma-mm", "1.2", "--dtype", "float32", LABELS]),
        (2**21, "smooth", ["--ignore-label", "1", LABELS]),
        (2**21, "fuse-raters", [SAMPLE / "raters" / rater for rater in "abc"]),
    ],
)
def test_the_command_writes_the_same_store(
    run: Run, room: int, command: str, inputs: list[Any], tmp_path: Path
) -> None:
    log, folder = tmp_path / "uploads", tmp_path / "stand_in"
    (folder / "cupy").mkdir(parents=True)
    (folder / "cupy/__init__.py").write_text(STAND_IN.format(log=str(log), room=room))
    (folder / "sitecustomize.py").write_text(DRIVER)
    path = os.pathsep.join(map(str, [folder, ROOT, *sys.path]))
    environments: dict[str, dict[str, str]] = {"cpu": {}, "cuda": {"PYTHONPATH": path}}
    for device, env in environments.items():
        options = ["--jobs", 2, "--device", device]
        result = run(command, *options, *inputs, f"{device}.zarr", env=env)
        assert result.stderr == ""
    assert tree(tmp_path / "cuda.zarr") == tree(tmp_path / "cpu.zarr")
    assert log.read_text().count("\n") > 1
