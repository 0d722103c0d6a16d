"""The methods that `tune` recommends by the cases to train on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from svls_cli.batch.run import Batch
from svls_cli.comparison.recipes import Recipe
from svls_cli.files import write_json
from svls_cli.labels.patients import find_patients
from svls_cli.labels.rater_maps import rater_inputs
from svls_cli.labels.raters import RatedCase
from svls_cli.soften.methods import Method
from svls_cli.tuning.tune import tune_smoothing


def tune_recipes(
    recipes: Sequence[Recipe],
    cases: Sequence[RatedCase],
    kept: Path,
    *,
    patients: str | None,
    batch: Batch,
    **settings: Any,
) -> list[Recipe]:
    """The recipes, those without a method with the one that `tune` recommends.

    Parameters
    ----------
    recipes
        Recipes of several raters.
    cases
        The cases to train on, and no others.
    kept
        File of the answer, which is read again if nothing has changed.
    patients, batch, settings
        As in `tune_smoothing`.

    Raises
    ------
    InvalidParameterError, InputError
        As `tune_smoothing`.
    """
    if all(recipe.method for recipe in recipes):
        return list(recipes)
    owners = find_patients([case.name for case in cases], patients)
    asked = {
        "cases": {
            case.name: [file["sha256"] for file in rater_inputs(case)] for case in cases
        },
        "patients": owners,
        **settings,
    }
    answers = _known(kept, asked)
    if answers is None:
        result = tune_smoothing(cases, patients=patients, batch=batch, **settings)
        # Of two raters, too, one left out is one map.
        answers = {
            fusion: {"method": each.recommended.to_json(), "verdict": each.verdict}
            for fusion, each in (
                ("majority", result.one_map),
                ("mean", result.fused or result.one_map),
            )
        }
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json({"asked": asked, "answers": answers}, kept)
    return [_with_method(recipe, answers) for recipe in recipes]


def _known(kept: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    if not kept.exists():
        return None
    known = json.loads(kept.read_text(encoding="utf-8"))
    return dict(known["answers"]) if known["asked"] == asked else None


def _with_method(recipe: Recipe, answers: dict[str, Any]) -> Recipe:
    if recipe.method is not None or recipe.fusion is None:
        return recipe
    answer = answers[recipe.fusion.name]
    return replace(recipe, method=Method(**answer["method"]), note=answer["verdict"])
