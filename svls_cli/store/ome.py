"""OME-Zarr (OME-NGFF) 0.5 metadata, so that viewers open a case as it is.

References
----------
.. [1] https://ngff.openmicroscopy.org/0.5/
"""

from __future__ import annotations

from typing import Any

from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry

VERSION = "0.5"


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


def _multiscale(name: str, geometry: Geometry, *, channel_axis: bool) -> dict[str, Any]:
    channel = [{"name": "c", "type": "channel"}] if channel_axis else []
    space = [
        {"name": axis, "type": "space", "unit": "millimeter"} for axis in geometry.axes
    ]
    return {
        "name": name,
        "axes": channel + space,
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
