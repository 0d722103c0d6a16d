"""Which classes a data set has, when nobody said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from svls_cli.batch.records import Outcome, Record, Scannable, recorded
from svls_cli.batch.workers import Progress, Workers
from svls_cli.errors import InputError
from svls_cli.labels.classes import MAX_CLASSES, ClassTable
from svls_cli.labels.images import open_label_file
from svls_cli.labels.segments import Segment, add_segments


@dataclass(frozen=True)
class _Found:
    """What one case holds; its record matters if it failed."""

    case: Scannable
    record: Record
    values: list[int]
    segments: dict[int, Segment]


@dataclass
class ClassScan:
    """Reads every case once and collects the label values, names and colours.

    Parameters
    ----------
    cases
        Those that could be read, by name.
    failed
        Names of the others.
    """

    cases: list[Scannable] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _values: set[int] = field(default_factory=set)
    _segments: dict[int, Segment] = field(default_factory=dict)

    def run(
        self, cases: Sequence[Scannable], workers: Workers, progress: Progress
    ) -> Iterator[Record]:
        """Scan, and yield the records of the cases that fail."""
        found = []
        scans = workers.map(_scan, cases, crashed=_crashed)
        for scan in progress(scans, len(cases), "scan"):
            if scan.record.status == "failed":
                self.failed.append(scan.case.name)
                yield scan.record
            else:
                found.append(scan)
        # In the order of the names, whichever came first.
        for scan in sorted(found, key=lambda scan: scan.case.name):
            if conflict := self._conflict(scan):
                self.failed.append(scan.case.name)
                yield replace(
                    scan.record, status="failed", reason=conflict, output=None
                )
                continue
            self.cases.append(scan.case)
            self._values.update(scan.values)
            for value, segment in scan.segments.items():
                self._segments.setdefault(value, segment)

    def _conflict(self, scan: _Found) -> str:
        """Why this case cannot share a class table with those before it, or ""."""
        values = self._values.union(scan.values)
        if len(values) > MAX_CLASSES:
            return (
                f"{len(scan.values)} distinct labels, {len(values)} with the cases "
                f"before; at most {MAX_CLASSES} are possible: is this a label map?"
            )
        named = {s.name: value for value, s in self._segments.items() if s.name}
        for value, segment in scan.segments.items():
            before = self._segments.get(value, segment).name
            if segment.name and before and before != segment.name:
                return (
                    f"label {value} is named {segment.name!r} here and {before!r} in "
                    "the cases before"
                )
            if named.get(segment.name, value) != value:
                return (
                    f"{segment.name!r} is label {value} here and "
                    f"{named[segment.name]} in the cases before"
                )
        return ""

    def table(self, ignore_label: int | None) -> ClassTable:
        """All label values found, and the segments declared, as classes.

        Raises
        ------
        InputError
            If there are none, or too many.
        """
        values = (self._values | set(self._segments)) - {ignore_label}
        if not values:
            raise InputError("no classes: all voxels carry the ignore label")
        return ClassTable.from_values(
            values,
            names={value: segment.name for value, segment in self._segments.items()},
            colors={value: segment.color for value, segment in self._segments.items()},
        )


def _scan(case: Scannable) -> _Found:
    values: list[int] = []
    segments: dict[int, Segment] = {}

    def work() -> Outcome:
        for path in case.paths:
            with open_label_file(path) as file:
                values.extend(file.distinct())
                add_segments(segments, file.segments)
        return Outcome(output="")

    record = recorded(case.name, case.inputs, work)
    return _Found(case, record, sorted(set(values)), segments)


def _crashed(case: Scannable, how: str) -> _Found:
    return _Found(case, Record.failure(case.name, how, case.inputs), [], {})
