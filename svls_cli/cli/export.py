"""`svls-cli export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from svls_cli.cli import console, options
from svls_cli.cli.command import FILE, PATH, Command, complete_cases, option
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
    type=click.Choice((*FORMATS, "dicom-seg")),
    default="nii.gz",
    help="Format of the files. nrrd and mha keep the geometry to the last digit; NIfTI "
    "has room for single precision. png: hard labels of 2-D cases. dicom-seg: a DICOM "
    "segmentation per case, CASE.dcm, fractional of soft labels, in steps of 1/255; "
    "requires --series.",
)
@option(
    "--series",
    group="Output",
    type=FILE,
    metavar="DIR",
    help="Folder of the CT or MR series that was labelled, or of several patients' "
    "series, for dicom-seg, which takes patient and study from it. Requires pip "
    "install 'svls-cli[dicom]'.",
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
    series: Path | None,
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
      svls-cli export --format dicom-seg --series ct/ out.zarr segmentations/
    """
    from svls_cli.cli.label_files import dicom_library
    from svls_cli.store.export import ExportOptions, export_cases
    from svls_cli.store.reader import open_store

    if out in open_store(store) and not Path(out).exists():
        raise click.UsageError(
            f"OUT is missing: {out}, the last argument, is a case of {store}"
        )
    to_dicom = image_format == "dicom-seg"
    if to_dicom != (series is not None):
        raise click.UsageError("--format dicom-seg and --series go together")
    if to_dicom and bids:
        raise click.UsageError("--bids does not go with --format dicom-seg")
    reporter = console.Reporter(as_json=as_json, done="exported", where=out)
    with console.batch(rest, on_record=reporter) as batch:
        if series is not None:
            with dicom_library():
                from svls_cli.dicom.export import export_segmentations
            export_segmentations(
                store,
                out,
                series=series,
                cases=cases,
                content=content,  # type: ignore[arg-type]
                overwrite=overwrite,
                batch=batch,
            )
            return reporter.finish()
        export_cases(
            store,
            out,
            cases=cases,
            options=ExportOptions(content, image_format, bids, overwrite),  # type: ignore[arg-type]
            batch=batch,
        )
    return reporter.finish()
