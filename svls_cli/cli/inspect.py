"""`svls-cli inspect`."""

from __future__ import annotations

from typing import Any

import click

from svls_cli.cli import console, options, store_tables
from svls_cli.cli.command import PATH, Command, option


@click.command("inspect", cls=Command)
@click.argument("store", metavar="STORE", type=PATH)
@option(
    "--verify",
    group="Input",
    is_flag=True,
    help="Read everything, and check checksums, missing files, sums over the classes "
    "and agreement with the hard labels; exit code 4 if something is wrong.",
)
@options.jobs
@options.as_json
def command(store: str, verify: bool, as_json: bool, **rest: Any) -> int:
    """Show what is in a store: parameters, classes, cases, sizes.

    \b
      svls-cli inspect out.zarr
      svls-cli inspect --verify --json out.zarr | jq -r .case
    """
    from svls_cli.store.inspect import Inspected, inspect_cases
    from svls_cli.store.reader import open_store

    opened = open_store(store)

    def tell(case: Inspected) -> None:
        if as_json:
            console.print_json(case.to_json())

    with console.batch(rest) as batch:
        cases = inspect_cases(opened, verify=verify, on_case=tell, batch=batch)
    if not as_json:
        cases.sort(key=lambda case: case.record.case)
        store_tables.show_store(opened, cases, verified=verify)
    failed = any(case.record.status == "failed" for case in cases)
    return console.EXIT_SOME_FAILED if failed else 0
