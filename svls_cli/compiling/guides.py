"""The images of cases that are smoothed by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from svls_cli.arrays import Float32Array
from svls_cli.compiling.class_scan import Labelled
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import input_record, read_image
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


def image_record(path: Path, labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`input_record` of an image, marked as one.

    Parameters
    ----------
    path
        The image.
    labels
        `input_record` of each label map of its case.

    Raises
    ------
    InputError
        If the file cannot be read, or is one of the label maps.
    """
    with _naming_image():
        record = input_record(path)
    if record["sha256"] in [each["sha256"] for each in labels]:
        raise InputError(
            "the image is a label map of the case: expected what was labelled"
        )
    return {**record, "image": True}


def read_guide(path: Path, grid: Geometry) -> Float32Array:
    """Read an image, standardised.

    Raises
    ------
    InputError
        If the file cannot be read, is broken, holds a NaN or infinity or more than one
        number per voxel, or lies on another grid.
    """
    with _naming_image():
        own, voxels = read_image(path)
    if difference := grid.difference(own):
        raise InputError(
            f"the image and the labels lie on different grids: {difference}"
        )
    guide: Float32Array = standardised(voxels)
    return guide


@contextmanager
def _naming_image() -> Iterator[None]:
    """Say that it is the image that cannot be read; a record lists its path."""
    try:
        yield
    except InputError as error:
        raise InputError(f"the image: {error}") from error
