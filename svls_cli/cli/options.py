"""Options that several commands share, and parameter types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def numbers(kind: type[int] | type[float], *, word: str = "") -> Callable[[str], Any]:
    """A parser of one number, or one per spatial axis, z,y,x; or of ``word``."""

    def parse(text: str) -> Any:
        if word and text == word:
            return text
        try:
            values = tuple(kind(part) for part in text.split(","))
        except ValueError:
            choice = f" nor {word!r}" if word else ""
            message = f"{text!r} is neither a number nor z,y,x{choice}"
            raise click.BadParameter(message) from None
        return values[0] if len(values) == 1 else values

    return parse


jobs = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    help="Worker processes. [default: the cores this process may use]",
)


scheduler = click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Work on the Dask cluster whose scheduler is at this address, such as "
    "tcp://host:8786, instead of in processes of this machine. Needs pip install "
    "'svls-cli[dask]'.",
)


def part_of_n(text: str) -> Any:
    """``i/N``."""
    from svls_cli.batch.part import Part
    from svls_cli.errors import InvalidParameterError

    try:
        return Part.parse(text)
    except InvalidParameterError as error:
        raise click.BadParameter(str(error)) from None


part = click.option(
    "--part",
    type=part_of_n,
    metavar="I/N",
    help="Do the I-th of N equal parts of the cases; N runs, at the same time or not, "
    "fill the same OUT, as in a SLURM array: --part $SLURM_ARRAY_TASK_ID/10. Without "
    "--classes each of them reads all cases to find the classes.",
)
fail_fast = click.option(
    "--fail-fast", is_flag=True, help="Stop at the first case that fails."
)


def json_lines(each: str) -> Callable[[Command], Command]:
    """`--json`."""
    text = f"Print one JSON record per {each} and line instead of a summary."
    return click.option("--json", "as_json", is_flag=True, help=text)


as_json = json_lines("case")

classes = click.option(
    "--classes",
    "classes",
    metavar="VALUES|FILE",
    help="Label values (0,1,2) or a file that names them: JSON, CSV or TSV, an nnU-Net "
    "dataset.json, a BIDS dseg.tsv. [default: read all inputs once more to find them]",
)
ignore_label = click.option(
    "--ignore-label",
    type=click.IntRange(0, 2**32 - 1),
    metavar="VALUE",
    help="Voxels of this value get no soft label (all classes 0) and count for no "
    "neighbour.",
)
dtype = click.option(
    "--dtype",
    type=click.Choice(["uint8", "uint16", "float16", "float32"]),
    default="uint8",
    show_default=True,
    help="How soft labels are stored. uint8: 255 is certain, so steps of .004; uint16: "
    "65535 is certain; floats: probabilities.",
)
device = click.option(
    "--device",
    metavar="auto|cpu|gpu|cuda:N",
    default="auto",
    show_default=True,
    help="Where the work is done. auto: on an NVIDIA GPU where one can be used; gpu or "
    "cuda: on the first GPU; cuda:1: on the second. To soften labels there takes CuPy "
    "(pip install 'svls-cli[gpu]'), and gives the same bytes.",
)

tolerance_mm = click.option(
    "--tolerance-mm",
    type=float,
    default=1.0,
    show_default=True,
    help="Distance at which surfaces still agree, for surface Dice.",
)
band_mm = click.option(
    "--band-mm",
    type=float,
    default=2.0,
    show_default=True,
    help="Reach of the boundary band: voxels in whose window of so many mm either side "
    "some rater has more than one label.",
)

rater_pattern = click.option(
    "--pattern",
    help="How a path inside RATERS names case and rater, such as "
    "'{case}_{rater}.nii.gz' or '{case}/{rater}.nii.gz'; or, with a folder per rater, "
    "a glob that picks files in each.",
)
resample_to_first = click.option(
    "--resample-to-first",
    is_flag=True,
    help="Bring label maps of other grids onto the first rater's, by nearest "
    "neighbour, instead of failing their case.",
)


# In the order of `Method`, after its name.
METHOD_PARAMETERS = ("sigma", "sigma_mm", "size", "strength", "alpha")

_SMOOTHING = (
    click.option(
        "--method",
        type=click.Choice(["svls", "ls", "gaussian", "onehot"]),
        default="svls",
        show_default=True,
        help="svls: Spatially Varying Label Smoothing. ls: uniform label "
        "smoothing. gaussian: blur, as svls but with the centre in the window. "
        "onehot: none.",
    ),
    click.option(
        "--sigma",
        type=numbers(float),
        metavar="NUMBER|Z,Y,X",
        help="Standard deviation in voxels: one number, or z,y,x. [default: 1, as "
        "published]",
    ),
    click.option(
        "--sigma-mm",
        type=numbers(float),
        metavar="NUMBER|Z,Y,X",
        help="Standard deviation in mm: one number, or z,y,x; each image's "
        "spacing turns it into voxels.",
    ),
    click.option(
        "--size",
        type=numbers(int, word="auto"),
        metavar="NUMBER|Z,Y,X|auto",
        help="Window in voxels: an odd number, or z,y,x (1 leaves an axis out: "
        "1,3,3 is in-plane), or auto: three sigmas either side. [default: 3, as "
        "published; auto with --sigma-mm]",
    ),
    click.option(
        "--strength",
        type=float,
        help="Share of the soft label that comes from the neighbours. [default: "
        "0.5, as published]",
    ),
    click.option(
        "--alpha",
        type=float,
        help="Share spread evenly over all classes, for ls. [default: 0.1]",
    ),
)


def smoothing(command: Command) -> Command:
    """The method and its parameters."""
    for option in reversed(_SMOOTHING):
        command = option(command)
    return command
