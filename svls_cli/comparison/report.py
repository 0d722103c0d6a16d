"""The files of a comparison: all numbers, a table and a figure."""

from __future__ import annotations

from pathlib import Path

from svls_cli.comparison.figure import draw_comparison
from svls_cli.comparison.result import Comparison
from svls_cli.comparison.tables import markdown
from svls_cli.files import replacing, write_json


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write ``comparison.json``, ``comparison.md`` and ``comparison.png``.

    The folder must exist.

    Raises
    ------
    InvalidParameterError
        If matplotlib is not installed.
    """
    write_json(comparison.to_json(), folder / "comparison.json")
    with replacing(folder / "comparison.md") as part:
        part.write_text(markdown(comparison), encoding="utf-8")
    draw_comparison(comparison, folder / "comparison.png")
