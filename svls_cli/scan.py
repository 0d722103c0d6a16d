"""Which classes a data set has, when nobody said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from svls_cli.labels.cases import Case
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.images import open_label_file
from svls_cli.labels.segments import Segment
from svls_cli.records import Outcome, Record, recorded
from svls_cli.workers import Progress, Workers


@dataclass(frozen=True)
class _Found:
    """What one case holds; its record matters if it failed."""

    case: Case
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
    """

    cases: list[Case] = field(default_factory=list)
    _values: set[int] = field(default_factory=set)
    _segments: dict[int, Segment] = field(default_factory=dict)

    def run(
        self, cases: Sequence[Case], workers: Workers, progress: Progress
    ) -> Iterator[Record]:
        """Scan, and yield the records of the cases that fail."""
        found = []
        scans = workers.map(_scan, cases, crashed=_crashed)
        for scan in progress(scans, len(cases), "scan"):
            if scan.record.status == "failed":
                yield scan.record
            else:
                found.append(scan)
        # In the order of the names, whichever came first: the first name of a value
        # stands, and a case with another fails when it is smoothed.
        for scan in sorted(found, key=lambda scan: scan.case.name):
            self.cases.append(scan.case)
            self._values.update(scan.values)
            for value, segment in scan.segments.items():
                self._segments.setdefault(value, segment)

    def table(self, ignore_label: int | None) -> ClassTable:
        """All label values found, and the segments declared, as classes.

        Raises
        ------
        InputError
            If there are none, or too many.
        """
        values = (self._values | set(self._segments)) - {ignore_label}
        return ClassTable.from_values(
            values,
            names={value: segment.name for value, segment in self._segments.items()},
            colors={value: segment.color for value, segment in self._segments.items()},
        )


def _scan(case: Case) -> _Found:
    values: list[int] = []
    segments: dict[int, Segment] = {}

    def work() -> Outcome:
        with open_label_file(case.path) as file:
            values.extend(file.distinct())
            segments.update(file.segments)
        return Outcome(output="")

    record = recorded(case.name, (str(case.path),), work)
    return _Found(case, record, values, segments)


def _crashed(case: Case, how: str) -> _Found:
    record = Record(case.name, "failed", how, (str(case.path),), None, 0.0)
    return _Found(case, record, [], {})
