"""What tells one image from another, at the cost of reading the ends of its files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from svls_cli.errors import InputError
from svls_cli.labels.header import check_regular
from svls_cli.labels.images import read_header
from svls_cli.labels.scans import Scan
from svls_cli.store.reader import Store, StoredCase

# Bytes at each end of a file that tell it from another; gzip files end in a checksum.
_END_BYTES = 4096


def image_fingerprint(scan: Scan) -> str:
    """Hash of an image's content, whatever the names of its files.

    Raises
    ------
    InputError
        If a file is none that can be opened.
    """
    files = [_fingerprint(path) for path in scan.paths]
    return sha256(json.dumps(files).encode()).hexdigest()[:16]


def inputs_hash(
    store: Store, cases: Mapping[str, StoredCase], scans: Mapping[str, Scan]
) -> str:
    """Hash of a store's parameters, label maps and images, whatever their folders.

    Raises
    ------
    InputError
        As `image_fingerprint`.
    """
    made_from = [
        [name, cases[name].attributes["inputs"], *map(_named, scan.paths)]
        for name, scan in sorted(scans.items())
    ]
    content = json.dumps([store.config.hash, made_from])
    return sha256(content.encode("utf-8", "surrogateescape")).hexdigest()


def _named(path: Path) -> Sequence[Any]:
    return [path.name, *_fingerprint(path)]


def _fingerprint(path: Path) -> list[Any]:
    """Size, and hash of both ends, of an image file, and of its detached data."""
    try:
        check_regular(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    files = [path]
    with suppress(InputError):  # what is broken is told when the image is read
        files = [*dict.fromkeys((path, read_header(path).data_path))]
    return [each for file in files for each in (file.stat().st_size, _ends(file))]


def _ends(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_END_BYTES)
        file.seek(max(0, size - _END_BYTES))
        return sha256(start + file.read()).hexdigest()
