"""`svls-cli predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from svls_cli.cli import console, options, training_options
from svls_cli.cli.command import FILE, PATH, Command, option
from svls_cli.training.choices import CHECKPOINTS


@click.command("predict", cls=Command)
@click.argument("run", type=FILE, metavar="RUN")
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...", type=PATH)
@click.argument("out", metavar="OUT.zarr", type=PATH)
@training_options.image_pattern
@option(
    "--cases",
    group="Input",
    metavar="validation|FILE",
    help="Predict only the cases that the run did not train on, or those that a file "
    "names, one per line. [default: all images]",
)
@option(
    "--checkpoint",
    group="Prediction",
    type=click.Choice(CHECKPOINTS),
    default="last",
    help="Weights to predict with: those of the last epoch, or those of the highest "
    "validation Dice.",
)
@option(
    "--overlap",
    group="Prediction",
    metavar="SHARE",
    default=0.5,
    help="Share of the patch by which neighbouring windows overlap.",
)
@option(
    "--batch-size",
    group="Prediction",
    type=click.IntRange(min=1),
    metavar="N",
    default=1,
    help="Number of windows that are predicted at a time.",
)
@options.dtype
@options.overwrite("Make the store anew, instead of going on with it.")
@options.as_json
@options.training_device
@options.fail_fast
def command(
    run: Path,
    images: tuple[str, ...],
    out: str,
    as_json: bool,
    image_pattern: str | None,
    **rest: Any,
) -> int:
    """Predict class probabilities of images, as a store.

    RUN is the folder of a training run; IMAGES are image files or folders of them, with
    the channels that the network was trained on; or - to read one path, or one JSON
    record {"case": ..., "image": ...} or {"case": ..., "images": [...]} with its
    channels, per line of standard input. OUT.zarr becomes a store that inspect,
    export, evaluate and viewers take like any store of soft labels.

    Cases that OUT.zarr holds already, predicted from the same files with the same
    weights, are skipped: to resume, run the same command again. Requires pip install
    'svls-cli[train]'.

    \b
      svls-cli predict run/ images/ pred.zarr
      svls-cli predict run/ --cases validation images/ held_out.zarr
      svls-cli evaluate pred.zarr --reference labels/
    """
    from svls_cli.training.predict import predict_cases

    reporter = console.Reporter(as_json=as_json, done="predicted", where=out)
    with console.batch(rest, on_record=reporter) as batch:
        predict_cases(
            run,
            images,
            out,
            pattern=image_pattern,
            lines=console.stdin_lines(images),
            batch=batch,
            **rest,
        )
    code = reporter.finish()
    if reporter.tells_more:
        console.echo(f"next: svls-cli evaluate {out} --reference LABELS")
    return code
