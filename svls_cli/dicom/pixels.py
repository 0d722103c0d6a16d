"""Frames of a DICOM file, decoded one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
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
    if syntax.is_encapsulated:
        return
    rows, columns, frames, bits = _sizes(dataset)
    promised = (rows * columns * frames * bits + 7) // 8
    _, stored = _place(path, dataset)
    if stored not in (promised, promised + promised % 2):
        raise InputError(
            f"{'truncated' if stored < promised else 'broken DICOM file'}: {frames} "
            f"frames of {rows} x {columns} pixels of {bits} bits are {promised} bytes, "
            f"and the file has {stored}"
        )


def _sizes(dataset: pydicom.Dataset) -> tuple[int, int, int, int]:
    """Rows, columns, frames, and bits of each pixel."""
    rows, columns = int(element(dataset, "Rows")), int(element(dataset, "Columns"))
    bits, frames = int(element(dataset, "BitsAllocated")), dataset.get("NumberOfFrames")
    if bits not in (1, 8, 16):
        raise InputError(f"not labels: {bits} bits for a pixel")
    return rows, columns, int(frames or 1), bits


def _place(path: Path, dataset: pydicom.FileDataset) -> tuple[int, int]:
    """Where the pixels of a file that are not compressed begin, and their bytes."""
    if dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        return 0, len(read_dataset(path, pixels=True).get("PixelData", b""))
    with understood(path):
        header = pydicom.dcmread(
            path, force=True, defer_size=0, specific_tags=["PixelData"]
        )
        if "PixelData" not in header:
            raise InputError("truncated, or not an image: it has no pixel data")
        pixels: Any = header.get_item("PixelData", keep_deferred=True)
        start = int(pixels.value_tell)
        return start, int(min(pixels.length, path.stat().st_size - start))


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
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated or not syntax.is_little_endian:
        frames = iter_pixels(path, indices=indices, raw=True)
        for _ in indices:
            with understood(path):
                frame = next(frames)
            yield frame
        return
    # pydicom takes frames of one bit that begin within bytes for others.
    rows, columns, _, bits = _sizes(dataset)
    if syntax == DeflatedExplicitVRLittleEndian:
        pixels = read_dataset(path, pixels=True).PixelData
        stored = np.frombuffer(pixels, np.uint8)
    else:
        start, n_bytes = _place(path, dataset)
        stored = np.memmap(path, np.uint8, "r", start, (n_bytes,))
    n_bits = rows * columns * bits
    for index in indices:
        first, end = index * n_bits, (index + 1) * n_bits
        part = np.array(stored[first // 8 : (end + 7) // 8])
        if bits == 1:
            part = np.unpackbits(part, bitorder="little")
            part = part[first % 8 : first % 8 + n_bits]
        yield part.view(f"<u{max(bits, 8) // 8}").reshape(rows, columns)
