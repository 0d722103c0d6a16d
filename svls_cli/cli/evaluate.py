"""`svls-cli evaluate`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from svls_cli.cli import console, evaluate_tables, options


@click.command("evaluate")
@click.argument("prediction", metavar="PRED.zarr")
@click.option(
    "--reference",
    multiple=True,
    required=True,
    metavar="LABELS|STORE",
    help="What is right: label map files or folders (may be given several times; - "
    "reads a list from standard input), or a store.",
)
@click.option(
    "--raters",
    metavar="R1,R2|hard",
    help="Which raters of the reference store; hard is the consensus. [default: all, "
    "or hard where there are none]",
)
@click.option(
    "--pattern",
    help="Glob that picks reference files in folders, such as '**/*_seg.nii.gz'.",
)
@click.option(
    "--ignore-label",
    type=click.IntRange(0, 2**32 - 1),
    metavar="VALUE",
    help="Reference voxels of this value are not compared. [default: as in the stores]",
)
@options.tolerance_mm
@options.band_mm
@click.option(
    "--bins",
    type=click.IntRange(min=1),
    help="Of ECE and TACE. [default: 15; with --paper-compat 10]",
)
@click.option(
    "--paper-compat",
    is_flag=True,
    help="Also print what the code published with SVLS prints: ECE of the foreground, "
    "and a TACE that is divided by the number of bins twice.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of the intervals."
)
@options.jobs
@options.fail_fast
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE.json|.csv",
    help="Write the scores of every case, class and region.",
)
@click.option(
    "--figure",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw reliability diagrams of the three regions; PDF and SVG will do, too. "
    "Needs pip install 'svls-cli[figures]'.",
)
@options.as_json
def command(
    prediction: str,
    reference: tuple[str, ...],
    raters: str | None,
    report: Path | None,
    figure: Path | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Measure soft labels against reference label maps.

    PRED.zarr is a store of predictions, or of any soft labels. Cases are compared with
    references of the same name: Dice, surface Dice, HD95; NLL, Brier, ECE and TACE over
    the whole volume, in the foreground and near boundaries; and against several raters
    soft Dice and generalised energy distance (GED).

    \b
      svls-cli evaluate pred.zarr --reference labels/
      svls-cli evaluate pred.zarr --reference fused.zarr --report scores.json
    """
    _check_targets(report, figure)
    found = _evaluate(
        prediction,
        reference,
        raters=None if raters is None else tuple(raters.split(",")),
        **given,
    )
    console.complain("left out", found.skipped)
    console.complain("failed", found.failed)
    if report is not None:
        found.write(report)
    if figure is not None and found.scores:
        from svls_cli.evaluation.figure import draw_reliability

        draw_reliability(found, figure)
    if as_json:
        for record in found.case_records():
            console.print_json(record)
    elif found.scores:
        evaluate_tables.show_evaluation(found)
    return console.EXIT_SOME_FAILED if found.failed else 0


def _check_targets(report: Path | None, figure: Path | None) -> None:
    from svls_cli.files import check_report_path

    if report is not None:
        check_report_path(report)
    console.check_targets(None, figure)


def _evaluate(prediction: str, reference: tuple[str, ...], **given: Any) -> Any:
    from svls_cli.evaluation.evaluate import evaluate_cases

    with console.batch(given) as batch:
        return evaluate_cases(
            prediction,
            reference,
            lines=map(os.fsdecode, sys.stdin.buffer) if "-" in reference else (),
            batch=batch,
            **given,
        )
