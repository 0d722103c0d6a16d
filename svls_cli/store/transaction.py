"""Cases appear in a store whole or not at all.

A case is built in ``OUT.tmp/<run>/``, beside the store and on its file system, and
renamed into place when it is complete and on the disk. An old case is moved aside
before and removed after; a run that died between the two is repaired by the next.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from svls_cli.errors import StoreError

# Files flushed at a time.
_FLUSHES = 8
_REPLACED = "replaced"
_OLD_STORE = "old store"


@contextmanager
def workspace(root: Path) -> Iterator[Path]:
    """A folder for building cases of the store at ``root``; gone after the block."""
    area = root.with_name(f"{root.name}.tmp")
    _tidy(area, root)
    folder = area / f"{socket.gethostname()}~{os.getpid()}~{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        _discard(folder, root)
        with suppress(OSError):  # other runs may be at work in it
            area.rmdir()


def publish(built: Path, target: Path, *, workspace: Path) -> None:
    """Put a finished folder in its place, on the disk before it is seen.

    Parameters
    ----------
    built
        The folder, inside ``workspace``.
    target
        Where it goes; a folder already there is replaced.
    workspace
        Of this run.

    Raises
    ------
    StoreError
        If the run was killed and this worker outlived it.
    OSError
        If the disk or its permissions do not allow it.
    """
    if not _owner_lives(workspace):
        raise StoreError("the run that this case belonged to was killed")
    aside = workspace / _REPLACED / target.name
    aside.parent.mkdir(exist_ok=True)
    while not renamed(built, target):
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(FileNotFoundError):  # another run may move it first
            target.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def replace_store(root: Path, new: Path, *, workspace: Path, keep_old: bool) -> None:
    """Put a finished store in the place of an old one.

    Parameters
    ----------
    root
        The old store.
    new
        The new one, inside ``workspace``.
    workspace
        Of this run.
    keep_old
        Keep the old one beside it, as ``ROOT.old``.
    """
    aside = workspace / _OLD_STORE
    root.rename(aside)
    renamed(new, root)
    if keep_old:
        _keep(aside, root)
    else:
        shutil.rmtree(aside)


def _keep(old: Path, root: Path) -> None:
    name = root.with_name(f"{root.name}.old")
    while name.exists():
        name = name.with_name(f"{name.name}.old")
    old.rename(name)


def folder_bytes(folder: Path) -> int:
    """Size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def renamed(folder: Path, target: Path) -> bool:
    """Whether the folder got its name; False if there is one of that name already.

    All of it is on the disk before it has the name, and the name when this returns.

    Raises
    ------
    OSError
        If it cannot be renamed for another reason.
    """
    _flush(folder)
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    _flush_path(target.parent)
    return True


def _tidy(area: Path, root: Path) -> None:
    """Clear what runs of this machine left when they were killed."""
    if not area.is_dir():
        return
    for folder in area.iterdir():
        if not _owner_lives(folder):
            _discard(folder, root)


def _owner_lives(folder: Path) -> bool:
    """Whether a workspace's run may be alive; on another machine it may."""
    host, _, rest = folder.name.partition("~")
    pid = rest.partition("~")[0]
    return host != socket.gethostname() or not pid.isdigit() or _alive(int(pid))


def _discard(folder: Path, root: Path) -> None:
    """Remove a run's folder; what it had moved aside and not replaced goes back."""
    old_store = folder / _OLD_STORE
    if old_store.is_dir() and not root.exists():
        old_store.rename(root)
    elif old_store.is_dir():  # replaced, and not known whether it was to be kept
        _keep(old_store, root)
    replaced = folder / _REPLACED
    for old in replaced.iterdir() if replaced.is_dir() else ():
        if root.is_dir() and not (root / old.name).exists():
            old.rename(root / old.name)
    shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, and is somebody else's
        return True
    return True


def _flush(folder: Path) -> None:
    """Have the disk hold a folder and all in it: a rename may outrun the data."""
    with ThreadPoolExecutor(_FLUSHES) as pool:  # at once, they wait for the disk once
        deque(pool.map(_flush_path, [folder, *folder.rglob("*")]), maxlen=0)


def _flush_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
