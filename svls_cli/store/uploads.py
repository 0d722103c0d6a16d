"""Uploading what was built on this machine into an object store."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from svls_cli.errors import StoreError
from svls_cli.store.metadata import NAME
from svls_cli.store.objects import (
    ObjectFolder,
    file_sizes,
    object_store,
    translated_errors,
)

# Objects uploaded at a time: each is held in memory meanwhile.
_AT_ONCE = 4


def put_root(built: Path, target: ObjectFolder) -> None:
    """Upload a store's root, unless another run already has."""
    content = (built / NAME).read_bytes()
    with translated_errors(target, "no such bucket"), suppress(FileExistsError):
        object_store().pipe_file(f"{target.key}/{NAME}", content, mode="create")


def put_case(built: Path, target: ObjectFolder) -> None:
    """Upload a finished case, its marker last; an old case is removed first.

    Two runs may upload the same case at a time: their objects are the same.

    Raises
    ------
    StoreError
        If its name is not valid Unicode, as an object's must be.
    UnreachableError
        If an object cannot be uploaded; the case does not exist then.
    """
    try:
        target.key.encode()
    except UnicodeEncodeError as error:
        raise StoreError(
            "its name is not valid Unicode, which object stores require"
        ) from error
    names = sorted(file_sizes(built))
    names.remove(NAME)
    with translated_errors(target, "no such bucket"):
        objects = object_store()
        objects.rm_file(f"{target.key}/{NAME}")
        for name in file_sizes(target).keys() - set(names):
            objects.rm_file(f"{target.key}/{name}")
        objects.put(
            [str(built / name) for name in names],
            [f"{target.key}/{name}" for name in names],
            batch_size=_AT_ONCE,
        )
        objects.put_file(str(built / NAME), f"{target.key}/{NAME}")
