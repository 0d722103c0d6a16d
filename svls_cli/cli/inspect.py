"""`svls-cli inspect`."""

from __future__ import annotations

import click

from svls_cli.cli import console, options
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
def command(store: str, verify: bool, jobs: int | None, as_json: bool) -> int:
    """Show what is in a store: parameters, classes, cases, sizes.

    \b
      svls-cli inspect out.zarr
      svls-cli inspect --verify --json out.zarr | jq -r .case
    """
    from svls_cli.store.inspect import inspect_cases
    from svls_cli.store.reader import open_store

    opened = open_store(store)
    cases = inspect_cases(
        opened, verify=verify, jobs=jobs, progress=console.show_progress
    )
    if as_json:
        return console.report_inspected(cases)
    return console.show_store(opened, sorted(cases, key=lambda c: c.record.case))
