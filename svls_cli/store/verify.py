"""Verification that a stored case holds what was written."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from svls_cli.arrays import Region
from svls_cli.labels.raters import HARD
from svls_cli.soften.levels import levels
from svls_cli.store.objects import file_sizes
from svls_cli.store.reader import StoredCase

# Allowed error of the sum over classes, as a probability.
_SUM_TOLERANCE = {"float32": 1e-5, "float16": 5e-3}


def verify_case(case: StoredCase) -> list[str]:
    """Read a whole case and list what is wrong with it.

    Checked: shape, type and files of the arrays; every checksum; that soft labels sum
    to exactly the largest integer (floats: 1), or to 0 where the voxel is ignored,
    which a missing chunk would not; that label maps hold classes; and that the hard
    label's class is nowhere less likely than another, for methods that promise it.

    Returns
    -------
    list of str
        Empty if nothing is wrong.
    """
    try:
        soft = case.soft
        maps = {name: case.label_map(name) for name in (HARD, *case.raters)}
        shape = case.geometry.shape
        classes = len(case.classes)
    except (ValueError, KeyError, TypeError) as error:
        return [str(error)]
    if soft.shape != (classes, *shape):
        return [f"soft labels are {soft.shape}, the geometry says {shape}"]
    for name, labels in maps.items():
        if labels.shape != shape:
            return [f"{name} labels are {labels.shape}, the geometry says {shape}"]
    if soft.dtype != case.attributes["dtype"]:
        return [f"soft labels are {soft.dtype}, not {case.attributes['dtype']}"]
    for array, expected in case.attributes["shards"].items():
        n_files = len(file_sizes(case.path / array / "c"))
        if n_files != expected:
            return [f"array {array} has {n_files} of {expected} files"]
    return [
        f"{problem} in voxels {_text(block)}"
        for block in _blocks(soft)
        for problem in _block_problems(case, soft, maps, block)
    ]


def keeps_argmax(attributes: Mapping[str, Any]) -> bool:
    """Whether a voxel's own class is never less likely than another.

    Examples
    --------
    >>> keeps_argmax({"method": {"name": "svls", "strength": 0.8}})
    False
    """
    method, fusion = attributes["method"], attributes.get("fusion")
    if method["name"] == "gaussian" or (fusion and fusion["name"] != "majority"):
        return False
    return bool(method.get("strength", 0) <= 0.5)


def _block_problems(
    case: StoredCase,
    soft: zarr.Array[Any],
    maps: Mapping[str, zarr.Array[Any]],
    block: Region,
) -> list[str]:
    # Codecs may raise anything for a damaged file, which must not end the
    # verification.
    try:
        values = np.asarray(soft[(slice(None), *block)])
    except Exception as error:
        return [f"soft labels cannot be decoded ({error})"]
    blocks = {}
    for name, array in maps.items():
        try:
            blocks[name] = np.asarray(array[block])
        except Exception as error:
            return [f"{name} labels cannot be decoded ({error})"]
    table, ignore_label = case.classes, case.attributes["ignore_label"]
    for name, labels in blocks.items():
        present = np.unique(labels).tolist()
        if unknown := table.unknown(present, ignore_label=ignore_label):
            return [f"{name} labels {unknown} are not classes"]
    return _check_values(case, values, blocks[HARD])


def _check_values(
    case: StoredCase, values: npt.NDArray[Any], labels: npt.NDArray[Any]
) -> list[str]:
    table, ignore_label = case.classes, case.attributes["ignore_label"]
    indices = table.indices(labels, ignore_label=ignore_label)
    ignored = indices == len(table)
    top = levels(values.dtype)
    wide = np.float64 if values.dtype.kind == "f" else np.int64
    tolerance = _SUM_TOLERANCE.get(values.dtype.name, 0)
    total = values.sum(axis=0, dtype=wide)
    wrong = np.abs(total - np.where(ignored, 0, top)) > tolerance
    if not np.isfinite(total).all() or wrong.any():
        return [f"soft labels of {int(wrong.sum())} voxels do not sum to {top}"]
    if not keeps_argmax(case.attributes):
        return []
    channel = np.where(ignored, 0, indices)[np.newaxis].astype(np.intp)
    own = np.take_along_axis(values, channel, axis=0)[0]
    less = ~ignored & (own < values.max(axis=0) - tolerance)
    if less.any():
        return [f"{int(less.sum())} voxels favour another class than their hard label"]
    return []


def _blocks(array: zarr.Array[Any]) -> list[Region]:
    """The array's chunks, as slices of its spatial axes."""
    starts = [
        range(0, n, c) for n, c in zip(array.shape[1:], array.chunks[1:], strict=True)
    ]
    return [
        tuple(
            slice(at, min(at + c, n))
            for at, c, n in zip(corner, array.chunks[1:], array.shape[1:], strict=True)
        )
        for corner in itertools.product(*starts)
    ]


def _text(block: Region) -> str:
    return ", ".join(f"{s.start}:{s.stop}" for s in block)
