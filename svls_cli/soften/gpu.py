"""NVIDIA GPUs as devices of the engine; the only CuPy user."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import cupy
import cupyx
import numpy as np
import numpy.typing as npt
from cupy.cuda import nvrtc

from svls_cli.arrays import UIntArray
from svls_cli.errors import DeviceError
from svls_cli.soften.cuda import Kernel
from svls_cli.soften.cuda_block import DeviceBlock, soften_by_way_of
from svls_cli.soften.methods import Method, Softening
from svls_cli.soften.mixture import Mixture
from svls_cli.soften.smoothing import SoftBlock, soften_block

_THREADS = 256
_CUDA_ERRORS = (
    cupy.cuda.runtime.CUDARuntimeError,
    cupy.cuda.driver.CUDADriverError,
    nvrtc.NVRTCError,
)
_OUT_OF_MEMORY = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY")
# CuPy's own compilation flushes tiny numbers to zero, which the CPU does not.
_OPTIONS = ("-std=c++17", "--fmad=false", "--ftz=false")
_own = threading.local()


def soften_on_device(
    region: cupy.ndarray,
    softening: Softening,
    *,
    n_classes: int,
    dtype: npt.DTypeLike,
    mixture: Mixture | None = None,
) -> SoftBlock:
    """`soften_block` of a CuPy array: the same bytes, left on its GPU."""
    region = cupy.ascontiguousarray(region)
    block = DeviceBlock(
        Gpu(), region, softening, n_classes=n_classes, dtype=dtype, mixture=mixture
    )
    return SoftBlock(block.classes, block.soften(0, block.shape[0]))


def soften_on_gpu(
    region: UIntArray,
    softening: Softening,
    *,
    n_classes: int,
    dtype: npt.DTypeLike,
    mixture: Mixture | None = None,
) -> SoftBlock:
    """`soften_block` of a NumPy array, worked on by the GPU: the same bytes.

    Each thread has a stream of its own, so one's copies overlap another's kernels.

    Raises
    ------
    InvalidParameterError
        As `soften_block`.
    DeviceError
        If the GPU fails otherwise than by lack of memory.
    """
    meaning: dict[str, Any] = {
        "n_classes": n_classes,
        "dtype": dtype,
        "mixture": mixture,
    }
    try:
        with _failures():
            if not hasattr(_own, "gpu"):
                _own.stream = cupy.cuda.Stream(non_blocking=True)
                _own.gpu = Gpu()
    except MemoryError:  # others have taken all of it
        return soften_block(region, softening, **meaning)
    with _own.stream:
        return soften_by_way_of(_own.gpu, region, softening, **meaning)


def problem() -> str | None:
    """Why CuPy cannot be used, as far as can be told without working on the GPU."""
    try:
        cupy.cuda.runtime.getDeviceCount()
        nvrtc.getVersion()
    except Exception as error:  # missing libraries come in many ways
        if "InsufficientDriver" in str(error):
            return "the NVIDIA driver is too old for this CuPy"
        return f"CuPy cannot use it: {error}"
    return None


def works() -> bool:
    """Whether the GPU does what it should, on a few voxels."""
    softening = Method().on_grid((1.0, 1.0))
    try:
        soften_on_gpu(np.eye(3, dtype=np.uint8), softening, n_classes=2, dtype="uint8")
    except DeviceError:
        return False
    return True


class Gpu:
    """The current GPU, with its work on the current stream; a `Device`."""

    def __init__(self) -> None:
        with _failures():
            device = cupy.cuda.Device()
            self.shared_bytes: int = device.attributes["MaxSharedMemoryPerBlockOptin"]
            self._capability = int(device.compute_capability)

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> cupy.ndarray:
        with _failures():
            return cupy.empty(shape, dtype)

    def upload(self, array: npt.NDArray[Any]) -> cupy.ndarray:
        with _failures():
            return cupy.array(
                array, order="C"
            )  # by way of pinned memory, not waited for

    def download(self, array: cupy.ndarray) -> npt.NDArray[Any]:
        with _failures():
            copy: npt.NDArray[Any] = cupyx.empty_pinned(array.shape, array.dtype)
            array.get(out=copy)
            return copy

    def launch(
        self,
        kernel: Kernel,
        blocks: int,
        arguments: Sequence[Any],
        *,
        shared_bytes: int = 0,
    ) -> None:
        with _failures():
            function = _function(kernel, self._capability, self.shared_bytes)
            function((blocks,), (_THREADS,), tuple(arguments), shared_mem=shared_bytes)

    def release(self) -> None:
        cupy.get_default_memory_pool().free_all_blocks()
        cupy.get_default_pinned_memory_pool().free_all_blocks()


@cache
def _function(kernel: Kernel, capability: int, shared_bytes: int) -> Any:
    """A kernel, compiled and loaded."""
    name, binary = compiled(kernel, capability)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "svls.bin"
        path.write_bytes(binary)
        function = cupy.RawModule(path=str(path)).get_function(name)
        function.max_dynamic_shared_size_bytes = shared_bytes  # loads it, too
    return function


def compiled(kernel: Kernel, capability: int) -> tuple[str, bytes]:
    """Mangled name and machine code, or PTX for GPUs that the compiler knows not yet.

    Parameters
    ----------
    kernel
        What to compile.
    capability
        Of the GPU: 90 for 9.0.

    Raises
    ------
    DeviceError
        If the GPU is older than all that the compiler knows.
    """
    supported = [n for n in nvrtc.getSupportedArchs() if n <= capability]
    if not supported:
        raise DeviceError(f"compute capability {capability / 10} is too old")
    known = max(supported)
    kind = "sm" if known == capability else "compute"
    options = (*_OPTIONS, f"--gpu-architecture={kind}_{known}", *kernel.constants)
    source = (files("svls_cli.soften") / "svls.cu").read_text()
    program = nvrtc.createProgram(source, "svls.cu", (), ())
    try:
        nvrtc.addNameExpression(program, kernel.name)
        nvrtc.compileProgram(program, options)
        get = nvrtc.getCUBIN if kind == "sm" else nvrtc.getPTX
        return nvrtc.getLoweredName(program, kernel.name), get(program)
    finally:
        nvrtc.destroyProgram(program)


@contextmanager
def _failures() -> Generator[None]:
    """CUDA's errors as Python's and ours."""
    try:
        yield
    except _CUDA_ERRORS as error:
        if any(name in str(error) for name in _OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error
        raise DeviceError(
            f"the GPU failed: {error}; --device cpu does without it"
        ) from error
