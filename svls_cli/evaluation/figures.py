"""Figures; the only user of matplotlib, which is an extra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from svls_cli.errors import InvalidParameterError
from svls_cli.evaluation.output import replacing
from svls_cli.evaluation.regions import REGION_NAMES
from svls_cli.evaluation.tuning_result import Score, TuningResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from svls_cli.evaluation.evaluation_report import EvaluationReport

# Legible in print and without colour vision (Okabe & Ito), each with its own marker.
_LINES = {
    "mm, size auto": ("sigma_mm", "auto", "#0072B2", "o-"),
    "voxels, size auto": ("sigma", "auto", "#D55E00", "s-"),
    "voxels, size 3": ("sigma", 3, "#E69F00", "s:"),
    "mm, size 3": ("sigma_mm", 3, "#56B4E9", "o:"),
}
_NAMES = {"nll": "NLL", "brier": "Brier score"}
_REGION_COLORS = {"whole": "#0072B2", "foreground": "#D55E00", "band": "#009E73"}

# Okabe & Ito again, for methods side by side.
_SERIES = (
    ("#0072B2", "o-"),
    ("#E69F00", "s-"),
    ("#009E73", "^-"),
    ("#D55E00", "v-"),
    ("#CC79A7", "D-"),
    ("#56B4E9", "P-"),
    ("#000000", "x-"),
)


def check_figure(path: Path) -> None:
    """See that a figure can be drawn, before work is spent on it.

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


def draw_tuning(result: TuningResult, path: Path) -> None:
    """Draw the scores of all candidates, by sigma and by strength.

    Parameters
    ----------
    result
        Of `tune_smoothing`.
    path
        PNG, PDF, SVG or what else matplotlib writes, by its suffix.

    Raises
    ------
    InvalidParameterError
        As `check_figure`.
    """
    check_figure(path)
    # Never pyplot: it keeps figures, and looks for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    by_sigma, by_strength = figure.subplots(1, 2, sharey=True)
    name = result.parameters["score"]
    _draw_sigma(by_sigma, result, name)
    _draw_strength(by_strength, result, name)
    # The curves set the scale: one-hot is often so far off that it would flatten them.
    limits = by_sigma.get_ylim()
    for axes in (by_sigma, by_strength):
        _draw_references(axes, result, name, limits)
    by_sigma.set_ylabel(f"{_NAMES[name]} on other raters (less is better)")
    handles, labels = by_sigma.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    with replacing(path) as part:
        figure.savefig(part, dpi=150)


def draw_reliability(report: EvaluationReport, path: Path) -> None:
    """Draw how often the most probable class was right, by its probability.

    Parameters
    ----------
    report
        Of `evaluate_cases`, with at least one case; all are taken together.
    path
        As in `draw_tuning`.

    Raises
    ------
    InvalidParameterError
        As `check_figure`.
    """
    check_figure(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.8), layout="constrained")
    rows = figure.subplots(
        2, 3, sharex=True, sharey="row", gridspec_kw={"height_ratios": [3, 1]}
    )
    for (curve, counts), region in zip(rows.T, REGION_NAMES, strict=True):
        _draw_region(curve, counts, report, region)
    rows[0, 0].set_ylabel("share that was right")
    rows[1, 0].set_ylabel("voxels")
    rows[1, 1].set_xlabel("probability of the most probable class")
    with replacing(path) as part:
        figure.savefig(part, dpi=150)


class Curves(Protocol):
    """What `draw_comparison` draws."""

    @property
    def methods(self) -> list[str]: ...

    def reliability(self, method: str, region: str) -> tuple[Any, Any]: ...


def draw_comparison(curves: Curves, path: Path) -> None:
    """Draw the reliability of several methods, side by side in each region.

    Parameters
    ----------
    curves
        Confidence and accuracy by bin.
    path
        As in `draw_tuning`.

    Raises
    ------
    InvalidParameterError
        As `check_figure`.
    """
    check_figure(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, (region, name) in zip(panels, REGION_NAMES.items(), strict=True):
        axes.plot([0, 1], [0, 1], "--", color="#777777", lw=1)
        for at, method in enumerate(curves.methods):
            color, marker = _SERIES[at % len(_SERIES)]
            confidence, accuracy = curves.reliability(method, region)
            axes.plot(confidence, accuracy, marker, color=color, ms=4, label=method)
        axes.set(title=name, xlim=(0, 1), ylim=(0, 1))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share that was right")
    panels[1].set_xlabel("probability of the most probable class")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    with replacing(path) as part:
        figure.savefig(part, dpi=150)


def _draw_region(
    curve: Axes, counts: Axes, report: EvaluationReport, region: str
) -> None:
    name, color = REGION_NAMES[region], _REGION_COLORS[region]
    found = report.reliability(region)
    bins, used = len(found.count), found.count > 0
    confidence = found.confidence[used] / found.count[used]
    accuracy = found.hits[used] / found.count[used]
    curve.plot([0, 1], [0, 1], "--", color="#777777", lw=1)
    curve.plot(confidence, accuracy, "o-", color=color, ms=4, clip_on=False)
    ece = report.calibration[region]["ece"].mean
    shown = "" if ece is None else f"\nECE {ece:.4f}, mean over cases"
    curve.set(title=name + shown, xlim=(0, 1), ylim=(0, 1))
    edges = np.arange(bins)[used] / bins
    voxels = found.count[used]
    counts.bar(edges, voxels, 1 / bins, align="edge", color=color, ec="white")
    # Few voxels are uncertain, and they are those that matter.
    counts.set_yscale("log")
    counts.locator_params(axis="y", numticks=4)
    counts.set_ylim(bottom=0.5)
    for axes in (curve, counts):
        axes.spines[["top", "right"]].set_visible(False)


def _draw_sigma(axes: Axes, result: TuningResult, name: str) -> None:
    for label, (unit, size, color, style) in _LINES.items():
        scores: dict[float, float] = {}
        for score in result.candidates:
            sigma: Any = getattr(score.method, unit)
            if sigma is not None and score.method.size == size:
                value = getattr(score, name)
                scores[sigma] = min(value, scores.get(sigma, value))
        points = sorted(scores.items())
        axes.plot(*zip(*points, strict=True), style, color=color, label=label, ms=4)
    method = result.best.method
    sigma = method.sigma if method.sigma_mm is None else method.sigma_mm
    _mark(axes, sigma, getattr(result.best, name))
    ticks = result.parameters["sigmas"]
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="sigma (mm or voxels)", title="each sigma at its best strength")


def _draw_strength(axes: Axes, result: TuningResult, name: str) -> None:
    for score, color, style, label in (
        (result.best, "black", ".-", "best window"),
        (result.published, "#009E73", "^--", "published window"),
    ):
        window = [c for c in result.candidates if _window(c) == _window(score)]
        strengths: list[Any] = [candidate.method.strength for candidate in window]
        values = [getattr(candidate, name) for candidate in window]
        axes.plot(strengths, values, style, color=color, label=label, ms=4)
    _mark(axes, result.best.method.strength, getattr(result.best, name))
    axes.set(xlabel="strength", title="one sigma and size at each strength")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[:2], labels[:2], frameon=False)


def _draw_references(
    axes: Axes, result: TuningResult, name: str, limits: tuple[float, float]
) -> None:
    onehot, smoothed = result.baselines[:2]
    for score, label, style in (
        (onehot, "one-hot", "-."),
        (smoothed, "label smoothing 0.1", "--"),
        (result.published, "SVLS as published", ":"),
    ):
        value = getattr(score, name)
        off = "" if limits[0] <= value <= limits[1] else " (off scale)"
        legend = f"{label}: {value:.3f}{off}"
        axes.axhline(value, color="#777777", ls=style, lw=1, label=legend)
    axes.set_ylim(*limits)
    axes.spines[["top", "right"]].set_visible(False)


def _mark(axes: Axes, x: Any, y: float) -> None:
    axes.plot(x, y, "*", color="black", ms=13, zorder=5, label=f"best: {y:.3f}")


def _window(score: Score) -> tuple[Any, ...]:
    return score.method.sigma, score.method.sigma_mm, score.method.size
