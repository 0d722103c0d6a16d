"""Options of a training run: every parameter of `TrainingConfig`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from svls_cli.cli import options
from svls_cli.cli.command import Decorated, option, together
from svls_cli.errors import InvalidParameterError
from svls_cli.training.choices import TARGETS
from svls_cli.training.config import TrainingConfig, read_toml


def _pair(text: str) -> Any:
    values = options.numbers(float)(text)
    if not isinstance(values, tuple) or len(values) != 2:
        raise click.BadParameter(f"{text!r} is not two numbers, LOW,HIGH")
    return values


def _as_text(value: Any) -> Any:
    """A value of a TOML file as it would stand on the command line."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if isinstance(value, bool) else str(value)


def _read_config(
    context: click.Context, parameter: click.Parameter, path: Path | None
) -> None:
    """Values of a file are defaults: those on the command line win."""
    if path is None:
        return
    values = {name: _as_text(value) for name, value in read_toml(path).items()}
    known = {each.name for each in context.command.params}
    if unknown := sorted(set(values) - known):
        raise InvalidParameterError(
            f"{path}: not for this command: {', '.join(unknown)}"
        )
    context.default_map = {**(context.default_map or {}), **values}


config_file = option(
    "--config",
    group="Training",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="TOML file of any of these parameters, with _ for - in their names "
    "(patch_size = 64); those on the command line win.",
)
target = option(
    "--target",
    group="Training",
    type=click.Choice(TARGETS),
    default=TrainingConfig.target,
    help="What the network learns: the soft labels; the hard label map; or one rater's "
    "label map, drawn anew for each patch.",
)
seed = options.seed("Seed of weights, patches and augmentation.", group="Training")


def _number(name: str, group: str, text: str) -> Callable[[Decorated], Decorated]:
    """A parameter whose default, and so its type, is that of `TrainingConfig`."""
    default = getattr(TrainingConfig, name)
    metavar = "N" if isinstance(default, int) else "NUMBER"
    flag = f"--{name.replace('_', '-')}"
    return option(flag, group=group, metavar=metavar, default=default, help=text)


dice_weight = _number(
    "dice_weight",
    "Training",
    "Weight of a Dice loss that is right for soft labels, beside the cross-entropy's "
    "1.",
)
# All parameters but target, loss and seed, which `compare` sets itself.
parameters = together(
    option(
        "--patch-size",
        group="Patches",
        type=options.numbers(int),
        metavar="NUMBER|Z,Y,X",
        help="Voxels of a patch: one number, or z,y,x, clipped to the largest case; "
        "1,Y,X trains on slices. [default: as much of the smallest case as 96 x 96 x "
        "96 voxels allow]",
    ),
    _number("batch_size", "Patches", "Number of patches in a step."),
    _number(
        "foreground_share",
        "Patches",
        "Share of the patches that are centred on a foreground class.",
    ),
    _number(
        "boundary_share",
        "Patches",
        "Share of the patches that are centred on a boundary.",
    ),
    option(
        "--augment/--no-augment",
        group="Patches",
        default=TrainingConfig.augment,
        help="Mirror patches and change their intensities; soft labels are never "
        "interpolated.",
    ),
    option(
        "--mirror",
        group="Patches",
        default=TrainingConfig.mirror,
        metavar="AXES",
        help="Axes that are mirrored, or none. Leave out the one from left to right if "
        "left and right are different classes.",
    ),
    option(
        "--window",
        group="Patches",
        type=_pair,
        metavar="LOW,HIGH",
        help="Intensities to clip to and scale to -1..1, such as -160,240 for CT. "
        "[default: mean 0, deviation 1 in each image and channel]",
    ),
    option(
        "--validation",
        group="Validation",
        metavar="SHARE|I/N|FILE",
        default=TrainingConfig.validation,
        help="Cases that are not trained on: a share (0 for none), fold I of N, or a "
        "file with a name per line.",
    ),
    _number("split_seed", "Validation", "Seed of the draw for a share or fold."),
    options.patients("All cases of one are trained on, or none.", group="Validation"),
    _number(
        "epochs",
        "Training",
        "Number of epochs; each ends with a validation and a checkpoint. Given more "
        "than before, a run goes on, its learning rate laid over all of them.",
    ),
    _number("steps_per_epoch", "Training", "Number of optimiser steps per epoch."),
    _number(
        "learning_rate",
        "Training",
        "Learning rate of AdamW at the start; it falls to 0.",
    ),
    _number("weight_decay", "Training", "Weight decay of AdamW."),
    _number(
        "filters",
        "Training",
        "Number of filters of the U-Net's first level; each level doubles it.",
    ),
    config_file,
    option(
        "--amp/--no-amp",
        group="Training",
        default=TrainingConfig.amp,
        help="Compute in bfloat16 where it is right, on CUDA.",
    ),
)


images = option(
    "--images",
    group="Input",
    multiple=True,
    required=True,
    metavar="IMAGES",
    help="Image files or folders of them, matched to cases by name; may be given "
    "several times.",
)
image_pattern = option(
    "--image-pattern",
    group="Input",
    metavar="PATTERN",
    help="Path of the images inside IMAGES: '{case}/{case}_{channel}.nii.gz' names "
    "case and channel, '{case}_image.nii.gz' the case; or a glob such as '**/*.mha'. "
    "[default: CASE.* or, as nnU-Net, CASE_0000.*, CASE_0001.*, ...]",
)
loaders = option(
    "--loaders",
    group="Running",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    help="Number of processes that read patches ahead; 0: the training process reads "
    "them itself.",
)
cache = option(
    "--cache",
    group="Running",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder that keeps unpacked images for other runs. [default: in the output "
    "folder, removed at the end]",
)


def config_of(rest: Mapping[str, Any]) -> tuple[TrainingConfig, dict[str, Any]]:
    """The parameters among a command's options, and the other options."""
    known = TrainingConfig.to_json(TrainingConfig())
    config = TrainingConfig(**{k: v for k, v in rest.items() if k in known})
    return config, {k: v for k, v in rest.items() if k not in known}
