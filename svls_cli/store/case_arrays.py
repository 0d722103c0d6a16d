"""Arrays of a stored case, checked before anything is allocated for them."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import Region
from svls_cli.errors import StoreError, UnreachableError
from svls_cli.labels.raters import HARD
from svls_cli.store.case_files import CaseFiles
from svls_cli.store.layout import MAX_SHARD_VOXELS
from svls_cli.store.metadata import ArrayLayout
from svls_cli.store.objects import Folder, translated_errors, zarr_store
from svls_cli.store.patches import PatchReader, whole_region
from svls_cli.store.schema import DAMAGE, SOFT, label_array
from svls_cli.store.shards import ChunkIndex

if TYPE_CHECKING:
    import zarr

_MAX_VOXELS = 2**36  # voxels of a volume, more than any image has


class CaseArrays:
    """Arrays of one case, by their paths inside it."""

    def __init__(self, folder: Folder, attributes: Mapping[str, Any]) -> None:
        self._folder = folder
        self._attributes = attributes
        self._shape = tuple(attributes["geometry"]["shape"])
        self._layouts: dict[str, ArrayLayout] = {}
        self._opened: dict[str, zarr.Array[Any]] = {}

    @cached_property
    def files(self) -> CaseFiles:
        """The case's files.

        Raises
        ------
        StoreError
            If a case of format version 1 has another number of them.
        """
        return CaseFiles.of(self._folder, self._attributes)

    def layout(self, array: str) -> ArrayLayout:
        """Layout of an array, checked before anything is allocated for it.

        Raises
        ------
        StoreError
            If its document is damaged, does not go with the case's geometry and
            classes, or promises voxels for which there are no files.
        """
        if array not in self._layouts:
            self._layouts[array] = self._checked_layout(array)
        return self._layouts[array]

    def stored_shards(self, label_maps: Iterable[str]) -> set[ChunkIndex]:
        """Grid indices, spatial axes, of shards with soft labels or labels in maps."""
        maps = (self.files.shards(label_array(name)) for name in label_maps)
        return {shard[1:] for shard in self.files.shards(SOFT)}.union(*maps)

    def open(self, array: str) -> zarr.Array[Any]:
        """Open an array with Zarr, all files being there.

        Raises
        ------
        StoreError
            If the array or a file of it is damaged or missing.
        """
        self.layout(array)
        self.files.check_present(array)
        # Imported here, so that only reading voxels pays for the import.
        import zarr

        try:
            with translated_errors(self._folder):
                store = zarr_store(self._folder)
                return zarr.open_array(store, path=array, mode="r", zarr_format=3)
        except DAMAGE as error:
            raise StoreError(
                f"{self._folder}: array {array} cannot be opened: {error}"
            ) from error

    def read(self, array: str, region: Region) -> npt.NDArray[Any]:
        """Read a region of an array, through Zarr if it is remote.

        Raises
        ------
        InvalidParameterError
            If the region does not lie in the array.
        StoreError
            If the array or a file that is read is damaged or missing.
        """
        layout = self.layout(array)
        region = whole_region(region, layout.shape)
        if isinstance(self._folder, Path):
            return PatchReader(self.files, array, layout).read(region)
        if array not in self._opened:
            self._opened[array] = self.open(array)
        try:
            with translated_errors(self._folder):
                return np.asarray(self._opened[array][region])
        except UnreachableError:
            raise
        except Exception as error:  # each codec has its own
            raise StoreError(
                f"{self._folder / array} cannot be read: {error}"
            ) from error

    def _checked_layout(self, array: str) -> ArrayLayout:
        layout = ArrayLayout.of(self.files.document(array))
        if layout is None:
            raise StoreError(f"{self._folder / array}: not as svls-cli writes arrays")
        expected, dtype_is_right = self._shape, layout.dtype.kind == "u"
        if array == SOFT:
            expected = (len(self._attributes["classes"]), *expected)
            dtype_is_right = layout.dtype == self._attributes["dtype"]
        if layout.shape != expected or not dtype_is_right:
            raise StoreError(
                f"{self._folder / array}: {layout.dtype} {layout.shape}; the case is "
                f"{expected}, its soft labels {self._attributes['dtype']}"
            )
        self._check_promise(array, layout)
        return layout

    def _check_promise(self, array: str, layout: ArrayLayout) -> None:
        """Refuse an array that promises more voxels than its files can hold.

        Each shard has a file of soft labels or, if all its voxels are ignored, of hard
        labels; where both are 0, a voxel carries the ignore label 0.
        """
        n_axes, path = len(self._shape), self._folder / array
        largest = max(math.prod(layout.shard[-n_axes:]), math.prod(layout.chunk))
        if math.prod(self._shape) > _MAX_VOXELS or largest > MAX_SHARD_VOXELS:
            raise StoreError(
                f"{path}: {layout.shape} in shards of {layout.shard}; at most "
                f"{_MAX_VOXELS} voxels, {MAX_SHARD_VOXELS} in a shard, are possible"
            )
        counts = [-(-n // s) for n, s in zip(layout.shape, layout.shard, strict=True)]
        n_shards, stored = math.prod(counts[-n_axes:]), self.stored_shards((HARD,))
        if n_shards > len(stored) and self._attributes["ignore_label"] != 0:
            raise StoreError(
                f"{path}: {layout.shape} in {n_shards} shards, of which {len(stored)} "
                "have a file"
            )
        for shard in self.files.shards(array):
            if len(shard) != len(counts) or any(map(operator.ge, shard, counts)):
                raise StoreError(f"{path}: shard {shard} lies outside")
