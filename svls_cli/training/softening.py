"""Labels softened in the training loop, after they were augmented."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy.typing as npt
import torch
from torch import Tensor

from svls_cli.errors import InputError
from svls_cli.labels.classes import ClassTable, check_ignore_label
from svls_cli.soften.methods import Method
from svls_cli.soften.volume import soften_maps, softening_on


# It runs as it is between the compiled parts of a step.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def soften_labels(
    labels: Tensor,
    *,
    classes: Iterable[int],
    method: Method | None = None,
    images: Tensor | None = None,
    spacing_mm: float | Sequence[float] | None = None,
    ignore_label: int | None = None,
    dtype: npt.DTypeLike = "float32",
) -> Tensor:
    """Soft labels of a batch of label maps, on the device where it is.

    Each is what `svls_cli.smooth_cases` would store of it, to the last bit (of
    ``bilateral``, on a GPU, to a level). The edge voxels of a patch stand for what is
    beyond: where that matters, soften before the last crop.

    Parameters
    ----------
    labels : (b, 1, z, y, x) or (b, 1, y, x)
        Label values, of any type that holds them.
    classes
        Label values of the class axis, which is in their ascending order.
    method
        Default: SVLS as published.
    images : as ``labels``
        The images that were labelled, one channel, for ``bilateral``. Each is taken in
        its own standard deviations: a patch's are not those of its case.
    spacing_mm : one float, or one per spatial axis in the order of the tensor's axes
        Voxel size of the labels; needed for a method with ``sigma_mm``.
    ignore_label
        Label value of voxels that get no soft label.
    dtype
        ``float32`` or ``float16`` for probabilities, as losses take them; ``uint8`` or
        ``uint16`` for levels as a store keeps them (255 or 65535 is certain).

    Returns
    -------
    (b, c, z, y, x) or (b, c, y, x)
        Sums to 1 over the classes, to 0 where the voxel is ignored. No graph is kept.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of range, or ``spacing_mm`` or ``images`` are missing.
    InputError
        If ``labels`` is no tensor, is empty or has another shape, or holds values that
        are not in ``classes``; to know the latter, a GPU is waited for. If ``classes``
        are no label values, or ``images`` have another shape or a NaN or infinity.

    References
    ----------
    .. [1] Islam & Glocker, "Spatially Varying Label Smoothing", IPMI 2021,
       arXiv:2104.05788.

    Examples
    --------
    >>> labels = torch.tensor([[[[0, 0, 5, 5]]]])
    >>> soften_labels(labels, classes=[0, 5])[0, 1]
    tensor([[0.0000, 0.1722, 0.8278, 1.0000]])
    """
    if not isinstance(labels, Tensor) or labels.is_meta:
        kind = type(labels).__name__ if not isinstance(labels, Tensor) else "no values"
        raise InputError(f"labels must be a tensor of PyTorch, found {kind}")
    if labels.ndim not in (4, 5) or labels.shape[1] != 1 or 0 in labels.shape:
        raise InputError(
            "labels must be a batch with one channel, (b, 1, z, y, x) or (b, 1, y, x), "
            f"that is not empty, found shape {tuple(labels.shape)}"
        )
    table = ClassTable.from_values(classes)
    check_ignore_label(ignore_label, table)
    # Apple's GPUs lack the double precision that ignored voxels take.
    place = "cpu" if labels.device.type == "mps" else labels.device

    def plain(batch: Tensor) -> Tensor:  # MONAI's look after their affine at every step
        return batch.detach().as_subclass(Tensor)[:, 0].to(place)

    soft: Tensor = soften_maps(
        plain(labels),
        softening_on(method or Method(), spacing_mm, axes=labels.ndim - 2),
        classes=table,
        ignore_label=ignore_label,
        dtype=dtype,
        images=None if images is None else plain(images),
        threads=torch.get_num_threads(),
    )
    return soft.to(labels.device)
