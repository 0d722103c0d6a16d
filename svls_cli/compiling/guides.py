"""The images of cases that are smoothed by them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from svls_cli.arrays import Float32Array
from svls_cli.compiling.class_scan import Labelled
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import input_record
from svls_cli.labels.scans import Scan
from svls_cli.labels.values import listed
from svls_cli.soften.bilateral import standardised
from svls_cli.soften.methods import Method


def check_images(cases: Sequence[Labelled], method: Method) -> None:
    """Raise InvalidParameterError unless the cases have images where they are used."""
    without = [case.name for case in cases if case.image is None]
    if method.needs_image and without:
        raise InvalidParameterError(
            f"method {method.name} needs the image of each case, which "
            f"{listed(without)} lack: pair_images adds them"
        )
    if not method.needs_image and len(without) < len(cases):
        raise InvalidParameterError(f"method {method.name} takes no images")


def image_record(path: Path) -> dict[str, Any]:
    """`input_record` of an image, marked as one.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        return {**input_record(path), "image": True}
    except InputError as error:
        raise InputError(f"image {path}: {error}") from error


def read_guide(path: Path, grid: Geometry) -> Float32Array:
    """Read an image, standardised.

    Raises
    ------
    InputError
        If the file cannot be read, is broken, holds a NaN or infinity or more than one
        number per voxel, or lies on another grid.
    """
    try:
        voxels = Scan(path.name, (path,)).read_on(grid)
    except InputError as error:
        raise InputError(f"image {error}") from error
    guide: Float32Array = standardised(voxels[0])
    return guide
