"""Whole volumes in memory, block by block."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import UIntArray
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.classes import ClassTable, check_ignore_label
from svls_cli.labels.values import as_labels, listed
from svls_cli.soften.choices import MethodName
from svls_cli.soften.devices import block_softener, check_device
from svls_cli.soften.methods import Method, Softening
from svls_cli.soften.mixture import Mixture
from svls_cli.soften.smoothing import SoftBlock, soften_block

# Edge of the blocks that a volume is worked on in, by number of axes.
_BLOCK_EDGE = {3: 64, 2: 512}


def soften_part(
    volume: UIntArray,
    block: Sequence[slice],
    softening: Softening,
    *,
    n_classes: int,
    dtype: npt.DTypeLike,
    mixture: Mixture | None = None,
    device: str = "cpu",
) -> SoftBlock:
    """Soft labels of a block of a volume.

    Parameters
    ----------
    volume : (z, y, x) or (y, x)
        Class index of each voxel, ``n_classes`` where it is ignored; or codes of
        ``mixture``.
    block
        A slice per axis, within the volume.
    softening, n_classes, dtype, mixture
        As in `soften_block`.
    device
        As in `smooth`.
    """
    radius = softening.radius or (0,) * volume.ndim
    inside, missing = _with_halo(volume, block, radius)
    meaning: dict[str, Any] = {
        "n_classes": n_classes,
        "dtype": dtype,
        "mixture": mixture,
    }
    code = inside.min()
    if code == inside.max():  # one voxel stands for all
        window = np.full([2 * r + 1 for r in radius], code)
        one = soften_block(window, softening, **meaning)
        shape = (len(one.classes), *(s.stop - s.start for s in block))
        return SoftBlock(one.classes, np.broadcast_to(one.soft, shape), constant=True)
    if any(map(any, missing)):
        inside = np.pad(inside, missing, mode="edge")
    return block_softener(device)(inside, softening, **meaning)


def _with_halo(
    volume: UIntArray, block: Sequence[slice], radius: Sequence[int]
) -> tuple[UIntArray, list[tuple[int, int]]]:
    """A block and ``radius`` voxels around it, and how many the volume lacks there.

    Examples
    --------
    >>> _with_halo(np.arange(5), [slice(0, 2)], [2])
    (array([0, 1, 2, 3]), [(2, 0)])
    """
    wanted = [(s.start - r, s.stop + r) for s, r in zip(block, radius, strict=True)]
    inside = tuple(
        slice(max(0, start), min(n, stop))
        for (start, stop), n in zip(wanted, volume.shape, strict=True)
    )
    missing = [
        (part.start - start, stop - part.stop)
        for (start, stop), part in zip(wanted, inside, strict=True)
    ]
    return np.ascontiguousarray(volume[inside]), missing


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
    starts = (range(0, n, _BLOCK_EDGE[indices.ndim]) for n in indices.shape)
    for corner in itertools.product(*starts):
        voxels = [
            slice(at, min(at + _BLOCK_EDGE[indices.ndim], n))
            for at, n in zip(corner, indices.shape, strict=True)
        ]
        block = soften_part(
            indices,
            voxels,
            softening,
            n_classes=n_classes,
            dtype=dtype,
            device=device,
        )
        for index, values in zip(block.classes, block.soft, strict=True):
            soft[index, *voxels] = values
    return soft


def smooth(
    label_map: npt.ArrayLike,
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
    device: str = "auto",
) -> npt.NDArray[Any]:
    """Soft labels of a label map in memory, as `svls-cli smooth` makes them of files.

    Parameters
    ----------
    label_map : (z, y, x) or (y, x), integers >= 0
        The hard labels.
    method, sigma, sigma_mm, size, strength, alpha
        As in `Method`; by default SVLS as published.
    spacing_mm : one float per axis, array order
        Needed for ``sigma_mm``.
    classes
        Label values of the class axis, which is in their ascending order; by default
        those that occur.
    ignore_label
        Label value of voxels that get no soft label.
    dtype
        float32 or float16 for probabilities, uint8 or uint16 for levels (255 or 65535
        is certain).
    device
        ``auto`` works on a GPU where one can be used; ``gpu`` too, and logs a warning
        where none can; ``cpu`` never. The bytes are the same.

    Returns
    -------
    (c, z, y, x)
        Sums to 1 (integers: exactly to their largest value) over the classes, to 0
        where the voxel is ignored.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of range, or ``sigma_mm`` lacks ``spacing_mm``.
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
    """
    check_device(device)
    given = np.asarray(label_map)
    if given.ndim not in (2, 3) or not given.size:
        raise InputError(f"label_map must be 2-D or 3-D, found shape {given.shape}")
    labels, values = as_labels(given)
    if sigma_mm is not None and spacing_mm is None:
        raise InvalidParameterError("sigma_mm needs spacing_mm")
    spacing = (1.0,) * labels.ndim if spacing_mm is None else tuple(spacing_mm)
    if len(spacing) != labels.ndim or not all(0 < mm < np.inf for mm in spacing):
        raise InvalidParameterError(
            f"spacing_mm must be {labels.ndim} positive numbers, found {spacing_mm}"
        )
    wanted = classes if classes is not None else sorted({*values} - {ignore_label})
    table = ClassTable.from_values(wanted)
    check_ignore_label(ignore_label, table)
    if unknown := table.unknown(values, ignore_label=ignore_label):
        raise InputError(f"label values {listed(unknown)} are not among the classes")
    softening = Method(method, sigma, sigma_mm, size, strength, alpha).on_grid(spacing)
    indices = table.indices(labels, ignore_label=ignore_label)
    return soften_volume(
        indices, softening, n_classes=len(table), dtype=dtype, device=device
    )
