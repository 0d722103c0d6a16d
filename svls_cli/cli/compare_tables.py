"""Tables that `svls-cli compare` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svls_cli.cli.console import echo, say, table

if TYPE_CHECKING:
    from svls_cli.comparison.result import Comparison, Trial


def show_trial(trial: Trial) -> None:
    """Print a line on a finished trial."""
    from svls_cli.comparison.scores import Score

    shown = (
        f"{label} {value:.4f}"
        for label, value in (
            ("Dice", trial.mean(Score("dice", ""))),
            ("band NLL", trial.mean(Score("nll", "", "band"))),
        )
        if value is not None
    )
    echo(f"{trial.method} {trial.loss} seed {trial.seed}: {', '.join(shown)}")


def show_comparison(comparison: Comparison) -> None:
    """Print the means that `comparison.md` holds, as wide as the terminal."""
    from svls_cli.comparison.tables import mean_tables, meaning

    keys = 2 if len(comparison.losses) > 1 else 1
    echo("")
    say(meaning(comparison))
    for recipe in comparison.recipes:
        if recipe.note:  # what was asked for is known
            say(str(recipe))
    for title, header, rows in mean_tables(comparison):
        echo(f"\n{title}\n")
        table(header, rows, keys=keys)
