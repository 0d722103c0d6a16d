"""Stores in an object store: the only user of s3fs, which is an extra.

Object stores have no folders and no rename. So a case is built on this machine's disk,
as every case is, then its objects are uploaded under its final name, and last its own
``zarr.json``, the marker: without it there is no case for any reader.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
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
# A request may take so long, and a second more for so many bytes that travel: libraries
# wait without end for a server that takes an upload and never answers.
_PATIENCE_S = 120
_SLOWEST_BYTES_S = 2**14


@dataclass(frozen=True)
class ObjectFolder:
    """All objects whose names share a prefix, with the interface of a `Path`."""

    url: str  # ``s3://bucket/name``

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> ObjectFolder:
        return ObjectFolder(f"{self.url}/{name}")

    @property
    def key(self) -> str:
        """``bucket/name``."""
        return self.url.removeprefix("s3://")

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]

    def exists(self) -> bool:
        """Whether the folder holds any object."""
        bucket, _, prefix = self.key.partition("/")
        with translated_errors(self, "no such bucket"):
            listing = object_store().call_s3(
                "list_objects_v2", Bucket=bucket, Prefix=f"{prefix}/", MaxKeys=1
            )
        return bool(listing.get("KeyCount"))

    def is_file(self) -> bool:
        """Whether there is an object of this very name."""
        with translated_errors(self):
            return bool(object_store().isfile(self.key))

    def read_bytes(self) -> bytes:
        """The object's content."""
        with translated_errors(self):
            content: bytes = object_store().cat_file(self.key)
        return content


Folder = Path | ObjectFolder


def folder_at(location: str | Folder) -> Folder:
    """The folder that a user names, on a disk or as ``s3://bucket/name``.

    Raises
    ------
    StoreError
        If it is in another kind of object store, or names a bucket only.
    """
    if not isinstance(location, str):
        return location
    if not _URL.match(location):
        return Path(location)
    if not re.fullmatch(r"s3://[^/]+/[^/].*", location):
        raise StoreError(f"{location}: expected a folder, or s3://bucket/name.zarr")
    return ObjectFolder(location.rstrip("/"))


def disk_folder(location: str | Path) -> Path:
    """A folder on a disk, for output that is not a store.

    Raises
    ------
    InputError
        If it is not on a disk.
    """
    if _URL.match(str(location)):
        raise InputError(
            f"{location}: only stores are written into object stores, as "
            "s3://bucket/name.zarr; expected a folder on a disk"
        )
    return Path(location)


def zarr_store(folder: Folder) -> Any:
    """A folder as a read-only store that Zarr can open."""
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
    with translated_errors(folder):
        entries = object_store().ls(folder.key, detail=True)
    return sorted(
        entry["name"].rpartition("/")[2]
        for entry in entries
        if entry["type"] == "directory"
    )


def read_file(path: Folder) -> bytes:
    """The content of a file of a store.

    Raises
    ------
    FileNotFoundError
        If there is none. What is no regular file is none: a pipe may never end.
    """
    if isinstance(path, Path) and not path.is_file():
        raise FileNotFoundError(f"{path} is no file")
    return path.read_bytes()


def file_sizes(folder: Folder) -> dict[str, int]:
    """Size of every file in a folder, bytes, by its path inside the folder."""
    if isinstance(folder, Path):
        return {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in folder.rglob("*")
            if path.is_file()
        }
    with translated_errors(folder):
        entries = object_store().find(folder.key, detail=True)
    start = len(folder.key) + 1
    return {name[start:]: int(entry["size"]) for name, entry in entries.items()}


@contextmanager
def translated_errors(folder: Folder, missing: str = "") -> Iterator[None]:
    """Turn errors in reaching an object store into a one-line `UnreachableError`.

    Errors on a disk stay as they are. ``missing`` says what a missing object means; by
    default FileNotFoundError passes through.

    Raises
    ------
    UnreachableError
        If the endpoint does not answer, or denies access.
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
    except UnreachableError as error:
        raise UnreachableError(f"{folder}: {error}") from error
    except (OSError, BotoCoreError) as error:
        reason = str(error.strerror or error if isinstance(error, OSError) else error)
        raise UnreachableError(f"{folder}: {reason.splitlines()[0]}") from error


def object_store() -> Any:
    """The object store that the environment names (AWS_ENDPOINT_URL and its like).

    Raises
    ------
    InvalidParameterError
        If s3fs is not installed.
    """
    return _file_system()(
        use_listings_cache=False, max_concurrency=1, config_kwargs=_NETWORK
    )


@cache
def _file_system() -> Any:
    """s3fs's file system; each request is bounded in time, with all its retries."""
    try:
        from fsspec.asyn import sync_wrapper
        from s3fs import S3FileSystem
    except ImportError as error:
        raise InvalidParameterError(
            "s3:// needs s3fs: pip install 'svls-cli[s3]'"
        ) from error

    class Bounded(S3FileSystem):  # type: ignore[misc]  # s3fs has no types
        async def _call_s3(self, method: str, *parameters: Any, **more: Any) -> Any:
            try:
                await self._in_time(self.set_session(), 0)
            except ValueError as error:  # of botocore, for an endpoint that is no URL
                raise UnreachableError(str(error)) from error
            call = super()._call_s3(method, *parameters, **more)
            answer = await self._in_time(call, len(more.get("Body", b"")))
            if "Body" in answer:
                with closing(answer["Body"]) as body:
                    read = self._in_time(body.read(), answer["ContentLength"])
                    answer["Body"] = _Content(await read)
            return answer

        async def _in_time(self, request: Awaitable[Any], size: int) -> Any:
            limit_s = _PATIENCE_S + size / _SLOWEST_BYTES_S
            try:
                return await asyncio.wait_for(request, limit_s)
            except TimeoutError as error:
                place = self._s3.meta.endpoint_url if self._s3 else "the endpoint"
                raise UnreachableError(
                    f"{place} gave no answer within {limit_s:.0f} s"
                ) from error

        call_s3 = sync_wrapper(_call_s3)

    return Bounded


@dataclass(frozen=True)
class _Content:
    """An object's content, read, with the interface of one that is not."""

    content: bytes

    async def read(self) -> bytes:
        return self.content

    def close(self) -> None:
        """Close nothing."""
