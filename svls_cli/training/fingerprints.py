"""What tells one image from another: the bytes of its files, and its voxels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.errors import InputError
from svls_cli.labels.header import check_regular
from svls_cli.labels.images import file_sha256
from svls_cli.labels.scans import Scan
from svls_cli.store.reader import Store, StoredCase


def voxels_hash(voxels: npt.NDArray[Any]) -> str:
    """Hash of the voxels (c, z, y, x) of an image, whatever files hold them.

    They are compared as float32, which is what a network sees of them.
    """
    digest = blake2b(json.dumps(voxels.shape).encode(), digest_size=8)
    for channel in voxels:
        digest.update(np.ascontiguousarray(channel, "<f4").data)
    return digest.hexdigest()


def inputs_hash(
    store: Store, cases: Mapping[str, StoredCase], scans: Mapping[str, Scan]
) -> str:
    """Hash of a store's parameters, label maps and images, whatever their folders.

    Raises
    ------
    InputError
        If an image file is none that can be opened, or a label map of the store.
    """
    labels = {
        record["sha256"]: name
        for name, case in cases.items()
        for record in case.attributes["inputs"]
        if not record.get("image")
    }
    made_from = []
    for name, scan in sorted(scans.items()):
        files = [[path.name, _content(path)] for path in scan.paths]
        for path, (_, content) in zip(scan.paths, files, strict=True):
            if content in labels:
                raise InputError(
                    f"{path}: the label map that case {labels[content]!r} was made "
                    "from, no image; give the folder of the images"
                )
        made_from.append([name, cases[name].attributes["inputs"], *files])
    content = json.dumps([store.config.hash, made_from])
    return sha256(content.encode("utf-8", "surrogateescape")).hexdigest()


def _content(path: Path) -> str | None:
    """Hash of an image file's bytes, and of its detached data's."""
    try:
        check_regular(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    with suppress(InputError):  # what is broken is told when the image is read
        return file_sha256(path)
    return None
