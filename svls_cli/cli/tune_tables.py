"""Tables that `svls-cli tune` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svls_cli.cli import console
from svls_cli.cli.console import echo, least_to_most, say, table

if TYPE_CHECKING:
    from svls_cli.metrics.averages import Estimate
    from svls_cli.tuning.result import ClassNll, TuningResult

Row = tuple[str, ...]


def show_tuning(result: TuningResult) -> None:
    """Print scores by method, scores by class, and the command to copy."""
    raters = least_to_most(case.raters for case in result.cases)
    cases = f"{len(result.cases)} case{'s' if len(result.cases) > 1 else ''}"
    brackets = "; in brackets 95 % intervals over cases" * bool(result.held_out)
    say(
        f"{cases}, {raters} raters: how well one's soft label forecasts the others, "
        f"within {result.parameters['band_mm']:g} mm of boundaries; less is better"
        f"{brackets}"
    )
    echo("")
    table(("method", "NLL", "Brier"), _score_rows(result))
    echo("\nNLL where one of two raters has the class\n")
    header = ("label", "name", "cases", "one-hot", "LS 0.1", "published", "best")
    table(header, map(_class_row, result.per_class), keys=2)
    echo(f"\n{result.command}")


def complain(result: TuningResult) -> None:
    """Print cases that do not count and doubts about the result on standard error."""
    console.complain(result.left_out, result.failed)
    for warning in result.warnings:
        echo(f"warning: {warning}", err=True)


def _score_rows(result: TuningResult) -> list[Row]:
    from svls_cli.tuning.candidates import smooth_options

    onehot, *smoothed = result.baselines
    published = smooth_options(result.published.method)
    scores = [
        ("one-hot", onehot),
        *((f"label smoothing: --alpha {s.method.alpha:g}", s) for s in smoothed),
        (f"SVLS as published: {published}", result.published),
        *(
            (f"best, {kind}: {smooth_options(score.method)}", score)
            for kind, score in result.best_of.items()
        ),
    ]
    rows: list[Row] = [(name, f"{s.nll:.4f}", f"{s.brier:.4f}") for name, s in scores]
    if held_out := result.held_out:
        nll, brier = _cell(held_out.nll), _cell(held_out.brier)
        rows.append(("best, held out", nll, brier))
        nll, brier = _cell(held_out.nll_gain), _cell(held_out.brier_gain)
        rows.append(("its gain over SVLS as published", nll, brier))
    return rows


def _cell(estimate: Estimate) -> str:
    return f"{estimate.mean:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def _class_row(row: ClassNll) -> Row:
    scores = (row.onehot, row.ls, row.published, row.best)
    cells = ("-" if score is None else f"{score:.4f}" for score in scores)
    return (str(row.value), row.name, str(row.cases), *cells)
