"""Headers, checksums and pixels of PNG files.

A pixel is the number that is stored, not the shade that is shown: 0 or 1 of one bit, 0
to 15 of four, and the index of a palette's colour. The size of a pixel is that of the
chunk pHYs, where it gives one in metres and not the resolution of a screen.

References
----------
.. [1] https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.header import (
    DEFLATE_RATIO,
    ONE_NUMBER,
    ImageHeader,
    image_sizes,
    is_screen,
)
from svls_cli.labels.pillow import unpacked

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Bits of a pixel by the kind of colours.
_GREY, _PALETTE = 0, 3
_BITS = {_GREY: (1, 2, 4, 8, 16), _PALETTE: (1, 2, 4, 8)}
_COLOURS = {2: "RGB", 4: "grey with transparency", 6: "RGB with transparency"}
# First row and column, and steps between, of the passes of an interlaced image.
_PASSES = (
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
    (1, 0, 2, 1),
)  # fmt: skip
_BLOCK_BYTES = 2**24
# Pillow makes 255 of the largest grey of few bits.
_SCALES = {1: 255, 2: 85, 4: 17}


def read_png(path: Path) -> ImageHeader:
    """Read the header of a ``.png`` file.

    Raises
    ------
    InputError
        If it is broken or cut short, or has colours.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            raise InputError("not a PNG file: it does not start as one")
        chunks, packed = _walk(file)
    if len(chunks.get(b"IHDR", b"")) != 13 or next(iter(chunks)) != b"IHDR":
        raise InputError("broken PNG: it does not begin with a header of 13 bytes")
    width, height, bits, colours, *methods = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    if colours in _COLOURS:
        raise InputError(f"its pixels are {_COLOURS[colours]}: {ONE_NUMBER}")
    if bits not in _BITS.get(colours, ()) or methods not in ([0, 0, 0], [0, 0, 1]):
        raise InputError(f"broken PNG header: {chunks[b'IHDR'].hex(' ')}")
    if b"acTL" in chunks:
        raise InputError("an animation; save its pictures one by one")
    sizes = image_sizes([width, height])
    n_packed = sum(end - start for start, end in packed)
    n_bytes = _n_bytes(height, width, bits, interlaced=bool(methods[2]))
    if n_bytes > DEFLATE_RATIO * n_packed:
        raise InputError(
            f"truncated: the header promises {width} x {height} pixels of {bits} bits, "
            f"which {n_packed} packed bytes cannot hold"
        )
    shown = [kind for kind in (b"IHDR", b"PLTE") if kind in chunks]
    start = _SIGNATURE + b"".join(_chunk(kind, chunks[kind]) for kind in shown)
    scale = _SCALES.get(bits, 1) if colours == _GREY else 1
    return ImageHeader(
        path,
        path,
        Geometry.from_axes(sizes, np.eye(2), np.zeros(2), _spacing(chunks)),
        np.dtype("<u2" if bits == 16 else "u1"),
        encoding="PNG",
        blocks=partial(
            _pixels, start=start, packed=packed, n_bytes=n_bytes, scale=scale
        ),
        palette=colours == _PALETTE,
    )


def set_pixel_size(path: Path, spacing_mm: Sequence[float]) -> None:
    """Write the size of a pixel, along y and x, into a file that has none."""
    if tuple(spacing_mm) == (1, 1):
        return
    per_metre = [round(1000 / mm) for mm in reversed(spacing_mm)]
    content = path.read_bytes()
    behind = len(_SIGNATURE) + 25  # the header's chunk comes first
    size = _chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1))
    path.write_bytes(content[:behind] + size + content[behind:])


def _walk(file: IO[bytes]) -> tuple[dict[bytes, bytes], list[tuple[int, int]]]:
    """Contents of the chunks by kind, and the places of those with the pixels."""
    chunks: dict[bytes, bytes] = {}
    packed: list[tuple[int, int]] = []
    size = os.fstat(file.fileno()).st_size
    while b"IEND" not in chunks:
        start = file.tell()
        length, kind = struct.unpack(">I4s", _read(file, 8))
        if start + length + 12 > size:
            raise InputError(f"corrupt or truncated PNG: it ends within {_name(kind)}")
        if kind == b"IDAT":  # read and checked with the pixels
            packed.append((start + 8, start + 8 + length))
            file.seek(length + 4, os.SEEK_CUR)
        else:
            chunks[kind] = _checked(file, kind, length)
    return chunks, packed


def _checked(file: IO[bytes], kind: bytes, length: int) -> bytes:
    content = _read(file, length)
    if _read(file, 4) != _checksum(kind, content):
        raise InputError(f"corrupt PNG: the checksum of {_name(kind)} is wrong")
    return content


def _name(kind: bytes) -> str:
    """A chunk's kind, four letters, for a message."""
    return kind.decode("ascii", "backslashreplace")


def _read(file: IO[bytes], length: int) -> bytes:
    content = file.read(length)
    if len(content) < length:
        raise InputError("truncated: the PNG ends before its end marker")
    return content


def _checksum(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def _chunk(kind: bytes, content: bytes) -> bytes:
    length = struct.pack(">I", len(content))
    return length + kind + content + _checksum(kind, content)


def _spacing(chunks: dict[bytes, bytes]) -> list[float]:
    """Size of a pixel along x and y, mm."""
    content = chunks.get(b"pHYs", b"")
    if len(content) != 9:
        return [1.0, 1.0]
    *per_metre, unit = struct.unpack(">IIB", content)
    if unit != 1 or not all(per_metre) or is_screen(per_metre[0] / 1000):
        return [1.0, 1.0]
    return [1000 / n for n in per_metre]


def _n_bytes(height: int, width: int, bits: int, *, interlaced: bool) -> int:
    """Bytes of the unpacked rows, each with the number of its filter."""
    sizes = (
        (-(-(height - y) // dy), -(-(width - x) // dx))
        for y, x, dy, dx in (_PASSES if interlaced else [(0, 0, 1, 1)])
    )
    return sum(rows * (1 - -n * bits // 8) for rows, n in sizes if n > 0)


def _pixels(
    file: IO[bytes],
    *,
    start: bytes,
    packed: list[tuple[int, int]],
    n_bytes: int,
    scale: int,
) -> Iterator[bytes]:
    """The numbers stored, their checksums and their length verified."""
    parts = []
    for first, end in packed:
        file.seek(first)
        parts.append(_checked(file, b"IDAT", end - first))
    data = b"".join(parts)
    _check_length(data, n_bytes)
    # Only what decides the pixels, in one piece: Pillow would act on the rest, too.
    pixels = unpacked(start + _chunk(b"IDAT", data) + _chunk(b"IEND", b""), "PNG")
    yield (pixels if scale == 1 else pixels // scale).tobytes()


def _check_length(packed: bytes, promised: int) -> None:
    """Raise EOFError unless there are as many bytes: Pillow makes 0 of missing rows."""
    stream, found = zlib.decompressobj(), 0
    while packed and not stream.eof:
        found += len(stream.decompress(packed, _BLOCK_BYTES))
        packed = stream.unconsumed_tail
    if found != promised or not stream.eof:
        raise EOFError(f"{found} bytes of pixels, and {promised} are promised")
