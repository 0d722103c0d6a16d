"""Checks before a figure is drawn with matplotlib, which is an extra."""

from __future__ import annotations

from pathlib import Path

from svls_cli.errors import InvalidParameterError


def check_figure(path: Path) -> None:
    """Check that a figure can be drawn, before work is spent on it.

    Raises
    ------
    InvalidParameterError
        If matplotlib is not installed, or does not write files of this suffix.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidParameterError(
            "figures need matplotlib: pip install 'svls-cli[figures]'"
        ) from error
    known = sorted(Figure().canvas.get_supported_filetypes())
    if path.suffix.lower().lstrip(".") not in known:
        raise InvalidParameterError(
            f"{path}: a figure's name ends in one of .{', .'.join(known)}"
        )
