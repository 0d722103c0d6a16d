"""Tables of a comparison, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from svls_cli.comparison.result import Comparison
from svls_cli.comparison.scores import TABLES, Score
from svls_cli.evaluation.regions import REGION_NAMES
from svls_cli.metrics.averages import LEAST_GROUPS

Arm = tuple[str, str]
Table = tuple[str, list[str], list[list[str]]]  # title, header and rows


def mean_tables(comparison: Comparison) -> list[Table]:
    """Means and spreads over seeds; a star where a score differs from the first's."""

    def cell(arm: Arm, score: Score) -> str:
        difference = comparison.differences.get((arm, score))
        settled = difference is not None and difference.settled
        star = " *" * (settled and score.name != "temperature")
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
            return f"{each.value:+.3g}"
        return f"{each.value:+.3g} [{each.low:+.3g}, {each.high:+.3g}]"

    others = [arm for arm in comparison.arms if arm[0] != comparison.methods[0]]
    return _tables(comparison, others, cell)


def meaning(comparison: Comparison) -> str:
    """What the numbers of the tables are, in words."""
    first = comparison.trials[0]
    parameters, cases = first.report["parameters"], len(first.report["cases"])
    seeds, raters = len(comparison.trials_of(first.arm)), len(comparison.raters)
    patients = len(set(comparison.patients_of_cases))
    region = REGION_NAMES[parameters["temperature_scaling"]]
    parts = [
        f"{cases} validation cases",
        f" of {patients} patients" * (patients < cases),
        f" against {raters} raters" * (raters > 1),
        f", {seeds} seed{'s' * (seeds > 1)}: means over cases",
        ", then ± standard deviation over seeds" * (seeds > 1),
        f". Surface DSC at {parameters['tolerance_mm']:g} mm, {parameters['bins']} "
        f"bins; the boundary band reaches {parameters['band_mm']:g} mm either side",
        " within slices" * parameters["in_plane"],
        ". T: with probabilities scaled by the temperature that fits other patients' "
        f"validation cases best, in the {region}. DSC is better when higher, all else "
        "when lower.",
    ]
    if len(comparison.methods) > 1:
        first_name = comparison.methods[0]
        over = "patients" if patients < cases else "cases"
        if patients < LEAST_GROUPS:
            parts.append(f" {patients} {over} are too few to tell what is noise.")
        else:
            seeded = " and seeds" if seeds > 1 else "; another seed may differ"
            parts.append(
                f" *: differs from {first_name} with the same loss: the 95 % interval "
                f"of the difference over {over}{seeded} does not hold 0."
            )
    return "".join(parts)


def markdown(comparison: Comparison) -> str:
    """All tables, and the figure beside them."""
    lines = ["# Comparison of soft labels", "", meaning(comparison), ""]
    lines += [f"- {recipe}" for recipe in comparison.recipes]
    for title, header, rows in mean_tables(comparison):
        lines += ["", f"## {title.capitalize()}", "", *_markdown(header, rows)]
    if len(comparison.methods) > 1:
        first = comparison.methods[0]
        for title, header, rows in difference_tables(comparison):
            heading = f"## Difference to {first} with the same loss: {title}"
            lines += ["", heading, "", *_markdown(header, rows)]
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
