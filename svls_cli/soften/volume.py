"""Whole volumes in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import Float32Array, Region, UIntArray
from svls_cli.errors import InputError, InvalidParameterError, check_type
from svls_cli.labels.classes import ClassTable, check_ignore_label
from svls_cli.labels.values import as_labels, listed
from svls_cli.soften.bilateral import standardised_batch
from svls_cli.soften.choices import MethodName
from svls_cli.soften.devices import check_device
from svls_cli.soften.levels import checked_dtype
from svls_cli.soften.libraries import as_numpy, foreign, namespace
from svls_cli.soften.methods import Method, Size, Softening
from svls_cli.soften.regions import SoftenLater, soften_blocks
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
    guide: Float32Array | None = None,
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
    guide
        As in `soften_part`.
    device
        As in `smooth`.

    Returns
    -------
    (n_classes, z, y, x)
        As levels: 0..255 for uint8, 0..65535 for uint16, 0..1 for floats.
    """
    # Zeroed memory that is never written is never fetched: absent classes are free.
    soft = np.zeros((n_classes, *indices.shape), dtype)
    meaning: dict[str, Any] = {"n_classes": n_classes, "dtype": dtype, "guide": guide}
    for fill in _filling(soft, indices, softening, device=device, **meaning):
        fill()
    return soft


def soften_maps(
    label_maps: Any,
    softening: Softening,
    *,
    classes: ClassTable,
    ignore_label: int | None,
    dtype: npt.DTypeLike,
    images: Any = None,
    device: str = "cpu",
    threads: int = 1,
) -> Any:
    """Soft labels of a batch of label maps, in its library and where it lies.

    Parameters
    ----------
    label_maps : (b, z, y, x) or (b, y, x)
        Label values: a NumPy array, or one of another library.
    softening
        The method on their grid.
    classes, ignore_label, dtype, device
        As in `smooth`.
    images
        Images of the same shape and library, for a method that takes them.
    threads
        Number of threads, where the CPU does it.

    Returns
    -------
    (b, c, z, y, x) or (b, c, y, x)

    Raises
    ------
    InputError
        If a value is no label, or neither a class nor ignored; or if ``images`` have
        another shape or a NaN or infinity.
    InvalidParameterError
        If the method takes images and there are none, or there are and it does not.
    """
    guides = standardised_batch(softening, label_maps, images)
    meaning: dict[str, Any] = {"n_classes": len(classes), "dtype": checked_dtype(dtype)}
    volumes = as_numpy(label_maps)
    if foreign(volumes):
        return soften_tensor(
            class_indices(label_maps, classes, ignore_label=ignore_label),
            softening,
            **meaning,
            guides=guides,
            ignores=ignore_label is not None,
        )
    soft = np.zeros((len(volumes), len(classes), *volumes.shape[1:]), meaning["dtype"])

    def filling() -> Iterator[Callable[[], None]]:
        for at, (volume, whole) in enumerate(zip(volumes, soft, strict=True)):
            labels, values = as_labels(volume)
            if unknown := classes.unknown(values, ignore_label=ignore_label):
                raise InputError(
                    f"label values {listed(unknown)} are not among the classes"
                )
            indices = classes.indices(labels, ignore_label=ignore_label)
            guide = None if guides is None else as_numpy(guides[at])
            given = {**meaning, "guide": guide, "device": device}
            yield from _filling(whole, indices, softening, **given)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda fill: fill(), filling()))
    return namespace(label_maps).from_dlpack(soft) if foreign(label_maps) else soft


def _filling(
    soft: npt.NDArray[Any],
    indices: UIntArray,
    softening: Softening,
    *,
    device: str,
    **meaning: Any,
) -> Iterator[Callable[[], None]]:
    """Functions that write the blocks of a volume into ``soft``."""
    blocks = list(cut_into_blocks(indices.shape))
    made = soften_blocks(indices, [blocks], softening, device=device, **meaning)
    for voxels, soften in zip(blocks, made, strict=True):
        yield partial(_fill, soft, voxels, soften)


def _fill(soft: npt.NDArray[Any], voxels: Region, soften: SoftenLater) -> None:
    block = soften()
    for index, values in zip(block.classes, block.soft, strict=True):
        soft[index, *voxels] = values


def softening_on(
    method: Method, spacing_mm: float | Sequence[float] | None, *, axes: int
) -> Softening:
    """The method on the grid of an array, whose spacing may not be known.

    Raises
    ------
    InvalidParameterError
        If ``spacing_mm`` is not one positive number, or one per axis, or missing where
        the method has its sigma in mm; or if the method is ``contours``.
    """
    check_type("method", method, Method, "a Method, such as Method(sigma=1)")
    if method.needs_contours:
        raise InvalidParameterError("method contours is for RTSTRUCT, not label maps")
    if method.sigma_mm is not None and spacing_mm is None:
        raise InvalidParameterError("sigma_mm needs spacing_mm")
    given = 1.0 if spacing_mm is None else spacing_mm
    spacing = tuple(given) if isinstance(given, Iterable) else (given,) * axes
    if len(spacing) != axes or not all(0 < mm < np.inf for mm in spacing):
        raise InvalidParameterError(
            f"spacing_mm must be {axes} positive numbers, found {spacing_mm}"
        )
    return method.on_grid(spacing)


def smooth(
    label_map: Any,
    *,
    method: MethodName = "svls",
    sigma: float | tuple[float, ...] | None = None,
    sigma_mm: float | tuple[float, ...] | None = None,
    spacing_mm: float | Sequence[float] | None = None,
    size: Size | tuple[Size, ...] | None = None,
    strength: float | None = None,
    intensity_scale: float | None = None,
    alpha: float | None = None,
    image: Any = None,
    classes: Sequence[int] | None = None,
    ignore_label: int | None = None,
    dtype: npt.DTypeLike = np.float32,
    device: str = "auto",
) -> Any:
    """Soft labels of a label map in memory, as `svls-cli smooth` makes them of files.

    The array decides where it is computed: PyTorch in, PyTorch out, on its device, and
    likewise CuPy; anything else becomes a NumPy array. The bytes are the same; those of
    ``bilateral`` may differ by a level. No gradients are kept.

    Parameters
    ----------
    label_map : (z, y, x) or (y, x), whole numbers >= 0
        The hard labels.
    method, sigma, sigma_mm, size, strength, intensity_scale, alpha
        As in `Method`; by default SVLS as published.
    image : as ``label_map``
        The image of one channel that was labelled, for ``bilateral``.
    spacing_mm : one float, or one per spatial axis in array order
        Needed for ``sigma_mm``.
    classes
        Label values of the class axis, which is in their ascending order; by default
        those that occur.
    ignore_label
        Label value of voxels that get no soft label.
    dtype
        float32 or float16 for probabilities, uint8 or uint16 for levels (255 or 65535
        is certain); named as in NumPy for tensors, too.
    device
        For NumPy arrays. ``auto`` works on a GPU where one can be used; ``gpu`` (or
        ``cuda``, ``cuda:1``) too, and logs a warning where none can; ``cpu`` never.

    Returns
    -------
    (c, z, y, x) or (c, y, x)
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
    axes = labels.ndim
    if axes not in (2, 3) or 0 in labels.shape:
        raise InputError(
            f"label_map must be 2-D or 3-D, found shape {tuple(labels.shape)}"
        )
    softening = softening_on(
        Method(method, sigma, sigma_mm, size, strength, intensity_scale, alpha),
        spacing_mm,
        axes=axes,
    )
    wanted = label_values(labels) if classes is None else classes
    if classes is None:
        wanted = [value for value in wanted if value != ignore_label]
    table = ClassTable.from_values(wanted)
    check_ignore_label(ignore_label, table)
    images = None
    if image is not None:
        images = (image if tensor else np.asarray(image))[None]
    return soften_maps(
        labels[None],
        softening,
        classes=table,
        ignore_label=ignore_label,
        dtype=dtype,
        images=images,
        device="cpu" if tensor else device,
    )[0]
