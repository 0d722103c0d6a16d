"""Integrity checks of image files, made before any voxel is used.

SimpleITK reads a truncated NIfTI file, and a MetaImage file with a broken zlib stream,
without an error and fills the rest with zeros. So compressed data are unpacked here,
once, with length and checksum verified, into an uncompressed file that SimpleITK can
also read by region; and the size of uncompressed data is compared with the header.
"""

from __future__ import annotations

import bz2
import hashlib
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from svls_cli.errors import InputError
from svls_cli.labels.cases import suffix_of
from svls_cli.labels.headers import Container

_READ_BYTES = 2**20
# Label maps compress a thousandfold: without a bound, one read could fill the memory.
_WRITE_BYTES = 2**24
_GZIP_MAGIC = b"\x1f\x8b"
_PLAIN_SUFFIX = {
    ".nii.gz": ".nii",
    ".nrrd": ".nrrd",
    ".seg.nrrd": ".nrrd",
    ".nhdr": ".nrrd",
    ".mha": ".mha",
    ".mhd": ".mha",
}


def content_sha256(container: Container) -> str:
    """SHA-256 of a file's bytes, followed by those of a detached data file.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in dict.fromkeys((container.path, container.data_path)):
        try:
            with path.open("rb") as file:
                while block := file.read(_READ_BYTES):
                    digest.update(block)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


@contextmanager
def plain_file(container: Container) -> Iterator[Path]:
    """An uncompressed, complete file of the same image, valid within the block.

    Raises
    ------
    InputError
        If the voxels are truncated or their checksum is wrong.
    """
    if not container.compression:
        available = container.data_path.stat().st_size - container.data_offset
        _check_size(container, available)
        yield container.path
        return
    with TemporaryDirectory(prefix="svls-") as folder:
        plain = Path(folder) / f"image{_PLAIN_SUFFIX[suffix_of(container.path)]}"
        with plain.open("wb") as target:
            target.write(container.plain_header)
            _unpack(container, target)
            start = len(container.plain_header) or container.data_offset
            _check_size(container, target.tell() - start)
        yield plain


def _check_size(container: Container, available: int) -> None:
    expected = container.data_bytes
    if expected is not None and available < expected:
        raise InputError(
            f"truncated: the header promises {expected} bytes of voxels, the file has "
            f"{max(available, 0)}"
        )


def _unpack(container: Container, target: IO[bytes]) -> None:
    with container.data_path.open("rb") as packed:
        # Without a header of its own the packed stream holds the header too (NIfTI).
        packed.seek(container.data_offset if container.plain_header else 0)
        try:
            if container.compression == "bzip2":
                with bz2.open(packed, "rb") as stream:
                    shutil.copyfileobj(stream, target, _READ_BYTES)
            else:
                _inflate(packed, target)
        except (EOFError, zlib.error) as error:
            raise InputError(
                f"corrupt or truncated {container.compression} data: {error}"
            ) from error
        except OSError as error:
            if error.errno:  # a full disk, say: bz2 reports bad data without one
                raise
            raise InputError(f"corrupt bzip2 data: {error}") from error


def _inflate(packed: IO[bytes], target: IO[bytes]) -> None:
    """Unpack gzip or zlib; zlib itself verifies checksum and length at each end."""
    stream = zlib.decompressobj(wbits=47)
    block = packed.read(_READ_BYTES)
    while block:
        target.write(stream.decompress(block, _WRITE_BYTES))
        block = stream.unconsumed_tail
        if stream.eof:
            block = stream.unused_data
            while len(block) < len(_GZIP_MAGIC) and (more := packed.read(_READ_BYTES)):
                block += more
            if not block.startswith(_GZIP_MAGIC):  # padding, or the end
                return
            stream = zlib.decompressobj(wbits=47)
        block = block or packed.read(_READ_BYTES)
    raise EOFError("the stream ends before its end marker")
