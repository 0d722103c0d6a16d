"""`svls-cli train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from svls_cli.cli import console, options, training_options

if TYPE_CHECKING:
    from svls_cli.training.epoch_log import EpochLog


@click.command("train")
@click.argument("store", metavar="STORE.zarr")
@training_options.images
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="RUN",
    help="The run's folder: weights, log, learning curves.",
)
@training_options.image_pattern
@training_options.target
@training_options.seed
@training_options.parameters
@training_options.cache
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with a run that was ended, to the same result; or start it.",
)
@training_options.loaders
@options.device
@click.option(
    "--tensorboard", is_flag=True, help="Also write RUN/tensorboard (needs it)."
)
@options.json_lines("epoch")
def command(
    store: str,
    images: tuple[str, ...],
    out: Path,
    as_json: bool,
    image_pattern: str | None,
    **given: Any,
) -> None:
    """Train a U-Net on the soft labels of a store.

    Every case of STORE.zarr needs an image of its name on its own grid: CASE.nii.gz
    (NIfTI, NRRD, MetaImage), or channels CASE_0000.nii.gz, CASE_0001.nii.gz, ...

    RUN gets last.pt and best.pt (of the highest validation Dice), weights together
    with all parameters, log.csv and curves.png. Needs pip install 'svls-cli[train]'.

    \b
      svls-cli train out.zarr --images images/ --out run/
      svls-cli train out.zarr --images imagesTr/ --out run/ --epochs 500 --resume
    """
    training_options.need_libraries()
    from svls_cli.training.checkpoint import Checkpoint, RunFolder
    from svls_cli.training.train import train

    config, more = training_options.config_of(given)
    logs = train(
        store,
        images,
        out,
        config=config,
        pattern=image_pattern,
        progress=console.show_progress,
        **more,
    )
    for log in logs:
        if as_json:
            console.print_json(log.to_json())
        else:
            console.echo(_line(log, config.epochs))
    if not as_json:
        plan = Checkpoint.load(RunFolder(out).checkpoint("last")).plan
        console.echo(
            f"{out}: trained on {len(plan.train)} cases, validated on "
            f"{len(plan.validation)}; svls-cli predict {out} IMAGES... OUT.zarr"
        )


def _line(log: EpochLog, epochs: int) -> str:
    parts = [f"epoch {log.epoch}/{epochs}", f"loss {log.loss:.4f}"]
    if log.validation_loss is not None:
        parts.append(f"validation {log.validation_loss:.4f}")
    if log.dice is not None:
        parts.append(f"Dice {log.dice:.3f}")
    return "  ".join([*parts, f"{log.seconds:.1f} s"])
