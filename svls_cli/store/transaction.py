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
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from svls_cli.errors import StoreError
from svls_cli.files import may_be_at_work, owner

# Files flushed at a time.
_FLUSHES = 8
# Made by the run alone. A worker that outlives the run may make the workspace again by
# writing into it, but not this folder, whose absence tells that the run has ended.
_REPLACED = "replaced"
NEW_STORE = "store"  # one that has no place yet
# Names of a store that was moved aside, by whether it is to be kept.
_ASIDE = {False: "old store", True: "old store to keep"}
_ATTEMPTS = 100


@contextmanager
def workspace(root: Path) -> Iterator[Path]:
    """A folder to build cases of the store at ``root`` in; removed after the block."""
    tidy(root)
    area = _area(root)
    folder = area / f"{owner()}~{uuid.uuid4().hex[:8]}"
    _make(folder)
    (folder / _REPLACED).mkdir()
    try:
        yield folder
    finally:
        _discard(folder, root)
        with suppress(OSError):  # other runs may be at work in it
            area.rmdir()


def tidy(root: Path) -> None:
    """Remove what killed runs of this machine left; restore what they moved aside."""
    try:
        folders = list(_area(root).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for folder in folders:
        if not may_be_at_work(folder.name):
            _discard(folder, root)
    with suppress(OSError):  # other runs may be at work in it
        _area(root).rmdir()


def _area(root: Path) -> Path:
    return root.with_name(f"{root.name}.tmp")


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
    if not (may_be_at_work(workspace.name) and aside.parent.is_dir()):
        raise StoreError("the run that this case belonged to has ended")
    while not rename_if_free(built, target):
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(FileNotFoundError):  # another run may move it first
            target.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def replace_store(
    root: Path, new: Path, *, workspace: Path, keep_old: bool
) -> Path | None:
    """Replace an old store with a finished new one.

    The new one is inside ``workspace``. ``keep_old`` keeps the old one beside it, as
    ``ROOT.old``, or ``ROOT.old2`` and so on if there is one; its path is returned.
    """
    aside = workspace / _ASIDE[keep_old]
    _flush(new)  # before, so that there is hardly a moment without a store
    root.rename(aside)
    new.rename(root)  # where that fails, `_discard` brings the old one back
    _flush_path(root.parent)
    if keep_old:
        return _keep(aside, root)
    shutil.rmtree(aside)
    return None


def _keep(old: Path, root: Path) -> Path:
    names = (f"{root.name}.old{number or ''}" for number in (0, *range(2, 10**6)))
    free = next(n for n in map(root.with_name, names) if not os.path.lexists(n))
    return old.rename(free)


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


def _make(folder: Path) -> None:
    """Make a workspace, even while another run removes the empty area around it."""
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):
            folder.mkdir(parents=True)
            return
    folder.mkdir(parents=True)


def _discard(folder: Path, root: Path) -> None:
    """Remove a run's folder; restore what it moved aside and did not replace.

    It is renamed first, so that no worker publishes from a half-removed folder.
    """
    gone = folder.with_name(f"{folder.name}~gone")
    try:
        folder = folder.rename(gone)
    except FileNotFoundError:  # another run was faster
        return
    for keep, name in _ASIDE.items():
        old_store = folder / name
        if old_store.is_dir() and not root.exists():
            old_store.rename(root)
        elif old_store.is_dir() and (keep or (folder / NEW_STORE).is_dir()):
            _keep(old_store, root)
    replaced = folder / _REPLACED
    for old in replaced.iterdir() if replaced.is_dir() else ():
        if root.is_dir():
            rename_if_free(old, root / old.name)
    shutil.rmtree(folder, ignore_errors=True)


def _flush(folder: Path) -> None:
    """fsync a folder and its contents: a rename may reach the disk before the data."""
    with ThreadPoolExecutor(_FLUSHES) as pool:  # together they wait for the disk once
        deque(pool.map(_flush_path, [str(folder), *_contents(folder)]), maxlen=0)


def _contents(folder: str | Path) -> Iterator[str]:
    """Paths of all that is in a folder but links, which may lead nowhere."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_symlink():
                yield entry.path
                if entry.is_dir():
                    yield from _contents(entry.path)


def _flush_path(path: str | Path) -> None:
    if os.name == "nt":  # opens no folder, and flushes what is open for writing only
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
