"""A figure of the scores of all candidates, by sigma and by strength."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from svls_cli.figures import REFERENCE, drawing, legend_below, series
from svls_cli.tuning.candidates import is_auto
from svls_cli.tuning.result import TargetResult, TuningResult
from svls_cli.tuning.score_names import SCORE_TITLES
from svls_cli.tuning.scores import Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

_LINES = {
    "mm, size auto": ("svls", "sigma_mm", True),
    "voxels, size auto": ("svls", "sigma", True),
    "voxels, size 3": ("svls", "sigma", False),
    "mm, size 3": ("svls", "sigma_mm", False),
    "image-guided, mm": ("bilateral", "sigma_mm", True),
    "image-guided, voxels": ("bilateral", "sigma", True),
}
_TITLES = {
    "one_map": "One rater's map forecasts each other rater (smooth)",
    "fused": "All raters but one, fused, forecast that one (fuse-raters)",
}


def draw_tuning(result: TuningResult, path: Path) -> None:
    """Draw the scores of all candidates, by target, sigma and strength.

    Raises
    ------
    InvalidParameterError
        As `check_figure`.
    """
    with drawing(path, height_mm=95 * len(result.targets)) as figure:
        parts = figure.subfigures(len(result.targets), squeeze=False)[:, 0]
        for part, target in zip(parts, result.targets, strict=True):
            lines = (_TITLES[target.target], f"{target.basis}, {result.place}")
            part.suptitle("\n".join((*lines, target.verdict)))
            _draw_target(part, target, result.parameters["sigmas"])


def _draw_target(part: SubFigure, result: TargetResult, sigmas: list[float]) -> None:
    by_sigma, by_strength = part.subplots(1, 2, sharey=True)
    _draw_sigma(by_sigma, result)
    by_sigma.set_xticks(sigmas, [f"{sigma:g}" for sigma in sigmas])
    _draw_strength(by_strength, result)
    # The curves set the scale: what is not smoothed is often so far off that it would
    # flatten them.
    limits = by_sigma.get_ylim()
    for axes in (by_sigma, by_strength):
        _draw_references(axes, result, limits)
    by_sigma.set_ylabel(f"{SCORE_TITLES[result.score]} (less is better)")
    legend_below(part, by_sigma)


def _draw_sigma(axes: Axes, result: TargetResult) -> None:
    for number, (label, (name, unit, auto)) in enumerate(_LINES.items()):
        scores: dict[float, float] = {}
        for score in result.candidates:
            sigma: Any = getattr(score.method, unit)
            kind = score.method.name, is_auto(score.method)
            if sigma is not None and kind == (name, auto):
                value = score.of(result.score)
                scores[sigma] = min(value, scores.get(sigma, value))
        if points := sorted(scores.items()):
            axes.plot(*zip(*points, strict=True), label=label, **series(number))
    method = result.recommended
    _mark(axes, result, method.sigma if method.sigma_mm is None else method.sigma_mm)
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set(xlabel="sigma (mm or voxels)", title="each sigma at its best strength")


def _draw_strength(axes: Axes, result: TargetResult) -> None:
    best = min(result.candidates, key=lambda each: each.of(result.score))
    for number, score, label in (
        (len(_LINES), best, "best window"),
        (len(_LINES) + 1, result.published, "published window"),
    ):
        window = [c for c in result.candidates if _window(c) == _window(score)]
        strengths: list[Any] = [candidate.method.strength for candidate in window]
        values = [candidate.of(result.score) for candidate in window]
        axes.plot(strengths, values, label=label, **series(number))
    _mark(axes, result, result.recommended.strength)
    axes.set(xlabel="strength", title="one sigma and size at each strength")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[:2], labels[:2])


def _draw_references(
    axes: Axes, result: TargetResult, limits: tuple[float, float]
) -> None:
    unsmoothed, smoothed = result.baselines[:2]
    for score, label, style in (
        (unsmoothed, "not smoothed", "-."),
        (smoothed, "LS 0.1", "--"),
        (result.published, "SVLS as published", ":"),
    ):
        value = score.of(result.score)
        off = "" if limits[0] <= value <= limits[1] else " (off scale)"
        legend = f"{label}: {value:.3f}{off}"
        axes.axhline(value, ls=style, label=legend, **REFERENCE)
    axes.set_ylim(*limits)


def _mark(axes: Axes, result: TargetResult, x: Any) -> None:
    """Mark what is recommended; baselines have neither sigma nor strength."""
    y = (result.best if result.settled else result.published).of(result.score)
    label = f"recommended: {y:.3f}"
    if x is None:
        axes.axhline(y, color="black", lw=2, label=label)
    else:
        axes.plot(x, y, "*", color="black", ms=9, zorder=5, label=label)


def _window(score: Score) -> tuple[Any, ...]:
    method = score.method
    return method.sigma, method.sigma_mm, method.size, method.intensity_scale
