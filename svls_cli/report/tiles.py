"""Small pictures as data URIs, packed by Pillow."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, features

from svls_cli.arrays import FloatArray, UIntArray
from svls_cli.report.palette import ENTROPY_COLORS

_JPEG_QUALITY = 72
_WEBP_QUALITY = 66
# Brightest grey of an image: lines of light colours stand out from it.
_BRIGHTEST = 225
_PLAIN = 40  # grey of the ground where there is no image
# Steps of the entropy that are told apart.
_ENTROPY_STEPS = 31


def grey_tile(
    image: npt.NDArray[Any], window: tuple[float, float], *, longest: int
) -> str:
    """A slice (rows, columns) in greys between the two ends of a window."""
    grey = Image.fromarray(_grey(image, window))
    return data_uri(_packed(_shrunk(grey, longest)))


def entropy_tile(bits: FloatArray, *, longest: int) -> str:
    """The entropy of a slice (rows, columns), from 0 to 1 bit and more."""
    steps = np.rint(np.clip(bits, 0, 1) * 255).astype(np.uint8)
    small = np.asarray(_shrunk(Image.fromarray(steps), longest), np.float64)
    codes = np.rint(small * _ENTROPY_STEPS / 255).astype(np.uint8)
    picture = Image.fromarray(codes, "P")
    picture.putpalette(entropy_palette().ravel().tolist())
    return data_uri(_packed(picture))


def entropy_palette() -> npt.NDArray[np.uint8]:
    """(32, 3) colours of the entropy, from 0 to 1 bit."""
    anchors = np.array([list(bytes.fromhex(color)) for color in ENTROPY_COLORS])
    at = np.linspace(0, len(anchors) - 1, _ENTROPY_STEPS + 1)
    channels = [np.interp(at, range(len(anchors)), channel) for channel in anchors.T]
    colors: npt.NDArray[np.uint8] = np.rint(np.transpose(channels)).astype(np.uint8)
    return colors


def thumbnail(
    image: npt.NDArray[Any] | None,
    window: tuple[float, float],
    labels: UIntArray,
    colors: Mapping[int, str],
    *,
    longest: int,
    aspect: float,
) -> bytes:
    """A very small picture of a slice, with the edges of its labels in colours.

    Parameters
    ----------
    image : (rows, columns)
        The slice; without one, labels are drawn on plain ground.
    window
        Intensities that are black and white.
    labels : (rows, columns)
        Class indices.
    colors
        Colour of each class that is drawn, as RRGGBB.
    longest
        Pixels of the longer side.
    aspect
        Height of a pixel per width.
    """
    height, width = labels.shape[0] * aspect, float(labels.shape[1])
    scale = longest / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    grey = (
        np.full(labels.shape, _PLAIN, np.uint8)
        if image is None
        else _grey(image, window)
    )
    small = Image.fromarray(grey).resize((columns, rows), Image.Resampling.BOX)
    rgb = np.asarray(small.convert("RGB")).copy()
    near = np.ix_(
        np.arange(rows) * labels.shape[0] // rows,
        np.arange(columns) * labels.shape[1] // columns,
    )
    sampled = labels[near]
    padded = np.pad(sampled, 1, mode="edge")
    around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    edge = np.logical_or.reduce([sampled != other for other in around])
    for index, color in colors.items():
        rgb[edge & (sampled == index)] = list(bytes.fromhex(color))
    return _packed(Image.fromarray(rgb))


def data_uri(content: bytes) -> str:
    """A picture's file as a data URI."""
    return f"data:{_kind(content)};base64,{b64encode(content).decode()}"


def _kind(content: bytes) -> str:
    if content[:4] == b"RIFF":
        return "image/webp"
    return "image/png" if content[:4] == b"\x89PNG" else "image/jpeg"


def _grey(
    image: npt.NDArray[Any], window: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    low, high = window
    scaled = (np.asarray(image, np.float64) - low) / ((high - low) or 1)
    return np.rint(np.clip(scaled, 0, 1) * _BRIGHTEST).astype(np.uint8)


def _shrunk(picture: Image.Image, longest: int) -> Image.Image:
    scale = longest / max(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(n * scale)) for n in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX)


def _packed(picture: Image.Image) -> bytes:
    """The smallest of the files that browsers read."""
    ways: list[tuple[str, dict[str, Any]]] = [("PNG", {"optimize": True})]
    exact = picture.mode == "P"
    if not exact:
        ways.append(("JPEG", {"quality": _JPEG_QUALITY, "optimize": True}))
    if features.check("webp"):
        options = {"lossless": True} if exact else {"quality": _WEBP_QUALITY}
        ways.append(("WEBP", {"method": 6, **options}))
    files = []
    for name, options in ways:
        file = BytesIO()
        picture.save(file, name, **options)
        files.append(file.getvalue())
    return min(files, key=len)
