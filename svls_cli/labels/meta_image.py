"""Headers of MetaImage files, ``.mha`` and ``.mhd``.

Grid and values are those that ITK reads, with these exceptions: ``DistanceUnits``,
which ITK ignores, are converted to millimetres; packed data are read to their own end
without ``CompressedDataSize``, too, where ITK may read other voxels; and a header that
scales the voxels, or has them as text, is an error.

References
----------
.. [1] https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.header import (
    AT_THE_END,
    ImageHeader,
    data_file,
    image_sizes,
    numbers,
    whole_number,
)

_LINE_BYTES = 2**16
# As everywhere in MetaIO, a LONG has 4 bytes.
_DTYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2",
    "MET_INT": "i4", "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_MM = {"um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}


def read_meta_image(path: Path) -> ImageHeader:
    """Read the header of a ``.mha`` or ``.mhd`` file.

    Raises
    ------
    InputError
        If it is broken.
    OSError
        If the file cannot be read.
    """
    fields, end = _fields(path)
    if fields.get("ObjectType", "Image") != "Image":
        raise InputError(f"not an image: its ObjectType is {fields['ObjectType']!r}")
    kind = fields.get("ElementType", "")
    if kind not in _DTYPES:
        raise InputError(f"its voxels are of type {kind!r}")
    if not _true(fields, "BinaryData", default=True):
        raise InputError("its voxels are text (BinaryData = False), which is not read")
    _check_scaling(fields)
    orders = ("ElementByteOrderMSB", "BinaryDataByteOrderMSB")
    big = {_true(fields, name) for name in orders if name in fields} or {False}
    if len(big) > 1:
        raise InputError("broken header: it names two byte orders")
    header_size = _number(fields, "HeaderSize", 0, least=AT_THE_END)
    if fields["ElementDataFile"].upper() == "LOCAL":
        if 0 < header_size < end:
            raise InputError(f"broken header: HeaderSize {header_size} is within it")
        data_path, start = path, end
    else:
        data_path, start = data_file(path, fields["ElementDataFile"]), 0
    start = max(header_size, start)
    packed = _true(fields, "CompressedData")
    if packed and header_size == AT_THE_END:
        raise InputError("broken header: HeaderSize is -1, but the data are packed")
    there = data_path.stat().st_size - start
    promised = _number(fields, "CompressedDataSize", there, least=0)
    if packed and promised != there:
        raise InputError(
            f"corrupt or truncated: the header promises {promised} packed bytes, the "
            f"file has {there}"
        )
    return ImageHeader(
        path,
        data_path,
        _geometry(fields),
        np.dtype(f"{'>' if True in big else '<'}{_DTYPES[kind]}"),
        _number(fields, "ElementNumberOfChannels", 1, least=1),
        "zlib" if packed else "raw",
        start,
        min(header_size, 0),
    )


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Names and values of the header, and the byte at which it ends."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while "ElementDataFile" not in fields:
            line = file.readline(_LINE_BYTES)
            key, equals, value = line.decode("latin-1").partition("=")
            if not equals:
                raise InputError(
                    "not a MetaImage file: its header has no ElementDataFile"
                )
            name = key.strip()
            if name in fields or not (name.isascii() and name.isprintable()):
                raise InputError(f"broken header: {name[:60]!r} twice, or no name")
            fields[name] = value.strip()
        return fields, file.tell()


def _check_scaling(fields: Mapping[str, str]) -> None:
    names = ("ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset")
    ((slope,), (offset,)) = (
        numbers(fields.get(name, default), name, 1)
        for name, default in zip(names, "10", strict=True)
    )
    if (slope, offset) != (1, 0):
        raise InputError(
            f"its header scales the voxels (slope {slope:g}, offset {offset:g}), which "
            "hardly any reader follows; save it without"
        )


def _geometry(fields: Mapping[str, str]) -> Geometry:
    ndim = _number(fields, "NDims", 0, least=1)
    words = fields.get("DimSize", "").split()
    sizes = image_sizes([whole_number(n, "DimSize", least=1) for n in words])
    if len(words) != ndim:
        raise InputError(f"broken header: NDims is {ndim}, DimSize {words}")

    def values(names: tuple[str, ...], default: object, count: int) -> list[float]:
        given = next((name for name in names if name in fields), "")
        return numbers(fields.get(given, str(default)), given, count)

    unit = fields.get("DistanceUnits", "mm")
    if unit not in _MM and unit != "?":
        raise InputError(f"broken header: DistanceUnits is {unit!r}")
    to_mm = _MM.get(unit, 1.0)
    ones, zeros = "1 " * ndim, "0 " * ndim
    straight = " ".join(f"{v:g}" for v in np.eye(ndim).ravel())
    spacing = values(("ElementSpacing", "ElementSize"), ones, ndim)
    origin = values(("Offset", "Position", "Origin"), zeros, ndim)
    matrix = values(("TransformMatrix", "Rotation", "Orientation"), straight, ndim**2)
    # A row is the direction of an axis.
    n = len(sizes)
    axes = np.reshape(matrix, (ndim, ndim))[:n, :n]
    return Geometry.from_axes(
        sizes, axes, np.array(origin[:n]) * to_mm, np.array(spacing[:n]) * to_mm
    )


def _number(fields: Mapping[str, str], key: str, default: int, *, least: int) -> int:
    return whole_number(fields.get(key, str(default)), key, least=least)


def _true(fields: Mapping[str, str], key: str, *, default: bool = False) -> bool:
    text = fields.get(key, str(default))
    return text[:1] in ("T", "t", "1")
