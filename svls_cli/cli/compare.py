"""`svls-cli compare`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from svls_cli.cli import compare_tables, console, options, training_options
from svls_cli.cli.command import PATH, Command, option

if TYPE_CHECKING:
    from svls_cli.comparison.result import Trial


@click.command("compare", cls=Command)
@click.argument("labels", nargs=-1, required=True, metavar="LABELS...", type=PATH)
@training_options.images
@training_options.image_pattern
@options.pattern
@options.series
@options.overlap
@options.classes
@options.unlabelled
@options.resample_to_first
@options.out(
    "DIR",
    "Folder for stores, runs, predictions and scores; the same command goes on where "
    "it stopped.",
)
@options.json_lines("training")
@option(
    "--methods",
    group="Experiment",
    default="onehot,ls:0.1,svls",
    metavar="M1,M2,...",
    help="Methods to compare, each NAME or NAME:PARAMETER=VALUE:..., such as "
    "svls:sigma_mm=1.5:strength=0.8; a value per axis is 1x3x3; a bare number is the "
    "alpha of ls and the sigma of others. With several raters each begins with a "
    "fusion: mean+svls, majority+onehot, staple+onehot; mean+tuned and majority+tuned "
    "soften as tune recommends by the cases to train on; rater draws one rater's label "
    "map for each patch.",
)
@option(
    "--losses",
    group="Experiment",
    default="ce",
    metavar="L1,L2",
    help="Losses to train with: ce, cross-entropy; ce+dice, the Dice loss of train "
    "added to it.",
)
@option(
    "--seeds",
    group="Experiment",
    type=click.IntRange(min=1),
    metavar="N",
    default=3,
    help="Number of trainings of each method and loss, with seeds from 0.",
)
@options.tolerance_mm("", group="Scores")
@options.band_mm("Reach of the boundary band: voxels", group="Scores")
@options.in_plane("the boundary band, and what tune tries", group="Scores")
@option(
    "--temperature-scaling",
    group="Scores",
    type=click.Choice(["whole", "band"]),
    default="band",
    help="Where the temperatures of the scaled scores are fitted, as in evaluate: over "
    "the whole volume, or in the boundary band.",
)
@training_options.parameters
@options.training_device
@options.jobs
@training_options.loaders
def command(
    labels: tuple[str, ...],
    images: tuple[str, ...],
    out: Path,
    methods: str,
    losses: str,
    classes: str | None,
    as_json: bool,
    **rest: Any,
) -> None:
    """Compare networks trained on soft labels of several methods.

    LABELS are label maps, one per case, as for smooth; or, if the methods name fusions,
    those of several raters, as for fuse-raters: a folder per rater, folders of all with
    --pattern '{case}_{rater}.nii.gz', or - to read JSON records from standard input.

    Compiles a store for each method, trains the same network on each, predicts the
    validation cases with the last weights, and evaluates the predictions against every
    rater, as they are and with temperature scaling. DIR gets the tables with the spread
    over seeds, and each method's differences to the first one with their intervals over
    patients and seeds, as comparison.md and comparison.json; and comparison.png with
    reliability diagrams of all methods. To resume, run the same command again. Requires
    pip install 'svls-cli[train]'.

    \b
      svls-cli compare --images images/ labels/ --out cmp/ --methods onehot,svls
      svls-cli compare --images i/ a/ b/ c/ --out o/ --methods majority+svls,mean+svls
    """
    from svls_cli.cli.label_files import label_files
    from svls_cli.comparison.compare import compare_methods
    from svls_cli.comparison.report import write_comparison

    config, more = training_options.config_of(rest)
    files = label_files(more.pop("series"), more.pop("overlap"), more["pattern"])

    def begin(label: str) -> None:
        if not sys.stderr.isatty():  # where progress has no bar to say it
            console.echo(label, err=True)

    def tell(trial: Trial) -> None:
        if as_json:
            console.print_json(trial.to_json())
        else:
            compare_tables.show_trial(trial)

    with console.batch(more) as batch:
        comparison = compare_methods(
            labels,
            images,
            out,
            methods=methods.split(","),
            losses=losses.split(","),
            lines=console.stdin_lines(labels),
            files=files,
            config=config,
            classes=options.classes_of(classes),
            on_start=begin,
            on_trial=tell,
            batch=batch,
            **more,
        )
    write_comparison(comparison, out)
    if not as_json:
        compare_tables.show_comparison(comparison)
        console.echo(f"\nall differences with their intervals: {out}/comparison.md")
