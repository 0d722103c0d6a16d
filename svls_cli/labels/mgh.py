"""Headers of FreeSurfer's MGH files, packed (``.mgz``) or not (``.mgh``).

Grid and values are those that nibabel reads. What may follow the voxels (scan
parameters, a history of commands, a colour table) is not read.

References
----------
.. [1] https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.header import ImageHeader, first_bytes, image_sizes

_HEADER = np.dtype(
    [
        ("version", ">i4"), ("sizes", ">i4", 4), ("type", ">i4"), ("dof", ">i4"),
        ("has_place", ">i2"), ("spacing", ">f4", 3), ("axes", ">f4", (3, 3)),
        ("centre", ">f4", 3),
    ]
)  # fmt: skip
_VOXELS_AT = 284
_DTYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}
_LPS = np.array([-1.0, -1.0, 1.0])  # FreeSurfer's world is RAS


def read_mgh(path: Path) -> ImageHeader:
    """Read the header of a ``.mgz`` or ``.mgh`` file.

    Raises
    ------
    InputError
        If it is broken, or its voxels are of a type that images do not have.
    OSError
        If the file cannot be read.
    """
    packed = path.name.lower().endswith("z")
    content = first_bytes(path, _VOXELS_AT, packed=packed)
    if len(content) < _VOXELS_AT:
        raise InputError("truncated: shorter than an MGH header")
    fields = np.frombuffer(content, _HEADER, 1)[0]
    if fields["version"] != 1:
        raise InputError(f"not an MGH file: its version is {fields['version']}")
    kind = int(fields["type"])
    if kind not in _DTYPES:
        raise InputError(f"its voxels are of MGH type {kind}")
    if fields["has_place"] <= 0:
        raise InputError("it does not say which side is left (goodRASFlag 0)")
    sizes = image_sizes(fields["sizes"].tolist())
    spacing, axes = fields["spacing"].astype(float), fields["axes"].astype(float)
    centre = fields["centre"].astype(float)
    # The centre is that of voxel n / 2, whether or not there is one.
    origin = centre - np.array(sizes) / 2 @ (spacing[:, np.newaxis] * axes)
    return ImageHeader(
        path,
        path,
        Geometry.from_axes(sizes, axes * _LPS, origin * _LPS, spacing),
        np.dtype(_DTYPES[kind]),
        encoding="gzip" if packed else "raw",
        skip=_VOXELS_AT,
        open_end=True,
    )
