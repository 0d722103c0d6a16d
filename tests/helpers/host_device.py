"""A CUDA device made of the host: `svls.cu` compiled as C++, arrays in main memory."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.soften.cuda import Kernel

COMPILER = shutil.which("g++") or shutil.which("clang++")
SOURCE = Path(str(files("svls_cli.soften") / "svls.cu"))
SHIM = Path(__file__).with_name("cuda_host.h")
SHARED = ctypes.c_uint8 * 2**18  # as in the shim


class HostDevice:
    """Runs kernels on the CPU.

    Parameters
    ----------
    folder
        Where compiled kernels are kept.
    shared_bytes
        As in `Device`.
    room_bytes
        Largest array that the device has memory for.
    options
        Of the compiler, besides.
    """

    def __init__(
        self,
        folder: Path,
        *,
        shared_bytes: int = 2**16,
        room_bytes: int = 2**40,
        options: Sequence[str] = (),
    ) -> None:
        self.shared_bytes, self.room_bytes = shared_bytes, room_bytes
        self.launched: list[Kernel] = []
        self.released = 0
        self._folder, self._options = folder, options
        self._compiled: dict[Kernel, ctypes.CDLL] = {}

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        array = np.empty(shape, dtype)
        if array.nbytes > self.room_bytes:
            raise MemoryError("no room on the device")
        array.view(np.uint8)[...] = 0xA5  # what nobody writes is noticed
        return array

    def upload(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        copy = self.empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def download(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array.copy()

    def launch(
        self,
        kernel: Kernel,
        blocks: int,
        arguments: Sequence[Any],
        *,
        shared_bytes: int = 0,
    ) -> None:
        assert shared_bytes <= self.shared_bytes
        self.launched.append(kernel)
        held = [_argument(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(held))(*(a.ctypes.data for a in held))
        library = self._library(kernel)
        beyond = np.ctypeslib.as_array(SHARED.in_dll(library, "shared"))[shared_bytes:]
        beyond[...] = 0xA5
        library.run(ctypes.c_int(blocks), pointers)
        assert (beyond == 0xA5).all(), "wrote beyond the shared memory asked for"

    def launches(self, name: str) -> int:
        """How often a kernel was launched."""
        return sum(kernel.name.startswith(f"{name}<") for kernel in self.launched)

    def release(self) -> None:
        self.released += 1

    def _library(self, kernel: Kernel) -> ctypes.CDLL:
        if kernel not in self._compiled:
            stem = self._folder / f"{len(list(self._folder.iterdir()))}"
            unit = stem.with_suffix(".cpp")
            unit.write_text(
                f'#include "{SHIM}"\n#include "{SOURCE}"\n'
                'extern "C" void run(int blocks, void** arguments) {\n'
                f"    launch(&{kernel.name}, blocks, arguments);\n}}\n"
            )
            library = stem.with_suffix(".so")
            command = [COMPILER, "-std=c++20", "-O1", "-ffp-contract=off", "-shared"]
            command += ["-fPIC", *kernel.constants, *self._options, unit, "-o", library]
            subprocess.run(list(map(str, command)), check=True)
            self._compiled[kernel] = ctypes.CDLL(str(library))
        return self._compiled[kernel]


def _argument(argument: Any) -> npt.NDArray[Any]:
    """What holds its value: an array's address, or a scalar."""
    if isinstance(argument, np.ndarray):
        assert argument.flags.c_contiguous
        return np.array([argument.ctypes.data], np.uint64)
    return np.array([argument])
