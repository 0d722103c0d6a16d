"""Checksums of a case: of its files, and of its own document, which holds them.

They find what codecs cannot: a file that was emptied, removed, edited, or swapped with
another case's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import google_crc32c


def crc32c(content: bytes) -> str:
    """The crc32c of a file's content, eight hexadecimal digits.

    Examples
    --------
    >>> crc32c(b"123456789")
    'e3069283'
    """
    return f"{google_crc32c.value(content):08x}"


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """A case's document with the sha256 of itself among its `svls` attributes."""
    attributes = document["attributes"]
    svls = {**attributes["svls"], "sha256": _sha256(document)}
    return {**document, "attributes": {**attributes, "svls": svls}}


def is_sealed(document: Mapping[str, Any]) -> bool:
    """Whether a case's document is as `sealed` returned it.

    White space, the order of keys and the spelling of characters do not count.
    """
    attributes = document["attributes"]
    svls = dict(attributes["svls"])
    found = svls.pop("sha256", None)
    without = {**document, "attributes": {**attributes, "svls": svls}}
    return bool(found == _sha256(without))


def _sha256(document: Mapping[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
