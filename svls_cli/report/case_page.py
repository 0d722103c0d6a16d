"""The page of one case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from svls_cli.batch.version import __version__
from svls_cli.evaluation.evaluate_case import Measures
from svls_cli.labels.classes import LabelClass
from svls_cli.report import palette
from svls_cli.report.charts import reliability_curves
from svls_cli.report.reading import CaseContent, CaseToReport
from svls_cli.report.rendering import render
from svls_cli.report.shown import Shown, window_of
from svls_cli.report.summary import Measured, size_unit
from svls_cli.report.tiles import thumbnail
from svls_cli.report.views import (
    LEVELS,
    Effort,
    SliceView,
    draw_slice,
)
from svls_cli.store.schema import method_text

# No page has more bytes than that.
MOST_BYTES = 150_000
# Tried in turn until a page is small enough.
_EFFORTS = (
    Effort(4, 0.05, 200),
    Effort(4, 0.3, 150, 4_000),
    Effort(2, 0.5, 120, 3_000),
    Effort(1, 0.5, 120, 2_500),
)
_PANEL = 240  # width of a picture on the screen, pixels
_THUMBNAIL = 72  # pixels of its longer side
MOST_SLICES = _EFFORTS[0].slices


def case_page(content: CaseContent, measured: Measured, shown: list[Shown]) -> bytes:
    """The page of a case, with as much detail as its size allows."""
    window, page = window_of(content, shown), b""
    weights, _ = content.sights
    ordered = sorted(shown, key=lambda each: -weights[each.number])
    for effort in _EFFORTS:
        kept = sorted(ordered[: effort.slices], key=lambda each: each.number)
        views = [draw_slice(content, each, window, effort) for each in kept]
        values = _values(content, measured, kept, views)
        page = render("case.html", values | {"reduced": effort.reduced})
        if len(page) <= MOST_BYTES:
            break
    return page


def case_thumbnail(content: CaseContent, shown: list[Shown]) -> bytes:
    """A very small picture of the slice with most labels."""
    first = max(shown, key=lambda each: content.foreground(each.hard).sum())
    height_mm, width_mm = content.plane.pixel_mm
    return thumbnail(
        first.image,
        window_of(content, shown),
        first.hard,
        palette.class_colors(content.classes),
        longest=_THUMBNAIL,
        aspect=height_mm / width_mm,
    )


def _values(
    content: CaseContent,
    measured: Measured,
    shown: list[Shown],
    views: list[SliceView],
) -> dict[str, Any]:
    case, plane, grid = content.source.case, content.plane, content.grid
    colors = palette.class_colors(content.classes)
    present = _present(content, shown)
    drawn = [c for c in content.classes.classes if c.value]
    one_class = len(drawn) == 1
    controls = _controls(content, views)
    widest = max(view.width for view in views)
    return {
        "case": case.name,
        "version": __version__,
        "summary": measured.summary,
        "agreement": measured.agreement,
        "evaluation": measured.evaluation,
        "curves": reliability_curves(measured.evaluation),
        "grid": grid,
        "unit": size_unit(flat=grid.ndim == 2),
        "tolerance_mm": Measures.tolerance_mm,
        "per_unit": 1 if grid.ndim == 2 else 0.001,
        "plane": plane,
        "sides": list(zip(plane.sides, "trbl", strict=True)),
        "has_sides": knows_sides(case.attributes["inputs"]),
        "n_slices": None if plane.axis is None else grid.shape[plane.axis],
        "reason": content.sights[1],
        "attributes": case.attributes,
        "shown_inputs": _beside(content.source),
        "method": method_text(case.attributes["method"]),
        "image": content.image is not None,
        "views": views,
        "present": present,
        "names": {c.value: c.name for c in content.classes.classes},
        "colors": {c.index: colors[c.index] for c in present},
        "first_class": f"c{drawn[0].index}" if one_class else "",
        "raters": [
            {
                "dash": palette.dash(at),
                "hue": palette.hue(at) if one_class else None,
            }
            for at in range(len(case.raters))
        ],
        "controls": controls,
        "toggles": [key for key, _, _ in controls],
        # Width of a pixel per height.
        "stretch": plane.pixel_mm[1] / plane.pixel_mm[0],
        "panel_width": _PANEL,
        "hatch": round(6 * widest / _PANEL, 1),
        "palette": palette,
        "classes": _class_rows(content, measured),
    }


def _controls(
    content: CaseContent, views: list[SliceView]
) -> list[tuple[str, str, bool]]:
    """Key and name of each layer that can be hidden, and whether it has lines."""
    panels = [panel for view in views for panel in view.panels]
    used = {layer.key for panel in panels for layer in panel.layers}
    raters = content.source.case.raters
    layers = {f"r{at}": name for at, name in enumerate(raters)}
    layers |= {
        "hard": "consensus" if raters else "hard label",
        "pred": "prediction",
        **{f"l{percent}": f"{percent} %" for percent in LEVELS},
        "missed": "missed",
        "added": "added",
        "other": "another class",
    }
    controls = [(key, name, True) for key, name in layers.items() if key in used]
    if any(panel.numbers for panel in panels):
        controls.append(("numbers", "class numbers", False))
    if content.image is not None:
        controls.append(("grey", "image", False))
    return controls


def _beside(source: CaseToReport) -> list[tuple[str, str]]:
    """What image and prediction are, and their names, without the folders above."""
    scans = () if source.scan is None else source.scan.paths
    found = [("image", path.name) for path in scans]
    if source.prediction is not None:
        parts = str(source.prediction.path).split("/")[-2:]
        found.append(("prediction", "/".join(parts)))
    return found


def knows_sides(inputs: list[Mapping[str, Any]]) -> bool:
    """Whether files tell which side of the patient is which: pictures do not."""
    pictures = (".png", ".tif", ".tiff")
    return not any(str(file["name"]).lower().endswith(pictures) for file in inputs)


def _present(content: CaseContent, shown: list[Shown]) -> list[LabelClass]:
    """Classes but background that are drawn."""
    found: set[int] = set()
    for each in shown:
        found.update(each.soft, each.predicted)
        for labels in each.label_maps:
            found.update(np.unique(labels).tolist())
    return [c for c in content.classes.classes if c.value and c.index in found]


def _class_rows(content: CaseContent, measured: Measured) -> list[dict[str, Any]]:
    """A row for each class that any label map of the case has."""
    summary, agreement = measured.summary, measured.agreement
    agreed = {c.value: c for c in agreement.classes} if agreement else {}
    scores = measured.evaluation.classes if measured.evaluation else ()
    scored = {c.value: c for c in scores if c.voxels or c.predicted_voxels}
    return [
        {
            "label": c,
            "size": summary.sizes.get(str(c.value), 0.0),
            "agreement": agreed.get(c.value),
            "scores": scored.get(c.value),
        }
        for c in content.classes.classes
        if c.value
        and (str(c.value) in summary.sizes or c.value in agreed or c.value in scored)
    ]
