"""Where blocks are softened: on the CPU or a GPU, to the same bytes."""

from __future__ import annotations

import logging
import sys
from ctypes import CDLL, byref, c_int
from functools import cache
from importlib.util import find_spec
from typing import Protocol

import numpy.typing as npt

from svls_cli.arrays import UIntArray
from svls_cli.errors import InvalidParameterError
from svls_cli.soften.methods import Softening
from svls_cli.soften.mixture import Mixture
from svls_cli.soften.smoothing import SoftBlock, soften_block

DEVICES = ("auto", "cpu", "gpu")

_CUDA_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


class SoftenBlock(Protocol):
    """`soften_block` of a NumPy array, wherever it is done."""

    def __call__(
        self,
        region: UIntArray,
        softening: Softening,
        *,
        n_classes: int,
        dtype: npt.DTypeLike,
        mixture: Mixture | None = None,
    ) -> SoftBlock: ...


def check_device(device: str) -> None:
    """Refuse unknown names; say, once, if a GPU is asked for and there is none.

    Raises
    ------
    InvalidParameterError
        If ``device`` is none of `DEVICES`.
    """
    if device not in DEVICES:
        raise InvalidParameterError(
            f"device must be one of {', '.join(DEVICES)}, found {device!r}"
        )
    if device == "gpu":
        _report_missing()


@cache
def block_softener(device: str) -> SoftenBlock:
    """`soften_block` for ``auto`` (a GPU if one works here), ``cpu`` or ``gpu``.

    A GPU that is not there is replaced by the CPU; `check_device` has said so.
    """
    if device == "cpu" or gpu_problem() is not None:
        return soften_block
    from svls_cli.soften import gpu

    return soften_block if device == "auto" and not gpu.works() else gpu.soften_on_gpu


@cache
def gpu_problem() -> str | None:
    """Why no GPU can be used here; None if there is one.

    What costs most is asked last: without CuPy, or a GPU, nothing is imported.
    """
    if find_spec("cupy") is None:
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
    try:
        from svls_cli.soften import gpu
    except ImportError as error:
        return f"CuPy cannot be imported: {error}"
    return gpu.problem()


@cache
def _report_missing() -> None:
    if problem := gpu_problem():
        # On stderr, also where nobody set up logging.
        logging.getLogger(__name__).warning(
            "svls-cli: no GPU (%s); the CPU does the work", problem
        )
