"""Stores in an object store: the only user of s3fs, which is an extra.

Objects have no folders and no rename. So a case is built on this machine's disk, as
every case is, then its objects are put under its final name, and last its own
``zarr.json``, the marker: without it there is no case for any reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svls_cli.errors import (
    InputError,
    InvalidParameterError,
    StoreError,
    UnreachableError,
)

# One slash is enough: a `Path` keeps no more. One letter alone is a drive.
_URL = re.compile("[A-Za-z][A-Za-z0-9+.-]+:/")
# Three tries of five seconds each before an endpoint that does not answer is an error.
_NETWORK = {
    "connect_timeout": 5,
    "read_timeout": 60,
    "retries": {"max_attempts": 3, "mode": "standard"},
}


@dataclass(frozen=True)
class ObjectFolder:
    """All objects whose names begin alike, in the manner of a `Path`.

    Parameters
    ----------
    url
        ``s3://bucket/name``.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> ObjectFolder:
        return ObjectFolder(f"{self.url}/{name}")

    @property
    def key(self) -> str:
        """``bucket/name``."""
        return self.url.removeprefix("s3://")

    def exists(self) -> bool:
        """Whether any object is here."""
        bucket, _, prefix = self.key.partition("/")
        with reached(self, "no such bucket"):
            found = object_store().call_s3(
                "list_objects_v2", Bucket=bucket, Prefix=f"{prefix}/", MaxKeys=1
            )
        return bool(found.get("KeyCount"))

    def is_file(self) -> bool:
        """Whether this is an object."""
        with reached(self):
            return bool(object_store().isfile(self.key))

    def read_text(self, encoding: str) -> str:
        """The object's content."""
        with reached(self):
            content: bytes = object_store().cat_file(self.key)
        return content.decode(encoding)


Folder = Path | ObjectFolder


def folder_at(given: str | Folder) -> Folder:
    """The folder that a user names, on a disk or as ``s3://bucket/name``.

    Raises
    ------
    StoreError
        If it is in another kind of object store, or no object's name.
    """
    if not isinstance(given, str):
        return given
    if not _URL.match(given):
        return Path(given)
    if not re.fullmatch(r"s3://[^/]+/[^/].*", given):
        raise StoreError(f"{given}: expected a folder, or s3://bucket/name.zarr")
    return ObjectFolder(given.rstrip("/"))


def disk_folder(given: str | Path) -> Path:
    """A folder for what is no store.

    Raises
    ------
    InputError
        If it is not on a disk.
    """
    if _URL.match(str(given)):
        raise InputError(
            f"{given}: only stores are written into object stores, as "
            "s3://bucket/name.zarr; expected a folder on a disk"
        )
    return Path(given)


def zarr_store(folder: Folder) -> Any:
    """What Zarr opens, for reading."""
    if isinstance(folder, Path):
        return folder
    objects = object_store()
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
    from zarr.storage import FsspecStore

    # One connection pool for all, in s3fs's own thread, which also closes it.
    wrapped = AsyncFileSystemWrapper(objects, asynchronous=True)
    return FsspecStore(wrapped, read_only=True, path=folder.key)


def subfolders(folder: Folder) -> list[str]:
    """Names of the folders in a folder, sorted."""
    if isinstance(folder, Path):
        return sorted(path.name for path in folder.iterdir() if path.is_dir())
    with reached(folder):
        found = object_store().ls(folder.key, detail=True)
    return sorted(
        entry["name"].rpartition("/")[2]
        for entry in found
        if entry["type"] == "directory"
    )


def file_sizes(folder: Folder) -> dict[str, int]:
    """Bytes of every file in a folder, by its name inside."""
    if isinstance(folder, Path):
        return {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in folder.rglob("*")
            if path.is_file()
        }
    with reached(folder):
        found = object_store().find(folder.key, detail=True)
    start = len(folder.key) + 1
    return {name[start:]: int(entry["size"]) for name, entry in found.items()}


@contextmanager
def reached(folder: Folder, missing: str = "") -> Iterator[None]:
    """Have what goes wrong on the way to an object store told in one line.

    Parameters
    ----------
    folder
        Where the block reads or writes; on a disk, errors stay what they are.
    missing
        What it means if there is no such object; by default it is the caller's matter.

    Raises
    ------
    UnreachableError
        If the endpoint does not answer, or does not let us in.
    """
    if isinstance(folder, Path):
        yield
        return
    object_store()  # has botocore, or says what to install
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except FileNotFoundError as error:
        if not missing:
            raise
        raise UnreachableError(f"{folder}: {missing}") from error
    except (OSError, BotoCoreError) as error:
        reason = str(error.strerror or error if isinstance(error, OSError) else error)
        raise UnreachableError(f"{folder}: {reason.splitlines()[0]}") from error


def object_store() -> Any:
    """The object store, as the usual environment variables say (AWS_ENDPOINT_URL ...).

    Raises
    ------
    InvalidParameterError
        If s3fs is not installed.
    """
    try:
        from s3fs import S3FileSystem
    except ImportError as error:
        raise InvalidParameterError(
            "s3:// needs s3fs: pip install 'svls-cli[s3]'"
        ) from error
    return S3FileSystem(
        use_listings_cache=False, max_concurrency=1, config_kwargs=_NETWORK
    )
