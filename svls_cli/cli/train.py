"""`svls-cli train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from svls_cli.cli import console, evaluate_tables, options, training_options
from svls_cli.cli.command import PATH, Command, option

if TYPE_CHECKING:
    from svls_cli.evaluation.report import EvaluationReport
    from svls_cli.training.epoch_log import EpochLog
    from svls_cli.training.plan import Plan
    from svls_cli.training.run_folder import RunFolder


@click.command("train", cls=Command)
@click.argument("store", metavar="STORE.zarr", type=PATH)
@training_options.images
@training_options.image_pattern
@options.out(
    "RUN",
    "Folder of the run: weights, log, learning curves. A run that was ended goes on "
    "there, to the same result.",
)
@options.overwrite(
    "Start again, and replace the run in RUN once the first epoch is done."
)
@option(
    "--tensorboard",
    group="Output",
    is_flag=True,
    help="Also log to RUN/tensorboard (requires tensorboard).",
)
@option(
    "--evaluate/--no-evaluate",
    group="Output",
    default=True,
    help="At the end, predict the validation cases into RUN/validation.zarr and print "
    "their scores; with --json, as a last record.",
)
@options.json_lines("epoch")
@training_options.target
@training_options.parameters
@training_options.dice_weight
@training_options.seed
@training_options.cache
@options.training_device
@options.jobs
@training_options.loaders
def command(
    store: str,
    images: tuple[str, ...],
    out: Path,
    as_json: bool,
    image_pattern: str | None,
    evaluate: bool,
    **rest: Any,
) -> int:
    """Train a U-Net on the soft labels of a store.

    Every case of STORE.zarr needs an image of its name on its own grid: CASE.nii.gz
    (NIfTI, PNG or another), or channels CASE_0000.nii.gz, CASE_0001.nii.gz, ...

    RUN gets last.pt and best.pt (of the highest validation Dice), which hold the
    weights with all parameters; validation.txt, the names of the cases that were held
    out, and validation.zarr, the last weights' predictions of them, whose scores are
    printed; log.csv; and curves.png. To resume a run that was ended, run the same
    command again, or with more epochs; other parameters are refused. Requires pip
    install 'svls-cli[train]'.

    \b
      svls-cli train out.zarr --images images/ --out run/
      svls-cli train out.zarr --images imagesTr/ --out run/ --epochs 500
    """
    from svls_cli.training.run_folder import RunFolder
    from svls_cli.training.run_state import RunState
    from svls_cli.training.score import score_run
    from svls_cli.training.train import train

    config, more = training_options.config_of(rest)

    def tell(log: EpochLog) -> None:
        if as_json:
            console.print_json(log.to_json())
        else:
            console.echo(_line(log, config.epochs))

    with console.batch(more) as batch:
        train(
            store,
            images,
            out,
            config=config,
            pattern=image_pattern,
            on_epoch=tell,
            batch=batch,
            **more,
        )
        folder = RunFolder(out)
        plan = RunState.load(folder.checkpoint("last")).plan
        if not as_json:
            console.echo(_held_out(folder, plan))
        report = None
        if evaluate and plan.validation:
            report = score_run(
                out,
                store,
                images,
                pattern=image_pattern,
                device=more["device"],
                batch=batch,
            )
    if report is not None:
        _show(report, as_json=as_json)
    if not as_json:
        console.echo(f"next: svls-cli predict {out} IMAGES... OUT.zarr")
    return console.EXIT_SOME_FAILED if report and report.failed else 0


def _held_out(folder: RunFolder, plan: Plan) -> str:
    held = "no validation cases"
    if plan.validation:
        held = f"{len(plan.validation)} held out, named in {folder.validation}"
    return f"{folder.path}: trained on {len(plan.train)} cases; {held}"


def _show(report: EvaluationReport, *, as_json: bool) -> None:
    console.complain((), report.failed)
    if as_json:
        scores = report.to_json()
        kept = ("parameters", "summary", "classes")
        console.print_json({"validation": {key: scores[key] for key in kept}})
    elif report.scores:
        evaluate_tables.show_evaluation(report)


def _line(log: EpochLog, epochs: int) -> str:
    parts = [f"epoch {log.epoch}/{epochs}", f"loss {log.loss:.4f}"]
    if log.validation_loss is not None:
        parts.append(f"validation {log.validation_loss:.4f}")
    if log.dice is not None:
        parts.append(f"Dice {log.dice:.3f}")
    return "  ".join([*parts, f"{log.seconds:.1f} s"])
