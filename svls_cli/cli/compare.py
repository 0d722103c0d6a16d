"""`svls-cli compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from svls_cli.cli import console, options, training_options


@click.command("compare")
@click.argument("labels", nargs=-1, required=True, metavar="LABELS...")
@training_options.images
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for everything; the same command goes on where it stopped.",
)
@click.option(
    "--methods",
    default="onehot,ls:0.1,svls",
    show_default=True,
    metavar="M1,M2,...",
    help="Each NAME or NAME:PARAMETER=VALUE:..., as svls:sigma_mm=1.5:strength=0.8; a "
    "value per axis is 1x3x3; a bare number is ls's alpha, others' sigma.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Trainings of each method.",
)
@options.classes
@options.ignore_label
@click.option(
    "--pattern",
    help="Glob that picks label maps in folders, such as '**/*_seg.nii.gz'.",
)
@training_options.image_pattern
@options.tolerance_mm
@options.band_mm
@training_options.parameters
@training_options.loaders
@options.device
@options.json_lines("training")
def command(
    labels: tuple[str, ...],
    images: tuple[str, ...],
    out: Path,
    methods: str,
    classes: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Train the same network on soft labels of several methods, and compare.

    Makes a store of each method, trains, predicts the validation cases with the last
    weights, and evaluates them. DIR gets the paper's table (DSC, surface DSC, ECE,
    TACE, NLL, with the spread over seeds), comparison.md, .json, and .png with
    everyone's reliability. Needs pip install 'svls-cli[train]'.

    \b
      svls-cli compare --images images/ labels/ --out comparison/
      svls-cli compare --images imagesTr/ labelsTr/ --out cmp/ --methods onehot,svls
    """
    training_options.need_libraries()
    from svls_cli.comparison.compare import compare_methods
    from svls_cli.comparison.result import Comparison
    from svls_cli.labels.class_files import parse_classes

    config, more = training_options.config_of(given)
    trials = []
    for trial in compare_methods(
        labels,
        images,
        out,
        methods=methods.split(","),
        config=config,
        classes=None if classes is None else parse_classes(classes),
        loaders=more.pop("jobs"),
        progress=console.show_progress,
        **more,
    ):
        trials.append(trial)
        if as_json:
            console.print_json(trial.to_json())
        else:
            band = trial.calibration("band", "ece")
            shown = "-" if band is None else f"{band:.4f}"
            dice = f"{trial.overlap('dice') or 0:.4f}"
            console.echo(f"{trial.method} seed {trial.seed}: Dice {dice}, ECE {shown}")
    comparison = Comparison(tuple(trials))
    comparison.write(out)
    if not as_json:
        console.echo("\n" + comparison.markdown())
