"""Predictions that tests evaluate."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass
class Soft:
    """A prediction in memory."""

    soft: Array

    def patch(self, region: tuple[slice, ...], *, classes: slice) -> Array:
        return self.soft[(classes, *region)]
