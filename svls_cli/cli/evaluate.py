"""`svls-cli evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from svls_cli.cli import console, evaluate_tables, options
from svls_cli.cli.command import PATH, Command, option


@click.command("evaluate", cls=Command)
@click.argument("prediction", metavar="PREDICTIONS", type=PATH)
@option(
    "--reference",
    group="Input",
    type=PATH,
    multiple=True,
    required=True,
    metavar="LABELS|STORE",
    help="The right answer: label map files or folders (may be given several times; - "
    "reads a list from standard input), or a store.",
)
@option(
    "--raters",
    group="Input",
    metavar="R1,R2|hard",
    help="Raters of the reference store to compare with; hard is the consensus. "
    "[default: all, or hard where there are none]",
)
@options.pattern
@options.series
@options.overlap
@options.ignore_label(
    "Reference voxels of this value are not compared. [default: as in the stores]"
)
@options.tolerance_mm("", group="Scores")
@options.band_mm("Reach of the boundary band: voxels", group="Scores")
@options.in_plane("the boundary band reaches into no other slice", group="Scores")
@option(
    "--bins",
    group="Scores",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of bins of ECE and TACE. [default: 15; 10 with --paper-compat]",
)
@option(
    "--paper-compat",
    group="Scores",
    is_flag=True,
    help="Also print what the code published with SVLS prints: ECE of the foreground, "
    "and a TACE that is divided by the number of bins twice.",
)
@option(
    "--temperature-scaling",
    group="Scores",
    type=click.Choice(["whole", "band"]),
    help="Also print every score of the probabilities p^(1/T), renormalised: T fitted "
    "by NLL from 0.2 to 8, over the whole volume or in the boundary band, to the cases "
    "of other patients, who are dealt into five folds.",
)
@options.patients("Intervals and folds are then over patients.", group="Scores")
@options.seed("Seed of the bootstrap intervals, and of the folds.", group="Scores")
@options.report(
    "Write the scores of every case, class and region to a file.",
    group="Output",
    metavar="FILE.json|.csv",
)
@options.figure("Draw reliability diagrams of the three regions")
@options.as_json
@options.jobs
@options.fail_fast
def command(
    prediction: str,
    reference: tuple[str, ...],
    raters: str | None,
    pattern: str | None,
    series: Path | None,
    overlap: Any,
    report: Path | None,
    figure: Path | None,
    as_json: bool,
    **rest: Any,
) -> int:
    """Measure soft labels against reference label maps.

    PREDICTIONS is a store of predictions, or of any soft labels; or a folder that
    nnU-Net predicted with --save_probabilities. Cases are compared with references of
    the same name: Dice, surface Dice, HD95; NLL, Brier score, ECE and
    TACE over the whole volume, in the foreground and near boundaries; and, against
    several raters, soft Dice and generalised energy distance (GED).

    \b
      svls-cli evaluate pred.zarr --reference labels/
      svls-cli evaluate pred.zarr --reference fused.zarr --report scores.json
    """
    from svls_cli.cli.label_files import label_files
    from svls_cli.evaluation.evaluate import evaluate_cases
    from svls_cli.files import check_report_path

    if report is not None:
        check_report_path(report)
    console.check_targets(None, figure)
    files = label_files(series, overlap, pattern)
    with console.batch(rest) as batch:
        evaluation = evaluate_cases(
            prediction,
            reference,
            raters=None if raters is None else tuple(raters.split(",")),
            pattern=pattern,
            lines=console.stdin_lines(reference),
            files=files,
            batch=batch,
            **rest,
        )
    console.complain(evaluation.skipped, evaluation.failed, evaluation.noted)
    if report is not None:
        evaluation.write(report)
    if figure is not None and evaluation.scores:
        from svls_cli.evaluation.figure import draw_reliability

        draw_reliability(evaluation, figure)
    if as_json:
        for record in evaluation.case_records():
            console.print_json(record)
    elif evaluation.scores:
        evaluate_tables.show_evaluation(evaluation)
    return console.EXIT_SOME_FAILED if evaluation.failed else 0
