"""Verification that a stored case holds what was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import Region
from svls_cli.errors import StoreError
from svls_cli.labels.raters import HARD
from svls_cli.soften.levels import levels
from svls_cli.store.layout import Layout
from svls_cli.store.metadata import ArrayLayout
from svls_cli.store.reader import StoredCase
from svls_cli.store.schema import SOFT, keeps_argmax, label_array

# Allowed error of the sum over classes, as a probability.
_SUM_TOLERANCE = {"float32": 1e-5, "float16": 5e-3}


def verify_case(case: StoredCase) -> list[str]:
    """Read a whole case and list what is wrong with it.

    Checked: the checksum of every file, and that there is no other; shape, type and
    size of the arrays; that everything can be decoded; that soft labels sum to exactly
    the largest integer (floats: 1), or to 0 where the voxel is ignored; that label maps
    hold classes; and that the hard label's class is nowhere less likely than another,
    for methods that promise it.

    Returns
    -------
    list of str
        Empty if nothing is wrong.
    """
    try:
        if problems := case.arrays.files.problems():
            return problems
        soft = case.arrays.layout(SOFT)
        names = (HARD, *case.raters)
        layouts = [case.arrays.layout(label_array(name)) for name in names]
        if any(each.shard != soft.shard[1:] for each in layouts):
            return ["soft labels and label maps are in different shards"]
        return [
            f"{problem} in voxels {_text(block)}"
            for block in stored_blocks(case, soft)
            for problem in _block_problems(case, block)
        ]
    except StoreError as error:
        return [str(error)]


def remarks_on(case: StoredCase) -> list[str]:
    """What is worth knowing of a case, but not wrong with it."""
    return case.arrays.files.remarks()


def _block_problems(case: StoredCase, block: Region) -> list[str]:
    try:
        values = case.patch(block)
        maps = {name: case.label_patch(name, block) for name in (HARD, *case.raters)}
    except StoreError as error:
        return [f"{error}"]
    table, ignore_label = case.classes, case.attributes["ignore_label"]
    for name, labels in maps.items():
        present = np.unique(labels).tolist()
        if unknown := table.unknown(present, ignore_label=ignore_label):
            return [f"{name} labels {unknown} are not classes"]
    return _check_values(case, values, maps[HARD])


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


def stored_blocks(case: StoredCase, soft: ArrayLayout) -> Iterator[Region]:
    """The chunks of stored shards, as slices of spatial axes: all else is 0."""
    layout = Layout(
        case.geometry.shape,
        soft.shape[0],
        chunk=soft.chunk[1:],
        shard=soft.shard[1:],
        chunk_classes=soft.chunk[0],
        shard_classes=soft.shard[0],
    )
    for shard in sorted(case.arrays.stored_shards((HARD, *case.raters))):
        for _, voxels in layout.blocks(shard):
            yield tuple(voxels)


def _text(block: Region) -> str:
    return ", ".join(f"{s.start}:{s.stop}" for s in block)
