"""Writing a store: its root, and one case at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.labels.geometry import Geometry
from svls_cli.labels.raters import HARD
from svls_cli.labels.values import look_up
from svls_cli.soften.levels import levels
from svls_cli.soften.smoothing import SoftBlock
from svls_cli.store import metadata, ome
from svls_cli.store.checksums import crc32c, sealed
from svls_cli.store.layout import Layout
from svls_cli.store.schema import (
    StoreConfig,
    case_attributes,
    label_array,
    root_attributes,
    scale_factor,
)
from svls_cli.store.shards import (
    ChunkIndex,
    EncodedChunk,
    encode_chunk,
    encode_constant,
    encode_shard,
)

# The compressed chunks of one block of voxels, by array and, for soft labels, by shard
# along the class axis; none where every value is 0.
EncodedBlock = dict[tuple[str, ChunkIndex], list[EncodedChunk]]


def create_root(folder: Path, config: StoreConfig) -> None:
    """Write an empty store."""
    metadata.write(folder, metadata.group(root_attributes(config)), indent=2)


class CaseWriter:
    """Builds one case in a folder of its own, shard by shard.

    The folder does not exist yet. ``raters`` are those whose own label maps are kept
    beside the hard one.
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
        self._name = name
        self._label_images = (HARD, *raters)
        # Of the files written so far: crc32c of each by its path, bytes of them all.
        self._checksums: dict[str, str] = {}
        self._n_bytes = 0
        self._config = config
        self._geometry = geometry
        self._hard_dtype = classes.value_dtype(config.ignore_label)
        self._hard_values = np.append(classes.values, config.ignore_label or 0).astype(
            self._hard_dtype
        )
        self._image = ome.image(name, geometry, classes, top=levels(dtype))
        self._describe_arrays(dtype)

    def encode(
        self,
        chunk_index: ChunkIndex,
        block: SoftBlock,
        indices: Mapping[str, npt.NDArray[Any]],
    ) -> EncodedBlock:
        """Compress one block of voxels; several threads may call it at a time.

        ``chunk_index`` is the block's index in its shard, spatial axes. ``indices`` (z,
        y, x) are the hard labels and each rater's labels, as class indices;
        ``n_classes`` where ignored.
        """
        encoded = self._encode_soft(chunk_index, block)
        for name, labels in indices.items():
            if chunk := self._encode_labels(labels):
                encoded[label_array(name), ()] = [(chunk_index, chunk)]
        return encoded

    def write_shard(self, shard: Sequence[int], blocks: Iterable[EncodedBlock]) -> None:
        """Write one spatial shard, all classes, from all its blocks."""
        layout = self.layout
        together: EncodedBlock = {}
        for block in blocks:
            for key, chunks in block.items():
                together.setdefault(key, []).extend(chunks)
        chunk_classes = layout.shard_classes // layout.chunk_classes
        for (array, class_shard), chunks in together.items():
            classes = (chunk_classes,) * len(class_shard)
            content = encode_shard(chunks, (*classes, *layout.chunks_per_shard))
            self._write(array, (*class_shard, *shard), content)

    def finish(
        self,
        inputs: list[dict[str, Any]],
        *,
        window: Mapping[str, Any] | None = None,
        raters: list[dict[str, Any]] | None = None,
        trained_on: bool | None = None,
        soft_input: bool = False,
    ) -> int:
        """Mark the case complete, the last thing written, and return its size in bytes.

        Parameters are those of `case_attributes`.
        """
        attributes = case_attributes(
            self._config,
            self._name,
            geometry=self._geometry.to_json(),
            window=window or {},
            inputs=inputs,
            checksums=self._checksums,
            raters=raters,
            trained_on=trained_on,
            soft_input=soft_input,
        )
        group = metadata.group({"ome": self._image, "svls": attributes})
        content = metadata.write(self._folder, sealed(group), indent=None)
        return self._n_bytes + len(content)

    def _encode_labels(self, indices: npt.NDArray[Any]) -> bytes | None:
        """A chunk of a label image; None where every label is 0."""
        chunk, indices = self.layout.chunk, np.ascontiguousarray(indices)
        first = indices.min()
        if first < indices.max():
            return encode_chunk(_padded(look_up(self._hard_values, indices), chunk))
        value = self._hard_values[first]
        return encode_constant((value,), chunk, value.dtype) if value else None

    def _encode_soft(self, chunk_index: ChunkIndex, block: SoftBlock) -> EncodedBlock:
        layout = self.layout
        if layout.chunk_classes > 1 or layout.n_classes == 1:
            if not len(block.classes):
                return {}
            shape, dtype = block.soft.shape[1:], block.soft.dtype
            if block.constant:
                shape = (1,) * len(shape)
            together = np.zeros((layout.n_classes, *shape), dtype)
            together[block.classes] = block.soft[(slice(None), *map(slice, shape))]
            encoded = self._encode(together, constant=block.constant)
            return {("0", (0,)): [((0, *chunk_index), encoded)]}
        chunks: EncodedBlock = {}
        for index, values in zip(block.classes.tolist(), block.soft, strict=True):
            class_shard, at = divmod(index, layout.shard_classes)
            encoded = self._encode(values[np.newaxis], constant=block.constant)
            of_shard = chunks.setdefault(("0", (class_shard,)), [])
            of_shard.append(((at, *chunk_index), encoded))
        return chunks

    def _encode(self, values: npt.NDArray[Any], *, constant: bool) -> bytes:
        """A chunk of (k, z, y, x) soft labels."""
        chunk = self.layout.chunk
        if constant:
            vector = values.reshape(len(values), -1)[:, 0]
            return encode_constant(tuple(vector.tolist()), chunk, values.dtype)
        return encode_chunk(_padded(values, (len(values), *chunk)))

    def _describe_arrays(self, dtype: np.dtype[Any]) -> None:
        geometry = self._geometry
        layout, factor = self.layout, scale_factor(dtype.name)
        soft = metadata.array(
            (layout.n_classes, *layout.shape),
            dtype,
            chunk=(layout.chunk_classes, *layout.chunk),
            shard=(layout.shard_classes, *layout.shard),
            axes=("c", *geometry.axes),
            attributes={} if factor is None else {"scale_factor": factor},
        )
        labels = metadata.array(
            layout.shape,
            self._hard_dtype,
            chunk=layout.chunk,
            shard=layout.shard,
            axes=geometry.axes,
            attributes={},
        )
        names = list(self._label_images)
        self._write_document("0", soft)
        label_list = metadata.group({"ome": ome.label_list(names)})
        self._write_document("labels", label_list)
        for name in names:
            image = ome.label_image(name, geometry, self._config.classes)
            self._write_document(f"labels/{name}", metadata.group({"ome": image}))
            self._write_document(label_array(name), labels)

    def _write_document(self, name: str, document: Mapping[str, Any]) -> None:
        content = metadata.write(self._folder / name, document, indent=None)
        self._count(f"{name}/{metadata.NAME}", content)

    def _write(self, array: str, shard: Sequence[int], content: bytes) -> None:
        name = "/".join([array, "c", *map(str, shard)])
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self._count(name, content)

    def _count(self, name: str, content: bytes) -> None:
        self._checksums[name] = crc32c(content)
        self._n_bytes += len(content)


def _padded(values: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[Any]:
    """Values padded to a whole chunk where it reaches beyond the volume.

    The padding is never read. Repeating the edge packs better than zeros, which would
    be a boundary of their own: a sixth of the bytes of a 155x240x240 volume.
    """
    missing = [(0, full - n) for full, n in zip(shape, values.shape, strict=True)]
    return np.pad(values, missing, "edge") if any(m for _, m in missing) else values
