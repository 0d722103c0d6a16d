"""Voxels of an image file, checked to be all there before any is used.

Compressed data are unpacked once, their checksum and length verified, into a file
without a name, from which parts are read. The length of everything else is compared
with the header's promise: less is a file cut short, more a header of another type or
size.
"""

from __future__ import annotations

import bz2
import hashlib
import shutil
import tempfile
import zlib
from collections.abc import Callable
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from svls_cli.errors import InputError
from svls_cli.labels.header import AT_THE_END, DEFLATE_RATIO, ImageHeader

_READ_BYTES = 2**20
# Label maps compress a thousandfold: without a bound, one read could fill the memory.
_WRITE_BYTES = 2**24
# Bytes that may come before the voxels where they are the last ones.
_LEADING_BYTES = 2**24
_GZIP_MAGIC, _BZIP2_MAGIC = b"\x1f\x8b", b"BZh"


def open_voxels(header: ImageHeader) -> npt.NDArray[Any]:
    """The stored numbers, read from the disk as they are used.

    Returns
    -------
    (z, y, x) or (y, x); with a last axis for the components of a voxel
        Mapped from the file where its encoding allows.

    Raises
    ------
    InputError
        If there are less than the header promises, or more; or if a compressed stream
        is damaged.
    OSError
        If the file cannot be read, or the unpacked one cannot be written.
    """
    if header.encoding in ("ascii", "hex"):
        return _from_text(header)
    if header.encoding == "raw":
        available = header.data_path.stat().st_size - header.start
        with header.data_path.open("rb") as file:
            return _mapped(file, header, header.start, available)
    with tempfile.TemporaryFile(prefix="svls-") as plain:
        _unpack(header, plain)
        plain.flush()
        return _mapped(plain, header, 0, plain.tell())


def content_sha256(header: ImageHeader) -> str:
    """SHA-256 of a file's bytes, followed by those of a detached data file.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in dict.fromkeys((header.path, header.data_path)):
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    return digest.hexdigest()


def _mapped(
    file: IO[bytes], header: ImageHeader, start: int, available: int
) -> npt.NDArray[Any]:
    """The voxels among ``available`` decoded bytes that begin at ``start``."""
    promised, skip = header.n_bytes, header.skip
    if skip == AT_THE_END:
        skip = max(available - promised, 0)
    if header.open_end:
        available = min(available, skip + promised)
    _check_length(promised, available - skip)
    return np.memmap(file, header.dtype, "r", start + skip, header.array_shape)


def _check_length(promised: int, available: int) -> None:
    if available < promised:
        raise InputError(
            f"truncated: the header promises {promised} bytes of voxels, the file has "
            f"{max(available, 0)}"
        )
    if available > promised:
        raise InputError(
            f"the header promises {promised} bytes of voxels, the file has "
            f"{available}: the header's sizes, type or offset must be wrong"
        )


def _unpack(header: ImageHeader, target: IO[bytes]) -> None:
    promised, packed = header.n_bytes, header.data_path.stat().st_size - header.start
    if header.encoding in ("gzip", "zlib") and promised > DEFLATE_RATIO * max(
        packed, 0
    ):
        raise InputError(
            f"truncated: the header promises {promised} bytes of voxels, which "
            f"{max(packed, 0)} packed bytes cannot hold"
        )
    most = promised + (_LEADING_BYTES if header.skip == AT_THE_END else header.skip)
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if most > free:
        raise InputError(
            f"the header promises {promised} bytes of voxels, and {free} are free in "
            f"{tempfile.gettempdir()} to unpack them; TMPDIR names another folder"
        )

    def write(block: bytes) -> None:
        room = most - target.tell()
        if len(block) > room and not header.open_end:
            raise InputError(
                f"the header promises {promised} bytes of voxels, the file has more: "
                "the header's sizes, type or offset must be wrong"
            )
        target.write(block[:room])

    with header.data_path.open("rb") as stream:
        stream.seek(header.start)
        try:
            if header.blocks:
                for block in header.blocks(stream):
                    write(block)
            elif header.encoding == "bzip2":
                _unpack_bzip2(stream, write)
            else:
                _inflate(stream, write)
        except (EOFError, zlib.error) as error:
            raise InputError(
                f"corrupt or truncated {header.encoding} data: {error}"
            ) from error


def _unpack_bzip2(packed: IO[bytes], write: Callable[[bytes], object]) -> None:
    stream, block = bz2.BZ2Decompressor(), packed.read(_READ_BYTES)
    while block or not stream.needs_input:
        try:
            write(stream.decompress(block, _WRITE_BYTES))
        except OSError as error:
            if error.errno:  # a full disk, say: bz2 reports bad data without one
                raise
            raise EOFError(error) from error
        block = b""
        if stream.eof:
            block = _next_member(stream.unused_data, packed, _BZIP2_MAGIC)
            if not block:
                return
            stream = bz2.BZ2Decompressor()
        elif stream.needs_input:
            block = packed.read(_READ_BYTES)
    raise EOFError("the stream ends before its end marker")


def _inflate(packed: IO[bytes], write: Callable[[bytes], object]) -> None:
    """Unpack gzip or zlib; zlib itself verifies checksum and length at each end."""
    stream = zlib.decompressobj(wbits=47)
    block = packed.read(_READ_BYTES)
    while block:
        write(stream.decompress(block, _WRITE_BYTES))
        block = stream.unconsumed_tail
        if stream.eof:
            block = _next_member(stream.unused_data, packed, _GZIP_MAGIC)
            if not block:
                return
            stream = zlib.decompressobj(wbits=47)
        block = block or packed.read(_READ_BYTES)
    raise EOFError("the stream ends before its end marker")


def _next_member(block: bytes, packed: IO[bytes], magic: bytes) -> bytes:
    """The start of the next packed member; empty if only zeros follow."""
    while len(block) < len(magic) and (more := packed.read(_READ_BYTES)):
        block += more
    if block.startswith(magic):
        return block
    while block:
        if block.strip(b"\0"):
            raise EOFError("other bytes follow its end")
        block = packed.read(_READ_BYTES)
    return b""


def _from_text(header: ImageHeader) -> npt.NDArray[Any]:
    """Voxels written as decimal numbers, or as bytes in hexadecimal digits."""
    n_voxels = header.n_bytes // header.dtype.itemsize
    size = header.data_path.stat().st_size - header.start
    if header.skip or n_voxels > size:  # every number has a digit
        _check_length(n_voxels, size)
        raise InputError("broken header: bytes of text cannot be skipped")
    with header.data_path.open("rb") as file:
        file.seek(header.start)
        words = file.read().decode("latin-1").split()
    if header.encoding == "hex":
        try:
            content = bytes.fromhex("".join(words))
        except ValueError as error:
            raise InputError(f"corrupt hexadecimal digits: {error}") from error
        _check_length(header.n_bytes, len(content))
        return np.frombuffer(content, header.dtype).reshape(header.array_shape)
    _check_length(n_voxels, len(words))
    try:
        voxels = np.array(words).astype(header.dtype)
    except (ValueError, OverflowError) as error:
        raise InputError(f"a voxel is no number of type {header.dtype}") from error
    return voxels.reshape(header.array_shape)
