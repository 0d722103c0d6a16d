"""Draw the picture at the top of the README, from the sample data.

Usage: python .github/front.py [PICTURE.png]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy.ndimage import distance_transform_edt

from svls_cli import parse_classes, smooth

HERE = Path(__file__).parent
DATA = HERE.parent / "sample_data"
CASE = "case_01.nii.gz"
SLICE = 8, slice(10, 45), slice(11, 46)
RATER = 1  # whose hard label is shown
CMAP = "magma"
OPACITY = 0.7  # of a class that is certain
WIDTH, HEIGHT, PANEL, STEP = 8.4, 2.55, 1.92, 1.97  # in inches

Floats = npt.NDArray[np.floating[Any]]


def main(path: Path) -> None:
    classes = parse_classes(str(DATA / "classes.csv")).table.classes
    colors = np.array([to_rgb(f"#{each.color}") for each in classes])
    values = [each.value for each in classes]
    grey = np.interp(read(DATA / "images" / CASE)[SLICE], (-10, 230), (0, 1))
    raters = [read(folder / CASE) for folder in sorted((DATA / "raters").iterdir())]
    hard = raters[RATER][SLICE]
    # Multi-rater SVLS, as `svls-cli fuse-raters` stores it.
    soft = np.mean(
        [smooth(labels, classes=values, sigma=1) for labels in raters], axis=0
    )[(slice(None), *SLICE)]
    entropy = -np.sum(soft * np.log2(np.maximum(soft, 1e-9)), axis=0)

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=200)
    bottom, size = 1 - (PANEL + 0.07) / HEIGHT, (PANEL / WIDTH, PANEL / HEIGHT)
    panels = [
        figure.add_axes((0.004 + n * STEP / WIDTH, bottom, *size)) for n in range(4)
    ]
    show(panels[0], grey, "Image", "one slice", cmap="gray")
    picture = blend(grey, np.eye(len(values))[hard], colors)
    show(panels[1], picture, "Hard label", "one rater")
    for each in classes[1:]:
        name(panels[1], each.name, hard == each.value)
    picture = blend(grey, np.moveaxis(soft, 0, -1), colors)
    show(panels[2], picture, "Soft label", "three raters, smoothed")
    scale = Normalize(0, 1.5)
    show(panels[3], entropy, "Uncertainty", "entropy of the soft label", norm=scale)
    bar = figure.add_axes((0.004 + 4 * STEP / WIDTH, bottom, 0.012, size[1]))
    figure.colorbar(ScalarMappable(scale, CMAP), cax=bar, ticks=(0, 0.5, 1, 1.5))
    bar.tick_params(labelsize=9, length=2, pad=2)
    bar.text(0.5, -0.11, "bits", size=9, transform=bar.transAxes)
    figure.savefig(path)


def read(path: Path) -> npt.NDArray[Any]:
    """Array of an image file, (z, y, x)."""
    array: npt.NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(path))
    return array


def blend(grey: Floats, soft: Floats, colors: Floats) -> Floats:
    """The image with each class's colour over it, as opaque as it is probable."""
    opacity = OPACITY * (1 - soft[..., :1])
    foreground = soft[..., 1:] / np.maximum(1 - soft[..., :1], 1e-9)
    return (1 - opacity) * grey[..., None] + opacity * (foreground @ colors[1:])


def show(axes: Axes, picture: Floats, title: str, text: str, **style: Any) -> None:
    """Draw pixels as they are, with a caption below."""
    axes.imshow(picture, **{"cmap": CMAP, "interpolation": "nearest", **style})
    axes.set_axis_off()
    for y, words, size, weight in ((-0.12, title, 12, "bold"), (-0.24, text, 10, None)):
        axes.text(
            0.5,
            y,
            words,
            size=size,
            weight=weight,
            ha="center",
            transform=axes.transAxes,
        )


def name(axes: Axes, text: str, mask: npt.NDArray[np.bool_]) -> None:
    """Write the name of a class where it is widest."""
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    outline = [withStroke(linewidth=2.5, foreground="black")]
    axes.text(
        x,
        y,
        text,
        color="white",
        size=10,
        ha="center",
        va="center",
        path_effects=outline,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "front.png")
