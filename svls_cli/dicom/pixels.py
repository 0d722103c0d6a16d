"""Frames of a DICOM file, decoded one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pydicom
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import DeflatedExplicitVRLittleEndian

from svls_cli.dicom.files import element, read_dataset, understood
from svls_cli.errors import InputError


def check_pixels(path: Path, dataset: pydicom.FileDataset) -> None:
    """Check that a file's frames can be decoded and are all there, reading none.

    Parameters
    ----------
    path
        DICOM file.
    dataset
        Its header.

    Raises
    ------
    InputError
        If they are compressed in a way that cannot be decoded here, have several
        numbers per pixel, or are fewer or more than the header promises.
    """
    syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if not syntax:
        raise InputError(
            "its header does not say how its pixels are encoded (TransferSyntaxUID)"
        )
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise InputError(
            f"its pixels are compressed as {syntax.name} ({syntax}), for which pydicom "
            "has no decoder: convert the file to Explicit VR Little Endian"
        ) from error
    if not decoder.is_available:
        raise InputError(
            f"its pixels are compressed as {syntax.name}, and no decoder of it is "
            f"installed: {'; '.join(decoder.missing_dependencies)}"
        )
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise InputError(f"not labels: {dataset.SamplesPerPixel} numbers per pixel")
    stored = _stored_bytes(path, dataset)
    if syntax.is_encapsulated:
        return
    sizes = ("Rows", "Columns", "NumberOfFrames", "BitsAllocated")
    rows, columns, frames, bits = (int(element(dataset, key)) for key in sizes)
    promised = (rows * columns * frames * bits + 7) // 8
    if stored not in (promised, promised + promised % 2):
        raise InputError(
            f"{'truncated' if stored < promised else 'broken DICOM file'}: {frames} "
            f"frames of {rows} x {columns} pixels of {bits} bits are {promised} bytes, "
            f"and the file has {stored}"
        )


def _stored_bytes(path: Path, dataset: pydicom.FileDataset) -> int:
    """Bytes of a file's pixel data, which are not read."""
    if dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        return len(read_dataset(path, pixels=True).get("PixelData", b""))
    with understood(path):
        header = pydicom.dcmread(
            path, force=True, defer_size=0, specific_tags=["PixelData"]
        )
        if "PixelData" not in header:
            raise InputError("truncated, or not an image: it has no pixel data")
        pixels: Any = header.get_item("PixelData", keep_deferred=True)
        return int(min(pixels.length, path.stat().st_size - pixels.value_tell))


def read_frames(
    path: Path, dataset: pydicom.FileDataset, indices: Sequence[int]
) -> Iterator[npt.NDArray[Any]]:
    """Decode frames, in the order of ``indices``.

    Parameters
    ----------
    path
        DICOM file that passed `check_pixels`.
    dataset
        Its header.
    indices
        Which frames, from 0.

    Yields
    ------
    (rows, columns) unsigned integers

    Raises
    ------
    InputError
        If a frame cannot be decoded.
    """
    deflated = dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    source = read_dataset(path, pixels=True) if deflated else path
    frames = iter_pixels(source, indices=indices, raw=True)
    for _ in indices:
        with understood(path):
            frame = next(frames)
        yield frame
