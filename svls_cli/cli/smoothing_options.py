"""Options of how labels are smoothed: every parameter of `Method`, and images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from svls_cli.cli import options
from svls_cli.cli.command import Decorated, option, together
from svls_cli.soften.choices import METHODS

if TYPE_CHECKING:
    from svls_cli.soften.methods import Method

# In the order of `Method`, after its name.
METHOD_PARAMETERS = (
    "sigma",
    "sigma_mm",
    "size",
    "strength",
    "intensity_scale",
    "alpha",
)


def images(group: str) -> Callable[[Decorated], Decorated]:
    """`--images` and `--image-pattern`."""
    return together(
        option(
            "--images",
            group=group,
            multiple=True,
            metavar="IMAGES",
            help="Image files or folders of them, matched to cases by name, for method "
            "bilateral; may be given several times. A record on standard input may "
            "name its image itself.",
        ),
        option(
            "--image-pattern",
            group=group,
            metavar="PATTERN",
            help="Path of the images inside IMAGES: '{case}_image.nii.gz'; or, one "
            "channel of several, '{case}_0000.nii.gz'. [default: CASE.*; or "
            "CASE_0000.* if all images are named so]",
        ),
    )


smoothing = together(
    option(
        "--method",
        group="Smoothing",
        type=click.Choice(METHODS),
        help="svls: Spatially Varying Label Smoothing. bilateral: svls, but neighbours "
        "count by how much they look like the voxel in --images, too. ls: uniform "
        "label smoothing. gaussian: a blur, as svls but with the centre in the window. "
        "onehot: no smoothing. contours: none either; the share of each voxel's area "
        "inside the contours of an RTSTRUCT. [default: svls; smooth takes "
        "contours for RTSTRUCT and onehot for fractional SEG]",
    ),
    option(
        "--sigma",
        group="Smoothing",
        type=options.numbers(float),
        metavar="NUMBER|Z,Y,X",
        help="Standard deviation in voxels: one number, or z,y,x. [default: 1, as "
        "published; 2 for bilateral]",
    ),
    option(
        "--sigma-mm",
        group="Smoothing",
        type=options.numbers(float),
        metavar="NUMBER|Z,Y,X",
        help="Standard deviation in mm instead: one number, or z,y,x. Each image's "
        "spacing turns it into voxels.",
    ),
    option(
        "--size",
        group="Smoothing",
        type=options.numbers(int, word="auto"),
        metavar="NUMBER|Z,Y,X|auto",
        help="Window in voxels: an odd number, or auto: three sigmas either side; or "
        "z,y,x, where 1 leaves an axis out: 1,3,3 and 1,auto,auto are in-plane. "
        "[default: 3, as published; 7 for bilateral; auto with --sigma-mm]",
    ),
    option(
        "--strength",
        group="Smoothing",
        type=float,
        metavar="SHARE",
        help="Share of the soft label that comes from the neighbours. [default: 0.5, "
        "as published; 0.8 for bilateral]",
    ),
    option(
        "--intensity-scale",
        group="Smoothing",
        type=float,
        metavar="NUMBER",
        help="Difference of intensity over which a neighbour's weight falls to 1/e, in "
        "standard deviations of the case's image, for bilateral. [default: 0.5]",
    ),
    images("Smoothing"),
    option(
        "--alpha",
        group="Smoothing",
        type=float,
        metavar="SHARE",
        help="Share that is spread evenly over all classes, for ls. [default: 0.1]",
    ),
)


def with_images(cases: Any, rest: dict[str, Any]) -> Any:
    """Take `--images` out of a command's options; the cases with theirs."""
    from svls_cli.labels.scans import pair_images

    images, pattern = map(rest.pop, ("images", "image_pattern"))
    named = [case.name for case in cases if case.image is not None]
    if rest["method"] == "bilateral":
        if not images and len(named) < len(cases):
            raise click.UsageError(
                "--method bilateral needs --images, or an image in each record"
            )
        if pattern and not images:
            raise click.UsageError("--image-pattern: of use with --images only")
        return pair_images(cases, images, pattern=pattern)
    given = {
        "--images": images,
        "--image-pattern": pattern,
        f"the image in the record of {''.join(named[:1])}": named,
    }
    unused = [name for name, value in given.items() if value]
    if unused:
        raise click.UsageError(
            f"{', '.join(unused)}: of use to --method bilateral only"
        )
    return cases


def method_of(rest: dict[str, Any]) -> Method | None:
    """Take the method and its parameters out of a command's options, if given."""
    from svls_cli.soften.methods import Method

    name, *parameters = map(rest.pop, ("method", *METHOD_PARAMETERS))
    if name is None and parameters == [None] * len(parameters):
        return None
    return Method(name or "svls", *parameters)
