"""Destination of a run's cases: a new store, an existing one, or none."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from svls_cli.batch.records import Record
from svls_cli.errors import InvalidParameterError, StoreError
from svls_cli.files import unfinished_folder
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.values import listed
from svls_cli.store.case_files import CaseFiles, is_read, read_case_attributes
from svls_cli.store.objects import Folder, ObjectFolder
from svls_cli.store.reader import Store, open_store
from svls_cli.store.schema import StoreConfig
from svls_cli.store.transaction import (
    NEW_STORE,
    publish,
    rename_if_free,
    replace_store,
    tidy,
    workspace,
)
from svls_cli.store.uploads import put_case, put_root
from svls_cli.store.writer import CaseWriter, create_root


@dataclass(frozen=True)
class Destination:
    """A store being written; travels to the workers."""

    root: Folder  # the store's folder
    shown: Folder  # the store's folder as users know it
    # Folder for cases that are being built: beside a store on a disk, else on this
    # machine's own disk, and None if workers may not share that.
    workspace: Path | None
    config: StoreConfig
    dry_run: bool  # cases are built, and thrown away
    replaces: Path | None = None  # the old store whose place this one will take

    def holds(self, name: str, inputs: list[dict[str, Any]]) -> bool:
        """Whether the case is complete, made from these inputs as it would be now.

        On a disk, where a listing costs little, none of its files is lost either.
        """
        folder = self.root / name
        try:
            stored = read_case_attributes(folder)
            if isinstance(folder, Path):
                CaseFiles.of(folder, stored).check_all_present()
        except StoreError:
            return False
        made_from = (stored["config_hash"], stored["inputs"])
        return made_from == (self.config.hash, inputs)

    def output(self, name: str) -> str:
        """Path of a case, as users know it."""
        return str(self.shown / name)

    @contextmanager
    def writing(
        self, name: str, geometry: Geometry, *, raters: Sequence[str] = ()
    ) -> Iterator[CaseWriter]:
        """A writer whose case appears in the store when the block ends well.

        ``raters`` are those whose own label maps are kept.
        """
        with self._scratch() as folder:
            yield CaseWriter(
                folder, name, geometry=geometry, config=self.config, raters=raters
            )
            if self.dry_run:
                return
            self._claim()
            target = self.root / name
            if isinstance(target, ObjectFolder):
                put_case(folder, target)
            elif self.workspace is not None:
                publish(folder, target, workspace=self.workspace)

    def take_place(self, records: Iterable[Record], *, fail_fast: bool) -> None:
        """Put the finished store in the place of the old one, if it replaces one.

        If a case failed, or the old one holds files that no run made, it is kept beside
        the new one, as ``STORE.old``; or stays where it is, if the run was to stop at a
        failure.
        """
        failed = any(record.status == "failed" for record in records)
        if self.replaces is None or self.workspace is None or (failed and fail_fast):
            return
        if not (isinstance(self.root, Path) and _has_cases(self.root)):
            return
        strangers = [] if failed else foreign_files(self.replaces)
        kept = replace_store(
            self.replaces,
            self.root,
            workspace=self.workspace,
            keep_old=failed or bool(strangers),
        )
        if kept is not None:
            why = "a case failed"
            if strangers:
                why = f"it holds files that no run made: {listed(strangers, 3)}"
            # On stderr, also where nobody set up logging.
            logging.getLogger(__name__).warning(
                "the old store is kept as %s: %s", kept, why
            )

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Path for a new folder in the workspace, removed after the block."""
        if self.workspace is not None and not self.workspace.is_dir():
            raise StoreError(
                f"{self.workspace} is not there: the run has ended, or {self.root} is "
                "on no file system that this worker shares"
            )
        with unfinished_folder(self.workspace or Path(gettempdir())) as folder:
            yield folder / "case"

    def _claim(self) -> None:
        """Create the store atomically, or check the one another run created.

        Raises
        ------
        StoreError
            If there is a store of another configuration.
        """
        store = _store_at(self.root)
        if store is None:
            self._create()
            store = open_store(self.root)
        _refuse_mixture(self.root, store, self.config)

    def _create(self) -> None:
        if isinstance(self.root, ObjectFolder):
            with self._scratch() as new:
                create_root(new, self.config)
                put_root(new, self.root)
        elif self.workspace is not None:
            with suppress(FileNotFoundError):  # another worker of this run was faster
                rename_if_free(self.workspace / NEW_STORE, self.root)


def existing_store(path: Folder) -> Store | None:
    """The store at ``path``; None if there is nothing there.

    One that a killed run moved aside comes back first.

    Raises
    ------
    StoreError
        If something else is there.
    """
    if isinstance(path, Path):
        tidy(path.resolve())
    return _store_at(path)


def _store_at(path: Folder) -> Store | None:
    if not path.exists():
        return None
    if isinstance(path, Path):
        if not path.is_dir():
            raise StoreError(
                f"{path}: a file; expected a soft-label store or a new name"
            )
        if not any(path.iterdir()):
            return None
    return open_store(path)


def store_to_replace(path: Folder, command: str) -> Store | None:
    """The store at ``path``, checked to be replaceable by a run of ``command``.

    None if there is nothing.

    Raises
    ------
    InvalidParameterError
        If it is in an object store.
    StoreError
        If something else is there, or a store that another command made.
    """
    existing = existing_store(path)
    if existing is not None and existing.config.made_by != command:
        raise StoreError(
            f"{path} was made by {existing.config.made_by}; {command} --overwrite "
            f"replaces stores of {command} only: use another name, or remove it"
        )
    if existing is not None and isinstance(path, ObjectFolder):
        raise InvalidParameterError(
            f"--overwrite: {path} is in an object store, where nothing can be renamed, "
            "so a run that fails would lose it; write a store of another name, then "
            "remove this one"
        )
    return existing


@contextmanager
def open_destination(
    out: Folder,
    config: StoreConfig,
    *,
    replace: Store | None,
    dry_run: bool,
    remote: bool,
) -> Iterator[Destination]:
    """Open a store for a run's cases.

    A store that does not exist is made when the first case is finished. ``replace`` is
    the store at ``out``, if a new one is to take its place; ``dry_run`` leaves ``out``
    as it is; ``remote`` says that workers may be on other machines.

    Raises
    ------
    StoreError
        If the store exists with another configuration.
    """
    # A link's target may be on another file system, and "." has no name.
    shown, out = out, out.resolve() if isinstance(out, Path) else out
    if replace is None and (existing := existing_store(out)) is not None:
        _refuse_mixture(out, existing, config)
    if dry_run or isinstance(out, ObjectFolder):
        with unfinished_folder(Path(gettempdir())) as folder:
            root: Folder = out if replace is None else folder / "none"
            own = None if remote else folder
            yield Destination(root, shown, own, config, dry_run)
        return
    with workspace(out) as folder:
        new = folder / NEW_STORE
        create_root(new, config)
        if replace is None:
            yield Destination(out, shown, folder, config, dry_run)
        else:
            yield Destination(new, shown, folder, config, dry_run, replaces=out)


def _has_cases(root: Path) -> bool:
    return any(path.is_dir() for path in root.iterdir())


def foreign_files(store: Path) -> list[str]:
    """Paths of the files in a store that no run made; links hold nothing to lose."""
    found = []
    for folder, _, names in os.walk(store):
        for name in names:
            path = Path(folder, name)
            inside = path.relative_to(store).as_posix()
            in_case = inside.partition("/")[2] or inside
            if not (path.is_symlink() or is_read(in_case)):
                found.append(inside)
    return sorted(found)


def _refuse_mixture(out: Folder, existing: Store, config: StoreConfig) -> None:
    if difference := existing.config.difference(config):
        raise StoreError(
            f"{out} was made with other parameters: {difference}. Use the same "
            "parameters, another store, or --overwrite to replace it"
        )
