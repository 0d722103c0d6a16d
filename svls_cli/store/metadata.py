"""The `zarr.json` documents of a store, as zarr-python would write them.

Written and read directly: through zarr-python they take more time than the voxels of a
small case, and its import more than that.

References
----------
.. [1] Zarr v3 specification, "Metadata documents".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from svls_cli.store.schema import DAMAGE

NAME = "zarr.json"
ZSTD_LEVEL = 3
_LITTLE = {"endian": "little"}


def group(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Document of a group."""
    return {"attributes": dict(attributes), "zarr_format": 3, "node_type": "group"}


def array(
    shape: Sequence[int],
    dtype: np.dtype[Any],
    *,
    chunk: Sequence[int],
    shard: Sequence[int],
    axes: Sequence[str],
    attributes: Mapping[str, Any],
) -> dict[str, Any]:
    """Document of an array in shards of zstd chunks, 0 where nothing is stored.

    A shard is a whole number of chunks.
    """
    to_bytes: dict[str, Any] = {"name": "bytes"}
    if dtype.itemsize > 1:
        to_bytes["configuration"] = _LITTLE
    zstd = {"level": ZSTD_LEVEL, "checksum": True}
    sharding = {
        "chunk_shape": list(chunk),
        "codecs": [to_bytes, {"name": "zstd", "configuration": zstd}],
        "index_codecs": [
            {"name": "bytes", "configuration": _LITTLE},
            {"name": "crc32c"},
        ],
        "index_location": "end",
    }
    return {
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": list(shard)},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": dtype.type(0).item(),
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": dict(attributes),
        "dimension_names": list(axes),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def write(folder: Path, document: Mapping[str, Any], *, indent: int | None) -> bytes:
    """Make ``folder`` the group or array that ``document`` describes.

    The folder is made if it does not exist. ``indent`` None leaves white space out: in
    small cases of many classes most bytes are metadata.

    Returns
    -------
    bytes
        The content of the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(document, indent=indent, allow_nan=False).encode()
    (folder / NAME).write_bytes(content)
    return content


def parse(content: bytes) -> dict[str, Any]:
    """Parse the document of a group or array.

    Raises
    ------
    ValueError, TypeError, RecursionError, MemoryError
        If it is damaged.
    """
    return dict(json.loads(content.decode("utf-8"), parse_constant=_refuse))


def group_attributes(document: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of the group that a document describes.

    Raises
    ------
    ValueError, KeyError, TypeError
        If it describes no group, or is damaged.
    """
    if document["zarr_format"] != 3 or document["node_type"] != "group":
        raise ValueError("not a Zarr v3 group")
    return dict(document.get("attributes", {}))


@dataclass(frozen=True)
class ArrayLayout:
    """Shape and type of a stored array, and shapes of its chunks and shards."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: tuple[int, ...]
    shard: tuple[int, ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ArrayLayout | None:
        """Layout in a document; None if no writer of ours would write this document."""
        try:
            dtype = np.dtype(document["data_type"])
            shard = document["chunk_grid"]["configuration"]["chunk_shape"]
            chunk = document["codecs"][0]["configuration"]["chunk_shape"]
            expected = array(
                document["shape"],
                dtype,
                chunk=chunk,
                shard=shard,
                axes=document["dimension_names"],
                attributes=document["attributes"],
            )
            if document != expected or not _is_sane(document["shape"], chunk, shard):
                return None
        except DAMAGE:
            return None
        return cls(tuple(document["shape"]), dtype, tuple(chunk), tuple(shard))


def _is_sane(shape: list[Any], chunk: list[Any], shard: list[Any]) -> bool:
    """Whether these can be sizes of an array, its chunks and its shards."""
    lengths = {len(sizes) for sizes in (shape, chunk, shard)}
    whole = all(type(n) is int and n > 0 for n in (*shape, *chunk, *shard))
    return (
        len(lengths) == 1
        and whole
        and all(s % c == 0 for s, c in zip(shard, chunk, strict=True))
    )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
