"""Stores that tests make."""

from pathlib import Path
from typing import Any

from svls_cli import Batch, Store, find_cases, open_store, smooth_cases


def smoothed(labels: Path | list[Path], out: Path | str, **options: Any) -> Store:
    """A store of label maps, by one worker."""
    options = {"batch": Batch(jobs=1), **options}
    for record in smooth_cases(find_cases(labels), out, **options):
        assert record.status == "done", record.reason
    return open_store(out)
