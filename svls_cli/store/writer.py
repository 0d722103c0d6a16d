"""Writing a store: its root, and one case at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import ZstdCodec

from svls_cli.labels.geometry import Geometry
from svls_cli.labels.raters import HARD
from svls_cli.labels.values import look_up
from svls_cli.soften.mixture import levels
from svls_cli.soften.smoothing import SoftBlock
from svls_cli.store import ome
from svls_cli.store.layout import Layout
from svls_cli.store.schema import (
    StoreConfig,
    label_array,
    root_attributes,
    scale_factor,
)
from svls_cli.store.shards import ZSTD_LEVEL, Place, encode_chunk, encode_shard

# Metadata without white space: in small cases of many classes most bytes are metadata.
_COMPACT = {"json_indent": None}
# Zarr's settings are those of all threads, and a cluster's worker may have several.
_SETTINGS = Lock()

EncodedChunk = tuple[Place, bytes]


def create_root(folder: Path, config: StoreConfig) -> None:
    """An empty store."""
    with _SETTINGS:
        zarr.create_group(folder, zarr_format=3, attributes=root_attributes(config))


@dataclass(frozen=True)
class EncodedBlock:
    """The chunks of one block of voxels, compressed, by their place in the shard.

    Parameters
    ----------
    soft
        Those of each shard along the class axis; none for absent classes.
    labels
        At most one of each label image: none where every label is 0.
    """

    soft: dict[int, list[EncodedChunk]]
    labels: dict[str, list[EncodedChunk]]


class CaseWriter:
    """Builds one case in a folder of its own, shard by shard.

    Parameters
    ----------
    folder
        Does not exist yet.
    name
        The case, as it will be called in the store.
    geometry
        Its voxel grid.
    config
        Of the store.
    raters
        Whose own label maps are kept beside the hard one.

    Attributes
    ----------
    shards
        Files written so far, per array.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        geometry: Geometry,
        config: StoreConfig,
        raters: Sequence[str] = (),
    ) -> None:
        dtype = np.dtype(config.dtype)
        classes = config.classes
        self.layout = Layout.choose(
            geometry.shape, n_classes=len(classes), itemsize=dtype.itemsize
        )
        self._folder = folder
        self._label_images = (HARD, *raters)
        arrays = ("0", *map(label_array, self._label_images))
        self.shards = dict.fromkeys(arrays, 0)
        self._config = config
        self._hard_dtype = classes.value_dtype(config.ignore_label)
        self._hard_values = np.append(classes.values, config.ignore_label or 0).astype(
            self._hard_dtype
        )
        image = ome.image(name, geometry, classes, top=levels(dtype))
        with _SETTINGS, zarr.config.set(_COMPACT):
            self._group = zarr.create_group(
                folder, zarr_format=3, attributes={"ome": image}
            )
            self._create_soft(geometry, dtype)
            self._create_labels(geometry)

    def encode(
        self, place: Place, block: SoftBlock, indices: Mapping[str, npt.NDArray[Any]]
    ) -> EncodedBlock:
        """Compress one block of voxels; several threads may call it at a time.

        Parameters
        ----------
        place
            Of the block's chunks in their shard, spatial axes.
        block
            Its soft labels.
        indices : (z, y, x) each
            Its hard labels and each rater's, as class indices, ``n_classes`` where
            ignored.
        """
        labels = {}
        for name, found in indices.items():
            values = look_up(self._hard_values, found)
            if values.any():
                encoded = encode_chunk(_whole(values, self.layout.chunk))
                labels[name] = [(place, encoded)]
        return EncodedBlock(self._encode_soft(place, block), labels)

    def write_shard(self, shard: Sequence[int], blocks: Iterable[EncodedBlock]) -> None:
        """Write one spatial shard, all classes, from all its blocks."""
        layout = self.layout
        soft: dict[int, list[EncodedChunk]] = {}
        labels: dict[str, list[EncodedChunk]] = {}
        for block in blocks:
            for class_shard, chunks in block.soft.items():
                soft.setdefault(class_shard, []).extend(chunks)
            for name, chunks in block.labels.items():
                labels.setdefault(name, []).extend(chunks)
        chunk_classes = layout.shard_classes // layout.chunk_classes
        for class_shard, chunks in soft.items():
            content = encode_shard(chunks, (chunk_classes, *layout.chunks_per_shard))
            self._write("0", (class_shard, *shard), content)
        for name, chunks in labels.items():
            content = encode_shard(chunks, layout.chunks_per_shard)
            self._write(label_array(name), shard, content)

    def finish(self, attributes: dict[str, Any]) -> None:
        """Mark the case complete; the last thing written."""
        with _SETTINGS, zarr.config.set(_COMPACT):
            self._group.update_attributes({"svls": {**attributes, "state": "complete"}})

    def _encode_soft(
        self, place: Place, block: SoftBlock
    ) -> dict[int, list[EncodedChunk]]:
        layout = self.layout
        if layout.chunk_classes > 1 or layout.n_classes == 1:
            if not len(block.classes):
                return {}
            together = np.zeros((layout.n_classes, *layout.chunk), block.soft.dtype)
            together[block.classes] = [_whole(v, layout.chunk) for v in block.soft]
            return {0: [((0, *place), encode_chunk(together))]}
        chunks: dict[int, list[EncodedChunk]] = {}
        for index, values in zip(block.classes.tolist(), block.soft, strict=True):
            class_shard, at = divmod(index, layout.shard_classes)
            encoded = encode_chunk(_whole(values, layout.chunk))
            chunks.setdefault(class_shard, []).append(((at, *place), encoded))
        return chunks

    def _create_soft(self, geometry: Geometry, dtype: np.dtype[Any]) -> None:
        layout = self.layout
        factor = scale_factor(dtype.name)
        self._group.create_array(
            "0",
            shape=(layout.n_classes, *layout.shape),
            dtype=dtype,
            chunks=(layout.chunk_classes, *layout.chunk),
            shards=(layout.shard_classes, *layout.shard),
            compressors=[ZstdCodec(level=ZSTD_LEVEL, checksum=True)],
            fill_value=0,
            dimension_names=("c", *geometry.axes),
            attributes={} if factor is None else {"scale_factor": factor},
        )

    def _create_labels(self, geometry: Geometry) -> None:
        layout, names = self.layout, list(self._label_images)
        labels = self._group.create_group(
            "labels", attributes={"ome": ome.label_list(names)}
        )
        for name in names:
            image = ome.label_image(name, geometry, self._config.classes)
            labels.create_group(name, attributes={"ome": image}).create_array(
                "0",
                shape=layout.shape,
                dtype=self._hard_dtype,
                chunks=layout.chunk,
                shards=layout.shard,
                compressors=[ZstdCodec(level=ZSTD_LEVEL, checksum=True)],
                fill_value=0,
                dimension_names=geometry.axes,
            )

    def _write(self, array: str, shard: Sequence[int], content: bytes) -> None:
        path = self._folder.joinpath(array, "c", *map(str, shard))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.shards[array] += 1


def _whole(values: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[Any]:
    """A whole chunk, also where it reaches beyond the volume.

    What lies there is never read. Repeating the edge packs better than zeros, which
    would be a boundary of their own: a sixth of the bytes of a 155x240x240 volume.
    """
    missing = [(0, full - n) for full, n in zip(shape, values.shape, strict=True)]
    return np.pad(values, missing, "edge") if any(m for _, m in missing) else values
