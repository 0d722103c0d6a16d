"""Headers of NIfTI, NRRD and MetaImage files, read to check that a file is complete.

SimpleITK reads the image; this reads only where the voxels are, how many bytes they
take, and how they are compressed.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from svls_cli.errors import InputError
from svls_cli.labels.cases import SUFFIXES, suffix_of

_LINE_BYTES = 2**20
_NRRD_BYTES = {
    "int8": 1, "int8_t": 1, "signed char": 1, "uchar": 1, "uint8": 1, "uint8_t": 1,
    "unsigned char": 1, "int16": 2, "int16_t": 2, "short": 2, "short int": 2,
    "signed short": 2, "signed short int": 2, "uint16": 2, "uint16_t": 2, "ushort": 2,
    "unsigned short": 2, "unsigned short int": 2, "int": 4, "int32": 4, "int32_t": 4,
    "signed int": 4, "uint": 4, "uint32": 4, "uint32_t": 4, "unsigned int": 4,
    "float": 4, "int64": 8, "int64_t": 8, "longlong": 8, "long long": 8,
    "long long int": 8, "signed long long": 8, "signed long long int": 8, "uint64": 8,
    "uint64_t": 8, "ulonglong": 8, "unsigned long long": 8,
    "unsigned long long int": 8, "double": 8,
}  # fmt: skip
_META_BYTES = {
    "CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4,
    "ULONG": 4, "LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8,
}  # fmt: skip
# Bytes per voxel by NIfTI datatype, as ITK counts them; bitpix may be wrong.
_NIFTI_BYTES = {
    2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8,
    1280: 8, 1536: 16, 1792: 16, 2048: 32, 2304: 4,
}  # fmt: skip


@dataclass(frozen=True)
class Container:
    """A file's own header, as far as its integrity depends on it."""

    path: Path  # the file that the user names
    # The file that holds the voxels: ``path`` itself, or a detached one.
    data_path: Path
    # Byte at which the voxels start (in a ``.nii.gz``: in the unpacked stream).
    data_offset: int = 0
    # Bytes of the unpacked voxels; None where only ITK can tell.
    data_bytes: int | None = None
    compression: str = ""  # ``gzip``, ``bzip2``, ``zlib``, or ``""``
    # Header of an uncompressed copy, in which the voxels follow directly.
    plain_header: bytes = b""
    # Key and value pairs of the header (NRRD and MetaImage).
    fields: Mapping[str, str] = field(default_factory=dict)
    # NumPy type code with byte order if the voxels are NIfTI floats, else ``""``.
    float_dtype: str = ""


def read_container(path: Path) -> Container:
    """Read the header of a label map file.

    Raises
    ------
    InputError
        If the file cannot be read, is empty, or is not what its suffix says.
    """
    suffix = suffix_of(path)
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError("the file is empty")
        if suffix in (".nii", ".nii.gz", ".hdr"):
            return _nifti(path)
        if suffix in (".nrrd", ".seg.nrrd", ".nhdr"):
            return _nrrd(path)
        if suffix in (".mha", ".mhd"):
            return _meta_image(path)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}") from error
    raise InputError(f"not a known format; expected one of {', '.join(SUFFIXES)}")


def _nifti(path: Path) -> Container:
    packed = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            header = file.read(352)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"corrupt or truncated gzip data: {error}") from error
    if len(header) < 348:
        raise InputError("truncated: shorter than a NIfTI header")
    order = next((o for o in "<>" if struct.unpack(f"{o}i", header[:4]) == (348,)), "")
    if not order:
        if 540 in (*struct.unpack("<i", header[:4]), *struct.unpack(">i", header[:4])):
            raise InputError("NIfTI-2 is not supported; convert it to NIfTI-1 or NRRD")
        raise InputError("not a NIfTI file: its header does not start with its length")
    dim = struct.unpack(f"{order}8h", header[40:56])
    datatype = struct.unpack(f"{order}h", header[70:72])[0]
    vox_offset = struct.unpack(f"{order}f", header[108:112])[0]
    if not 1 <= dim[0] <= 7 or any(n < 1 for n in dim[1 : dim[0] + 1]):
        raise InputError(f"broken NIfTI header: dim is {dim}")
    if not 0 <= vox_offset < 2**31:
        raise InputError(f"broken NIfTI header: vox_offset is {vox_offset}")
    detached = path.name.lower().endswith(".hdr")
    return Container(
        path,
        _image_beside(path) if detached else path,
        data_offset=int(vox_offset) if detached else max(int(vox_offset), 352),
        data_bytes=math.prod(dim[1 : dim[0] + 1]) * _NIFTI_BYTES.get(datatype, 0),
        compression="gzip" if packed else "",
        float_dtype={16: f"{order}f4", 64: f"{order}f8"}.get(datatype, ""),
    )


def _image_beside(path: Path) -> Path:
    for suffix in (".img", ".IMG"):
        if path.with_suffix(suffix).exists():
            return path.with_suffix(suffix)
    raise InputError(f"the data file {path.with_suffix('.img').name} is missing")


def _nrrd(path: Path) -> Container:
    with path.open("rb") as file:
        if not file.read(4) == b"NRRD":
            raise InputError("not an NRRD file: it does not start with NRRD")
        file.seek(0)
        lines: list[bytes] = []
        while (line := file.readline(_LINE_BYTES)).strip():
            lines.append(line)
        offset = file.tell()
    fields = _nrrd_fields(lines[1:])
    data_file = fields.get("data file", fields.get("datafile", ""))
    # Skips count packed or unpacked bytes by rules of their own: left to ITK, which
    # notices short data in NRRD files.
    skips = ("line skip", "lineskip", "byte skip", "byteskip")
    skipped = any(fields.get(key, "0") != "0" for key in skips)
    encoding = fields.get("encoding", "").lower()
    encoding = {"gz": "gzip", "bz2": "bzip2"}.get(encoding, encoding)
    plain = [ln for ln in lines if not ln.lower().startswith((b"data", b"encoding"))]
    return Container(
        path,
        _detached(path, data_file) if data_file else path,
        data_offset=0 if data_file else offset,
        data_bytes=None if skipped else _nrrd_bytes(fields, encoding),
        compression=encoding if encoding in ("gzip", "bzip2") and not skipped else "",
        plain_header=b"".join([*plain, b"encoding: raw\n", b"\n"]),
        fields=fields,
    )


def _nrrd_fields(lines: list[bytes]) -> dict[str, str]:
    """Fields (``name: value``, the name in lower case) and pairs (``key:=value``)."""
    fields = {}
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        key, pair, value = text.partition(":=")
        if not pair:
            key, _, value = text.partition(":")
            key = key.strip().lower()
        fields[key] = value.strip()
    return fields


def _nrrd_bytes(fields: Mapping[str, str], encoding: str) -> int | None:
    item = _NRRD_BYTES.get(fields.get("type", ""))
    sizes = fields.get("sizes", "").split()
    if encoding not in ("raw", "gzip", "bzip2") or item is None:
        return None
    return math.prod(int(n) for n in sizes if n.isdigit()) * item


def _meta_image(path: Path) -> Container:
    fields: dict[str, str] = {}
    lines: list[bytes] = []
    with path.open("rb") as file:
        while line := file.readline(4096):
            key, equals, value = line.decode("latin-1").partition("=")
            if not equals:
                break
            fields[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                break
            lines.append(line)
        offset = file.tell()
    if "ElementDataFile" not in fields:
        raise InputError("not a MetaImage file: its header has no ElementDataFile")
    data_file = fields["ElementDataFile"]
    local = data_file.upper() == "LOCAL"
    binary = fields.get("BinaryData", "True").lower() in ("true", "1")
    packed = fields.get("CompressedData", "False").lower() in ("true", "1")
    # In the uncompressed copy the voxels follow the header directly.
    dropped = (b"CompressedData", b"HeaderSize")
    plain = [ln for ln in lines if not ln.lstrip().startswith(dropped)]
    header_size = _whole(fields, "HeaderSize", 0)
    return Container(
        path,
        path if local else _detached(path, data_file),
        data_offset=offset if local else max(header_size, 0),
        data_bytes=_meta_bytes(fields) if binary and header_size >= 0 else None,
        compression="zlib" if packed and binary else "",
        plain_header=b"".join([*plain, b"ElementDataFile = LOCAL\n"]),
        fields=fields,
    )


def _meta_bytes(fields: Mapping[str, str]) -> int | None:
    item = _META_BYTES.get(fields.get("ElementType", "").removeprefix("MET_"))
    sizes = fields.get("DimSize", "").split()
    if item is None or not all(n.isdigit() for n in sizes):
        return None
    channels = _whole(fields, "ElementNumberOfChannels", 1)
    return math.prod(map(int, sizes)) * item * channels


def _whole(fields: Mapping[str, str], key: str, default: int) -> int:
    try:
        return int(fields.get(key, default))
    except ValueError:
        raise InputError(f"broken header: {key} is {fields[key]!r}") from None


def _detached(path: Path, name: str) -> Path:
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError(
            f"its voxels are spread over several files ({name}); save them as one"
        )
    data_path = path.parent / name
    if not data_path.is_file():
        raise InputError(f"the data file {name} is missing")
    return data_path
