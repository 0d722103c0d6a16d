"""`svls-cli predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from svls_cli.cli import console, options, training_options


@click.command("predict")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@click.argument("out", metavar="OUT.zarr")
@training_options.image_pattern
@click.option(
    "--checkpoint",
    type=click.Choice(["last", "best"]),
    default="last",
    show_default=True,
    help="Which weights; best: of the highest validation Dice.",
)
@click.option(
    "--overlap",
    type=float,
    default=0.5,
    show_default=True,
    help="How far neighbouring windows overlap, as a share of the patch.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Windows at a time.",
)
@options.dtype
@options.device
@click.option("--overwrite", is_flag=True, help="Make the store anew.")
@options.fail_fast
@options.as_json
def command(
    run: Path,
    images: tuple[str, ...],
    out: str,
    as_json: bool,
    image_pattern: str | None,
    **given: Any,
) -> int:
    """Predict class probabilities of images, as a store of soft labels.

    RUN is the folder of a training run, IMAGES are image files or folders of them, with
    the channels that the network was trained on. What inspect, export, evaluate and
    viewers do with soft labels they do with OUT.zarr. Cases that it holds already, from
    the same weights and files, are skipped. Needs pip install 'svls-cli[train]'.

    \b
      svls-cli predict run/ images/ pred.zarr
      svls-cli evaluate pred.zarr --reference labels/
    """
    training_options.need_libraries()
    from svls_cli.training.predict import predict_cases

    records = predict_cases(
        run,
        images,
        out,
        pattern=image_pattern,
        progress=console.show_progress,
        **given,
    )
    return console.report(records, as_json=as_json, done="predicted", where=out)
