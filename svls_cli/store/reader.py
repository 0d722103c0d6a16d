"""Reading a store: its cases, their arrays and their metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import Region
from svls_cli.errors import StoreError, UnknownCaseError, UnreachableError
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.names import composed, folder_names
from svls_cli.labels.raters import HARD
from svls_cli.soften.levels import levels
from svls_cli.store import metadata
from svls_cli.store.metadata import NAME, ArrayLayout, group_attributes
from svls_cli.store.objects import (
    Folder,
    folder_at,
    subfolders,
    translated_errors,
    zarr_store,
)
from svls_cli.store.patches import PatchReader, whole_region
from svls_cli.store.schema import DAMAGE, StoreConfig, check_root, label_array

if TYPE_CHECKING:
    import zarr


@dataclass(frozen=True)
class StoredCase:
    """One case of a store, read only; arrays are opened when they are first used.

    Parameters
    ----------
    name
        Name of the case in the store.
    path
        Folder of the case.
    attributes
        The case's `svls` attributes: geometry, classes, method, inputs, hashes.
    """

    name: str
    path: Folder
    attributes: Mapping[str, Any]

    def __getstate__(self) -> dict[str, Any]:
        # Open arrays are not pickled: a process that receives the case opens its own.
        return {key: self.__dict__[key] for key in ("name", "path", "attributes")}

    @property
    def inputs(self) -> tuple[str, ...]:
        """The case's folder, as records name it."""
        return (str(self.path),)

    @property
    def geometry(self) -> Geometry:
        """The voxel grid."""
        return Geometry.from_json(self.attributes["geometry"])

    @property
    def classes(self) -> ClassTable:
        """The class axis."""
        return ClassTable.from_json(self.attributes["classes"])

    @cached_property
    def soft(self) -> zarr.Array[Any]:
        """Soft labels as stored, (c, z, y, x); integers sum to their largest value."""
        return _open_array(self.path, "0")

    @cached_property
    def hard(self) -> zarr.Array[Any]:
        """Label values of the input, or of the fused raters, (z, y, x)."""
        return self.label_map(HARD)

    @property
    def raters(self) -> tuple[str, ...]:
        """Raters whose own label maps are kept."""
        arrays = [a for a in self.attributes["shards"] if a.startswith("labels/")]
        names = (array.split("/")[1] for array in arrays)
        return tuple(name for name in names if name != HARD)

    def label_map(self, name: str) -> zarr.Array[Any]:
        """Label values by one of `raters`, (z, y, x).

        Raises
        ------
        StoreError
            If there is no label map of this name, or it cannot be opened.
        """
        return _open_array(self.path, label_array(name))

    def patch(
        self, region: Region = (), *, classes: slice | int = slice(None)
    ) -> npt.NDArray[Any]:
        """Read soft labels as stored, several times faster than through `soft`.

        To train, move the patch to the device before dividing it by its scale: uint8
        is a quarter of the bytes. To draw many patches of one case, read it whole once.

        Parameters
        ----------
        region
            A slice per spatial axis; everything by default.
        classes
            Part of the class axis; an int drops the axis.

        Returns
        -------
        (c, z, y, x) of the store's dtype
            Integers sum to their largest value over all classes, to 0 where the voxel
            is ignored.

        Raises
        ------
        InvalidParameterError
            If the region does not lie in the volume.
        StoreError
            If a file that it is read from is damaged or missing.
        """
        region = region or (slice(None),) * len(self.geometry.shape)
        if isinstance(classes, slice):
            return self._read("0", (classes, *region))
        one: npt.NDArray[Any] = self._read("0", (slice(classes, classes + 1), *region))
        return one.squeeze(axis=0)

    def label_patch(self, name: str, region: Region = ()) -> npt.NDArray[Any]:
        """Read label values by one of `raters`, or "hard", as `patch` does.

        Raises
        ------
        InvalidParameterError, StoreError
            As `patch`; also if there is no label map of this name.
        """
        return self._read(label_array(name), region)

    def probabilities(
        self, region: Region = (), *, classes: slice | int = slice(None)
    ) -> npt.NDArray[np.float32]:
        """Read a `patch` as probabilities.

        Returns
        -------
        (c, z, y, x) float32
            In [0, 1]; sums to 1 over all classes, to 0 where the voxel is ignored.

        Raises
        ------
        InvalidParameterError, StoreError
            As `patch`.
        """
        stored = self.patch(region, classes=classes)
        result: npt.NDArray[np.float32] = np.divide(
            stored, levels(stored.dtype), dtype=np.float32
        )
        return result

    @cached_property
    def _layouts(self) -> dict[str, ArrayLayout | None]:
        return {}

    def _read(self, name: str, region: Region) -> npt.NDArray[Any]:
        """Read a region; through Zarr if it is remote or stored in another layout."""
        if name not in self._layouts:
            try:
                document = metadata.read(self.path / name)
            except DAMAGE as error:
                raise _cannot_open(self.path, name, error) from error
            self._layouts[name] = ArrayLayout.of(document)
        layout = self._layouts[name]
        if layout is not None and isinstance(self.path, Path):
            n_shards = self.attributes["shards"].get(name, 0)
            reader = PatchReader(self.path / name, layout, n_shards=n_shards)
            return reader.read(whole_region(region, layout.shape))
        array = _open_array(self.path, name)
        region = whole_region(region, array.shape)
        try:
            with translated_errors(self.path):
                return np.asarray(array[region])
        except UnreachableError:
            raise
        except Exception as error:  # each codec has its own
            raise StoreError(f"{self.path / name} cannot be read: {error}") from error


class Store(Mapping[str, StoredCase]):
    """A soft-label store: its complete cases by name.

    Parameters
    ----------
    path
        The store's folder, or ``s3://bucket/name``.

    Raises
    ------
    StoreError
        If it is not a soft-label store, or one of a newer format.
    UnreachableError
        If an object store does not answer, or denies access.
    """

    def __init__(self, path: str | Folder) -> None:
        self.path: Folder = folder_at(path)
        self.config = check_root(_root_attributes(self.path), str(path))

    @property
    def classes(self) -> ClassTable:
        """The class axis of every case."""
        return self.config.classes

    def __getitem__(self, name: str) -> StoredCase:
        for folder in folder_names(name):
            attributes = case_attributes_at(self.path / folder)
            if attributes is not None:
                return StoredCase(composed(name), self.path / folder, attributes)
        raise UnknownCaseError(f"{self.path}: no case {name!r}")

    def __iter__(self) -> Iterator[str]:
        for folder in subfolders(self.path):
            if case_attributes_at(self.path / folder) is not None:
                name = composed(folder)
                yield name if folder in folder_names(name) else folder

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def incomplete(self) -> list[str]:
        """Folders in the store that are not complete cases.

        In an object store, folders without a marker are left out: their cases are
        being uploaded, or were removed.
        """
        return [
            name
            for name in subfolders(self.path)
            if case_attributes_at(self.path / name) is None
            and (isinstance(self.path, Path) or (self.path / name / NAME).is_file())
        ]


def open_store(path: str | Folder) -> Store:
    """Open a soft-label store for reading: a folder, or ``s3://bucket/name``.

    Raises
    ------
    StoreError, UnreachableError
        As `Store`.
    """
    return Store(path)


def case_attributes_at(folder: Folder) -> dict[str, Any] | None:
    """The `svls` attributes of a case; None unless it is complete and undamaged."""
    try:
        svls: Any = group_attributes(folder)["svls"]
        complete = svls["state"] == "complete"
        Geometry.from_json(svls["geometry"])
        StoreConfig.from_json(svls)
        [file["name"] for file in svls["inputs"]]
        dict(svls["shards"])
        return dict(svls) if complete else None
    except DAMAGE:
        return None


def _root_attributes(path: Folder) -> dict[str, Any]:
    if not path.exists():
        raise StoreError(f"{path}: no such store")
    if any((path / old).is_file() for old in (".zgroup", ".zarray", ".zmetadata")):
        raise StoreError(f"{path}: Zarr version 2; a soft-label store is version 3")
    try:
        return group_attributes(path)
    except DAMAGE as error:
        raise StoreError(f"{path}: not a Zarr v3 group") from error


def _open_array(case: Folder, name: str) -> zarr.Array[Any]:
    # Imported here, so that only reading voxels pays for the import.
    import zarr

    try:
        with translated_errors(case):
            return zarr.open_array(zarr_store(case), path=name, mode="r", zarr_format=3)
    except DAMAGE as error:
        raise _cannot_open(case, name, error) from error


def _cannot_open(case: Folder, name: str, error: Exception) -> StoreError:
    return StoreError(f"{case}: array {name} cannot be opened: {error}")
