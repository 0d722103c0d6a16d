"""Where labels are softened: names of devices, and GPUs; the only CuPy user."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ctypes import CDLL, byref, c_int
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.errors import DeviceError, InvalidParameterError

# So many regions are in work at a time: while one is copied another is computed.
_AT_WORK = 2
_CUDA_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
_OUT_OF_MEMORY = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY")


@dataclass(frozen=True)
class DeviceName:
    """A device, as users name it.

    Parameters
    ----------
    kind
        ``auto``, ``cpu`` or ``gpu``.
    number
        Which of several GPUs: 0, 1, ...
    """

    kind: str
    number: int = 0


def parse_device(name: str) -> DeviceName:
    """The device of a name; ``gpu`` and ``cuda`` mean the same.

    Raises
    ------
    InvalidParameterError
        If the name is none.

    Examples
    --------
    >>> parse_device("cuda:1")
    DeviceName(kind='gpu', number=1)
    """
    if name in ("auto", "cpu"):
        return DeviceName(name)
    if match := re.fullmatch(r"(?:gpu|cuda)(?::(\d{1,3}))?", name):
        return DeviceName("gpu", int(match[1] or 0))
    raise InvalidParameterError(
        f"device must be auto, cpu, gpu (or cuda) or cuda:N, found {name!r}"
    )


def check_device(name: str) -> None:
    """Refuse names of no device; say, once, if a GPU is asked for and there is none.

    Raises
    ------
    InvalidParameterError
        As `parse_device`.
    """
    device = parse_device(name)
    if device.kind == "gpu":
        _report_missing(device.number)


@cache
def find_gpu(name: str) -> Gpu | None:
    """The GPU of that name, for ``auto`` one that works; None: it is for the CPU.

    A GPU that is not there is replaced by the CPU; `check_device` has said so.
    """
    device = parse_device(name)
    if device.kind == "cpu" or gpu_problem(device.number) is not None:
        return None
    gpu = Gpu(device.number)
    # Who asks for it hears from it what is wrong.
    return None if device.kind == "auto" and not gpu.works() else gpu


@cache
def gpu_problem(number: int = 0) -> str | None:
    """Why a GPU cannot be used here; None if it can.

    What costs most is asked last: without CuPy, or a GPU, nothing is imported.
    """
    if find_spec("cupy") is None or find_spec("array_api_compat") is None:
        return "CuPy is not installed: pip install 'svls-cli[gpu]'"
    try:
        driver = CDLL(_CUDA_LIBRARY)
    except OSError:
        return "there is no NVIDIA driver"
    code, count = driver.cuInit(0), c_int()
    code = code or driver.cuDeviceGetCount(byref(count))
    if code == _NO_DEVICE or (not code and not count.value):
        return "the NVIDIA driver finds no GPU"
    if code:
        return f"the NVIDIA driver does not start, CUDA error {code}"
    if number >= count.value:
        return f"the NVIDIA driver finds {count.value}, number 0 the first, no {number}"
    try:
        import cupy
    except ImportError as error:
        return f"CuPy cannot be imported: {error}"
    try:
        cupy.cuda.runtime.getDeviceCount()
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:  # missing libraries come in many ways
        if "InsufficientDriver" in str(error):
            return "the NVIDIA driver is too old for this CuPy"
        return f"CuPy cannot use it: {error}"
    return None


class Gpu:
    """A GPU that works on regions of label maps in main memory.

    Each thread has a stream of its own, so one's copies overlap another's work.

    Parameters
    ----------
    number
        0, 1, ...

    Attributes
    ----------
    pool
        Threads to `run` in.
    at_work
        How many regions may be worked on, or wait to be taken.
    """

    def __init__(self, number: int) -> None:
        import cupy

        self.pool = ThreadPoolExecutor(_AT_WORK, "svls-gpu")
        self.at_work = _AT_WORK + 1
        self._own = threading.local()
        with _failures():
            self._device = cupy.cuda.Device(number)

    def run(
        self, function: Callable[..., Any], *arrays: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        """What a function makes on the GPU of arrays in main memory.

        Raises
        ------
        MemoryError
            If the GPU has no room for it; what it had is free again.
        DeviceError
            If the GPU fails otherwise.
        """
        try:
            return self._run(function, *arrays)
        except MemoryError as error:
            reason = str(error)
        # Only now does nobody hold what was made so far.
        self._release()
        raise MemoryError(reason)

    def works(self) -> bool:
        """Whether it does what it should, on one number."""
        try:
            (two,) = self.run(lambda one: one + one, np.ones(1, np.float32))
        except (DeviceError, MemoryError):
            return False
        return bool(two == 2)

    def _run(
        self, function: Callable[..., Any], *arrays: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        import cupy
        import cupyx

        with _failures(), self._device:
            if not hasattr(self._own, "stream"):
                self._own.stream = cupy.cuda.Stream(non_blocking=True)
            with self._own.stream:
                # By way of pinned memory, not waited for.
                result = function(*(cupy.array(a, order="C") for a in arrays))
                copy: npt.NDArray[Any] = cupyx.empty_pinned(result.shape, result.dtype)
                result.get(out=copy)
        return copy

    def _release(self) -> None:
        import cupy

        with self._device:
            cupy.get_default_memory_pool().free_all_blocks()
            cupy.get_default_pinned_memory_pool().free_all_blocks()


@contextmanager
def _failures() -> Generator[None]:
    """CUDA's errors as Python's and ours."""
    import cupy

    try:
        yield  # CuPy's own lack of memory is a MemoryError
    except (
        cupy.cuda.runtime.CUDARuntimeError,
        cupy.cuda.driver.CUDADriverError,
        cupy.cuda.nvrtc.NVRTCError,
        cupy.cuda.compiler.CompileException,
    ) as error:
        if any(name in str(error) for name in _OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error
        raise DeviceError(
            f"the GPU failed: {error}; --device cpu does without it"
        ) from error


@cache
def _report_missing(number: int) -> None:
    if problem := gpu_problem(number):
        # On stderr, also where nobody set up logging.
        logging.getLogger(__name__).warning(
            "svls-cli: no GPU (%s); the CPU does the work", problem
        )
