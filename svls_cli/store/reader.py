"""Reading a store: its cases, their arrays and their metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import Region
from svls_cli.errors import StoreError, UnknownCaseError
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.names import composed, folder_names
from svls_cli.labels.raters import HARD
from svls_cli.soften.levels import levels
from svls_cli.store import metadata
from svls_cli.store.case_arrays import CaseArrays
from svls_cli.store.case_files import read_case_attributes
from svls_cli.store.metadata import NAME
from svls_cli.store.objects import Folder, folder_at, read_file, subfolders
from svls_cli.store.schema import DAMAGE, SOFT, check_root, label_array

if TYPE_CHECKING:
    import zarr

# First letters of the names of what editors and file servers leave in folders.
_NOT_CASES = (".", "@", "#")


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

    @cached_property
    def geometry(self) -> Geometry:
        """The voxel grid."""
        return Geometry.from_json(self.attributes["geometry"])

    @property
    def classes(self) -> ClassTable:
        """The class axis."""
        return ClassTable.from_json(self.attributes["classes"])

    @cached_property
    def arrays(self) -> CaseArrays:
        """The case's arrays by their paths inside the case, and its files."""
        return CaseArrays(self.path, self.attributes)

    @cached_property
    def soft(self) -> zarr.Array[Any]:
        """Soft labels as stored, (c, z, y, x); integers sum to their largest value."""
        return self.arrays.open(SOFT)

    @cached_property
    def hard(self) -> zarr.Array[Any]:
        """Label values of the input, or of the fused raters, (z, y, x)."""
        return self.label_map(HARD)

    @property
    def raters(self) -> tuple[str, ...]:
        """Raters whose own label maps are kept."""
        listed = (self.attributes.get(key, ()) for key in ("shards", "crc32c"))
        paths = (name.split("/") for name in chain(*listed))
        of_labels = (path for path in paths if path[0] == "labels" and len(path) > 2)
        names = dict.fromkeys(path[1] for path in of_labels)
        return tuple(name for name in names if name != HARD)

    def label_map(self, name: str) -> zarr.Array[Any]:
        """Label values by one of `raters`, (z, y, x).

        Raises
        ------
        StoreError
            If there is no label map of this name, or it is damaged.
        """
        return self.arrays.open(label_array(name))

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
            return self.arrays.read(SOFT, (classes, *region))
        one: npt.NDArray[Any] = self.arrays.read(
            SOFT, (slice(classes, classes + 1), *region)
        )
        return one.squeeze(axis=0)

    def label_patch(self, name: str, region: Region = ()) -> npt.NDArray[Any]:
        """Read label values by one of `raters`, or "hard", as `patch` does.

        Raises
        ------
        InvalidParameterError, StoreError
            As `patch`; also if there is no label map of this name.
        """
        return self.arrays.read(label_array(name), region)

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
        why = ""
        for folder in folder_names(name):
            try:
                attributes = read_case_attributes(self.path / folder)
            except StoreError as error:
                why = why or f": {error}"
            else:
                return StoredCase(composed(name), self.path / folder, attributes)
        raise UnknownCaseError(f"{self.path}: no case {name!r}{why}")

    def __iter__(self) -> Iterator[str]:
        for folder, damage in self._folders():
            if damage is None:
                name = composed(folder)
                yield name if folder in folder_names(name) else folder

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def incomplete(self) -> dict[str, str]:
        """Cases that are incomplete or damaged, each with what is wrong with it.

        Folders that hold no part of a case are none. In an object store, folders
        without a marker are left out: their cases are being uploaded, or were removed.
        """
        return {
            name: damage
            for name, damage in self._folders()
            if damage is not None and _holds_part_of_case(self.path / name)
        }

    def _folders(self) -> Iterator[tuple[str, str | None]]:
        """Every folder, and why it is no case, or None."""
        for name in subfolders(self.path):
            try:
                read_case_attributes(self.path / name)
            except StoreError as error:
                yield name, str(error)
            else:
                yield name, None


def open_store(path: str | Folder) -> Store:
    """Open a soft-label store for reading: a folder, or ``s3://bucket/name``.

    Raises
    ------
    StoreError, UnreachableError
        As `Store`.
    """
    return Store(path)


def _root_attributes(path: Folder) -> dict[str, Any]:
    if not path.exists():
        raise StoreError(f"{path}: no such store")
    if any((path / old).is_file() for old in (".zgroup", ".zarray", ".zmetadata")):
        raise StoreError(f"{path}: Zarr version 2; a soft-label store is version 3")
    try:
        return metadata.group_attributes(metadata.parse(read_file(path / NAME)))
    except DAMAGE as error:
        raise StoreError(f"{path}: not a Zarr v3 group") from error


def _holds_part_of_case(folder: Folder) -> bool:
    """Whether a folder in a store can be a damaged case.

    What an editor or a file server leaves there (`.ipynb_checkpoints`, `@eaDir`) is
    none, even if it has copies of a case's files.
    """
    if not isinstance(folder, Path):
        return (folder / NAME).is_file()
    if folder.name.startswith(_NOT_CASES):
        return False
    return any((folder / part).exists() for part in (NAME, SOFT, "labels"))
