"""Headers and pixels of TIFF files: a picture, or a volume of one page per slice.

A pixel is the number that is stored, also where 0 is white or numbers are indices of
colours. The size of a voxel is what OME-TIFF or ImageJ write, else the resolution
where it is one in inches or centimetres and not that of a screen.

References
----------
.. [1] https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
.. [2] https://docs.openmicroscopy.org/ome-model/, "The OME-TIFF format"
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.header import ONE_NUMBER, ImageHeader, image_sizes
from svls_cli.labels.tiff_pages import (
    DIFFERENCES,
    FLOAT_DIFFERENCES,
    PACKBITS,
    PLAIN,
    RATIOS,
    UNPREDICTED,
    Page,
)
from svls_cli.labels.tiff_scale import spacing_mm
from svls_cli.labels.tiff_tags import Tags, first, read_tags

_COLOURS = {2: "RGB", 5: "CMYK", 6: "YCbCr", 8: "CIELab"}
# Where 0 is white, where it is black, and indices of a palette.
_WHITE, _BLACK, _PALETTE = 0, 1, 3
_REDUCED_OR_MASK = 0b101  # bits of NewSubfileType
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # by SampleFormat
_KIND_NAMES = {"u": "whole numbers", "i": "whole numbers with a sign", "f": "floats"}
_BITS = {"u": (1, 2, 4, 8, 16, 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64)}
_OTHER_PACKINGS = {
    2: "CCITT fax codes", 3: "CCITT fax codes", 4: "CCITT fax codes", 6: "JPEG",
    7: "JPEG", 34712: "JPEG 2000", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP",
}  # fmt: skip


def read_tiff(path: Path) -> ImageHeader:
    """Read the header of a ``.tif`` or ``.tiff`` file.

    Raises
    ------
    InputError
        If it is broken or cut short, has colours or an encoding that is not read, or
        its pages are not the slices of one volume.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        order, tags = read_tags(file)
    pages = [_page(each, order) for each in tags]
    for number, page in enumerate(pages, 1):
        page.check(path.stat().st_size)
        if page.form != pages[0].form:
            raise InputError(
                f"its pages differ: {pages[0].width} x {pages[0].height} pixels of "
                f"{pages[0].bits} bits, and page {number} {page.width} x {page.height} "
                f"of {page.bits}; expected the slices of one volume"
            )
    spacing = spacing_mm(tags[0], len(pages))
    ndim = len(spacing)
    sizes = image_sizes([pages[0].width, pages[0].height, len(pages)][:ndim])
    return ImageHeader(
        path,
        path,
        Geometry.from_axes(sizes, np.eye(ndim), np.zeros(ndim), spacing),
        pages[0].dtype,
        encoding="TIFF",
        blocks=partial(_pixels, pages=pages),
        palette=pages[0].palette,
    )


def _pixels(file: IO[bytes], *, pages: Sequence[Page]) -> Iterator[bytes]:
    return (page.read(file).tobytes() for page in pages)


def _page(tags: Tags, order: str) -> Page:
    _check_kind(tags)
    packing, bits = first(tags, "Compression", PLAIN), first(tags, "BitsPerSample", 1)
    if packing not in RATIOS:
        kind = _OTHER_PACKINGS.get(packing, f"kind {packing}")
        raise InputError(
            f"its pixels are packed as {kind}; expected no compression, or deflate, "
            "LZW or PackBits"
        )
    kind = _KINDS.get(first(tags, "SampleFormat", 1), "")
    if bits not in _BITS.get(kind, ()):
        found = _KIND_NAMES.get(kind, "other numbers")
        some = " or ".join(map(str, _BITS.get(kind, ()))) or "whole numbers or floats"
        raise InputError(f"its pixels are {found} of {bits} bits; expected {some}")
    part, places = _parts(tags)
    return Page(
        first(tags, "ImageLength"),
        first(tags, "ImageWidth"),
        bits,
        np.dtype(f"{order}{kind}{max(bits // 8, 1)}"),
        first(tags, "PhotometricInterpretation", _BLACK) == _PALETTE,
        packing,
        _predictor(tags, packing, bits, kind),
        part,
        "TileOffsets" in tags,
        places,
    )


def _check_kind(tags: Tags) -> None:
    """Check that a page is an upright image of one number per pixel."""
    if first(tags, "NewSubfileType") & _REDUCED_OR_MASK:
        raise InputError(
            "a page is a thumbnail, a mask or the image in another size; save the "
            "image by itself"
        )
    colours = first(tags, "PhotometricInterpretation", _BLACK)
    samples = first(tags, "SamplesPerPixel", 1)
    if colours not in (_WHITE, _BLACK, _PALETTE) or samples != 1:
        several = f"{samples} numbers each" if samples != 1 else f"of kind {colours}"
        kind = _COLOURS.get(colours, several)
        raise InputError(f"its pixels are {kind}: {ONE_NUMBER}")
    turned, reversed_bits = first(tags, "Orientation", 1), first(tags, "FillOrder", 1)
    if turned != 1 or reversed_bits != 1:
        raise InputError(
            f"its rows or bits are turned (Orientation {turned}, FillOrder "
            f"{reversed_bits}); save it upright"
        )


def _parts(tags: Tags) -> tuple[tuple[int, int], tuple[tuple[int, int], ...]]:
    """Rows and columns of a strip or tile; where each begins, and its bytes."""
    shape = first(tags, "ImageLength"), first(tags, "ImageWidth")
    what, part = "Strip", (first(tags, "RowsPerStrip", shape[0]), shape[1])
    if "TileOffsets" in tags:
        what, part = "Tile", (first(tags, "TileLength"), first(tags, "TileWidth"))
    if what == "Strip":  # of more rows than there are where it is the only one
        part = min(part[0], shape[0]), shape[1]
    if min(*shape, *part) < 1:
        raise InputError(f"broken TIFF: {shape} pixels in parts of {part}")
    offsets, counts = tags.get(f"{what}Offsets", ()), tags.get(f"{what}ByteCounts", ())
    n_parts = math.prod(-(-n // m) for n, m in zip(shape, part, strict=True))
    if not n_parts == len(offsets) == len(counts):
        raise InputError(
            f"broken TIFF: its pixels are in {n_parts} parts, but it names "
            f"{len(offsets)} offsets and {len(counts)} sizes"
        )
    return part, tuple(zip(offsets, counts, strict=True))


def _predictor(tags: Tags, packing: int, bits: int, kind: str) -> int:
    predictor: int = first(tags, "Predictor", UNPREDICTED)
    if packing in (PLAIN, PACKBITS):  # which have none
        return UNPREDICTED
    fits = {UNPREDICTED: True, DIFFERENCES: bits >= 8, FLOAT_DIFFERENCES: kind == "f"}
    if not fits.get(predictor):
        raise InputError(f"broken TIFF: Predictor {predictor} of {bits}-bit pixels")
    return predictor
