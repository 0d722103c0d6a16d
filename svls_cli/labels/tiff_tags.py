"""Tags of the pages of a TIFF file, classic or BigTIFF, in either byte order."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from svls_cli.errors import InputError

Tags = Mapping[str, tuple[Any, ...]]

_NAMES = {
    254: "NewSubfileType", 256: "ImageWidth", 257: "ImageLength",
    258: "BitsPerSample", 259: "Compression", 262: "PhotometricInterpretation",
    266: "FillOrder", 270: "ImageDescription", 273: "StripOffsets", 274: "Orientation",
    277: "SamplesPerPixel", 278: "RowsPerStrip", 279: "StripByteCounts",
    282: "XResolution", 283: "YResolution", 296: "ResolutionUnit", 317: "Predictor",
    322: "TileWidth", 323: "TileLength", 324: "TileOffsets", 325: "TileByteCounts",
    339: "SampleFormat",
}  # fmt: skip
_TYPES = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_TEXT, _FRACTION = 2, 5
# Of a classic file and of BigTIFF: how an offset is written, and a number of tags.
_FORMS = {42: ("I", "H"), 43: ("Q", "Q")}


def read_tags(file: IO[bytes]) -> tuple[str, list[Tags]]:
    """The byte order, ``<`` or ``>``, and each page's tags that matter here.

    A tag has whole numbers, floats or one text, by its type.

    Raises
    ------
    InputError
        If the file is no TIFF, or broken or cut short where pages or tags should be.
    """
    size = os.fstat(file.fileno()).st_size
    order = {b"II": "<", b"MM": ">"}.get(file.read(2))
    magic = int.from_bytes(file.read(2), "little" if order == "<" else "big")
    if order is None or magic not in _FORMS:
        raise InputError("not a TIFF file: it does not start as one")
    offset_form, count_form = (order + form for form in _FORMS[magic])
    if magic == 43 and file.read(4) != struct.pack(f"{order}HH", 8, 0):
        raise InputError("broken TIFF: its offsets have other than 8 bytes")
    pages: list[Tags] = []
    (place,) = _read(file, offset_form, size)
    seen = set[int]()
    while place:
        if place in seen:
            raise InputError("broken TIFF: its pages lead in a circle")
        seen.add(place)
        file.seek(place)
        (count,) = _read(file, count_form, size)
        width = struct.calcsize(offset_form)
        entries = _bytes(file, count * (4 + 2 * width), size)
        (place,) = _read(file, offset_form, size)
        form = f"{order}HH{offset_form[1]}{width}s"
        pages.append(
            {
                _NAMES[tag]: _values(file, order, kind, n, value, size)
                for tag, kind, n, value in struct.iter_unpack(form, entries)
                if tag in _NAMES
            }
        )
    if not pages:
        raise InputError("broken TIFF: it has no page")
    return order, pages


def _values(
    file: IO[bytes], order: str, kind: int, count: int, value: bytes, size: int
) -> tuple[Any, ...]:
    """What a tag says, in the entry itself or, if it is long, where that points."""
    form = {_TEXT: "S1", _FRACTION: "u4"}.get(kind) or _TYPES.get(kind)
    if form is None:
        return ()
    n_bytes = count * (8 if kind == _FRACTION else int(form[1]))
    content = value[:n_bytes]
    if n_bytes > len(value):
        file.seek(int.from_bytes(value, "little" if order == "<" else "big"))
        content = _bytes(file, n_bytes, size)
    if kind == _TEXT:
        return (content.rstrip(b"\0").decode("utf-8", "replace"),)
    numbers = np.frombuffer(content, f"{order}{form}").tolist()
    if kind == _FRACTION:
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        return tuple(above / below if below else 0.0 for above, below in pairs)
    return tuple(numbers)


def _read(file: IO[bytes], form: str, size: int) -> tuple[Any, ...]:
    return struct.unpack(form, _bytes(file, struct.calcsize(form), size))


def _bytes(file: IO[bytes], count: int, size: int) -> bytes:
    content = file.read(count) if file.tell() + count <= size else b""
    if len(content) < count:
        raise InputError("corrupt or truncated TIFF: it ends within a page's tags")
    return content


def first(tags: Tags, name: str, default: Any = 0) -> Any:
    """The first value of a tag."""
    return next(iter(tags.get(name, ())), default)
