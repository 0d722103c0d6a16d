"""Names of cases and raters: each a folder's name on every file system."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from svls_cli.errors import InputError

# Separators; what Windows refuses; control characters, line separators and those that
# turn the direction of text; and lone surrogates, except those that stand for a file
# name's own bytes.
_UNSAFE = re.compile(
    '[/\\\\<>:"|?*\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069'
    "\ud800-\udc7f\udd00-\udfff]"
)
# Names that Zarr keeps for itself, and that Windows gives to devices, whatever follows
# the first dot.
_RESERVED = {"", "zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"}
_DEVICE = re.compile(
    r"(con|prn|aux|nul|con(in|out)\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.I
)
# File systems allow 255; the rest is for what is added: a key and a suffix in the cache
# of images, a class in exported files.
_LONGEST_BYTES = 223
_DIGEST = 8


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC), in which names are compared."""
    return unicodedata.normalize("NFC", name)


def folder_names(name: str) -> list[str]:
    """Names that the folder of a case of this name may have in a store.

    File systems of macOS and older stores have decomposed ones, and older stores others
    that are no longer given. None leads out of the store.
    """
    decomposed = unicodedata.normalize("NFD", name)
    names = dict.fromkeys((composed(name), decomposed, name))
    return [each for each in names if each != ".." and Path(each).name == each]


def safe_name(name: str) -> str:
    """A name that is one folder inside the store, whatever was asked for.

    Spaces and unicode are kept, in composed form. Separators, control characters, what
    Windows refuses, and dots and spaces at the end become ``_``. The end of a name of
    more than 223 bytes becomes a digest of the whole.

    Examples
    --------
    >>> safe_name("../../etc/passwd")
    '.._.._etc_passwd'
    >>> safe_name("aux.2"), safe_name("visit 1: left.")
    ('_aux.2', 'visit 1_ left_')
    """
    safe = _UNSAFE.sub("_", composed(name))
    kept = safe.rstrip(". ")
    safe = kept + "_" * (len(safe) - len(kept))
    # A leading "__" is reserved by the Zarr specification.
    safe = re.sub("^__+", "_", safe)
    if safe.lower() in _RESERVED:
        safe = f"_{safe.strip('.')}"
    elif _DEVICE.fullmatch(safe):
        safe = f"_{safe}"
    if _bytes(safe) <= _LONGEST_BYTES:
        return safe
    digest = hashlib.sha256(safe.encode(errors="surrogateescape")).hexdigest()
    start = safe[:_LONGEST_BYTES]
    while _bytes(start) > _LONGEST_BYTES - _DIGEST - 1:
        start = start[:-1]
    return f"{start}_{digest[:_DIGEST]}"


def check_letter_case(names: Iterable[tuple[str, Path]], what: str) -> None:
    """Check that no two names differ only in the case of letters.

    ``names`` come with a file of each, ``what`` says whose they are. macOS and Windows
    take such names for one.

    Raises
    ------
    InputError
        If two do, with both files.
    """
    first: dict[str, tuple[str, Path]] = {}
    for name, path in names:
        other, there = first.setdefault(name.casefold(), (name, path))
        if other != name:
            raise InputError(
                f"{what} {other!r} and {name!r} differ only in the case of letters, "
                f"which is one name on macOS and Windows: {there} and {path}; rename "
                "one, or give names with JSON records on standard input"
            )


def _bytes(name: str) -> int:
    return len(name.encode(errors="surrogateescape"))
