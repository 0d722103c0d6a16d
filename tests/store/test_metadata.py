"""The documents that we write are the ones that zarr-python would write."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import ZstdCodec

from svls_cli.soften.choices import DTYPES
from svls_cli.store import metadata
from svls_cli.store.schema import DAMAGE
from svls_cli.store.shards import encode_chunk, encode_constant

NAMES = "a é 日 \udcff"  # the last one: a byte that is no text, as file names may have


@pytest.mark.parametrize("dtype", [*DTYPES, "uint32"])
@pytest.mark.parametrize(
    ("shape", "chunk", "shard"),
    [((3, 20, 30, 40), (3, 8, 8, 8), (3, 16, 32, 40)), ((9, 50), (1, 32), (9, 64))],
)
def test_arrays_are_described_as_zarr_does(
    dtype: str, shape: Any, chunk: Any, shard: Any, tmp_path: Path
) -> None:
    axes, attributes = "czyx"[: len(shape)], {"scale_factor": 1 / 255}
    theirs = zarr.create_array(
        tmp_path / "theirs",
        shape=shape,
        dtype=dtype,
        chunks=chunk,
        shards=shard,
        compressors=[ZstdCodec(level=metadata.ZSTD_LEVEL, checksum=True)],
        fill_value=0,
        dimension_names=axes,
        attributes=attributes,
    )
    sizes = {"chunk": chunk, "shard": shard}
    ours = metadata.array(
        shape, theirs.dtype, axes=axes, attributes=attributes, **sizes
    )
    metadata.write(tmp_path / "ours", ours, indent=2)
    one, other = (tmp_path / who / metadata.NAME for who in ("ours", "theirs"))
    assert json.loads(one.read_text()) == json.loads(other.read_text())


@pytest.mark.parametrize("indent", [None, 2])
def test_groups_are_read_back_by_both(indent: int | None, tmp_path: Path) -> None:
    attributes = {"svls": {"name": NAMES, "scale": [1.5, -0.0], "none": None}}
    folder = tmp_path / "deep" / "group"
    content = metadata.write(folder, metadata.group(attributes), indent=indent)
    assert content == (folder / metadata.NAME).read_bytes()
    assert metadata.group_attributes(metadata.parse(content)) == attributes
    assert zarr.open_group(folder, mode="r").attrs.asdict() == attributes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"zarr_format": 2, "node_type": "group"}',
        '{"zarr_format": 3, "node_type": "array"}',
        '{"zarr_format": 3, "node_type": "group", "attributes": 7}',
        '{"zarr_format": 3, "node_type": "group", "attributes": {"a": NaN}}',
        "[" * 200_000 + "]" * 200_000,
        "\udcff",
    ],
)
def test_what_is_no_group_is_refused(text: str) -> None:
    with pytest.raises(DAMAGE):
        metadata.group_attributes(metadata.parse(text.encode(errors="surrogateescape")))


def test_not_a_number_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        metadata.write(tmp_path, metadata.group({"scale": np.nan}), indent=None)


def test_constant_chunks_are_chunks() -> None:
    chunk = np.empty((2, 4, 5), np.uint16)
    chunk[0], chunk[1] = 7, 65535
    assert encode_constant((7, 65535), (4, 5), chunk.dtype) == encode_chunk(chunk)
