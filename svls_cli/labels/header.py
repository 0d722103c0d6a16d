"""Headers of image files: what each format's reader finds, and checks they share.

SimpleITK drops or bends facts of headers (offsets, units, skips, scalings), reads on
behind a file's end, and hangs or crashes on some; so all formats are read here.
"""

from __future__ import annotations

import math
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry

# Set to allow headers that name a data file outside of their own folder. Whoever runs
# the tool for others decides that for all of its processes, so it is no parameter.
OUTSIDE_DATA = "SVLS_CLI_OUTSIDE_DATA"
# The last bytes of the unpacked data are the voxels.
AT_THE_END = -1
# A file whose sizes have more digits than that is none.
_DIGITS = 15
# Enough of a packed file to unpack a header, even behind a name and a comment.
_PACKED_BYTES = 2**17
# No deflated stream unpacks to more than that times its length.
DEFLATE_RATIO = 1033
# What to do about pixels of several numbers.
ONE_NUMBER = (
    "expected one number per pixel; save a label map as grey or palette values, and an "
    "image as one file per channel"
)
# Millimetres in a unit of length, by the names that files give it.
MM = {
    "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "millimetre": 1.0,
    "millimetres": 1.0, "cm": 10.0, "centimeter": 10.0, "centimeters": 10.0, "m": 1e3,
    "meter": 1e3, "meters": 1e3, "um": 1e-3, "\u00b5m": 1e-3, "\u03bcm": 1e-3,
    "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3, "micrometers": 1e-3,
    "nm": 1e-6, "nanometer": 1e-6, "nanometers": 1e-6,
}  # fmt: skip
# Dots per inch that programs write for screens, whatever the pixels' size.
_SCREENS = (72, 96)


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its image.

    Voxels are stored x fastest: as arrays they are (z, y, x), with the components of a
    voxel as a last axis if there are several.
    """

    path: Path  # the file that the user names
    data_path: Path  # the file with the voxels: ``path`` itself, or a detached one
    geometry: Geometry
    dtype: np.dtype[Any]  # type of one number, with its byte order
    components: int = 1  # numbers per voxel
    # ``gzip``, ``zlib``, ``bzip2``, ``ascii``, ``hex``; or the name of a format with
    # an encoding of its own, which ``blocks`` decodes from the open file.
    encoding: str = "raw"
    # Byte of ``data_path`` at which the encoded data start, and how many of the decoded
    # bytes come before the voxels; or `AT_THE_END`.
    start: int = 0
    skip: int = 0
    # A voxel is the stored number times ``slope`` plus ``intercept``.
    slope: float = 1.0
    intercept: float = 0.0
    blocks: Callable[[IO[bytes]], Iterator[bytes]] | None = None
    # Whether something else may follow the voxels.
    open_end: bool = False
    # Whether the numbers are places in a table of colours.
    palette: bool = False
    # Names and values of the header (NRRD).
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def array_shape(self) -> tuple[int, ...]:
        """Shape of the stored numbers."""
        own = () if self.components == 1 else (self.components,)
        return (*self.geometry.shape, *own)

    @property
    def n_bytes(self) -> int:
        """Bytes of the decoded voxels that the header promises."""
        return self.dtype.itemsize * math.prod(self.array_shape)


def check_regular(path: Path) -> None:
    """Check that a file can be opened without waiting for ever.

    Raises
    ------
    InputError
        If it is a folder, a pipe, a device, a dangling link, or is not there.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink():
            raise InputError(
                f"cannot be read: a link to {path.readlink()}, which leads nowhere"
            ) from error
        raise InputError(f"cannot be read: {error.strerror}") from error
    if stat.S_ISDIR(mode) and not os.access(path, os.R_OK | os.X_OK):
        raise InputError("cannot be read: a folder that may not be listed")
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
        kind = kinds.get(stat.S_IFMT(mode), "device")
        raise InputError(f"cannot be read: a {kind}, not a file")


def first_bytes(path: Path, count: int, *, packed: bool) -> bytes:
    """The first bytes of a file, or of what a gzip file unpacks to.

    Less, if there are no more.

    Raises
    ------
    InputError
        If the gzip stream is damaged before their end.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        left = file.read(_PACKED_BYTES if packed else count)
    if not packed:
        return left
    content = b""
    while left and len(content) < count:
        member = zlib.decompressobj(wbits=31)
        try:
            content += member.decompress(left, count)
        except zlib.error as error:
            raise InputError(f"corrupt or truncated gzip data: {error}") from error
        left = member.unused_data
        if not left.startswith(b"\x1f\x8b"):  # `open_voxels` looks at what follows
            break
    return content[:count]


def data_file(header: Path, name: str) -> Path:
    """The file with the voxels that a header names.

    Raises
    ------
    InputError
        If it is missing or no file, or one of several; or if it lies outside of the
        header's folder, which whoever wrote the header may not be allowed to read.
    """
    if re.match(r"LIST\b", name, re.IGNORECASE) or "%" in name:
        raise InputError(
            f"its voxels are spread over several files, {name[:99]!r}; join them"
        )
    inside = Path(os.path.normpath(name))
    leads_out = inside.is_absolute() or inside.parts[:1] == ("..",)
    if leads_out and not os.environ.get(OUTSIDE_DATA):
        raise InputError(
            f"its voxels are in {name[:200]!r}, outside of its own folder: move them "
            f"there, or set {OUTSIDE_DATA}=1 if you trust whoever wrote this header"
        )
    path = header.parent / name
    if "\0" in name or not os.path.lexists(path):
        raise InputError(f"the data file {name[:200]!r} is missing")
    try:
        check_regular(path)
    except InputError as error:
        raise InputError(f"the data file {name!r} {error}") from error
    return path


def whole_number(text: str, what: str, *, least: int = 0) -> int:
    """A whole number in a header.

    Raises
    ------
    InputError
        If it is none, or less than ``least``.
    """
    if not re.fullmatch(rf"-?[0-9]{{1,{_DIGITS}}}", text) or int(text) < least:
        raise InputError(f"broken header: {what} is {text[:40]!r}")
    return int(text)


def numbers(text: str, what: str, count: int) -> list[float]:
    """So many numbers in a header; they may be infinite or NaN.

    Raises
    ------
    InputError
        If there are more or less, or other words.
    """
    try:
        found = [float(word) for word in text.split()]
    except ValueError:
        found = []
    if len(found) != count or "_" in text:
        raise InputError(f"broken header: {what} is {text[:80]!r}, not {count} numbers")
    return found


def image_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Sizes (x, y, z) of a 2-D or 3-D image, whatever axes of one voxel follow.

    Raises
    ------
    InputError
        If there are more axes, less, or empty ones.
    """
    if any(n < 1 for n in sizes):
        raise InputError(f"broken header: sizes are {' x '.join(map(str, sizes))}")
    if len(sizes) < 2 or any(n != 1 for n in sizes[3:]):
        raise InputError(
            f"{len(sizes)}-D, {' x '.join(map(str, sizes))}; expected 2-D or 3-D"
        )
    return tuple(sizes[:3])


def is_screen(dots_per_mm: float) -> bool:
    """Whether a resolution is one that programs write where they know none."""
    dpi = dots_per_mm * 25.4
    return any(abs(dpi - screen) < 0.1 for screen in _SCREENS)
