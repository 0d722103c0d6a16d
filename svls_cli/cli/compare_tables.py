"""Tables that `svls-cli compare` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svls_cli.cli.console import echo, say, table
from svls_cli.evaluation.regions import REGION_NAMES

if TYPE_CHECKING:
    from svls_cli.comparison.result import Comparison


def show_comparison(comparison: Comparison) -> None:
    """Print what `comparison.md` holds, as wide as the terminal."""
    echo("")
    say(comparison.meaning)
    for region, name in REGION_NAMES.items():
        echo(f"\ncalibration in the {name}\n")
        table(*comparison.table(region))
