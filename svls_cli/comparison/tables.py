"""Tables of a comparison, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from svls_cli.comparison.result import Comparison
from svls_cli.comparison.scores import TABLES, Score

Arm = tuple[str, str]
Table = tuple[str, list[str], list[list[str]]]  # title, header and rows


def mean_tables(comparison: Comparison) -> list[Table]:
    """Means and spreads over seeds; a star where a score differs from the first's."""

    def cell(arm: Arm, score: Score) -> str:
        difference = comparison.differences.get((arm, score))
        star = " *" * bool(difference and difference.settled)
        return f"{comparison.spread(arm, score)}{star}"

    return _tables(comparison, comparison.arms, cell)


def difference_tables(comparison: Comparison) -> list[Table]:
    """Differences to the first method with the same loss, with intervals."""

    def cell(arm: Arm, score: Score) -> str:
        found = comparison.differences.get((arm, score))
        if found is None:
            return "-"
        each = found.difference
        if each.low is None:
            return f"{each.value:+.4f}"
        return f"{each.value:+.4f} [{each.low:+.4f}, {each.high:+.4f}]"

    others = [arm for arm in comparison.arms if arm[0] != comparison.methods[0]]
    return _tables(comparison, others, cell)


def meaning(comparison: Comparison) -> str:
    """What the numbers of the tables are, in words."""
    first = comparison.trials[0]
    parameters, cases = first.report["parameters"], len(first.report["cases"])
    seeds = len(comparison.trials_of(first.arm))
    patients = len(set(comparison.patients_of_cases))
    text = f"{cases} validation case{'s' * (cases > 1)}"
    text += f" of {patients} patients" * (patients < cases)
    text += (
        f", {seeds} seed{'s' * (seeds > 1)}: mean over cases, then ± standard "
        f"deviation over seeds. Surface DSC at {parameters['tolerance_mm']:g} mm, "
        f"{parameters['bins']} bins; the boundary band reaches "
        f"{parameters['band_mm']:g} mm either side"
        f"{' within slices' * parameters['in_plane']}. T: with probabilities scaled by "
        "a temperature that other patients' validation cases chose. DSC is better when "
        "higher, all else but T when lower."
    )
    if len(comparison.methods) > 1:
        over = "patients" if patients < cases else "cases"
        text += (
            f" *: differs from {comparison.methods[0]} with the same loss; the 95 % "
            f"interval of the difference over {over} and seeds does not hold 0."
        )
    return text


def markdown(comparison: Comparison) -> str:
    """All tables, and the figure beside them."""
    lines = ["# Comparison of soft labels", "", meaning(comparison)]
    for title, header, rows in mean_tables(comparison):
        lines += ["", f"## {title.capitalize()}", "", *_markdown(header, rows)]
    if len(comparison.methods) > 1:
        first = comparison.methods[0]
        lines += ["", f"# Differences to {first} with the same loss"]
        for title, header, rows in difference_tables(comparison):
            lines += ["", f"## Difference of {title}", "", *_markdown(header, rows)]
    lines += ["", "![Reliability](comparison.png)", ""]
    return "\n".join(lines)


def _tables(
    comparison: Comparison, arms: Sequence[Arm], cell: Callable[[Arm, Score], str]
) -> list[Table]:
    heads = ["method", "loss"] if len(comparison.losses) > 1 else ["method"]
    tables = []
    for title, scores in TABLES.items():
        rows = [
            [*arm[: len(heads)], *(cell(arm, score) for score in scores)]
            for arm in arms
        ]
        tables.append((title, [*heads, *(score.label for score in scores)], rows))
    return tables


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_line(each) for each in (header, ["---"] * len(header), *rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
