"""Figures drawn with matplotlib, which is an extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from svls_cli.errors import InvalidParameterError
from svls_cli.files import replacing

_SUFFIXES = (".png", ".pdf", ".svg")

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase


def check_figure(path: Path) -> None:
    """Check that a figure can be drawn, before work is spent on it.

    Raises
    ------
    InvalidParameterError
        If matplotlib is not installed, or the suffix is another than .png, .pdf or
        .svg.
    """
    try:
        import_module("matplotlib.figure")
    except ImportError as error:
        raise InvalidParameterError(
            "figures need matplotlib: pip install 'svls-cli[figures]'"
        ) from error
    if path.suffix.lower() not in _SUFFIXES:
        raise InvalidParameterError(
            f"{path}: a figure's name ends in .png, .pdf or .svg"
        )


@contextmanager
def drawing(
    path: Path, width: float, height: float, dpi: int = 150
) -> Iterator[Figure]:
    """A figure of so many inches, written to ``path`` at the block's end.

    Its suffix says whether as PNG, PDF or SVG.

    Raises
    ------
    InvalidParameterError
        As `check_figure`.
    """
    check_figure(path)
    # Never pyplot: it keeps figures, and looks for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure
    with replacing(path) as part:
        figure.savefig(part, dpi=dpi)


def legend_below(figure: FigureBase, axes: Axes) -> None:
    """Put the legend of one plot below all plots of a figure, or of a part of it."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
