"""Options that several commands share, and parameter types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from svls_cli.cli.command import FILE, Decorated, option
from svls_cli.labels.choices import OVERLAPS
from svls_cli.soften.choices import DTYPES

if TYPE_CHECKING:
    from svls_cli.labels.class_files import ClassSpec


def numbers(kind: type[int] | type[float], *, word: str = "") -> Callable[[str], Any]:
    """A parser of one number, or one per spatial axis, z,y,x; each may be ``word``."""

    def parse(text: str) -> Any:
        try:
            parts = text.split(",")
            values = tuple(part if part == word else kind(part) for part in parts)
        except ValueError:
            choice = f" nor {word!r}" if word else ""
            message = f"{text!r} is neither a number nor z,y,x{choice}"
            raise click.BadParameter(message) from None
        return values[0] if len(values) == 1 else values

    return parse


jobs = option(
    "-j",
    "--jobs",
    group="Running",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of worker processes. [default: the cores this process may use]",
)
scheduler = option(
    "--scheduler",
    group="Running",
    metavar="ADDRESS",
    help="Work on the Dask cluster whose scheduler is at this address, such as "
    "tcp://host:8786, instead of in processes of this machine. Requires pip install "
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


part = option(
    "--part",
    group="Running",
    type=part_of_n,
    metavar="I/N",
    help="Do the I-th of N equal parts of the cases. N runs, at the same time or not, "
    "fill the same OUT, as in a SLURM array: --part $SLURM_ARRAY_TASK_ID/10. Without "
    "--classes each of them reads all cases to find the classes.",
)
fail_fast = option(
    "--fail-fast",
    group="Running",
    is_flag=True,
    help="Stop at the first case that fails.",
)


def json_lines(each: str) -> Callable[[Decorated], Decorated]:
    """`--json`."""
    text = f"Print one JSON record per {each} and line instead of a summary."
    return option("--json", "as_json", group="Output", is_flag=True, help=text)


as_json = json_lines("case")


def overwrite(text: str) -> Callable[[Decorated], Decorated]:
    """`--overwrite`."""
    return option("--overwrite", group="Output", is_flag=True, help=text)


def report(text: str, *, group: str, metavar: str) -> Callable[[Decorated], Decorated]:
    """`--report`."""
    return option("--report", group=group, type=FILE, metavar=metavar, help=text)


def figure(text: str) -> Callable[[Decorated], Decorated]:
    """`--figure`."""
    text += ", as PNG, PDF or SVG. Requires pip install 'svls-cli[figures]'."
    return option("--figure", group="Output", type=FILE, metavar="FILE.png", help=text)


def out(metavar: str, text: str) -> Callable[[Decorated], Decorated]:
    """`--out`, for folders of several results."""
    return option(
        "--out", group="Output", type=FILE, required=True, metavar=metavar, help=text
    )


def seed(text: str, *, group: str) -> Callable[[Decorated], Decorated]:
    """`--seed`."""
    return option("--seed", group=group, default=0, help=text)


def ignore_label(text: str) -> Callable[[Decorated], Decorated]:
    """`--ignore-label`."""
    kind = click.IntRange(0, 2**32 - 1)
    return option(
        "--ignore-label", group="Input", type=kind, metavar="VALUE", help=text
    )


def tolerance_mm(use: str, *, group: str) -> Callable[[Decorated], Decorated]:
    """`--tolerance-mm`."""
    text = f"Distance at which surfaces still agree, for {use}surface Dice."
    return option("--tolerance-mm", group=group, metavar="MM", default=1.0, help=text)


def band_mm(text: str, *, group: str) -> Callable[[Decorated], Decorated]:
    """`--band-mm`."""
    text += (
        " in whose window of so many mm either side (rounded to voxels, at least 1) "
        "some rater has more than one label."
    )
    return option("--band-mm", group=group, metavar="MM", default=2.0, help=text)


def in_plane(text: str, *, group: str) -> Callable[[Decorated], Decorated]:
    """`--in-plane`."""
    text = f"Stay within slices: {text}; for networks and labels of slices (2-D)."
    return option("--in-plane", group=group, is_flag=True, help=text)


def patients(text: str, *, group: str) -> Callable[[Decorated], Decorated]:
    """`--patients`."""
    return option(
        "--patients",
        group=group,
        metavar="FILE.csv|PATTERN",
        help="Patient of each case: a CSV file with the columns case and patient, or a "
        "pattern of whole names such as '{patient}_*', in which {patient} stands for "
        f"as much as the rest leaves. {text}",
    )


dry_run = option(
    "--dry-run",
    group="Output",
    is_flag=True,
    help="Do everything, sizes on disk included, but leave OUT alone.",
)
pattern = option(
    "--pattern",
    group="Input",
    metavar="PATTERN",
    help="Path of the label maps inside a folder: '{case}_seg.nii.gz' names the case; "
    "'**/*.nrrd' picks files at any depth, named after themselves; "
    "'{case}/{class}.nii.gz' takes one mask per class. [default: every label map "
    "directly in the folder]",
)
series = option(
    "--series",
    group="Input",
    type=FILE,
    metavar="DIR",
    help="Folder of the CT or MR series that DICOM labels were drawn on, or of several "
    "patients' series: slices that a SEG left out are put back. Requires pip install "
    "'svls-cli[dicom]'. [default: the series beside the labels, if it is there]",
)


def _overlap(choices: Sequence[str], text: str) -> Callable[[Decorated], Decorated]:
    return option(
        "--overlap",
        group="Input",
        type=click.Choice(choices),
        default="fail",
        help="What becomes of a voxel in several masks of one case (--pattern with "
        "{class}). fail: the case fails. first: it goes to the class of the lowest "
        "label value, without --classes the first by name. last: to that of the "
        f"highest, as if the masks were painted in this order.{text}",
    )


overlap = _overlap(OVERLAPS[:3], "")
overlap_or_share = _overlap(
    OVERLAPS, " share: they share it evenly, and the method smooths that."
)
rater_pattern = option(
    "--pattern",
    group="Input",
    metavar="PATTERN",
    help="Path of the label maps inside RATERS: '{case}_{rater}.nii.gz' or "
    "'{case}/{rater}.nii.gz' in folders of all raters; '{case}_seg.nii.gz' or a glob "
    "such as '**/*.nrrd' in a folder per rater; '{case}/{rater}/{class}.nii.gz' takes "
    "one mask per class. [default: every label map directly in "
    "a rater's folder]",
)
classes = option(
    "--classes",
    group="Input",
    metavar="VALUES|FILE",
    help="Label values (0,1,2) or a file that names them: JSON, CSV or TSV, an nnU-Net "
    "dataset.json, a BIDS dseg.tsv. [default: read all inputs once more to find them; "
    "a case that alone has over 1000 labels is taken for an image, and fails]",
)
unlabelled = ignore_label(
    "Voxels of this value get no soft label (all classes 0) and count for no neighbour."
)
resample_to_first = option(
    "--resample-to-first",
    group="Input",
    is_flag=True,
    help="Bring label maps of other grids onto the first rater's, by nearest "
    "neighbour, instead of failing their case.",
)
dtype = option(
    "--dtype",
    group="Output",
    type=click.Choice(DTYPES),
    default="uint8",
    help="Type in which soft labels are stored. uint8: 255 is certain, in steps of "
    ".004; uint16: 65535 is certain; floats: probabilities.",
)


def _device(text: str) -> Callable[[Decorated], Decorated]:
    return option(
        "--device",
        group="Running",
        metavar="auto|cpu|gpu|cuda:N",
        default="auto",
        help="Where the work is done. auto: on an NVIDIA GPU where one can be used; "
        f"gpu or cuda: on the first GPU; cuda:1: on the second. {text}",
    )


device = _device(
    "To soften labels there takes CuPy (pip install 'svls-cli[gpu]') and gives the "
    "same bytes (method bilateral: to a level); the CPU stands in for a GPU that is "
    "missing, and a line says so."
)
training_device = _device("A GPU that is missing is an error.")


def classes_of(text: str | None) -> ClassSpec | None:
    """The classes that `--classes` names, if any."""
    from svls_cli.labels.class_files import parse_classes

    return None if text is None else parse_classes(text)
