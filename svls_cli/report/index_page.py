"""The index of a report: all cases, the ones to look at first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from svls_cli.batch.records import Record
from svls_cli.evaluation.evaluate_case import Measures
from svls_cli.labels.classes import ClassTable
from svls_cli.report import palette
from svls_cli.report.charts import HEIGHT, WIDTH, Histogram, histogram
from svls_cli.report.flags import find_flags
from svls_cli.report.folder import file_name
from svls_cli.report.rendering import render
from svls_cli.report.summary import CaseSummary, size_unit
from svls_cli.store.schema import StoreConfig, method_text

# Up to so many cells the table of cases has a column for each class.
_MOST_CELLS = 4000
_COLUMNS = {
    "dice": ("Dice", "Mean Dice of the pairs of raters"),
    "surface_dice": (
        "Surface Dice",
        f"Mean surface Dice of the pairs of raters, at {Measures.tolerance_mm:g} mm",
    ),
    "disputed_share": (
        "Disputed",
        "Share of the labelled voxels on which raters differ",
    ),
    "entropy_bits": (
        "Entropy",
        "Mean entropy of the soft labels where foreground is possible, bits",
    ),
}
_SCORES = {
    "dice": ("Dice", "Mean Dice of the prediction"),
    "surface_dice": (
        "Surface Dice",
        f"Mean surface Dice of the prediction, at {Measures.tolerance_mm:g} mm",
    ),
    "hd95_mm": ("HD95", "95th percentile of the surface distance, mm"),
    "nll": ("NLL", "Negative log-likelihood in the boundary band"),
    "ece": ("ECE", "Expected calibration error in the boundary band"),
}


@dataclass(frozen=True)
class _Column:
    title: str
    explained: str
    values: list[float | None]  # by case
    color: str | None = None  # of a class

    @property
    def used(self) -> bool:
        return any(value is not None for value in self.values)

    @cached_property
    def cells(self) -> list[str]:
        """The values as text, all with the same number of decimals."""
        values = [abs(v) for v in self.values if v]
        decimals = max(0, 2 - math.floor(math.log10(max(values, default=1))))
        if self.color is not None:  # no size of a class looks like none
            decimals = max(decimals, -math.floor(math.log10(min(values, default=1))))
        elif decimals > 1:
            decimals = 3  # a score
        return [
            "–" if value is None else f"{value:.{decimals}f}" for value in self.values
        ]


@dataclass(frozen=True)
class _ClassRow:
    name: str
    value: int
    color: str
    histogram: Histogram


def index_page(
    summaries: Sequence[CaseSummary],
    failed: Sequence[Record],
    *,
    config: StoreConfig,
    about: Mapping[str, Any],
) -> bytes:
    """The page that a report opens with.

    The worst cases come first: those of the least Dice of a prediction, else of the
    raters, else those of the most entropy.
    """
    ordered = sorted(summaries, key=_badness)
    flags = find_flags(ordered, config.classes)
    flat = any(each.is_flat for each in ordered)
    columns, groups = _columns(ordered, config.classes, flat=flat)
    entropies = [s.entropy_bits for s in ordered if s.entropy_bits is not None]
    values = {
        "about": about,
        "method": method_text(config.method),
        "config": config,
        "summaries": ordered,
        "failed": sorted(failed, key=lambda record: record.case),
        "flags": flags,
        "flagged": sum(bool(found) for found in flags.values()),
        "columns": columns,
        "groups": groups,
        "first": _first(ordered),
        "classes": _class_rows(ordered, config.classes),
        "unit": size_unit(flat=flat),
        "entropy": histogram(entropies),
        "agreement": histogram([s.dice for s in ordered if s.dice is not None]),
        "accuracy": histogram(_predicted_dice(ordered)),
        "chart_width": WIDTH,
        "chart_height": HEIGHT,
        "n_classes": len(config.classes),
        "file_name": file_name,
    }
    return render("index.html", values)


def _badness(summary: CaseSummary) -> tuple[float, str]:
    dice = summary.dice if summary.scores is None else summary.scores["dice"]
    if dice is not None:
        return dice, summary.case
    if summary.scores is not None or len(summary.raters) > 1:
        return 2, summary.case  # nothing to compare
    bits = summary.entropy_bits
    return (math.inf if bits is None else 3 - bits), summary.case


def _predicted_dice(summaries: Sequence[CaseSummary]) -> list[float]:
    found = (each.scores["dice"] for each in summaries if each.scores is not None)
    return [dice for dice in found if dice is not None]


def _first(summaries: Sequence[CaseSummary]) -> str:
    if any(each.scores for each in summaries):
        return "Least Dice of the prediction first"
    if any(each.dice is not None for each in summaries):
        return "Least agreement first"
    return "Most entropy first"


def _columns(
    summaries: Sequence[CaseSummary], classes: ClassTable, *, flat: bool
) -> tuple[list[_Column], list[tuple[str, int]]]:
    """Columns of the table of cases that hold anything, and headings above them."""
    scores = [each.scores or {} for each in summaries]
    compared = [
        _Column(*told, [each.get(name) for each in scores])
        for name, told in _SCORES.items()
    ]
    own = [
        _Column(*told, [getattr(each, name) for each in summaries])
        for name, told in _COLUMNS.items()
    ]
    drawn = [c for c in classes.classes if c.value]
    sizes = []
    if len(drawn) * len(summaries) <= _MOST_CELLS:
        colors = palette.class_colors(classes)
        sizes = [
            _Column(
                c.name,
                f"{c.name}, {size_unit(flat=flat)}",
                [each.sizes.get(str(c.value)) for each in summaries],
                colors[c.index],
            )
            for c in drawn
        ]
    groups = [
        ("Prediction", [c for c in compared if c.used]),
        ("Labels", [c for c in own if c.used]),
        (
            f"{'Area' if flat else 'Volume'}, {size_unit(flat=flat)}",
            [c for c in sizes if c.used],
        ),
    ]
    used = [(name, group) for name, group in groups if group]
    return [c for _, group in used for c in group], [(n, len(g)) for n, g in used]


def _class_rows(
    summaries: Sequence[CaseSummary], classes: ClassTable
) -> list[_ClassRow]:
    """Each class that occurs, and the sizes that it has."""
    colors = palette.class_colors(classes)
    rows = []
    for c in classes.classes:
        sizes = [s.sizes[str(c.value)] for s in summaries if str(c.value) in s.sizes]
        if c.value and (bars := histogram(sizes)):
            rows.append(_ClassRow(c.name, c.value, colors[c.index], bars))
    return rows
