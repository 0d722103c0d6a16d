"""Headers of NRRD files, attached and detached, and of 3D Slicer's segmentations.

Grid and values are those of the format's definition, which pynrrd and ITK follow, with
these exceptions: ITK ignores ``space units`` and ``units``, here they are converted to
millimetres; bytes to skip are unpacked ones, as in ITK, where pynrrd skips packed ones,
too; and a field that occurs twice or is none of the format's is an error.

References
----------
.. [1] https://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.header import (
    AT_THE_END,
    MM,
    ImageHeader,
    data_file,
    image_sizes,
    numbers,
    whole_number,
)

_LINE_BYTES = 2**20
_DTYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": (
        "short", "short int", "signed short", "signed short int", "int16", "int16_t",
    ),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        "longlong", "long long", "long long int", "signed long long",
        "signed long long int", "int64", "int64_t",
    ),
    "u8": (
        "ulonglong", "unsigned long long", "unsigned long long int", "uint64",
        "uint64_t",
    ),
    "f4": ("float",),
    "f8": ("double",),
}  # fmt: skip
_DTYPE_OF = {name: dtype for dtype, names in _DTYPES.items() for name in names}
_ENCODINGS = {
    "raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2",
    "ascii": "ascii", "text": "ascii", "txt": "ascii", "hex": "hex",
}  # fmt: skip
# Names of the fields without blanks, which the format leaves to taste in some of them.
_FIELDS = {
    "axismaxs", "axismins", "blocksize", "byteskip", "centerings", "centers", "content",
    "datafile", "dimension", "encoding", "endian", "kinds", "labels", "lineskip", "max",
    "measurementframe", "min", "number", "oldmax", "oldmin", "sampleunits", "sizes",
    "space", "spacedimension", "spacedirections", "spaceorigin", "spaceunits",
    "spacings", "thicknesses", "type", "units",
}  # fmt: skip
# Signs that turn a space's coordinates into LPS; those that name no patient stay.
_SPACES = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
    "scanner-xyz": (1, 1, 1), "3d-right-handed": (1, 1, 1),
    "3d-left-handed": (1, 1, 1),
}  # fmt: skip
_IN_SPACE = {"space", "spacedimension", "spaceorigin"}
_SPATIAL_KINDS = {"domain", "space", "???", "none"}


def read_nrrd(path: Path) -> ImageHeader:
    """Read the header of a ``.nrrd``, ``.seg.nrrd`` or ``.nhdr`` file.

    Raises
    ------
    InputError
        If it is broken.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        if not re.fullmatch(rb"NRRD000[1-5]\s*", file.readline(_LINE_BYTES)):
            raise InputError("not an NRRD file: its first line is not NRRD000n")
        lines = []
        while (line := file.readline(_LINE_BYTES)).strip():
            lines.append(line)
        end = file.tell()
    fields, pairs = _parse(lines)
    sizes = [whole_number(n, "sizes", least=1) for n in fields.get("sizes", "").split()]
    if len(sizes) != whole_number(fields.get("dimension", ""), "dimension"):
        raise InputError(f"broken header: {fields['dimension']} dimensions, {sizes}")
    vectors = _directions(fields, len(sizes))
    spatial = _spatial_axes(fields, vectors, len(sizes))
    components = math.prod(n for at, n in enumerate(sizes) if at not in spatial)
    if components > 1 and 0 in spatial:
        raise InputError(f"{components} images in one file; a file has one label map")
    detached = "datafile" in fields
    encoding = _ENCODINGS.get(fields.get("encoding", "").lower())
    if encoding is None:
        raise InputError(
            f"its encoding is {fields.get('encoding')!r}, which is not read"
        )
    data_path = data_file(path, fields["datafile"]) if detached else path
    return ImageHeader(
        path,
        data_path,
        _geometry(fields, sizes, spatial, vectors),
        _dtype(fields, encoding),
        components,
        encoding,
        _after_lines(data_path, 0 if detached else end, fields.get("lineskip", "0")),
        whole_number(fields.get("byteskip", "0"), "byte skip", least=AT_THE_END),
        fields=pairs,
    )


def _parse(lines: Sequence[bytes]) -> tuple[dict[str, str], dict[str, str]]:
    """Fields (``name: value``) and pairs of key and value (``key:=value``)."""
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text.startswith("#"):
            continue
        key, pair, value = text.partition(":=")
        if pair and ": " not in key:
            pairs[key] = value.strip()
            continue
        key, colon, value = text.partition(":")
        name = key.replace(" ", "").lower()
        if not colon or name not in _FIELDS:
            raise InputError(f"broken NRRD header: {text[:60]!r} is no field")
        if name in fields:
            raise InputError(f"broken NRRD header: the field {key} is there twice")
        fields[name] = value.strip()
        if name == "datafile" and fields[name].upper().startswith("LIST"):
            break  # file names follow; `data_file` refuses them
    return fields, pairs


def _directions(
    fields: Mapping[str, str], ndim: int
) -> list[list[float] | None] | None:
    """Vector of each axis, None where it has none; None if there are no directions."""
    text = fields.get("spacedirections")
    if text is None:
        return None
    words = re.findall(r"\([^()]*\)|[^\s()]+", text)
    if len(words) != ndim:
        raise InputError(f"broken NRRD header: {ndim} axes, space directions {text!r}")
    return [None if word.lower() == "none" else _vector(word) for word in words]


def _vector(text: str) -> list[float]:
    inside = text.strip()
    if not (inside.startswith("(") and inside.endswith(")")):
        raise InputError(f"broken NRRD header: {text[:60]!r} is no vector")
    words = inside[1:-1].replace(",", " ")
    return numbers(words, "a vector", len(words.split()))


def _spatial_axes(
    fields: Mapping[str, str], vectors: list[list[float] | None] | None, ndim: int
) -> list[int]:
    """Axes of the image; the others count the components of a voxel."""
    kinds = fields.get("kinds", "none " * ndim).lower().split()
    if len(kinds) != ndim:
        raise InputError(f"broken NRRD header: {ndim} axes, kinds {kinds}")
    return [
        axis
        for axis, kind in enumerate(kinds)
        if kind in _SPATIAL_KINDS and (vectors is None or vectors[axis] is not None)
    ]


def _dtype(fields: Mapping[str, str], encoding: str) -> np.dtype[np.generic]:
    name = _DTYPE_OF.get(fields.get("type", "").lower())
    if name is None:
        raise InputError(f"its voxels are of type {fields.get('type', '')!r}")
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    if order is None:
        if np.dtype(name).itemsize > 1 and encoding != "ascii":
            raise InputError("broken NRRD header: its byte order (endian) is missing")
        order = "<"
    return np.dtype(f"{order}{name}")


def _after_lines(path: Path, start: int, skip: str) -> int:
    """Byte at which the data begin, after as many lines as are to be skipped."""
    count = whole_number(skip, "line skip")
    if not count:
        return start
    with path.open("rb") as file:
        file.seek(start)
        for _ in range(count):
            if not file.readline():
                raise InputError(f"truncated: it has no {count} lines to skip")
        return file.tell()


def _geometry(
    fields: Mapping[str, str],
    sizes: Sequence[int],
    spatial: Sequence[int],
    vectors: list[list[float] | None] | None,
) -> Geometry:
    kept = image_sizes([sizes[axis] for axis in spatial])
    spatial = spatial[: len(kept)]
    space = fields.get("space", "").lower()
    signs: Sequence[int] | None = _SPACES.get(space)
    if space and signs is None:
        raise InputError(f"its space is {fields['space']!r}; expected a 3-D one")
    if (vectors is None) != fields.keys().isdisjoint(_IN_SPACE):
        raise InputError(
            "broken NRRD header: directions without a space, or the reverse"
        )
    if vectors is None:
        return _straight(fields, kept, spatial, len(sizes))
    if "spacings" in fields:
        raise InputError("broken NRRD header: it has spacings and space directions")
    axes = [vectors[axis] or [] for axis in spatial]
    ndim = len(axes[0])
    signs = signs or [1] * ndim
    origin = _vector(fields["spaceorigin"]) if "spaceorigin" in fields else [0.0] * ndim
    lengths = {len(signs), len(origin), *map(len, axes)}
    if lengths != {ndim} or not len(kept) <= ndim <= 3:
        raise InputError(
            f"broken NRRD header: {len(kept)} axes of {ndim} numbers in a space of "
            f"{len(signs)} axes"
        )
    units = _units(fields.get("spaceunits"), ndim, "space units")
    to_mm = np.array(units) * signs
    return Geometry.from_axes(kept, np.array(axes) * to_mm, np.array(origin) * to_mm)


def _straight(
    fields: Mapping[str, str], sizes: Sequence[int], spatial: Sequence[int], ndim: int
) -> Geometry:
    """The grid of an image without directions; NaN stands for what is not known."""

    def values(name: str, default: float) -> list[float]:
        if name not in fields:
            return [default] * len(spatial)
        found = numbers(fields[name], name, ndim)
        return [default if found[a] != found[a] else found[a] for a in spatial]

    if "axismaxs" in fields and "spacings" not in fields:
        raise InputError("its voxels' size is given by axis maxs only, not by spacings")
    units = np.array(_units(fields.get("units"), ndim, "units"))[list(spatial)]
    spacing = np.array(values("spacings", 1.0)) * units
    # An axis begins at the edge of its first voxel, unless voxels are points.
    centers = fields.get("centerings", fields.get("centers", "")).lower().split()
    points = [len(centers) == ndim and centers[axis] == "node" for axis in spatial]
    begins = np.array(values("axismins", np.nan)) * units
    origin = np.where(
        np.isnan(begins), 0, begins + np.where(points, 0, abs(spacing) / 2)
    )
    return Geometry.from_axes(sizes, np.eye(len(sizes)), origin, spacing)


def _units(text: str | None, count: int, what: str) -> list[float]:
    """Millimetres in each axis' unit of length."""
    if text is None:
        return [1.0] * count
    names = re.findall(r'"([^"]*)"', text) or text.split()
    factors = [(MM | {"": 1.0}).get(name.strip().lower()) for name in names]
    if len(names) != count or None in factors:
        raise InputError(
            f"its {what} are {text[:60]}; expected {count} units of length"
        )
    return [factor for factor in factors if factor is not None]
