"""Headers of NIfTI-1 and NIfTI-2 files.

Grid and values are those that nibabel reads, with these exceptions. Units other than
millimetres are converted; without a qform or an sform the first voxel is the origin and
the axes are straight, as in ITK; what nibabel corrects with a warning (voxels that
would begin inside the header, a voxel size of 0 that is needed) is an error.

References
----------
.. [1] https://nifti.nimh.nih.gov/nifti-1, nifti1.h and nifti2.h
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.header import (
    ImageHeader,
    check_regular,
    first_bytes,
    image_sizes,
)

# Place and type of the fields that are used, by the header's own length.
_FIELDS: dict[int, dict[str, tuple[int, str]]] = {
    348: {
        "dim": (40, "8i2"), "datatype": (70, "i2"), "pixdim": (76, "8f4"),
        "vox_offset": (108, "f4"), "scl_slope": (112, "f4"), "scl_inter": (116, "f4"),
        "xyzt_units": (123, "u1"), "qform_code": (252, "i2"), "sform_code": (254, "i2"),
        "quatern": (256, "3f4"), "qoffset": (268, "3f4"), "srow": (280, "12f4"),
        "magic": (344, "S4"),
    },
    540: {
        "magic": (4, "S8"), "datatype": (12, "i2"), "dim": (16, "8i8"),
        "pixdim": (104, "8f8"), "vox_offset": (168, "i8"), "scl_slope": (176, "f8"),
        "scl_inter": (184, "f8"), "qform_code": (344, "i4"), "sform_code": (348, "i4"),
        "quatern": (352, "3f8"), "qoffset": (376, "3f8"), "srow": (400, "12f8"),
        "xyzt_units": (500, "i4"),
    },
}  # fmt: skip
# Of a single file, and of a header beside its data.
_MAGICS = {348: (b"n+1", b"ni1"), 540: (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n")}
_DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4",
    1024: "i8", 1280: "u8",
}  # fmt: skip
_OTHER_TYPES = {
    1: "single bits", 32: "complex numbers", 128: "colours (3 components per voxel)",
    1536: "numbers of 128 bits", 1792: "complex numbers", 2048: "complex numbers",
    2304: "colours (4 components per voxel)",
}  # fmt: skip
_MM = {1: 1000.0, 2: 1.0, 3: 0.001}  # by xyzt_units
_LPS = np.array([-1.0, -1.0, 1.0])  # NIfTI's world is RAS
# How much longer than 1 a quaternion may be by rounding.
_QUATERNION_TOLERANCE = 1e-5


def read_nifti(path: Path) -> ImageHeader:
    """Read the header of a ``.nii``, ``.nii.gz`` or ``.hdr`` file.

    Raises
    ------
    InputError
        If it is broken, or says that the image has no single real numbers.
    OSError
        If the file cannot be read.
    """
    content = _content(path)
    fields = _fields(content)
    pair = path.name.lower().endswith(".hdr")
    single, in_two = _MAGICS[len(content)]
    magic = bytes(fields["magic"])
    if pair and magic != in_two:
        raise InputError(
            "not a NIfTI pair: an Analyze header does not say which side is left; "
            "convert it to NIfTI with a tool that knows"
        )
    if not pair and magic not in (single, in_two):
        raise InputError(f"not a NIfTI file: its magic is {magic!r}")
    sizes, components = _sizes(fields["dim"].tolist())
    kind = int(fields["datatype"])
    if kind not in _DTYPES:
        raise InputError(f"its voxels are {_OTHER_TYPES.get(kind, f'of type {kind}')}")
    slope, intercept = _scaling(fields)
    return ImageHeader(
        path,
        _image_beside(path) if pair else path,
        _geometry(fields, sizes),
        np.dtype(_DTYPES[kind]).newbyteorder(fields.dtype["dim"].base.byteorder),
        components,
        encoding="gzip" if path.name.lower().endswith(".gz") else "raw",
        skip=_offset(fields, least=0 if pair else len(content) + 4),
        slope=slope,
        intercept=intercept,
    )


def _content(path: Path) -> bytes:
    """The header's bytes: as many as it says that it has."""
    packed = path.name.lower().endswith(".gz")
    content = first_bytes(path, max(_FIELDS), packed=packed)
    start = content[:4]
    lengths = {int.from_bytes(start, order) for order in ("little", "big")}
    length = next(iter(lengths & _FIELDS.keys()), 0)
    if not length:
        raise InputError("not a NIfTI file: its header does not start with its length")
    if len(content) < length:
        raise InputError("truncated: shorter than a NIfTI header")
    return content[:length]


def _fields(content: bytes) -> Any:
    order = "<" if int.from_bytes(content[:4], "little") == len(content) else ">"
    places = _FIELDS[len(content)]
    return np.frombuffer(
        content,
        np.dtype(
            {
                "names": list(places),
                "formats": [_ordered(kind, order) for _, kind in places.values()],
                "offsets": [place for place, _ in places.values()],
                "itemsize": len(content),
            }
        ),
    )[0]


def _ordered(kind: str, order: str) -> str:
    return kind if "S" in kind else f"{kind[:-2]}{order}{kind[-2:]}"


def _sizes(dim: list[int]) -> tuple[tuple[int, ...], int]:
    """Sizes (x, y, z), and numbers per voxel."""
    ndim, sizes = dim[0], dim[1:]
    if not 1 <= ndim <= 7 or any(n < 1 for n in sizes[:ndim]):
        raise InputError(f"broken NIfTI header: dim is {dim}")
    if ndim >= 5 and sizes[3] == 1:  # the fifth axis is that of vectors
        return image_sizes([*sizes[:4], *sizes[5:ndim]]), sizes[4]
    return image_sizes(sizes[:ndim]), 1


def _offset(fields: Any, *, least: int) -> int:
    offset = float(fields["vox_offset"])
    if not least <= offset < 2**62 or offset != int(offset):
        raise InputError(
            f"broken NIfTI header: vox_offset is {offset:g}; voxels cannot begin "
            f"before byte {least}"
        )
    return int(offset)


def _scaling(fields: Any) -> tuple[float, float]:
    """Slope and intercept; a slope of 0, or none, means that nothing is scaled."""
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    if not np.isfinite(intercept):
        raise InputError(f"broken NIfTI header: scl_inter is {intercept}")
    return slope, intercept


def _geometry(fields: Any, sizes: tuple[int, ...]) -> Geometry:
    spacing = np.abs(fields["pixdim"][1:4].astype(np.float64))
    if fields["sform_code"] > 0:
        affine = fields["srow"].astype(np.float64).reshape(3, 4)
        axes, origin = affine[:, :3].T, affine[:, 3]
        with np.errstate(all="ignore"):  # `from_axes` finds what is no number
            lengths = np.linalg.norm(axes, axis=1)
            axes = axes / np.where(lengths > 0, lengths, 1)[:, np.newaxis]
        # Where both say the same, pixdim has the digits that people gave.
        same = np.isclose(lengths, spacing, rtol=1e-5, atol=0)
        spacing = np.where(same, spacing, lengths)
    else:
        used = spacing[: len(sizes)]
        if not np.isfinite(used).all() or not used.all():
            raise InputError(
                f"broken NIfTI header: voxels of {' x '.join(f'{v:g}' for v in used)}"
            )
        spacing = np.where(np.isfinite(spacing) & (spacing > 0), spacing, 1)
        if fields["qform_code"] > 0:
            axes = _rotation(fields).T
            origin = fields["qoffset"].astype(np.float64)
        else:
            axes, origin = np.diag(_LPS), np.zeros(3)
    to_mm = _MM.get(int(fields["xyzt_units"]) & 7, 1.0)
    return Geometry.from_axes(
        sizes, axes * _LPS, origin * _LPS * to_mm, spacing * to_mm
    )


def _rotation(fields: Any) -> npt.NDArray[np.float64]:
    """Rotation matrix of the qform; the third axis may be mirrored."""
    b, c, d = fields["quatern"].astype(np.float64)
    rest = 1 - (b * b + c * c + d * d)
    if not rest >= -_QUATERNION_TOLERANCE:
        raise InputError(
            f"broken NIfTI header: the quaternion {b:g}, {c:g}, {d:g} is no rotation"
        )
    a = np.sqrt(max(rest, 0.0))
    a, b, c, d = np.array([a, b, c, d]) / np.linalg.norm([a, b, c, d])
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    mirror = float(fields["pixdim"][0])
    if mirror not in (-1, 0, 1):
        raise InputError(f"broken NIfTI header: pixdim[0] is {mirror}, not 1 or -1")
    rotation[:, 2] *= mirror or 1  # 0 in files of before it had a meaning
    return rotation


def _image_beside(path: Path) -> Path:
    for suffix in (".img", ".IMG"):
        image = path.with_suffix(suffix)
        if image.is_symlink() or image.exists():
            check_regular(image)
            return image
    raise InputError(f"the data file {path.with_suffix('.img').name} is missing")
