"""Transactions: cases appear in a store whole or not at all.

A case is built in ``OUT.tmp/<run>/``, beside the store and on its file system, and
renamed into place when it is complete and on the disk. An old case is moved aside
before and removed after; a run that died between the two is repaired by the next.
Runs of several processes and machines may work on one store at the same time.
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
# Made by the run alone. A worker that outlives the run may make the workspace again by
# writing into it, but not this folder, whose absence tells that the run has ended.
_REPLACED = "replaced"
_OLD_STORE = "old store"
_ATTEMPTS = 100


@contextmanager
def workspace(root: Path) -> Iterator[Path]:
    """A folder to build cases of the store at ``root`` in; removed after the block."""
    area = root.with_name(f"{root.name}.tmp")
    _tidy(area, root)
    folder = area / f"{machine()}~{os.getpid()}~{uuid.uuid4().hex[:8]}"
    _make(folder)
    (folder / _REPLACED).mkdir()
    try:
        yield folder
    finally:
        _discard(folder, root)
        with suppress(OSError):  # other runs may be at work in it
            area.rmdir()


def publish(built: Path, target: Path, *, workspace: Path) -> None:
    """Move a finished folder into place, flushed to the disk before it is visible.

    It is inside the run's ``workspace``. A folder that is already at ``target`` is
    replaced.

    Raises
    ------
    StoreError
        If the run has ended and this worker outlived it.
    OSError
        If the disk or its permissions do not allow it.
    """
    aside = workspace / _REPLACED / target.name
    if not (_owner_lives(workspace) and aside.parent.is_dir()):
        raise StoreError("the run that this case belonged to has ended")
    while not rename_if_free(built, target):
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(FileNotFoundError):  # another run may move it first
            target.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def replace_store(root: Path, new: Path, *, workspace: Path, keep_old: bool) -> None:
    """Replace an old store with a finished new one.

    The new one is inside ``workspace``. ``keep_old`` keeps the old one beside it, as
    ``ROOT.old``.
    """
    aside = workspace / _OLD_STORE
    root.rename(aside)
    rename_if_free(new, root)
    if keep_old:
        _keep(aside, root)
    else:
        shutil.rmtree(aside)


def _keep(old: Path, root: Path) -> None:
    name = root.with_name(f"{root.name}.old")
    while name.exists():
        name = name.with_name(f"{name.name}.old")
    old.rename(name)


def rename_if_free(folder: Path, target: Path) -> bool:
    """Rename a folder unless ``target`` already holds files; return whether it was.

    The contents are flushed to the disk before the folder is renamed, the name after.

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


def machine() -> str:
    """Identifier of where a process id is valid: host and, on Linux, PID namespace."""
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        namespace = 0
    return f"{socket.gethostname()}.{namespace}"


def _make(folder: Path) -> None:
    """Make a workspace, even while another run removes the empty area around it."""
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):
            folder.mkdir(parents=True)
            return
    folder.mkdir(parents=True)


def _tidy(area: Path, root: Path) -> None:
    """Remove what killed runs of this machine left behind."""
    try:
        folders = list(area.iterdir())
    except FileNotFoundError:
        return
    for folder in folders:
        if not _owner_lives(folder):
            _discard(folder, root)


def _owner_lives(folder: Path) -> bool:
    """Whether a workspace's run may be alive, as any on another machine may."""
    host, _, rest = folder.name.partition("~")
    pid = rest.partition("~")[0]
    return host != machine() or not pid.isdigit() or _alive(int(pid))


def _discard(folder: Path, root: Path) -> None:
    """Remove a run's folder; restore what it moved aside and did not replace.

    It is renamed first, so that no worker publishes from a half-removed folder.
    """
    gone = folder.with_name(f"{folder.name}~gone")
    try:
        folder = folder.rename(gone)
    except FileNotFoundError:  # another run was faster
        return
    old_store = folder / _OLD_STORE
    if old_store.is_dir() and not root.exists():
        old_store.rename(root)
    elif old_store.is_dir():  # replaced, and not known whether it was to be kept
        _keep(old_store, root)
    replaced = folder / _REPLACED
    for old in replaced.iterdir() if replaced.is_dir() else ():
        if root.is_dir():
            rename_if_free(old, root / old.name)
    shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # alive, and owned by another user
        return True
    return True


def _flush(folder: Path) -> None:
    """fsync a folder and its contents: a rename may reach the disk before the data."""
    with ThreadPoolExecutor(_FLUSHES) as pool:  # together they wait for the disk once
        deque(pool.map(_flush_path, [folder, *folder.rglob("*")]), maxlen=0)


def _flush_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
