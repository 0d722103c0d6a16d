"""Files of soft labels on nnU-Net's grid, beside its preprocessed cases."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params

from svls_cli.files import replacing

# Name of our entry among a file's own attributes.
_KEY = "svls"
SUFFIX = ".b2nd"
CERTAIN = 255  # a class's value where it is certain


def write_soft_file(
    path: Path,
    soft: npt.NDArray[np.uint8],
    *,
    patch_size: Sequence[int],
    made_from: str,
) -> int:
    """Write soft labels (c, z, y, x), whole or not at all; return the file's size.

    ``patch_size`` is that of nnU-Net's plans, in whose pieces the file will be read.
    """
    blocks, chunks = comp_blosc2_params(soft.shape, tuple(patch_size), soft.itemsize)
    settings = {"codec": blosc2.Codec.LZ4HC, "clevel": 5, "nthreads": 1}
    array = blosc2.asarray(
        np.ascontiguousarray(soft),
        chunks=chunks,
        blocks=blocks,
        cparams={**settings, "filters": [blosc2.Filter.NOFILTER]},
    )
    chunked = array.schunk
    chunked.vlmeta[_KEY] = made_from
    content: bytes = array.to_cframe()  # blosc2 itself would not tell of a full disk
    with replacing(path) as part:
        part.write_bytes(content)
    return len(content)


def open_soft_file(path: str | Path) -> Any:
    """A file's array (c, z, y, x) uint8, sliced lazily."""
    mapped = {} if os.name == "nt" else {"mmap_mode": "r"}  # as nnU-Net opens its own
    return blosc2.open(urlpath=str(path), mode="r", dparams={"nthreads": 1}, **mapped)


def made_from(path: Path) -> str | None:
    """What a file was made from; None if there is none that can be read."""
    try:
        array = open_soft_file(path)
        chunks = array.schunk  # its attributes live as long as it does
        return str(chunks.vlmeta[_KEY])
    except (OSError, RuntimeError, ValueError, LookupError):
        return None


@dataclass(frozen=True, eq=False)
class LabelsWithSoft:
    """A case's label map and its soft labels, as channels of one lazy array.

    nnU-Net's loader cuts patches out of it as out of a label map: channel 0 holds label
    values, the others the classes, 255 where they are certain.
    """

    labels: Any  # (1, z, y, x)
    soft: Any  # (c, z, y, x)

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, then voxels per axis."""
        channels, *voxels = self.soft.shape
        return (1 + channels, *voxels)

    def __getitem__(self, region: tuple[slice, ...]) -> npt.NDArray[np.int16]:
        """Read a patch of all channels."""
        _, *voxels = region
        result = np.empty(
            (self.shape[0], *(s.stop - s.start for s in voxels)), np.int16
        )
        result[:1] = self.labels[(slice(None), *voxels)]
        result[1:] = self.soft[(slice(None), *voxels)]
        return result
