"""Which classes a data set has, when nobody said."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from svls_cli.batch.records import Outcome, Record
from svls_cli.batch.run import Batch, Item, run_cases
from svls_cli.errors import InputError
from svls_cli.labels.classes import MAX_CLASSES, ClassTable
from svls_cli.labels.segments import Segment, add_segments, number_segments
from svls_cli.labels.sources import LabelSource
from svls_cli.labels.values import listed

# What is white in a mask of 8 bits, or not labelled.
WHITE = 255
# A case among others that alone has more labels than this is taken for an image.
MAX_OWN = 1000


class Labelled(Item, Protocol):
    """A case, its labels, and the image that was labelled, if given."""

    @property
    def sources(self) -> tuple[tuple[str, LabelSource], ...]: ...

    @property
    def image(self) -> Path | None: ...


@dataclass(frozen=True)
class CaseLabels:
    """The label values of one case, and the segments that its files declare."""

    values: list[int]
    segments: dict[int, Segment]
    # Those that are classes by their names.
    named: tuple[Segment, ...] = ()


@dataclass
class ClassScan:
    """Label values, names and colours of all cases."""

    # The cases that could be read, in the order of their names.
    cases: list[Labelled] = field(default_factory=list)
    failed: list[Record] = field(default_factory=list)  # records of the others
    _values: set[int] = field(default_factory=set)
    _segments: dict[int, Segment] = field(default_factory=dict)
    _named: list[Segment] = field(default_factory=list)

    def add(self, case: Labelled, labels: CaseLabels) -> None:
        """Take in a case whose labels agree with those before it.

        Raises
        ------
        InputError
            If they do not.
        """
        self._check(labels)
        self.cases.append(case)
        self._values.update(labels.values)
        for value, segment in labels.segments.items():
            self._segments.setdefault(value, segment)
        self._named += labels.named

    def _check(self, labels: CaseLabels) -> None:
        values = self._values.union(labels.values)
        if len(values) > MAX_CLASSES:
            raise InputError(
                f"{len(labels.values)} distinct labels, {len(values)} with the cases "
                f"before; at most {MAX_CLASSES} are possible: is this a label map?"
            )
        named = {s.name: value for value, s in self._segments.items() if s.name}
        for value, segment in labels.segments.items():
            before = self._segments.get(value, segment).name
            if segment.name and before and before != segment.name:
                raise InputError(
                    f"label {value} is named {segment.name!r} here and {before!r} in "
                    "the cases before"
                )
            other = named.setdefault(segment.name, value) if segment.name else value
            if other != value:
                where = "in the cases before" if other in self._segments else "too"
                raise InputError(
                    f"{segment.name!r} is label {value} here and {other} {where}"
                )

    def table(self, ignore_label: int | None) -> ClassTable:
        """All label values, and the segments declared, as classes.

        Raises
        ------
        InputError
            If there are none, or too many; or as `number_segments`.
        """
        segments = number_segments(
            self._values, self._segments, self._named, ignore_label=ignore_label
        )
        values = (self._values | set(segments)) - {ignore_label}
        if not values:
            raise InputError("no classes: all voxels carry the ignore label")
        names = {value: segment.name for value, segment in segments.items()}
        if values == {0, WHITE}:
            names = {WHITE: "foreground"} | names
        elif WHITE in values and WHITE - 1 not in values:
            logging.getLogger(__name__).warning(
                "label 255 is taken for a class among %s: if it means 'not labelled', "
                "give --ignore-label 255; if it is what other files call 1 or more, "
                "write these anew",
                listed(sorted(values)),
            )
        return ClassTable.from_values(
            values,
            names=names,
            colors={value: segment.color for value, segment in segments.items()},
            codes={v: (s.category, s.type) for v, s in segments.items()},
        )


def scan_classes(cases: Sequence[Labelled], batch: Batch) -> ClassScan:
    """Read every case once and collect its labels.

    Classes are those of the whole set, whatever the run's part of it; but only the
    part's own cases can fail this run.

    ``batch`` hears of the cases that fail.
    """
    own = {case.name for case in batch.own(cases)}
    scan = ClassScan()

    def hear(record: Record) -> None:
        if record.status == "failed" and record.case in own:
            scan.failed.append(record)
            batch.on_record(record)

    finished = run_cases(
        label_values,
        cases,
        replace(
            batch,
            part=None,
            fail_fast=batch.fail_fast and batch.part is None,
            on_record=hear,
        ),
        doing="scan",
    )
    case_of = {case.name: case for case in cases}
    labels = {each.record: each.result for each in finished if each.result is not None}
    shared = Counter(value for found in labels.values() for value in found.values)
    # In the order of the names, whichever came first.
    for record, found in sorted(labels.items(), key=lambda each: each[0].case):
        try:
            if len(labels) > 1:
                _check_own(found, shared)
            scan.add(case_of[record.case], found)
        except InputError as error:
            hear(replace(record, status="failed", reason=str(error)))
    return scan


def _check_own(labels: CaseLabels, shared: Counter[int]) -> None:
    """Raise InputError for an image among label maps: each value would be a class."""
    own = sum(shared[value] == 1 for value in labels.values)
    if own > MAX_OWN:
        raise InputError(
            f"{own} labels that no other case has: is this a label map? If it is, say "
            "which classes there are"
        )


def label_values(case: Labelled) -> Outcome[CaseLabels]:
    """Read the label values of one case, in a worker process."""
    values: set[int] = set()
    segments: dict[int, Segment] = {}
    named: list[Segment] = []
    for shown, source in case.sources:
        try:
            with source.open() as file:
                values.update(file.distinct())
                add_segments(segments, file.segments)
                named += file.named
        except InputError as error:
            which = f"{shown}: " if len(case.sources) > 1 else ""
            raise InputError(f"{which}{error}") from error
    return Outcome(result=CaseLabels(sorted(values), segments, tuple(named)))
