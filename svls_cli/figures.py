"""Figures drawn with matplotlib, which is an extra: one style for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from svls_cli import palette
from svls_cli.errors import InvalidParameterError
from svls_cli.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

WIDTH_MM = 175.0  # two columns of a journal's page; sizes of text are as printed
# Of a legend: characters that lie side by side, those that have room where a line is
# shown beside a name, and the height of a row.
_TEXT_WIDTH = 114
_HANDLE_WIDTH = 8
_ROW_MM = 4.0
# What the formats would hold of the time at which a figure was drawn.
_DATES: dict[str, dict[str, Any]] = {
    ".png": {},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}
_STYLE: Any = {
    "font.size": 8,
    "font.family": "sans-serif",
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "figure.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    # Text stays text, and equal figures are equal files.
    "svg.fonttype": "none",
    "svg.hashsalt": "svls-cli",
    "pdf.fonttype": 42,
}
_SERIES = (
    (palette.BLUE, "o"),
    (palette.ORANGE, "s"),
    (palette.GREEN, "^"),
    (palette.VERMILLION, "v"),
    (palette.PURPLE, "D"),
    (palette.SKY_BLUE, "P"),
    (palette.BLACK, "X"),
)
# Lines to compare with, which are no series.
REFERENCE: dict[str, Any] = {"color": "#707070", "linewidth": 0.9}


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
    if path.suffix.lower() not in _DATES:
        raise InvalidParameterError(
            f"{path}: a figure's name ends in .png, .pdf or .svg"
        )


@contextmanager
def drawing(path: Path, height_mm: float) -> Iterator[Figure]:
    """A figure of two columns' width, written to ``path`` at the block's end.

    Its suffix says whether as PNG, PDF or SVG. Equal figures are equal bytes.

    Raises
    ------
    InvalidParameterError
        As `check_figure`.
    """
    check_figure(path)
    # Never pyplot: it keeps figures, and looks for a display.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        size = WIDTH_MM / 25.4, height_mm / 25.4
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        with replacing(path) as part:
            figure.savefig(part, dpi=200, metadata=_DATES[path.suffix.lower()])


def series(number: int) -> dict[str, Any]:
    """Colour, marker and line of one of several curves, which no other one shares.

    Beyond as many as there are colours, markers are empty and lines are dashed.
    """
    again, kind = divmod(number, len(_SERIES))
    color, marker = _SERIES[kind]
    return {
        "color": f"#{color}",
        "marker": marker,
        "linestyle": ("-", "--", ":", "-.")[again % 4],
        "markerfacecolor": "white" if again else f"#{color}",
    }


def legend_below(figure: FigureBase, axes: Axes) -> None:
    """Put the legend of one plot below all plots of a figure, or of a part of it.

    The whole figure grows by as much as the legend is high.
    """
    handles, labels = axes.get_legend_handles_labels()
    texts = ["\n".join(wrap(label, _TEXT_WIDTH - _HANDLE_WIDTH)) for label in labels]
    number = next(n for n in (4, 3, 2, 1) if n == 1 or _width(texts, n) <= _TEXT_WIDTH)
    figure.legend(handles, texts, loc="outside lower center", ncols=number)
    rows = max("\n".join(column).count("\n") + 1 for column in _columns(texts, number))
    whole = axes.get_figure(root=True)
    assert whole is not None
    whole.set_figheight(whole.get_figheight() + rows * _ROW_MM / 25.4)


def _columns(texts: Sequence[str], number: int) -> list[Sequence[str]]:
    """What each column of a legend holds, which are filled one by one."""
    rows = -(-len(texts) // number)
    return [texts[start : start + rows] for start in range(0, len(texts), rows)]


def _width(texts: Sequence[str], number: int) -> int:
    """Characters that lie side by side in a legend of so many columns."""
    columns = _columns(texts, number)
    return sum(max(map(len, column)) + _HANDLE_WIDTH for column in columns)
