"""`svls-cli report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from svls_cli.cli import console, options
from svls_cli.cli.command import PATH, Command, option


@click.command("report", cls=Command)
@click.argument("store", metavar="STORE", type=PATH)
@click.argument("prediction", metavar="[PRED.zarr]", type=PATH, required=False)
@option(
    "--images",
    group="Input",
    multiple=True,
    metavar="IMAGES",
    help="Image files or folders of them, matched to cases by name; may be given "
    "several times. Without, labels are drawn on plain ground.",
)
@option(
    "--image-pattern",
    group="Input",
    metavar="PATTERN",
    help="Path of the images inside IMAGES, such as '{case}_image.nii.gz'. [default: "
    "CASE.*; of several channels the first is shown]",
)
@option(
    "--out",
    group="Output",
    type=PATH,
    metavar="DIR",
    help="Folder of the pages. [default: NAME-report beside NAME.zarr]",
)
@options.as_json
@options.jobs
@options.fail_fast
def command(
    store: str,
    prediction: str | None,
    out: str | None,
    image_pattern: str | None,
    as_json: bool,
    **rest: Any,
) -> int:
    """Make pages on which to look at a store.

    An index of all cases, the worst first, with volumes, agreement and what looks
    wrong; and a page for each case: the slices where raters differ most, or else those
    of the most entropy, with the contours of each rater that the store keeps and of the
    consensus, lines of equal probability, and the entropy. With PRED.zarr, predictions
    of the same cases, also contours, errors, scores and reliability of these.

    Pages open by double click, without network. Those that DIR has already, made from
    the same, are left: to resume, run the same command again. Requires pip install
    'svls-cli[report]'.

    \b
      svls-cli report out.zarr --images images/
      svls-cli report fused.zarr pred.zarr --images images/ --out report/
    """
    from svls_cli.report.report import report_cases, report_folder

    if "-" in rest["images"]:
        raise click.UsageError("--images takes files and folders, not standard input")
    if image_pattern and not rest["images"]:
        raise click.UsageError("--image-pattern: of use with --images only")
    folder = str(out or report_folder(store))
    reporter = console.Reporter(as_json=as_json, done="pages made", where=folder)
    with console.batch(rest, on_record=reporter) as batch:
        report_cases(
            store,
            prediction,
            pattern=image_pattern,
            out=folder,
            batch=batch,
            **rest,
        )
    code = reporter.finish()
    if reporter.tells_more:
        console.echo(f"open: {Path(folder) / 'index.html'}")
    return code
