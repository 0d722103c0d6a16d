"""What a TIFF file says of its axes: how long a voxel is, and which slices it has."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from svls_cli.errors import InputError
from svls_cli.labels.header import MM, is_screen, numbers, whole_number
from svls_cli.labels.tiff_tags import Tags, first

_INCH = 25.4
# Of a resolution, by its unit.
_RESOLUTION_MM = {2: _INCH, 3: 10.0}
_IMAGEJ_MM = MM | {"inch": _INCH, "\\u00B5m": MM["um"]}


def spacing_mm(tags: Tags, n_pages: int) -> list[float]:
    """Voxel size along x, y and, if there are several pages, z; 1 where unknown.

    Raises
    ------
    InputError
        If what OME-TIFF or ImageJ describe is no size, or the pages are not the slices
        of one volume.
    """
    text = str(first(tags, "ImageDescription", ""))
    if "<OME" in text:
        found = _from_ome(text, n_pages)
    elif text.startswith("ImageJ="):
        fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        found = _from_imagej(fields, tags, n_pages)
    else:
        if text.startswith('{"shape":'):
            _check_shape(text, n_pages)
        found = _pixel_mm(tags, _RESOLUTION_MM.get(first(tags, "ResolutionUnit"), 0))
    if any(size <= 0 for size in found):
        raise InputError(f"broken TIFF: voxels of {found} mm")
    return [*found, 1.0][: 2 + (n_pages > 1)]


def _from_ome(text: str, n_pages: int) -> list[float]:
    images = re.findall(r"<(?:\w+:)?Pixels\b([^>]*)>", text)
    if len(images) != 1:
        raise InputError(f"OME-TIFF of {len(images)} images; expected one")
    pairs = re.findall(r"""\b(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)')""", images[0])
    fields = {name: one or other for name, one, other in pairs}
    _check_axes(fields, n_pages, z="SizeZ", others=("SizeC", "SizeT"), what="OME-TIFF")
    found = []
    for axis in "XYZ":
        name = f"PhysicalSize{axis}"
        unit = fields.get(f"{name}Unit", "um")
        known = name in fields and unit in MM
        size = numbers(fields[name], name, 1)[0] * MM[unit] if known else 1.0
        found.append(size)
    return found


def _from_imagej(fields: Mapping[str, str], tags: Tags, n_pages: int) -> list[float]:
    _check_axes(
        fields,
        n_pages,
        z="images",
        others=("channels", "frames"),
        what="an ImageJ TIFF",
    )
    unit = _IMAGEJ_MM.get(fields.get("unit", "").strip(), 0)
    if not unit:
        return [1.0, 1.0]
    depth = abs(numbers(fields.get("spacing", "1"), "spacing", 1)[0])
    return [*_pixel_mm(tags, unit), depth * unit]


def _pixel_mm(tags: Tags, unit_mm: float) -> list[float]:
    """From the pixels per unit of length; 0 if there is no such unit."""
    per_unit = [first(tags, name) for name in ("XResolution", "YResolution")]
    if not unit_mm or not all(per_unit) or is_screen(per_unit[0] / unit_mm):
        return [1.0, 1.0]
    return [unit_mm / n for n in per_unit]


def _check_axes(
    fields: Mapping[str, str],
    n_pages: int,
    *,
    z: str,
    others: tuple[str, str],
    what: str,
) -> None:
    """Check that the pages are the slices of one channel at one time."""
    channels, times = (whole_number(fields.get(n, "1"), n, least=1) for n in others)
    if channels > 1 or times > 1:
        raise InputError(
            f"{what} of {channels} channels and {times} times; expected one of each: "
            "save them as one file each"
        )
    slices = whole_number(fields.get(z, "1"), z, least=1)
    if slices != n_pages:
        raise InputError(
            f"{what} of {slices} slices, and {n_pages} pages are in this file"
        )


def _check_shape(text: str, n_pages: int) -> None:
    """Check the axes that the Python library tifffile describes."""
    try:
        shape = [int(n) for n in json.loads(text)["shape"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"broken TIFF: its description is {text[:60]!r}") from error
    leading = [n for n in shape[:-2] if n != 1]
    if leading not in ([], [n_pages]):
        raise InputError(
            f"{len(shape)}-D, {' x '.join(map(str, shape))}, in {n_pages} pages; "
            "expected the slices of one volume"
        )
