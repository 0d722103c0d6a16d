"""Options of a training run: every parameter of `TrainingConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from svls_cli.cli.options import Command, numbers
from svls_cli.errors import InvalidParameterError
from svls_cli.training.config import TARGETS, TrainingConfig, read_toml

_AXES = "Z,Y,X"


def _pair(text: str) -> Any:
    values = numbers(float)(text)
    if not isinstance(values, tuple) or len(values) != 2:
        raise click.BadParameter(f"{text!r} is not two numbers, LOW,HIGH")
    return values


def _sides(text: str) -> Any:
    values = numbers(int)(text)
    if not isinstance(values, tuple):
        raise click.BadParameter(f"{text!r}: expected a number per axis, {_AXES}")
    return values


def _read_config(
    context: click.Context, parameter: click.Parameter, path: Path | None
) -> None:
    """Values of a file are defaults: those on the command line win."""
    if path is None:
        return
    values = {
        name: ",".join(map(str, value)) if isinstance(value, list) else value
        for name, value in read_toml(path).items()
    }
    known = {each.name for each in context.command.params}
    if unknown := sorted(set(values) - known):
        raise InvalidParameterError(f"{path}: not for this command: {unknown}")
    context.default_map = {**(context.default_map or {}), **values}


config_file = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="Read any of the parameters from a TOML file, with _ for - in their names; "
    "those on the command line win.",
)
target = click.option(
    "--target",
    type=click.Choice(TARGETS),
    default=TrainingConfig.target,
    show_default=True,
    help="What is learned: the soft labels; the hard label map; or one rater's label "
    "map, drawn for each patch.",
)
seed = click.option(
    "--seed",
    type=int,
    default=TrainingConfig.seed,
    show_default=True,
    help="Seed of weights, patches and augmentation.",
)


def _number(name: str, kind: Any, text: str) -> Any:
    flag = f"--{name.replace('_', '-')}"
    default = getattr(TrainingConfig, name)
    return click.option(flag, type=kind, default=default, show_default=True, help=text)


_PARAMETERS = (
    config_file,
    click.option(
        "--patch-size",
        type=_sides,
        metavar=_AXES,
        help="Voxels per axis; 1,Y,X trains on slices. [default: as much of the "
        "smallest case as 96 x 96 x 96 voxels allow]",
    ),
    _number("batch_size", int, "Patches in a step."),
    _number("epochs", int, "How many; each ends with validation and a checkpoint."),
    _number("steps_per_epoch", int, "Steps of the optimiser in each."),
    _number("learning_rate", float, "AdamW's at the start; it falls to 0."),
    _number("weight_decay", float, "AdamW's."),
    _number(
        "dice_weight",
        float,
        "Weight of a soft Dice loss (right for soft labels) beside the cross-entropy.",
    ),
    _number("filters", int, "Width of the U-Net's first level; doubled at each level."),
    _number("foreground_share", float, "Patches centred on a foreground class."),
    _number("boundary_share", float, "Patches centred on a boundary."),
    click.option(
        "--augment/--no-augment",
        default=TrainingConfig.augment,
        show_default=True,
        help="Mirror patches, change their intensities; soft labels are never "
        "interpolated.",
    ),
    click.option(
        "--mirror",
        default=TrainingConfig.mirror,
        show_default=True,
        metavar="AXES",
        help="Axes that are mirrored, or none; leave out the one from left to right if "
        "left and right are different classes.",
    ),
    click.option(
        "--window",
        type=_pair,
        metavar="LOW,HIGH",
        help="Clip intensities and scale them to -1..1, as -160,240 for CT. [default: "
        "mean 0, deviation 1 in each image and channel]",
    ),
    click.option(
        "--validation",
        metavar="SHARE|I/N|FILE",
        default=TrainingConfig.validation,
        show_default=True,
        help="Cases not trained on: a share (0 for none), fold I of N, or a file with "
        "a name per line.",
    ),
    _number("split_seed", int, "Seed of the draw for a share or fold."),
    click.option(
        "--amp/--no-amp",
        default=TrainingConfig.amp,
        show_default=True,
        help="On CUDA, compute in bfloat16 where it is right.",
    ),
)


def parameters(command: Command) -> Command:
    """All of them but target and seed, which `compare` sets itself."""
    for option in reversed(_PARAMETERS):
        command = option(command)
    return command


images = click.option(
    "--images",
    multiple=True,
    required=True,
    metavar="IMAGES",
    help="The scans: image files or folders of them, matched to cases by name.",
)
image_pattern = click.option(
    "--image-pattern",
    metavar="PATTERN",
    help="How a path inside IMAGES names case and channel, such as "
    "'{case}/{case}_{channel}.nii.gz'; or a glob that picks files. [default: CASE.* "
    "or, as nnU-Net, CASE_0000.*, CASE_0001.*, ...]",
)
loaders = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Processes that read patches ahead; 0: none but this one.",
)
cache = click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep unpacked images here, for other runs. [default: in the output folder, "
    "removed at the end]",
)


def config_of(given: Mapping[str, Any]) -> tuple[TrainingConfig, dict[str, Any]]:
    """The parameters among a command's options, and the other options."""
    known = TrainingConfig.to_json(TrainingConfig())
    config = TrainingConfig(**{k: v for k, v in given.items() if k in known})
    return config, {k: v for k, v in given.items() if k not in known}


def need_libraries() -> None:
    """Complain of a missing extra in one line.

    Raises
    ------
    InvalidParameterError
        If PyTorch, MONAI or matplotlib is not installed.
    """
    from svls_cli.figures import check_figure

    try:
        import svls_cli.training.predict
        import svls_cli.training.train  # noqa: F401
    except ImportError as error:
        raise InvalidParameterError(
            f"training needs {error.name}: pip install 'svls-cli[train]'"
        ) from error
    check_figure(Path("curves.png"))
