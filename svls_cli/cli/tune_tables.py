"""Tables that `svls-cli tune` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svls_cli.cli import console
from svls_cli.cli.console import echo, say, table
from svls_cli.tuning.score_names import SCORE_TITLES

if TYPE_CHECKING:
    from svls_cli.metrics.averages import Estimate
    from svls_cli.tuning.result import TargetResult, TuningResult
    from svls_cli.tuning.scores import ClassNll, HeldOut

Row = tuple[str, ...]

_HEADINGS = {
    "one_map": "One rater's map, smoothed, forecasts each other rater (for smooth)",
    "fused": "All raters but one, fused and smoothed, forecast that one (for "
    "fuse-raters)",
}
_ONLY_TWO = (
    "No case has three raters: one of two left out leaves one map, so fused labels "
    "have no answer of their own."
)


def show_tuning(result: TuningResult) -> None:
    """Print scores by method, scores by class, and the command to copy, by target."""
    say(
        f"{result.one_map.basis}: how well soft labels forecast a rater who had no "
        f"part in them, {result.place}; less is better"
    )
    for target in result.targets:
        _show_target(target)
    if not result.fused:
        echo("")
        say(_ONLY_TWO)


def complain(result: TuningResult) -> None:
    """Print cases that do not count and doubts about the result on standard error."""
    console.complain(result.left_out, result.failed)
    for note in result.notes:
        echo(f"note: {note}", err=True)
    for target in result.targets:
        name = target.target.replace("_", " ")
        for warning in target.warnings:
            echo(f"warning: {name}: {warning}", err=True)


def _show_target(result: TargetResult) -> None:
    echo("")
    say(_HEADINGS[result.target])
    echo("")
    table(("method", *SCORE_TITLES.values()), _score_rows(result))
    if result.held_out:
        few = result.held_out.few
        intervals = "" if few else f", with 95 % intervals over {result.unit}s"
        echo(f"\nHeld out{intervals}\n")
        table(("score", "best", "its gain over published"), _gain_rows(result.held_out))
    echo("\nNLL where a forecasting rater has the class; class NLL is their mean\n")
    header = ("label", "name", "cases", _plain(result), "LS 0.1", "published", "best")
    found = [row for row in result.per_class if row.cases]
    table(header, map(_class_row, found), keys=2)
    if missing := len(result.per_class) - len(found):
        verb = "class is" if missing == 1 else "classes are"
        echo(f"\n{missing} {verb} in no case's band")
    echo("")
    say(result.verdict)
    echo(result.command)


def _plain(result: TargetResult) -> str:
    return "one-hot" if result.target == "one_map" else "mean"


def _score_rows(result: TargetResult) -> list[Row]:
    from svls_cli.tuning.candidates import method_options

    unsmoothed, *smoothed = result.baselines
    published = method_options(result.published.method)
    scores = [
        (f"{_plain(result)}, not smoothed", unsmoothed),
        *((f"label smoothing: --alpha {s.method.alpha:g}", s) for s in smoothed),
        (f"SVLS as published: {published}", result.published),
        *(
            (f"best, {kind}: {method_options(score.method)}", score)
            for kind, score in result.best_of.items()
        ),
    ]
    return [
        (name, *(f"{score.of(each):.4f}" for each in SCORE_TITLES))
        for name, score in scores
    ]


def _gain_rows(held_out: HeldOut) -> list[Row]:
    columns = (held_out.scores, held_out.gains)
    return [
        (name, *(_cell(each[score], few=held_out.few) for each in columns))
        for score, name in SCORE_TITLES.items()
    ]


def _cell(estimate: Estimate, *, few: bool) -> str:
    if few:
        return f"{estimate.mean:.4f}"
    return f"{estimate.mean:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def _class_row(row: ClassNll) -> Row:
    scores = (row.onehot, row.ls, row.published, row.best)
    cells = (f"{score:.4f}" for score in scores)
    return (str(row.value), row.name, str(row.cases), *cells)
