"""OME-Zarr (OME-NGFF) 0.5 metadata, so that viewers open a case as it is.

References
----------
.. [1] https://ngff.openmicroscopy.org/0.5/
.. [2] https://ngff.openmicroscopy.org/rfc/4/ (orientation of axes)
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np

from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry

VERSION = "0.5"

# How RFC-4 calls axes along and against each world axis (S, P, L).
_ALONG = ("inferior-to-superior", "anterior-to-posterior", "right-to-left")
_AGAINST = ("superior-to-inferior", "posterior-to-anterior", "left-to-right")


def image(
    name: str, geometry: Geometry, classes: ClassTable, *, top: int
) -> dict[str, Any]:
    """Attributes of a case's group.

    ``top`` is the stored value of probability 1.
    """
    window = {"start": 0, "end": top, "min": 0, "max": top}
    channels = [
        {"label": c.name, "color": c.color, "window": window, "active": c.value != 0}
        for c in classes.classes
    ]
    return {
        "version": VERSION,
        "multiscales": [_multiscale(name, geometry, channel_axis=True)],
        "omero": {"channels": channels},
    }


def label_list(names: list[str]) -> dict[str, Any]:
    """Attributes of the group that holds the label images."""
    return {"version": VERSION, "labels": names}


def label_image(name: str, geometry: Geometry, classes: ClassTable) -> dict[str, Any]:
    """Attributes of one label image: names and colours per label value."""
    return {
        "version": VERSION,
        "multiscales": [_multiscale(name, geometry, channel_axis=False)],
        "image-label": {
            "version": VERSION,
            "colors": [
                {"label-value": c.value, "rgba": _rgba(c.color, visible=c.value != 0)}
                for c in classes.classes
            ],
            "properties": [
                {"label-value": c.value, "name": c.name} for c in classes.classes
            ],
            "source": {"image": "../../"},
        },
    }


def oblique_mm(geometry: Geometry) -> float:
    """How far a grid lies at most from what its OME metadata can say; 0 if it does not.

    Differences that files of one scan may have are none.
    """
    straight = straightened(geometry)
    if not geometry.difference(straight):
        return 0.0
    n = geometry.ndim
    turned = np.subtract(geometry.direction, straight.direction).reshape(n, n)
    extent = np.multiply(geometry.spacing_mm, np.subtract(geometry.shape, 1))
    corners = np.indices((2,) * n).reshape(n, -1) * extent[:, np.newaxis]
    return float(np.linalg.norm(turned @ corners, axis=0).max())


def straightened(geometry: Geometry) -> Geometry:
    """The grid along the patient's axes that are nearest to its own.

    Examples
    --------
    >>> tilted = Geometry((9, 9), (1.0, 1.0), (0.0, 0.0), (0.6, -0.8, 0.8, 0.6))
    >>> straightened(tilted).direction
    (0.0, -1.0, 1.0, 0.0)
    """
    n = geometry.ndim
    cosines = np.reshape(geometry.direction, (n, n))
    world = max(
        permutations(range(n)),
        key=lambda order: sum(abs(cosines[w, axis]) for axis, w in enumerate(order)),
    )
    nearest = np.zeros((n, n))
    for axis, w in enumerate(world):
        nearest[w, axis] = math.copysign(1, cosines[w, axis])
    return replace(geometry, direction=tuple(nearest.ravel().tolist()))


def _space(geometry: Geometry) -> list[dict[str, Any]]:
    n = geometry.ndim
    columns = np.reshape(straightened(geometry).direction, (n, n)).T
    axes = []
    for name, column in zip(geometry.axes, columns, strict=True):
        world = int(np.abs(column).argmax())
        words = _ALONG if column[world] > 0 else _AGAINST
        orientation = {"type": "anatomical", "value": words[-n:][world]}
        axes.append(
            {
                "name": name,
                "type": "space",
                "unit": "millimeter",
                "orientation": orientation,
            }
        )
    return axes


def _multiscale(name: str, geometry: Geometry, *, channel_axis: bool) -> dict[str, Any]:
    channel = [{"name": "c", "type": "channel"}] if channel_axis else []
    return {
        "name": name,
        "axes": channel + _space(geometry),
        "datasets": [
            {
                "path": "0",
                "coordinateTransformations": [
                    {
                        "type": "scale",
                        "scale": [1.0] * channel_axis + list(geometry.spacing_mm),
                    },
                    {
                        "type": "translation",
                        "translation": [0.0] * channel_axis + list(geometry.origin_mm),
                    },
                ],
            }
        ],
    }


def _rgba(color: str, *, visible: bool) -> list[int]:
    return [*bytes.fromhex(color), 255 if visible else 0]
