"""A stand-in for CuPy: NumPy's arrays as if they lay on a GPU.

Its arrays refuse to mix with NumPy's and to become one unasked, so a transfer that is
forgotten fails. It has as much memory as a test lends it.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


class CudaError(RuntimeError):
    """As CUDA's."""


class Memory:
    """What arrays take, and what there is."""

    def __init__(self) -> None:
        self.used = self.most = self.released = self.refused = 0
        self.room = 2**40

    def take(self, array: Array, nbytes: int) -> None:
        if self.used + nbytes > self.room:
            self.refused += 1
            raise OutOfMemoryError(f"no room for {nbytes} bytes")
        self.used += nbytes
        self.most = max(self.most, self.used)
        weakref.finalize(array, self.give_back, nbytes)

    def give_back(self, nbytes: int) -> None:
        self.used -= nbytes

    def free_all_blocks(self) -> None:
        self.released += 1


def _bare(value: Any) -> Any:
    """What NumPy gets of an argument."""
    if isinstance(value, Array):
        return value._values
    if isinstance(value, np.ndarray):
        raise TypeError("an array in main memory meets one on the GPU")
    if isinstance(value, list | tuple):
        return type(value)(map(_bare, value))
    return value


class Array:
    """An array on the GPU."""

    __array_ufunc__ = None  # NumPy's arrays leave operators to us

    def __init__(self, cupy: StandIn, values: Any) -> None:
        self._cupy, self._values = cupy, np.asarray(values)
        if self._values.base is None:
            cupy.memory.take(self, self._values.nbytes)

    def __array_namespace__(self, *, api_version: str | None = None) -> StandIn:
        return self._cupy

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise TypeError("implicit conversion to a NumPy array")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "ndim", "dtype", "size", "nbytes"):
            return getattr(self._values, name)
        raise AttributeError(name)

    @property
    def device(self) -> str:
        return "stand-in"

    def __bool__(self) -> bool:
        return bool(self._values)

    def __getitem__(self, key: Any) -> Array:
        return Array(self._cupy, self._values[_bare(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._values[_bare(key)] = _bare(value)

    def __iter__(self) -> Iterator[Array]:
        return (self[at] for at in range(len(self._values)))

    def tolist(self) -> Any:
        return self._values.tolist()

    def get(self, *, out: Any) -> None:
        assert isinstance(out, Pinned), "copies are fast only to pinned memory"
        out[...] = self._values


def _operator(name: str, *, reflected: bool = False) -> Callable[..., Any]:
    function = getattr(operator, f"__{name}__")

    def operate(self: Array, *others: Any) -> Array:
        values = [self._values, *map(_bare, others)]
        return Array(self._cupy, function(*(values[::-1] if reflected else values)))

    return operate


for _name in ("add", "sub", "mul", "truediv", "and", "or"):
    setattr(Array, f"__{_name}__", _operator(_name))
    setattr(Array, f"__r{_name}__", _operator(_name, reflected=True))
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "invert", "neg"):
    setattr(Array, f"__{_name}__", _operator(_name))


class Pinned(np.ndarray):
    """Pinned main memory."""


class Context:
    """A device or a stream."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class StandIn(ModuleType):
    """The module; what it has not itself is NumPy's, on its own arrays."""

    ndarray = Array

    def __init__(self) -> None:
        super().__init__("cupy")
        self.__spec__ = ModuleSpec("cupy", None)
        self.memory = Memory()
        self.regions: list[tuple[int, ...]] = []  # shapes of what was uploaded
        self.devices: list[int] = []
        self.broken: str | None = None  # why it fails
        self.cuda = SimpleNamespace(
            Device=self._device,
            Stream=Context,
            runtime=SimpleNamespace(
                CUDARuntimeError=CudaError, getDeviceCount=lambda: 1
            ),
            driver=SimpleNamespace(CUDADriverError=CudaError),
            nvrtc=SimpleNamespace(NVRTCError=CudaError, getVersion=lambda: (12, 0)),
            compiler=SimpleNamespace(CompileException=CudaError),
        )

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name)
        if not callable(function) or isinstance(function, type):
            return function

        def call(*arguments: Any, **options: Any) -> Any:
            options.pop("device", None)
            result = function(*map(_bare, arguments), **options)
            same = [a for a in arguments if isinstance(a, Array)]
            if same and result is same[0]._values:
                return same[0]
            if isinstance(result, np.ndarray | np.generic):
                return Array(self, result)
            return result

        return call

    def array(self, values: np.ndarray[Any, Any], *, order: Any = "K") -> Array:
        """An upload."""
        if self.broken:
            raise CudaError(self.broken)
        self.regions.append(values.shape)
        return Array(self, np.array(values, order=order))

    def asarray(self, values: Any, *, dtype: Any = None, device: Any = None) -> Array:
        if isinstance(values, Array):
            changed = np.asarray(values._values, dtype)
            return values if changed is values._values else Array(self, changed)
        return Array(self, np.array(values, dtype))

    def _device(self, number: int) -> Context:
        self.devices.append(number)
        return Context()

    def get_default_memory_pool(self) -> Memory:
        return self.memory

    def get_default_pinned_memory_pool(self) -> Memory:
        return self.memory


def extras() -> ModuleType:
    """The module ``cupyx``."""
    module = ModuleType("cupyx")
    module.empty_pinned = lambda shape, dtype: np.empty(shape, dtype).view(Pinned)  # type: ignore[attr-defined]
    return module
