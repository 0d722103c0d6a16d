"""`svls-cli export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from svls_cli.cli import console, options
from svls_cli.cli.command import PATH, Command, complete_cases, option
from svls_cli.store.choices import CONTENTS, FORMATS


@click.command("export", cls=Command)
@click.argument("store", metavar="STORE", type=PATH)
@click.argument("cases", nargs=-1, metavar="[CASE...]", shell_complete=complete_cases)
@click.argument("out", metavar="OUT", type=PATH)
@option(
    "--content",
    group="Output",
    type=click.Choice(CONTENTS),
    default="soft",
    help="What to write. soft: a probability volume per class. hard: the label map.",
)
@option(
    "--format",
    "image_format",
    group="Output",
    type=click.Choice(FORMATS),
    default="nii.gz",
    help="Format of the files. nrrd and mha keep the geometry to the last digit; NIfTI "
    "has room for single precision.",
)
@option(
    "--bids",
    group="Output",
    is_flag=True,
    help="Name files as BIDS derivatives do, _probseg and _dseg, and write dseg.tsv.",
)
@options.overwrite("Replace files that exist.")
@options.as_json
@options.jobs
@options.fail_fast
def command(
    store: str,
    cases: tuple[str, ...],
    out: str,
    content: str,
    image_format: str,
    bids: bool,
    overwrite: bool,
    as_json: bool,
    **rest: Any,
) -> int:
    """Write cases of a store as image files into the folder OUT.

    Without CASE all cases are written. Soft labels become one file per class,
    CASE_CLASS.nii.gz, with probabilities from 0 to 1; hard labels become CASE.nii.gz.

    \b
      svls-cli export out.zarr probabilities/
      svls-cli export --content hard --format nrrd out.zarr case_01 labels/
    """
    from svls_cli.store.export import ExportOptions, export_cases
    from svls_cli.store.reader import open_store

    if out in open_store(store) and not Path(out).exists():
        raise click.UsageError(
            f"OUT is missing: {out}, the last argument, is a case of {store}"
        )
    reporter = console.Reporter(as_json=as_json, done="exported", where=out)
    with console.batch(rest, on_record=reporter) as batch:
        export_cases(
            store,
            out,
            cases=cases,
            options=ExportOptions(content, image_format, bids, overwrite),  # type: ignore[arg-type]
            batch=batch,
        )
    return reporter.finish()
