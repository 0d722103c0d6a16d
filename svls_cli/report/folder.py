"""The folder of a report: which files are there, and what they were made from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svls_cli.errors import InputError
from svls_cli.files import UNFINISHED, replacing, write_json
from svls_cli.labels.names import safe_name
from svls_cli.report.summary import CaseSummary

INDEX = "index.html"
_MARKER = "report.json"
_FORMAT = "svls-report"
_DIGEST = 8


@dataclass(frozen=True)
class ReportFolder:
    """A folder with an index page, and in ``cases`` the files of each case."""

    path: Path

    @property
    def index(self) -> Path:
        """The page to open."""
        return self.path / INDEX

    def page(self, case: str) -> Path:
        """The page of a case."""
        return self.path / "cases" / f"{file_name(case)}.html"

    def thumbnail(self, case: str) -> Path:
        """The small picture of a case."""
        return self.page(case).with_suffix(".webp")

    def prepare(self, about: Mapping[str, Any]) -> None:
        """Make the folder, and say in it what it is.

        Raises
        ------
        InputError
            If there is a folder that holds anything else than a report.
        """
        marker = self.path / _MARKER
        if self.path.exists() and not self._is_report():
            names = (each.name for each in self.path.iterdir())
            if not self.path.is_dir() or not all(
                n.startswith(UNFINISHED) for n in names
            ):
                raise InputError(
                    f"{self.path}: there is something else than a report of svls-cli; "
                    "choose another folder with --out"
                )
        (self.path / "cases").mkdir(parents=True, exist_ok=True)
        write_json({"format": _FORMAT, **about}, marker)

    def _is_report(self) -> bool:
        try:
            record = json.loads((self.path / _MARKER).read_text(encoding="utf-8"))
            return bool(record["format"] == _FORMAT)
        except (OSError, ValueError, LookupError, TypeError):
            return False

    def finished(self, case: str, key: str) -> CaseSummary | None:
        """The summary of a case whose page is there, made from the same; else None."""
        record = self._record(case)
        try:
            sizes = [p.stat().st_size for p in self._files(case)]
            if record["key"] != key or record["bytes"] != sizes:
                return None
            return CaseSummary.from_json(record["summary"])
        except (OSError, LookupError, TypeError):
            return None

    def write(
        self, case: str, key: str, page: bytes, thumbnail: bytes, summary: CaseSummary
    ) -> int:
        """Write the files of a case, the record of them last; return their size."""
        files = dict(zip(self._files(case), (page, thumbnail), strict=True))
        for path, content in files.items():
            with replacing(path) as part:
                part.write_bytes(content)
        sizes = [len(content) for content in files.values()]
        record = {"key": key, "bytes": sizes, "summary": summary.to_json()}
        write_json(record, self._record_path(case))
        return sum(sizes)

    def summary(self, case: str) -> CaseSummary:
        """The summary of a case whose page is there."""
        return CaseSummary.from_json(self._record(case)["summary"])

    def remove_others(self, cases: Collection[str]) -> None:
        """Remove the files of cases that are not among these."""
        for path in sorted((self.path / "cases").glob("*.json")):
            case = _read(path).get("summary", {}).get("case")
            if case is not None and case not in cases:
                for each in (*self._files(case), self._record_path(case)):
                    each.unlink(missing_ok=True)

    def write_index(self, page: bytes) -> None:
        """Write the page to open."""
        with replacing(self.index) as part:
            part.write_bytes(page)

    def _files(self, case: str) -> tuple[Path, Path]:
        return self.page(case), self.thumbnail(case)

    def _record_path(self, case: str) -> Path:
        return self.page(case).with_suffix(".json")

    def _record(self, case: str) -> dict[str, Any]:
        return _read(self._record_path(case))


def _read(record: Path) -> dict[str, Any]:
    try:
        text = record.read_bytes().decode(errors="surrogateescape")
        return dict(json.loads(text))
    except (OSError, ValueError, TypeError):
        return {}


def file_name(case: str) -> str:
    """Name of a case's files, without suffix: each case has its own.

    Examples
    --------
    >>> file_name("case 1"), file_name("a:b")
    ('case 1', 'a_b_6783a31e')
    """
    safe = safe_name(case)
    if safe == case:
        return safe
    digest = hashlib.sha256(os.fsencode(case)).hexdigest()[:_DIGEST]
    return f"{safe}_{digest}"
