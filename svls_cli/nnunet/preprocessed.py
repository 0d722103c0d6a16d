"""Cases that nnU-Net preprocessed, and the grid of each."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.plans_handling.plans_handler import (
    ConfigurationManager,
    PlansManager,
)

from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry

# nnU-Net's world runs to the right and to the front in its NIfTI reader (RAS).
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class PreprocessedCases:
    """The cases of one configuration of an nnU-Net data set.

    Parameters
    ----------
    folder
        Folder of the data set among nnU-Net's preprocessed ones.
    plans_name
        Name of the plans, such as ``nnUNetPlans``.
    configuration
        Name of the configuration, such as ``3d_fullres``.
    """

    folder: Path
    plans_name: str
    configuration: str

    @cached_property
    def plans(self) -> PlansManager:
        """The plans, as nnU-Net reads them."""
        return PlansManager(str(self.folder / f"{self.plans_name}.json"))

    @cached_property
    def manager(self) -> ConfigurationManager:
        """The configuration, as nnU-Net reads it."""
        return self.plans.get_configuration(self.configuration)

    @property
    def cases_folder(self) -> Path:
        """Folder of the preprocessed cases."""
        return self.folder / str(self.manager.data_identifier)

    @property
    def soft_folder(self) -> Path:
        """Folder of the soft labels: inside the other, nnU-Net took them for cases."""
        return soft_folder(self.cases_folder)

    @property
    def _reader(self) -> Any:
        """nnU-Net's class for files of their kind."""
        try:
            return infer_dataset_class(str(self.cases_folder))
        except (AssertionError, LookupError) as error:
            raise InputError(
                f"{self.cases_folder} holds no preprocessed cases, or other files, too"
            ) from error

    @cached_property
    def names(self) -> list[str]:
        """Names of the preprocessed cases.

        Raises
        ------
        InputError
            If there are none.
        """
        return sorted(self._reader.get_identifiers(str(self.cases_folder)))

    def case(self, name: str) -> PreprocessedCase:
        """A case, its voxels not yet read.

        Raises
        ------
        InputError
            If one of its files is missing or damaged.
        """
        try:
            dataset = self._reader(str(self.cases_folder), [name])
            _, labels, _, properties = dataset.load_case(name)
        except (OSError, EOFError, RuntimeError, ValueError, UnpicklingError) as error:
            raise InputError(
                f"nnU-Net's preprocessed case cannot be read: {error}"
            ) from error
        return PreprocessedCase(self, labels, properties)


@dataclass(frozen=True, eq=False)
class PreprocessedCase:
    """One case, as nnU-Net preprocessed it."""

    cases: PreprocessedCases
    labels: Any  # (1, z, y, x) its label map, sliced lazily; -1 where nothing was seen
    properties: Mapping[str, Any]

    @property
    def grid(self) -> Geometry | None:
        """Voxel grid of the images that nnU-Net read; None if it kept no geometry."""
        shape = self._backward(self.properties["shape_before_cropping"])
        if (stuff := self.properties.get("sitk_stuff")) is not None:
            sizes = shape[::-1][: len(stuff["spacing"])]
            columns = np.reshape(stuff["direction"], (len(sizes), len(sizes)))
            return Geometry.from_axes(
                sizes, columns.T, stuff["origin"], stuff["spacing"]
            )
        if (stuff := self.properties.get("nibabel_stuff")) is not None:
            affine = stuff.get("reoriented_affine", stuff["original_affine"])
            affine = _RAS_TO_LPS @ np.asarray(affine, np.float64)[:3]
            return Geometry.from_axes(shape[::-1], affine[:, :3].T, affine[:, 3])
        return None

    @property
    def images_shape(self) -> tuple[int, ...]:
        """Voxels per axis of the images that nnU-Net read, (z, y, x)."""
        return self._backward(self.properties["shape_before_cropping"])

    def resampled(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring a volume of the images' grid to nnU-Net's by nnU-Net's own steps.

        Parameters
        ----------
        volume : (z, y, x)
            Numbers that may be interpolated; its axes transposed, cropped to the box
            that nnU-Net cropped to, and resampled as it resamples label maps, but as
            numbers, not class by class.

        Returns
        -------
        (z, y, x) of nnU-Net's grid
            Values of the same type if nothing was resampled, else float64.
        """
        plans, properties = self.cases.plans, self.properties
        box = properties["bbox_used_for_cropping"]
        volume = volume.transpose(plans.transpose_forward)
        volume = volume[tuple(slice(start, stop) for start, stop in box)]
        spacing = [properties["spacing"][axis] for axis in plans.transpose_forward]
        target = list(self.cases.manager.spacing)
        if len(target) < len(spacing):  # slices of 2-D configurations stay apart
            target = [spacing[0], *target]
        shape = compute_new_shape(volume.shape, spacing, target)
        if tuple(shape) == volume.shape:
            return volume
        result = self.cases.manager.resampling_fn_seg(
            volume[np.newaxis].astype(np.float64), shape, spacing, target, is_seg=False
        )
        resampled: npt.NDArray[Any] = np.asarray(result)[0]
        return resampled

    def _backward(self, shape: Sequence[int]) -> tuple[int, ...]:
        return tuple(int(shape[axis]) for axis in self.cases.plans.transpose_backward)


def soft_folder(cases_folder: str | Path) -> Path:
    """Folder of the soft labels beside a folder of nnU-Net's preprocessed cases."""
    return Path(f"{cases_folder}_svls")


def labels_digest(cases_folder: str | Path, name: str) -> str:
    """Size and checksum of the file of a preprocessed label map.

    Raises
    ------
    InputError
        If there is none.
    """
    # nnU-Net's older files hold images and labels in one.
    for suffix in ("_seg.b2nd", ".npz"):
        path = Path(cases_folder, name + suffix)
        if path.is_file():
            return f"{path.stat().st_size} {zlib.crc32(path.read_bytes()):08x}"
    raise InputError(f"{cases_folder} has no label map of {name}")
