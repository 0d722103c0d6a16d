"""What is in a store, and whether it is whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from svls_cli.batch.records import Outcome, Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.batch.workers import ThisProcess
from svls_cli.labels.values import listed
from svls_cli.store.objects import file_sizes
from svls_cli.store.reader import Store, StoredCase, open_store
from svls_cli.store.verify import verify_case


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

    @classmethod
    def of(cls, record: Record, store: Store) -> Inspected:
        """A record with the attributes that the store has of its case."""
        complete = record.case in store
        return cls(record, dict(store[record.case].attributes) if complete else {})

    def to_json(self) -> dict[str, Any]:
        """The record, and what the attributes say of the case."""
        shown = ("geometry", "dtype", "method", "config_hash", "tool_version")
        told = {key: self.attributes[key] for key in shown if key in self.attributes}
        return {
            **self.record.to_json(),
            "inputs": [each["name"] for each in self.attributes.get("inputs", ())],
            "classes": len(self.attributes.get("classes", ())),
            **told,
        }


def inspect_cases(
    store: Store | str | Path, *, verify: bool = False, batch: Batch | None = None
) -> list[Inspected]:
    """Look at every case of a store.

    Parameters
    ----------
    store
        A soft-label store.
    verify
        Read everything, as `verify_case` does.
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
    records = [
        Record.failure(name, "incomplete or damaged: no case")
        for name in opened.incomplete()
    ]
    for record in records:
        batch.on_record(record)
    inspector = CaseInspector(verify, opened.config.hash)
    doing = "verify" if verify else "inspect"
    finished = run_cases(inspector, list(opened.values()), batch, doing=doing)
    records += [each.record for each in finished]
    return [Inspected.of(record, opened) for record in records]


@dataclass(frozen=True)
class CaseInspector:
    """Looks at one case, in a worker process if everything is read."""

    verify: bool
    config_hash: str  # hash that the case should have

    def __call__(self, case: StoredCase) -> Outcome[None]:
        """Find the case's size, and what is wrong with it."""
        problems = verify_case(case) if self.verify else []
        if case.attributes["config_hash"] != self.config_hash:
            problems.append("made with other parameters than its store")
        size = sum(file_sizes(case.path).values())
        return Outcome(str(case.path), size, failure=listed(problems, 3))
