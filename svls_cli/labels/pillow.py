"""Pillow, which unpacks the pixels of PNG and TIFF files and is an extra."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from svls_cli.errors import InputError


def unpacked(content: bytes, kind: Literal["PNG", "TIFF"]) -> npt.NDArray[Any]:
    """The pixels of a file's first picture, as Pillow has them.

    ``content`` is the whole file, whose size the caller has found to be plausible.

    Returns
    -------
    (y, x)
        The largest grey of less than 8 bits is 255.

    Raises
    ------
    InputError
        If Pillow is not installed.
    EOFError
        If the content is damaged.
    """
    try:
        from PIL import Image
        from PIL.PngImagePlugin import PngImageFile
        from PIL.TiffImagePlugin import TiffImageFile
    except ImportError as error:
        raise InputError(
            f"{kind} needs Pillow: pip install 'svls-cli[images]'"
        ) from error
    reader = {"PNG": PngImageFile, "TIFF": TiffImageFile}[kind]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with reader(BytesIO(content)) as image:
                # Of single bits NumPy would get bytes of 255 that claim to be bool.
                return np.asarray(image.convert("L") if image.mode == "1" else image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise EOFError(error) from error
