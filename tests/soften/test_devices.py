"""Which device does the work, and what is said of it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from svls_cli import smooth, smooth_cases
from svls_cli.errors import DeviceError, InvalidParameterError
from svls_cli.labels.cases import find_cases
from svls_cli.soften import devices
from svls_cli.soften.cuda_block import soften_by_way_of
from svls_cli.soften.smoothing import soften_block
from tests.helpers.commands import SAMPLE, Run, tree
from tests.helpers.host_device import COMPILER, HostDevice
from tests.helpers.label_maps import blobs

LABELS = SAMPLE / "labels"
CACHED = (devices.gpu_problem, devices.block_softener, devices._report_missing)


@pytest.fixture(autouse=True)
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
def cupy_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy seems to be there, and a driver with one GPU."""
    monkeypatch.setattr(devices, "find_spec", lambda name: object())
    monkeypatch.setattr(devices, "CDLL", lambda name: driver())


def pretend(monkeypatch: pytest.MonkeyPatch, **gpu: Any) -> None:
    """A module `soften.gpu` that needs no GPU."""
    monkeypatch.setitem(sys.modules, "svls_cli.soften.gpu", SimpleNamespace(**gpu))


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
    monkeypatch.setitem(sys.modules, "svls_cli.soften.gpu", None)
    assert "CuPy cannot be imported" in str(devices.gpu_problem())
    devices.gpu_problem.cache_clear()
    pretend(monkeypatch, problem=lambda: "CuPy cannot use it: old driver")
    assert devices.gpu_problem() == "CuPy cannot use it: old driver"


@pytest.mark.usefixtures("cupy_found")
def test_auto_takes_a_gpu_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    work: Any = object()
    for works in (True, False):
        devices.block_softener.cache_clear()
        gpu = {"problem": lambda: None, "works": lambda ok=works: ok}
        pretend(monkeypatch, soften_on_gpu=work, **gpu)
        assert devices.block_softener("cpu") is soften_block
        assert devices.block_softener("auto") is (work if works else soften_block)
        # Who asks for it hears from the GPU what is wrong.
        assert devices.block_softener("gpu") is work


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
    with pytest.raises(InvalidParameterError, match="auto, cpu, gpu, found 'tpu'"):
        smooth(np.eye(2, dtype=int), device="tpu")
    with pytest.raises(InvalidParameterError, match="found 'cuda'"):
        smooth_cases(find_cases([LABELS]), tmp_path / "out.zarr", device="cuda")


@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
@pytest.mark.usefixtures("cupy_found")
@pytest.mark.parametrize("options", [{}, {"method": "onehot"}, {"sigma": 2, "size": 5}])
def test_a_volume_by_way_of_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    host = HostDevice(tmp_path)

    def by_way_of_host(*arguments: Any, **meaning: Any) -> Any:
        return soften_by_way_of(host, *arguments, **meaning)

    monkeypatch.setattr(devices, "find_spec", lambda name: object())
    pretend(monkeypatch, problem=lambda: None, soften_on_gpu=by_way_of_host)
    labels = blobs((70, 30, 80), 4)
    labels[60:, :9, :9] = 9
    options |= {"ignore_label": 9, "dtype": "uint8"}
    soft = smooth(labels, device="gpu", **options)
    np.testing.assert_array_equal(soft, smooth(labels, device="cpu", **options))
    assert host.launched


@pytest.mark.usefixtures("cupy_found")
def test_a_gpu_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **meaning: Any) -> None:
        raise DeviceError("the GPU failed: on fire; --device cpu does without it")

    pretend(monkeypatch, problem=lambda: None, soften_on_gpu=fails)
    with pytest.raises(DeviceError, match="--device cpu does without it"):
        smooth(np.eye(2, dtype=int), device="gpu")


# Ends every process that imports our CuPy user. (Zarr tries CuPy by itself.)
POISON = """
import os, sys

class Finder:
    def find_spec(name, path=None, target=None):
        if name == "svls_cli.soften.gpu":
            os._exit(77)

sys.meta_path.insert(0, Finder)
"""


@pytest.fixture
def without_gpu(tmp_path: Path) -> dict[str, str]:
    """An environment with a CuPy that nobody should need, and no GPU."""
    package = tmp_path / "poison" / "cupy"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError\n")
    (package.parent / "sitecustomize.py").write_text(POISON)
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
