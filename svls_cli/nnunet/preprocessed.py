"""What nnU-Net preprocessed: plans, cases, and the grid of each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.plans_handling.plans_handler import (
    ConfigurationManager,
    PlansManager,
)

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.class_files import ClassSpec, parse_classes
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.values import listed

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
            Of the same type if nothing was resampled, else float64.
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


def find_preprocessed(
    dataset: str, plans_name: str, configurations: Sequence[str]
) -> list[PreprocessedCases]:
    """The configurations of a data set that nnU-Net has preprocessed.

    Parameters
    ----------
    dataset
        Number or name of the data set, as nnU-Net's commands take them.
    plans_name
        Name of the plans.
    configurations
        Names of the configurations; if there are none, all that are preprocessed,
        but for the second stages of cascades.

    Raises
    ------
    InvalidParameterError
        If there is no such data set or configuration, it is not preprocessed, or it is
        the second stage of a cascade.
    InputError
        If the plans cannot be read.
    """
    folder = _dataset_folder(dataset)
    if not (folder / f"{plans_name}.json").is_file():
        there = sorted(path.stem for path in folder.glob("*Plans*.json"))
        raise InvalidParameterError(
            f"{folder} has no plans {plans_name!r}; there are {listed(there) or 'none'}"
        )
    try:
        plans = PlansManager(str(folder / f"{plans_name}.json"))
        known = plans.available_configurations
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{folder / plans_name}.json cannot be read: {error}"
        ) from error
    if unknown := [name for name in configurations if name not in known]:
        raise InvalidParameterError(
            f"the plans {plans_name} have no configuration {listed(unknown)}; there "
            f"are {listed(known)}"
        )
    found = []
    for name in configurations or known:
        cases = PreprocessedCases(folder, plans_name, name)
        first = cases.manager.previous_stage_name
        preprocessed = cases.cases_folder.is_dir()
        if not configurations and (first is not None or not preprocessed):
            continue
        if first is not None:
            raise InvalidParameterError(
                f"{name} is the second stage of a cascade, after {first}: it gets soft "
                "labels from that stage's predictions, which is not supported"
            )
        if not preprocessed:
            raise InvalidParameterError(
                f"{cases.cases_folder} does not exist: run nnUNetv2_preprocess -d "
                f"{dataset} -plans_name {plans_name} -c {name} first"
            )
        found.append(cases)
    if not found:
        raise InvalidParameterError(
            f"no configuration of {folder.name} is preprocessed: run "
            f"nnUNetv2_preprocess -d {dataset} first"
        )
    return found


def read_classes(folder: Path) -> ClassSpec:
    """Classes and ignore label of a preprocessed data set.

    Raises
    ------
    InvalidParameterError
        If its labels are regions, that is, each several classes.
    InputError
        If its ``dataset.json`` cannot be read.
    """
    path = folder / "dataset.json"
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if regions := [name for name, value in labels.items() if isinstance(value, list)]:
        raise InvalidParameterError(
            f"{folder.name} has regions ({listed(regions)}): its network predicts "
            "overlapping masks, not one class per voxel, which is not supported"
        )
    return parse_classes(str(path))


def _dataset_folder(dataset: str) -> Path:
    root = nnUNet_preprocessed.get()
    if root is None:
        raise InvalidParameterError(
            "nnUNet_preprocessed is not set: it names nnU-Net's folder of preprocessed "
            "data sets"
        )
    if not Path(root).is_dir():
        raise InvalidParameterError(f"nnUNet_preprocessed: there is no folder {root}")
    folders = sorted(path for path in Path(root).iterdir() if path.is_dir())
    names = [path.name for path in folders if path.name.startswith("Dataset")]
    if re.fullmatch(r"[0-9]{1,3}", dataset):
        start = f"Dataset{int(dataset):03d}_"
        found = [name for name in names if name.startswith(start)]
    else:
        found = [name for name in names if name == dataset]
    if len(found) != 1:
        what = f"{listed(found)} are both" if found else f"{root} has no data set"
        there = "" if found else f"; there are {listed(names) or 'none'}"
        raise InvalidParameterError(f"{what} {dataset}{there}")
    return Path(root, found[0])
