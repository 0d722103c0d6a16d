"""Headers of image files: what each format's reader finds, and checks they share.

SimpleITK drops or bends facts of headers (offsets, units, skips, scalings), reads on
behind a file's end, and hangs or crashes on some; so the three formats are read here.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    encoding: str = "raw"  # ``gzip``, ``zlib``, ``bzip2``, ``ascii``, ``hex``
    # Byte of ``data_path`` at which the encoded data start, and how many of the decoded
    # bytes come before the voxels; or `AT_THE_END`.
    start: int = 0
    skip: int = 0
    # A voxel is the stored number times ``slope`` plus ``intercept``.
    slope: float = 1.0
    intercept: float = 0.0
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
