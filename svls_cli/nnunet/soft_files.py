"""Files of soft labels on nnU-Net's grid, beside its preprocessed cases."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params

from svls_cli.errors import InputError
from svls_cli.files import replacing

# Name of our entry among a file's own attributes.
_KEY = "svls"
SUFFIX = ".b2nd"
CERTAIN = 255  # a class's value where it is certain
# What blosc2 may raise for damaged files, and what follows from attributes that lie.
_DAMAGE = (OSError, RuntimeError, ValueError, LookupError, TypeError)


@dataclass(frozen=True)
class Origin:
    """What a file of soft labels was made from.

    Parameters
    ----------
    store
        Parameters of the store, in words; equal for all cases of one.
    labels
        Digest of nnU-Net's label map that they belong to.
    key
        Hash of all that they depend on.
    crc32
        Checksum of the soft labels themselves.
    """

    store: str
    labels: str
    key: str
    crc32: int = 0


def write_soft_file(
    path: Path,
    soft: npt.NDArray[np.uint8],
    *,
    patch_size: Sequence[int],
    origin: Origin,
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
    chunked.vlmeta[_KEY] = asdict(replace(origin, crc32=_crc32(soft)))
    content: bytes = array.to_cframe()  # blosc2 itself would not tell of a full disk
    with replacing(path) as part:
        part.write_bytes(content)
    return len(content)


def open_soft_file(path: str | Path) -> Any:
    """A file's array (c, z, y, x) uint8, sliced lazily.

    Raises
    ------
    InputError
        If it is no such file, or damaged.
    """
    mapped = {} if os.name == "nt" else {"mmap_mode": "r"}  # as nnU-Net opens its own
    try:
        return blosc2.open(
            urlpath=str(path), mode="r", dparams={"nthreads": 1}, **mapped
        )
    except _DAMAGE as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def origin_of(path: Path) -> Origin:
    """What a file was made from.

    Raises
    ------
    InputError
        As `open_soft_file`.
    """
    array = open_soft_file(path)
    chunks = array.schunk  # its attributes live as long as it does
    try:
        return Origin(**chunks.vlmeta[_KEY])
    except _DAMAGE as error:
        raise InputError(f"{path} was not made by svls-cli nnunet") from error


def is_whole(path: Path, origin: Origin) -> bool:
    """Whether a file was made from this, and all of it can be read as it was."""
    try:
        found = origin_of(path)
        if found != replace(origin, crc32=found.crc32):
            return False
        return _crc32(open_soft_file(path)) == found.crc32
    except (InputError, *_DAMAGE):
        return False


def _crc32(soft: Any) -> int:
    """Checksum of an array (c, z, y, x), read class by class."""
    checksum = 0
    for index in range(len(soft)):
        checksum = zlib.crc32(np.ascontiguousarray(soft[index]).data, checksum)
    return checksum


@dataclass(frozen=True, eq=False)
class LabelsWithSoft:
    """A case's label map and its soft labels, as channels of one lazy array.

    nnU-Net's loader cuts patches out of it as out of a label map: channel 0 holds label
    values, the others the classes, 255 where they are certain.
    """

    labels: Any  # (1, z, y, x)
    soft: Any  # (c, z, y, x)
    path: Path  # file of the soft labels, for messages

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, then voxels per axis."""
        channels, *voxels = self.soft.shape
        return (1 + channels, *voxels)

    def __getitem__(self, region: tuple[slice, ...]) -> npt.NDArray[np.int16]:
        """Read a patch of all channels.

        Raises
        ------
        InputError
            If the soft labels are damaged.
        """
        _, *voxels = region
        result = np.empty(
            (self.shape[0], *(s.stop - s.start for s in voxels)), np.int16
        )
        result[:1] = self.labels[(slice(None), *voxels)]
        try:
            result[1:] = self.soft[(slice(None), *voxels)]
        except RuntimeError as error:
            raise InputError(
                f"{self.path} is damaged: run svls-cli nnunet again"
            ) from error
        return result
