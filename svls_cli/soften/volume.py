"""Whole volumes in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import UIntArray
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.classes import ClassTable, check_ignore_label
from svls_cli.labels.values import as_labels, listed
from svls_cli.soften.choices import MethodName
from svls_cli.soften.devices import check_device
from svls_cli.soften.libraries import foreign
from svls_cli.soften.methods import Method, Softening
from svls_cli.soften.regions import soften_blocks
from svls_cli.soften.tensors import (
    class_indices,
    cut_into_blocks,
    label_values,
    soften_tensor,
)


def soften_volume(
    indices: UIntArray,
    softening: Softening,
    *,
    n_classes: int,
    dtype: npt.DTypeLike = np.float32,
    device: str = "cpu",
) -> npt.NDArray[Any]:
    """Soft labels of a whole volume, block by block.

    Parameters
    ----------
    indices : (z, y, x) or (y, x)
        Class index of each voxel, ``n_classes`` where it is ignored.
    softening
        The method on this grid.
    n_classes
        Classes of the data set.
    dtype
        uint8, uint16, float16 or float32.
    device
        As in `smooth`.

    Returns
    -------
    (n_classes, z, y, x)
        As levels: 0..255 for uint8, 0..65535 for uint16, 0..1 for floats.
    """
    # Zeroed memory that is never written is never fetched: absent classes are free.
    soft = np.zeros((n_classes, *indices.shape), dtype)
    blocks = list(cut_into_blocks(indices.shape))
    made = soften_blocks(
        indices, [blocks], softening, n_classes=n_classes, dtype=dtype, device=device
    )
    for voxels, soften in zip(blocks, made, strict=True):
        block = soften()
        for index, values in zip(block.classes, block.soft, strict=True):
            soft[index, *voxels] = values
    return soft


def smooth(
    label_map: Any,
    *,
    method: MethodName = "svls",
    sigma: float | tuple[float, ...] | None = None,
    sigma_mm: float | tuple[float, ...] | None = None,
    spacing_mm: Sequence[float] | None = None,
    size: int | tuple[int, ...] | Literal["auto"] | None = None,
    strength: float | None = None,
    alpha: float | None = None,
    classes: Sequence[int] | None = None,
    ignore_label: int | None = None,
    dtype: npt.DTypeLike = np.float32,
    batched: bool = False,
    device: str = "auto",
) -> Any:
    """Soft labels of a label map in memory, as `svls-cli smooth` makes them of files.

    The array decides where it is computed: PyTorch in, PyTorch out, on its device, and
    likewise CuPy; anything else becomes a NumPy array. The bytes are the same. No
    gradients are kept.

    Parameters
    ----------
    label_map : (z, y, x) or (y, x), whole numbers >= 0
        The hard labels; with ``batched`` several of them, (b, z, y, x) or (b, y, x).
    method, sigma, sigma_mm, size, strength, alpha
        As in `Method`; by default SVLS as published.
    spacing_mm : one float per spatial axis, array order
        Needed for ``sigma_mm``.
    classes
        Label values of the class axis, which is in their ascending order; by default
        those that occur. In a training loop give them: then a tensor is looked at once
        only, to see whether it holds other values.
    ignore_label
        Label value of voxels that get no soft label.
    dtype
        float32 or float16 for probabilities, uint8 or uint16 for levels (255 or 65535
        is certain); named as in NumPy for tensors, too.
    batched
        The first axis counts label maps; each is softened by itself.
    device
        For NumPy arrays. ``auto`` works on a GPU where one can be used; ``gpu`` (or
        ``cuda``, ``cuda:1``) too, and logs a warning where none can; ``cpu`` never.

    Returns
    -------
    (c, z, y, x), with ``batched`` (b, c, z, y, x); or without z
        Sums to 1 (integers: exactly to their largest value) over the classes, to 0
        where the voxel is ignored.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of range, ``sigma_mm`` lacks ``spacing_mm``, or voxels of
        ``label_map`` are masked.
    InputError
        If ``label_map`` is no label map or holds values that are not in ``classes``.

    References
    ----------
    .. [1] Islam & Glocker, "Spatially Varying Label Smoothing", IPMI 2021,
       arXiv:2104.05788.

    Examples
    --------
    >>> smooth(np.array([[0, 0, 5, 5]])).round(3)
    array([[[1.   , 0.828, 0.172, 0.   ]],
    <BLANKLINE>
           [[0.   , 0.172, 0.828, 1.   ]]], dtype=float32)

    A batch of slices, each (1, 4):

    >>> slices = np.array([[[0, 0, 5, 5]], [[0, 0, 0, 0]]])
    >>> smooth(slices, classes=[0, 5], batched=True).shape
    (2, 2, 1, 4)
    """
    check_device(device)
    tensor = foreign(label_map)
    if tensor and device != "auto":
        raise InvalidParameterError(
            f"device {device!r}: a tensor is softened where it is; device is for NumPy"
        )
    if np.ma.is_masked(label_map):
        raise InvalidParameterError(
            "label_map is masked: fill it with a value that no class has, and "
            "give that value as ignore_label (label_map.filled(255), ignore_label=255)"
        )
    labels = label_map if tensor else np.asarray(label_map)
    axes = labels.ndim - batched
    if axes not in (2, 3) or 0 in labels.shape:
        raise InputError(
            f"label_map must be 2-D or 3-D{' in a batch' * batched}, found shape "
            f"{tuple(labels.shape)}"
        )
    values: list[int] = []
    if not tensor:
        labels, values = as_labels(labels)
    elif classes is None:
        values = label_values(labels)
    if sigma_mm is not None and spacing_mm is None:
        raise InvalidParameterError("sigma_mm needs spacing_mm")
    spacing = (1.0,) * axes if spacing_mm is None else tuple(spacing_mm)
    if len(spacing) != axes or not all(0 < mm < np.inf for mm in spacing):
        raise InvalidParameterError(
            f"spacing_mm must be {axes} positive numbers, found {spacing_mm}"
        )
    wanted = classes if classes is not None else sorted({*values} - {ignore_label})
    table = ClassTable.from_values(wanted)
    check_ignore_label(ignore_label, table)
    softening = Method(method, sigma, sigma_mm, size, strength, alpha).on_grid(spacing)
    if tensor:
        return soften_tensor(
            class_indices(labels, table, ignore_label=ignore_label),
            softening,
            n_classes=len(table),
            dtype=dtype,
            ignores=ignore_label is not None,
            batched=batched,
        )
    if unknown := table.unknown(values, ignore_label=ignore_label):
        raise InputError(f"label values {listed(unknown)} are not among the classes")
    indices = table.indices(labels, ignore_label=ignore_label)
    soft = [
        soften_volume(
            volume, softening, n_classes=len(table), dtype=dtype, device=device
        )
        for volume in (indices if batched else indices[np.newaxis])
    ]
    return np.stack(soft) if batched else soft[0]
