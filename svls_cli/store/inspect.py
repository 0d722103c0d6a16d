"""What is in a store, and whether it is whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from svls_cli.batch.records import Outcome, Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.batch.workers import ThisProcess
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.values import listed
from svls_cli.store import ome
from svls_cli.store.objects import file_sizes
from svls_cli.store.reader import Store, StoredCase, open_store
from svls_cli.store.verify import remarks_on, verify_case


@dataclass(frozen=True)
class Inspected:
    """One case of a store.

    Parameters
    ----------
    record
        ``failed``, with the reason, if the case is incomplete or damaged.
    attributes
        The case's own attributes; empty if it is incomplete.
    """

    record: Record
    attributes: dict[str, Any]

    @property
    def oblique_mm(self) -> float:
        """How far an oblique case is off in viewers, at most; 0 if it is none."""
        if not self.attributes:
            return 0.0
        return ome.oblique_mm(Geometry.from_json(self.attributes["geometry"]))

    @property
    def image(self) -> str | None:
        """Name of the image by which the labels were smoothed, if they were."""
        files = self.attributes.get("inputs", ())
        return next((each["name"] for each in files if each.get("image")), None)

    def to_json(self) -> dict[str, Any]:
        """The record, and what the attributes say of the case."""
        files = self.attributes.get("inputs", ())
        shown = ("geometry", "dtype", "method", "config_hash", "tool_version")
        told = {key: self.attributes[key] for key in shown if key in self.attributes}
        return {
            **self.record.to_json(),
            "inputs": [each["name"] for each in files],
            "image": self.image,
            "classes": len(self.attributes.get("classes", ())),
            **told,
            "oblique_mm": round(self.oblique_mm, 3),
        }


def inspect_cases(
    store: Store | str | Path,
    *,
    verify: bool = False,
    on_case: Callable[[Inspected], None] | None = None,
    batch: Batch | None = None,
) -> list[Inspected]:
    """Look at every case of a store.

    Parameters
    ----------
    store
        A soft-label store.
    verify
        Read everything, as `verify_case` does.
    on_case
        Called with each case as soon as it is finished.
    batch
        As in `smooth_cases`. Workers are needed to verify; to look takes none.

    Returns
    -------
    list of Inspected
        Cases that are incomplete first, then the others in the order in which they
        finish.

    Raises
    ------
    StoreError
        If ``store`` is no soft-label store.
    """
    opened = store if isinstance(store, Store) else open_store(store)
    batch = batch or Batch()
    if not verify:
        batch = replace(batch, jobs=ThisProcess())
    cases = dict(opened)

    def inspected(record: Record) -> Inspected:
        stored = cases.get(record.case)
        return Inspected(record, {} if stored is None else dict(stored.attributes))

    def hear(record: Record) -> None:
        batch.on_record(record)
        if on_case is not None:
            on_case(inspected(record))

    damaged = opened.incomplete()
    records = [Record.failure(name, damage) for name, damage in damaged.items()]
    for record in records:
        hear(record)
    finished = run_cases(
        CaseInspector(verify, opened.config.hash),
        list(cases.values()),
        replace(batch, on_record=hear),
        doing="verify" if verify else "inspect",
    )
    records += [each.record for each in finished]
    return [inspected(record) for record in records]


@dataclass(frozen=True)
class CaseInspector:
    """Looks at one case, in a worker process if everything is read."""

    verify: bool
    config_hash: str  # hash that the case should have

    def __call__(self, case: StoredCase) -> Outcome[None]:
        """Find the case's size, and what is wrong with it."""
        problems, notes = [], []
        if self.verify:
            problems = verify_case(case)
            notes = [] if problems else remarks_on(case)
        if case.attributes["config_hash"] != self.config_hash:
            problems.append("made with other parameters than its store")
        size = sum(file_sizes(case.path).values())
        failure, note = listed(problems, 3), listed(notes, 3)
        return Outcome(str(case.path), size, failure=failure, note=note or None)
