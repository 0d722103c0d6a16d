"""What is in a store, and whether it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from svls_cli.batch.records import Outcome, Record, recorded
from svls_cli.batch.workers import Progress, Workers, no_progress
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
        ``failed``, with the reason, if it is incomplete or damaged.
    attributes
        The case's own; empty if it is incomplete.
    """

    record: Record
    attributes: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The record, and what the attributes say of the case."""
        shown = ("geometry", "dtype", "method", "config_hash", "tool_version")
        found = {key: self.attributes[key] for key in shown if key in self.attributes}
        classes = len(self.attributes.get("classes", ()))
        return {**self.record.to_json(), "classes": classes, **found}


def inspect_cases(
    store: Store | str | Path,
    *,
    verify: bool = False,
    jobs: int | None = None,
    progress: Progress = no_progress,
) -> Iterator[Inspected]:
    """Look at every case of a store.

    Parameters
    ----------
    store
        A soft-label store.
    verify
        Read everything, as `verify_case` does.
    jobs
        Worker processes for that; default: one for each core this process may use.
    progress
        Shows how far it is.

    Yields
    ------
    Inspected
        One per case; when verifying in the order in which they finish.

    Raises
    ------
    StoreError
        If ``store`` is no soft-label store.
    """
    opened = store if isinstance(store, Store) else open_store(store)
    for name in opened.incomplete():
        record = Record.failure(name, "incomplete or damaged: no case")
        yield Inspected(record, {})
    task = partial(_inspect, verify=verify, config_hash=opened.config.hash)
    if not verify:
        yield from map(task, opened.values())
        return
    with Workers(jobs, items=len(opened)) as workers:
        found = workers.map(task, opened.values(), crashed=_crashed)
        yield from progress(found, len(opened), "verify")


def _inspect(case: StoredCase, *, verify: bool, config_hash: str) -> Inspected:
    def work() -> Outcome:
        problems = verify_case(case) if verify else []
        if case.attributes["config_hash"] != config_hash:
            problems.append("made with other parameters than its store")
        size = sum(file_sizes(case.path).values())
        return Outcome(str(case.path), size, failure=listed(problems, 3))

    inputs = tuple(given["name"] for given in case.attributes["inputs"])
    return Inspected(recorded(case.name, inputs, work), dict(case.attributes))


def _crashed(case: StoredCase, how: str) -> Inspected:
    return Inspected(Record.failure(case.name, how), dict(case.attributes))
