"""Files of a stored case: its own document, and the others, which that lists.

The document of a case of format version 2 holds the checksum of every other file and of
itself. One of version 1 holds the number of files of each array only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from svls_cli.errors import StoreError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.names import composed
from svls_cli.store import metadata
from svls_cli.store.checksums import crc32c, is_sealed
from svls_cli.store.metadata import NAME
from svls_cli.store.objects import Folder, file_sizes, read_file
from svls_cli.store.schema import DAMAGE, StoreConfig, check_version, keeps_argmax
from svls_cli.store.shards import ChunkIndex

# Paths inside a case that Zarr reads.
_READ = re.compile(
    r"zarr\.json|labels/([^/]+/)?zarr\.json|(labels/[^/]+/)?0/(zarr\.json|c(/\d{1,9})+)",
    re.ASCII,
)


def is_read(name: str) -> bool:
    """Whether Zarr reads a file of this path inside a case.

    Examples
    --------
    >>> is_read("labels/hard/0/c/0/0/1"), is_read("labels/hard/0/.DS_Store")
    (True, False)
    """
    return bool(_READ.fullmatch(name))


def read_case_attributes(folder: Folder) -> dict[str, Any]:
    """Read the `svls` attributes of a case.

    Raises
    ------
    StoreError
        Unless it is complete and undamaged, as far as its own document says, and in
        the folder that it was written to.
    """
    try:
        document = metadata.parse(read_file(folder / NAME))
        svls: dict[str, Any] = metadata.group_attributes(document)["svls"]
        version = svls["format_version"]
        intact = version == 1 or is_sealed(document)
    except FileNotFoundError as error:
        raise StoreError(f"incomplete: it has no {NAME}") from error
    except DAMAGE as error:
        raise StoreError(f"damaged: its {NAME} is none of a case") from error
    check_version(version)
    if not intact:
        raise StoreError(f"damaged: its {NAME} does not match its own sha256")
    if not _is_case(svls):
        raise StoreError(
            f"incomplete or damaged: its {NAME} is none of a complete case"
        )
    # The first stores have no names in their cases.
    name = composed(svls.get("case", folder.name))
    if name != composed(folder.name):
        raise StoreError(
            f"its {NAME} is the document of {name}: cases cannot be renamed"
        )
    return svls


def _is_case(svls: Mapping[str, Any]) -> bool:
    """Whether attributes are those of a complete case."""
    try:
        Geometry.from_json(svls["geometry"])
        StoreConfig.from_json(svls)
        keeps_argmax(svls)
        [(str(file["name"]), str(file["sha256"])) for file in svls["inputs"]]
        if svls["format_version"] > 1:
            listed = isinstance(svls["crc32c"], dict) and all(
                map(is_read, svls["crc32c"])
            )
        else:
            listed = isinstance(svls["shards"], dict) and "crc32c" not in svls
        complete = svls["state"] == "complete" and isinstance(svls.get("case", ""), str)
        return complete and listed and isinstance(svls["config_hash"], str)
    except DAMAGE:
        return False


@dataclass(frozen=True)
class CaseFiles:
    """Files that a case has beside its own document.

    Parameters
    ----------
    folder
        The case's folder.
    checksums
        Checksum of each file by its path inside the case; None in format version 1,
        which has none.
    """

    folder: Folder
    checksums: Mapping[str, str | None]
    # Files that this process found to be those that were written.
    _checked: set[str] = field(default_factory=set, init=False, compare=False)

    @classmethod
    def of(cls, folder: Folder, attributes: Mapping[str, Any]) -> CaseFiles:
        """The files that a case's attributes list.

        Raises
        ------
        StoreError
            If an array of a case of version 1 has another number of files.
        """
        if attributes["format_version"] > 1:
            return cls(folder, attributes["crc32c"])
        names = [n for n in file_sizes(folder) if is_read(n) and n != NAME]
        for array, expected in attributes["shards"].items():
            n_files = sum(name.startswith(f"{array}/c/") for name in names)
            if n_files != expected:
                raise StoreError(
                    f"{folder}: array {array} has {n_files} of {expected} files"
                )
        return cls(folder, dict.fromkeys(names))

    def document(self, array: str) -> dict[str, Any]:
        """Read the document of an array.

        Raises
        ------
        StoreError
            If there is none, or it is damaged.
        """
        name = f"{array}/{NAME}"
        if name not in self.checksums:
            raise StoreError(f"{self.folder}: array {array} cannot be opened: no such")
        content = self._read(name)
        try:
            return metadata.parse(content)
        except DAMAGE as error:
            raise StoreError(
                f"{self.folder}: array {array} cannot be opened: {error}"
            ) from error

    def open(self, name: str) -> BinaryIO:
        """Open a file on a disk, which is read whole and checked the first time.

        Raises
        ------
        StoreError
            If it is missing, cannot be read or does not match its checksum.
        """
        path = self.folder / name
        if name in self._checked and isinstance(path, Path):
            with suppress(OSError):  # said below
                return path.open("rb")
        return BytesIO(self._read(name))

    def shards(self, array: str) -> frozenset[ChunkIndex]:
        """Grid indices of the shards of an array that have a file."""
        return frozenset(self._shards.get(array, ()))

    @cached_property
    def _shards(self) -> dict[str, list[ChunkIndex]]:
        found: dict[str, list[ChunkIndex]] = {}
        for name in self.checksums:
            array, _, index = name.rpartition("/c/")
            if not name.endswith(NAME):
                found.setdefault(array, []).append(tuple(map(int, index.split("/"))))
        return found

    def check_present(self, array: str) -> None:
        """Check that the shards of an array are those listed, none of them empty.

        Zarr reads zeros where one is not.

        Raises
        ------
        StoreError
            If one is missing, empty or there in addition.
        """
        start = f"{array}/c/"
        sizes = file_sizes(self.folder / array / "c")
        there = {f"{start}{name}" for name, size in sizes.items() if size}
        listed = {name for name in self.checksums if name.startswith(start)}
        if wrong := sorted(listed ^ set(filter(is_read, there))):
            what = "missing or empty" if wrong[0] in listed else "there, but not listed"
            raise StoreError(f"{self.folder / wrong[0]} is {what}")

    def check_all_present(self) -> None:
        """Check that no file is missing or empty, from a listing alone.

        Raises
        ------
        StoreError
            If one is.
        """
        sizes = file_sizes(self.folder)
        for name in self.checksums:
            if not sizes.get(name):
                raise StoreError(f"{self.folder / name} is missing or empty")

    def problems(self) -> list[str]:
        """Read every file, and name those that are missing, changed or not listed."""
        contents = ((name, self._content(name)[1]) for name in self.checksums)
        found = [f"{name} {damage}" for name, damage in contents if damage]
        strangers = filter(is_read, self._others())
        return found + [f"{name} is there, but not listed" for name in strangers]

    def remarks(self) -> list[str]:
        """Name files that no reader reads, and say what could not be checked."""
        strangers = [name for name in self._others() if not is_read(name)]
        found = [f"{name} is none of the case's files" for name in strangers]
        if None in self.checksums.values():
            found.append(
                "format version 1 has no checksums: geometry, metadata and whether "
                "files are another case's could not be checked"
            )
        return found

    def _others(self) -> list[str]:
        return sorted(file_sizes(self.folder).keys() - {NAME, *self.checksums})

    def _read(self, name: str) -> bytes:
        content, damage = self._content(name)
        if damage:
            raise StoreError(f"{self.folder / name} {damage}")
        return content

    def _content(self, name: str) -> tuple[bytes, str]:
        """A file's content, and what is wrong with it: "" if nothing is."""
        try:
            content = read_file(self.folder / name)
        except FileNotFoundError:
            return b"", "is missing"
        except OSError as error:
            return b"", f"cannot be read: {error.strerror}"
        expected = self.checksums[name]
        if expected is not None and crc32c(content) != expected:
            return b"", "does not match its checksum"
        self._checked.add(name)
        return content, ""
