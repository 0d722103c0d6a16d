"""A figure of the scores of all candidates, by sigma and by strength."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from svls_cli.figures import drawing, legend_below
from svls_cli.tuning.result import Score, TuningResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Legible in print and without colour vision (Okabe & Ito), each with its own marker.
_LINES = {
    "mm, size auto": ("sigma_mm", "auto", "#0072B2", "o-"),
    "voxels, size auto": ("sigma", "auto", "#D55E00", "s-"),
    "voxels, size 3": ("sigma", 3, "#E69F00", "s:"),
    "mm, size 3": ("sigma_mm", 3, "#56B4E9", "o:"),
}
_NAMES = {"nll": "NLL", "brier": "Brier score"}


def draw_tuning(result: TuningResult, path: Path) -> None:
    """Draw the scores of all candidates, by sigma and by strength.

    Raises
    ------
    InvalidParameterError
        As `check_figure`.
    """
    with drawing(path, 9, 4.2) as figure:
        by_sigma, by_strength = figure.subplots(1, 2, sharey=True)
        name = result.parameters["score"]
        _draw_sigma(by_sigma, result, name)
        _draw_strength(by_strength, result, name)
        # The curves set the scale: one-hot is often so far off that it would flatten
        # them.
        limits = by_sigma.get_ylim()
        for axes in (by_sigma, by_strength):
            _draw_references(axes, result, name, limits)
        by_sigma.set_ylabel(f"{_NAMES[name]} on other raters (less is better)")
        legend_below(figure, by_sigma)


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
