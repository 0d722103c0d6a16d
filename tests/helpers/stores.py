"""Stores that tests make, and what is done to them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from svls_cli import Batch, Store, find_cases, open_store, smooth_cases
from svls_cli.store.checksums import crc32c, sealed
from svls_cli.store.objects import file_sizes


def smoothed(labels: Path | list[Path], out: Path | str, **options: Any) -> Store:
    """A store of label maps, by one worker."""
    options = {"batch": Batch(jobs=1), **options}
    for record in smooth_cases(find_cases(labels), out, **options):
        assert record.status == "done", record.reason
    return open_store(out)


def edit_svls(group: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the `svls` attributes of a store's root, or of a case."""
    path = group / "zarr.json"
    document = json.loads(path.read_text("utf-8"))
    change(document["attributes"]["svls"])
    path.write_text(json.dumps(document), "utf-8")


def reseal(case: Path) -> None:
    """Make checksums and sha256 right again, as whoever means harm would."""
    path = case / "zarr.json"
    names = sorted(file_sizes(case).keys() - {"zarr.json"})
    found = {name: crc32c((case / name).read_bytes()) for name in names}
    edit_svls(case, lambda svls: svls.update(crc32c=found))
    edit_svls(case, lambda svls: svls.pop("sha256"))
    document = sealed(json.loads(path.read_text("utf-8")))
    path.write_text(json.dumps(document), "utf-8")


def make_version_1(store: Path) -> Path:
    """Make a store what it would have been in format version 1."""

    def older(svls: dict[str, Any]) -> None:
        files = svls.pop("crc32c", {})
        svls.pop("sha256", None)
        svls.pop("case", None)
        svls["format_version"] = 1
        if files:
            arrays = [name[:-10] for name in files if name.endswith("0/zarr.json")]
            svls["shards"] = {
                array: sum(name.startswith(f"{array}/c/") for name in files)
                for array in arrays
            }

    for group in (store, *(path for path in store.iterdir() if path.is_dir())):
        edit_svls(group, older)
    return store
