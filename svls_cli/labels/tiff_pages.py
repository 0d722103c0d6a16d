"""Pixels of a page of a TIFF file: strips or tiles, unpacked and put together."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from svls_cli.errors import InputError
from svls_cli.labels.header import DEFLATE_RATIO
from svls_cli.labels.pillow import unpacked

# By Compression.
PLAIN, _LZW, _DEFLATE, PACKBITS = 1, 5, (8, 32946), 32773
# To how many bytes one byte unpacks at most.
RATIOS = {PLAIN: 1, _LZW: 2560, PACKBITS: 64} | dict.fromkeys(_DEFLATE, DEFLATE_RATIO)
# By Predictor: differences of neighbours, and of the bytes of neighbouring floats.
UNPREDICTED, DIFFERENCES, FLOAT_DIFFERENCES = 1, 2, 3


@dataclass(frozen=True)
class Page:
    """One page: its size, the type of its pixels, and where these are."""

    height: int
    width: int
    bits: int
    dtype: np.dtype[Any]
    palette: bool
    packing: int
    predictor: int
    # Rows and columns of a part: a strip; or a tile, which has all at the edges, too.
    part: tuple[int, int]
    tiled: bool
    # First byte of each part, and the number of its bytes.
    places: tuple[tuple[int, int], ...]

    @property
    def form(self) -> tuple[Any, ...]:
        """What all pages of a volume share."""
        return self.height, self.width, self.bits, self.dtype, self.palette

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of a part."""
        return -(-self.part[1] * self.bits // 8)

    def check(self, file_size: int) -> None:
        """Check that the file has all parts, and that they can hold the pixels.

        Raises
        ------
        InputError
            If not.
        """
        for _, _, rows, (offset, count) in self._parts():
            if not 0 < offset <= file_size - count:
                raise InputError(
                    f"truncated: pixels in bytes {offset} to {offset + count}, the "
                    f"file has {file_size}"
                )
            promised = rows * self.row_bytes
            if promised > RATIOS[self.packing] * count:
                raise InputError(
                    f"truncated: its tags promise {promised} bytes of pixels, which "
                    f"{count} bytes cannot hold"
                )

    def read(self, file: IO[bytes]) -> npt.NDArray[Any]:
        """The pixels (y, x).

        Raises
        ------
        EOFError, zlib.error
            If they are damaged.
        """
        pixels = np.empty((self.height, self.width), self.dtype)
        for top, left, rows, (offset, count) in self._parts():
            file.seek(offset)
            content = self._unpacked(file.read(count), rows)
            part = self._numbers(np.frombuffer(content, np.uint8).reshape(rows, -1))
            here = pixels[top : top + rows, left : left + self.part[1]]
            here[...] = part[: here.shape[0], : here.shape[1]]
        return pixels

    def _parts(self) -> Iterator[tuple[int, int, int, tuple[int, int]]]:
        """First row and column of each part, the number of its rows, and its place."""
        height, width = self.part
        corners = (
            (top, left)
            for top in range(0, self.height, height)
            for left in range(0, self.width, width)
        )
        for (top, left), place in zip(corners, self.places, strict=True):
            rows = height if self.tiled else min(height, self.height - top)
            yield top, left, rows, place

    def _unpacked(self, packed: bytes, rows: int) -> bytes:
        n_bytes = rows * self.row_bytes
        content = packed
        if self.packing in _DEFLATE:
            stream = zlib.decompressobj()
            content = stream.decompress(packed, n_bytes)
            content += stream.decompress(stream.unconsumed_tail, 1)  # the checksum
            if not stream.eof:
                raise EOFError("a part of it has no end, or is too long")
        elif self.packing != PLAIN:
            grey = _as_grey(packed, self.packing, self.row_bytes, rows)
            content = unpacked(grey, "TIFF").tobytes()
        if len(content) != n_bytes:
            raise EOFError(f"a part of {n_bytes} bytes has {len(content)}")
        return content

    def _numbers(self, content: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """The bytes of a part's rows as numbers."""
        rows = len(content)
        if self.bits < 8:
            single = np.unpackbits(content, axis=1)[:, : self.part[1] * self.bits]
            single = single.reshape(rows, -1, self.bits)
            return np.packbits(single, axis=2)[..., 0] >> (8 - self.bits)
        if self.predictor == FLOAT_DIFFERENCES:
            planes = np.cumsum(content, axis=1, dtype=np.uint8)
            planes = planes.reshape(rows, self.dtype.itemsize, -1).transpose(0, 2, 1)
            return np.ascontiguousarray(planes).view(self.dtype.newbyteorder(">"))[
                ..., 0
            ]
        if self.predictor == DIFFERENCES:
            whole = np.dtype(f"u{self.dtype.itemsize}")
            stored = content.view(whole.newbyteorder(self.dtype.byteorder))
            sums = np.cumsum(stored, axis=1, dtype=whole)
            return sums.view(self.dtype.newbyteorder("="))
        return content.view(self.dtype)


def _as_grey(packed: bytes, packing: int, width: int, height: int) -> bytes:
    """A TIFF file of bytes, whatever they mean: what Pillow cannot misunderstand."""
    tags = {
        256: width, 257: height, 258: 8, 259: packing, 262: 1, 273: 8, 277: 1,
        278: height, 279: len(packed),
    }  # fmt: skip
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    directory = struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4)
    return struct.pack("<2sHI", b"II", 42, 8 + len(packed)) + packed + directory
