"""Transforms for MONAI."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy.typing as npt
from monai.config import KeysCollection
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor

from svls_cli.errors import check_type
from svls_cli.labels.classes import ClassTable, check_ignore_label
from svls_cli.soften.levels import checked_dtype
from svls_cli.soften.methods import Method
from svls_cli.training.softening import soften_labels


class SoftenLabelsd(MapTransform):  # type: ignore[misc]  # MONAI has no types
    """Soften label maps, after the transforms that move them.

    `soften_labels` for the samples of MONAI's dictionary transforms. It works where the
    label is, a GPU or the CPU, and keeps a MetaTensor's affine.

    Parameters
    ----------
    keys
        Keys of the labels: (1, z, y, x) or (1, y, x), which become (c, z, y, x) or
        (c, y, x).
    classes, method, ignore_label, dtype
        As in `soften_labels`.
    image_key
        Key of the image that was labelled, for ``bilateral``.
    spacing_mm
        As in `soften_labels`; default: that of each MetaTensor's affine. Other arrays
        have none.
    allow_missing_keys
        Leave samples as they are that lack a key.

    Raises
    ------
    InvalidParameterError, InputError
        As `soften_labels`.

    Examples
    --------
    >>> import torch
    >>> soften = SoftenLabelsd("label", classes=[0, 1], method=Method(sigma=2))
    >>> soften({"label": torch.tensor([[[0, 0, 1, 1]]])})["label"].shape
    torch.Size([2, 1, 4])
    """

    backend: ClassVar = [TransformBackends.TORCH]

    def __init__(
        self,
        keys: KeysCollection,
        *,
        classes: Iterable[int],
        method: Method | None = None,
        image_key: Hashable = None,
        spacing_mm: float | Sequence[float] | None = None,
        ignore_label: int | None = None,
        dtype: npt.DTypeLike = "float32",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        table = ClassTable.from_values(classes)
        check_ignore_label(ignore_label, table)
        self.classes, self.ignore_label = tuple(table.values.tolist()), ignore_label
        check_type("method", method, Method | None, "a Method, such as Method(sigma=1)")
        self.method, self.spacing_mm = method or Method(), spacing_mm
        self.image_key = image_key
        self.dtype = checked_dtype(dtype).name

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Soften the labels of a sample."""
        sample, images = dict(data), None
        if self.image_key is not None:
            images = convert_to_tensor(sample[self.image_key])[None]
        for key in self.key_iterator(sample):
            label = convert_to_tensor(sample[key], track_meta=get_track_meta())
            soft = soften_labels(
                label[None],
                classes=self.classes,
                method=self.method,
                images=images,
                spacing_mm=self._spacing_of(sample[key]),
                ignore_label=self.ignore_label,
                dtype=self.dtype,
            )[0]
            sample[key], *_ = convert_to_dst_type(soft, label, dtype=soft.dtype)
        return sample

    def _spacing_of(self, label: Any) -> float | Sequence[float] | None:
        if self.spacing_mm is not None or not isinstance(label, MetaTensor):
            return self.spacing_mm
        if self.method.sigma_mm is None:  # an affine that is no use does no harm
            return None
        return [float(mm) for mm in label.pixdim][: label.ndim - 1]
