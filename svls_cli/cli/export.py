"""`svls-cli export`."""

from __future__ import annotations

import click

from svls_cli.cli import console, options
from svls_cli.store.choices import CONTENTS, FORMATS


@click.command("export")
@click.argument("store", metavar="STORE")
@click.argument("cases", nargs=-1, metavar="[CASE...]")
@click.argument("out", metavar="OUT")
@click.option(
    "--content",
    type=click.Choice(CONTENTS),
    default="soft",
    show_default=True,
    help="soft: a probability volume per class. hard: the label map.",
)
@click.option(
    "--format",
    "image_format",
    type=click.Choice(FORMATS),
    default="nii.gz",
    show_default=True,
    help="nrrd and mha keep the geometry to the last digit; NIfTI has room for single "
    "precision.",
)
@click.option(
    "--bids",
    is_flag=True,
    help="Name files as BIDS derivatives do, _probseg and _dseg, and write dseg.tsv.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@options.jobs
@options.fail_fast
@options.as_json
def command(
    store: str,
    cases: tuple[str, ...],
    out: str,
    content: str,
    image_format: str,
    bids: bool,
    overwrite: bool,
    jobs: int | None,
    fail_fast: bool,
    as_json: bool,
) -> int:
    """Write cases of a store as image files into the folder OUT.

    Without CASE all cases are written. Soft labels become one file per class,
    CASE_CLASS.nii.gz, with probabilities from 0 to 1; hard labels become CASE.nii.gz.

    \b
      svls-cli export out.zarr probabilities/
      svls-cli export --content hard --format nrrd out.zarr case_01 labels/
    """
    from svls_cli.store.export import ExportOptions, export_cases

    records = export_cases(
        store,
        out,
        cases=cases,
        options=ExportOptions(content, image_format, bids, overwrite),  # type: ignore[arg-type]
        jobs=jobs,
        fail_fast=fail_fast,
        progress=console.show_progress,
    )
    return console.report(records, as_json=as_json, done="exported", where=out)
