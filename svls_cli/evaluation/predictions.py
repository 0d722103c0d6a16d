"""The predictions that are compared: a store's, or nnU-Net's as it saves them."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from svls_cli.arrays import Region, UIntArray
from svls_cli.errors import InputError, StoreError
from svls_cli.labels.class_files import parse_classes
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import open_label_file
from svls_cli.labels.names import safe_name
from svls_cli.labels.orientation import to_ras
from svls_cli.labels.suffixes import SUFFIXES
from svls_cli.store.reader import open_store

# Share of the voxels at which nnU-Net's label map must be the most probable class.
_LEAST_AGREEMENT = 0.99
# Files that nnU-Net leaves beside its predictions.
_OF_NNUNET = ("summary.json", "predict_from_raw_data_args.json")
# What reading a damaged archive may raise.
_DAMAGE = (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile, MemoryError)


class PredictedCase(Protocol):
    """One case's class probabilities, such as a `StoredCase`."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Any: ...

    @property
    def geometry(self) -> Geometry: ...

    @property
    def classes(self) -> ClassTable: ...

    @property
    def attributes(self) -> Mapping[str, Any]: ...

    def patch(
        self, region: Region = (), *, classes: slice = slice(None)
    ) -> npt.NDArray[Any]: ...


@dataclass(frozen=True)
class Predictions:
    """The predictions of all cases."""

    location: str  # path of the store or folder, for messages
    cases: Mapping[str, PredictedCase]  # by name
    damaged: Mapping[str, str]  # cases that cannot be read, each with what is wrong
    classes: ClassTable
    ignore_label: int | None = None


def find_predictions(path: str | Path) -> Predictions:
    """Find the predictions of a store, or of a folder that nnU-Net wrote.

    Raises
    ------
    StoreError
        If it is neither.
    InputError
        If nnU-Net's folder has no ``dataset.json``, or one with regions.
    """
    folder = Path(path)
    if not (folder / "zarr.json").exists():
        if archives := _archives(folder):
            return _of_nnunet(folder, archives)
        if any((folder / name).exists() for name in _OF_NNUNET):
            raise InputError(
                f"{folder} has predictions of nnU-Net, but no probabilities (.npz): "
                "predict with --save_probabilities, or train with --npz"
            )
    store = open_store(path)
    return Predictions(
        str(store.path),
        dict(store),
        store.incomplete(),
        store.classes,
        store.config.ignore_label,
    )


@dataclass(frozen=True)
class NnunetPrediction:
    """A case that nnU-Net predicted with ``--save_probabilities``.

    Parameters
    ----------
    name
        The case's name.
    path
        File of the probabilities, ``.npz``.
    labels
        File of the label map, which knows the voxel grid.
    classes
        Classes in the order of the probabilities.
    """

    name: str
    path: Path
    labels: Path
    classes: ClassTable

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The type that its probabilities are counted as."""
        return {"dtype": "float32"}

    @property
    def geometry(self) -> Geometry:
        """Voxel grid."""
        return self._label_map[0]

    def patch(
        self, region: Region = (), *, classes: slice = slice(None)
    ) -> npt.NDArray[Any]:
        """Probabilities (c, z, y, x) of a region and of some of the classes."""
        return self._probabilities[(classes, *region)]

    @cached_property
    def _label_map(self) -> tuple[Geometry, UIntArray]:
        with open_label_file(self.labels) as file:
            return file.geometry, file.indices(self.classes, ignore_label=None)

    @cached_property
    def _probabilities(self) -> npt.NDArray[np.float32]:
        """All probabilities (c, z, y, x); nnU-Net packs them as one piece.

        Raises
        ------
        StoreError
            If the file is damaged, or its voxels are not those of the label map.
        """
        grid, labels = self._label_map
        shape = (len(self.classes), *grid.shape)
        try:
            found = _shape(self.path)
            if found[:1] != shape[:1] or math.prod(found) != math.prod(shape):
                raise ValueError(f"it holds {found} numbers, expected {shape}")
            with np.load(self.path, allow_pickle=False) as archive:
                stored = archive["probabilities"].astype(np.float32, copy=False)
        except _DAMAGE as error:
            raise StoreError(f"{self.path} cannot be read: {error}") from error
        for values in _orders(stored, grid):
            agreed = values.shape == shape and values.argmax(axis=0) == labels
            if np.mean(agreed) >= _LEAST_AGREEMENT:
                return values
        raise StoreError(
            f"{self.path}: the most probable classes are not the labels of "
            f"{self.labels.name}, in the order of its axes or in RAS: it is another "
            "case's, or the label map was changed"
        )


def _orders(
    stored: npt.NDArray[np.float32], grid: Geometry
) -> Iterator[npt.NDArray[np.float32]]:
    """Probabilities (c, z, y, x) in the orders that nnU-Net may have saved them in.

    As the file's axes, of which a 2-D image has one more there; or, by the readers that
    reorient images, in RAS, in which only the label map is brought back.
    """
    yield stored.reshape(len(stored), *grid.shape)
    if grid.ndim == 3:
        order = to_ras(grid)
        yield np.stack([order.undone(values) for values in stored])


def _archives(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npz")) if folder.is_dir() else []


def _of_nnunet(folder: Path, archives: list[Path]) -> Predictions:
    classes, cases, damaged = _classes(folder), dict[str, PredictedCase](), {}
    for path in archives:
        name = safe_name(path.stem)
        beside = (path.with_name(path.stem + suffix) for suffix in SUFFIXES)
        labels = next((file for file in beside if file.is_file()), None)
        if labels is None:
            damaged[name] = f"no label map beside {path.name}"
        else:
            cases[name] = NnunetPrediction(name, path, labels, classes)
    return Predictions(str(folder), cases, damaged, classes)


def _classes(folder: Path) -> ClassTable:
    """Classes of predictions; those of a validation lie in its trainer's folder."""
    folders = [folder, *folder.absolute().parents[:2]]
    path = next(
        (f / "dataset.json" for f in folders if (f / "dataset.json").is_file()), None
    )
    if path is None:
        raise InputError(
            f"{folder} has probabilities (.npz), but there is no dataset.json of "
            "nnU-Net that names their classes, neither there nor one or two folders up"
        )
    return parse_classes(str(path)).table


def _shape(path: Path) -> tuple[int, ...]:
    """Shape of the probabilities, before any are unpacked."""
    with zipfile.ZipFile(path) as archive, archive.open("probabilities.npy") as file:
        version = npy.read_magic(file)
        read = (
            npy.read_array_header_1_0
            if version == (1, 0)
            else npy.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        if dtype.kind != "f":
            raise ValueError(f"its numbers are of type {dtype}, expected floats")
        return tuple(shape)
