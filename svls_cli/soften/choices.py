"""Names of the methods and types of soft labels."""

from __future__ import annotations

from typing import Literal, get_args

MethodName = Literal["svls", "bilateral", "ls", "gaussian", "onehot", "contours"]
METHODS: tuple[str, ...] = get_args(MethodName)
# How soft labels are stored.
DTYPES = ("uint8", "uint16", "float16", "float32")
