"""The pieces of a comparison: stores, runs, predictions, scores.

Each is kept once it is finished, so a comparison that was ended is simply run again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from svls_cli.batch.run import Batch
from svls_cli.comparison.losses import LOSSES
from svls_cli.comparison.recipes import Recipe
from svls_cli.comparison.result import Trial
from svls_cli.comparison.tuned import tune_recipes
from svls_cli.compiling.fuse import fuse_cases
from svls_cli.compiling.smooth import smooth_cases
from svls_cli.errors import InputError
from svls_cli.evaluation.evaluate import evaluate_cases
from svls_cli.files import write_json
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.names import safe_name
from svls_cli.labels.scans import pair_images
from svls_cli.store.reader import open_store
from svls_cli.training.config import TrainingConfig
from svls_cli.training.predict import predict_validation
from svls_cli.training.run_folder import RunFolder
from svls_cli.training.run_state import RunState
from svls_cli.training.train import train


@dataclass(frozen=True)
class Experiment:
    """What every trial shares."""

    # Each a `RatedCase` if the recipes name fusions, else a `Case`.
    cases: Sequence[Any]
    # As in `find_scans`.
    images: Sequence[str | Path]
    image_pattern: str | None
    out: Path
    # Parameters of the runs, except their targets, losses and seeds.
    config: TrainingConfig
    # As in `smooth_cases` and `fuse_cases`.
    ignore_label: int | None
    resample_to_first: bool
    # As in `evaluate_cases`.
    tolerance_mm: float
    band_mm: float
    in_plane: bool
    temperature_scaling: str
    # As in `train`.
    loaders: int
    device: str
    batch: Batch  # as in `smooth_cases`

    def store(self, recipe: Recipe) -> Path:
        """The store of a recipe's labels."""
        return self.out / "stores" / f"{safe_name(recipe.store)}.zarr"

    def labelled(self, label: str) -> Experiment:
        """The same, whose progress says of which trial it is."""

        def show(items: Iterator[Any], total: int, doing: str) -> Iterator[Any]:
            return self.batch.progress(items, total, f"{label}: {doing}")

        return replace(self, batch=replace(self.batch, progress=show))

    def tuned(self, recipes: Sequence[Recipe], train: Sequence[str]) -> list[Recipe]:
        """The recipes, their methods chosen by the cases to train on where they say so.

        Raises
        ------
        InvalidParameterError, InputError
            As `tune_smoothing`.
        """
        known = {*train}
        return tune_recipes(
            recipes,
            [case for case in self.cases if case.name in known],
            self.out / "stores" / "tuned.json",
            patients=self.config.patients,
            batch=self.batch,
            band_mm=self.band_mm,
            in_plane=self.in_plane,
            ignore_label=self.ignore_label,
            resample_to_first=self.resample_to_first,
        )

    def compile(self, recipe: Recipe, classes: ClassSpec | None) -> None:
        """Make the store of a recipe's labels.

        Raises
        ------
        InputError
            If label maps cannot be used.
        """
        settings: dict[str, Any] = {
            "method": recipe.method,
            "classes": classes,
            "ignore_label": self.ignore_label,
            "device": self.device,
            "batch": self.batch,
        }
        cases = self.cases
        if recipe.method is not None and recipe.method.needs_image:
            cases = pair_images(cases, self.images, pattern=self.image_pattern)
        if recipe.fusion is None:
            records = smooth_cases(cases, self.store(recipe), **settings)
        else:
            records = fuse_cases(
                cases,
                self.store(recipe),
                fusion=recipe.fusion,
                resample_to_first=self.resample_to_first,
                **settings,
            )
        if failed := [f"{r.case}: {r.reason}" for r in records if r.status == "failed"]:
            raise InputError(f"label maps cannot be used: {'; '.join(failed[:10])}")

    def run(self, recipe: Recipe, loss: str, seed: int) -> Trial:
        """Train, predict and evaluate; what is there already is not done again."""
        name = f"{safe_name(recipe.name)}_{loss}_seed_{seed}"
        run = RunFolder(self.out / "runs" / name)
        train(
            self.store(recipe),
            self.images,
            run.path,
            config=replace(
                self.config,
                target=recipe.target,
                dice_weight=LOSSES[loss],
                seed=seed,
            ),
            pattern=self.image_pattern,
            cache=self.out / "cache",
            loaders=self.loaders,
            device=self.device,
            batch=self.batch,
        )
        prediction = self.out / "predictions" / f"{name}.zarr"
        predict_validation(
            run,
            self.images,
            prediction,
            pattern=self.image_pattern,
            device=self.device,
            batch=self.batch,
        )
        held = RunState.load(run.checkpoint("last")).plan.validation
        report = self._evaluate(name, prediction, self.store(recipe), held)
        return Trial(recipe.name, loss, seed, report)

    def _evaluate(
        self, name: str, prediction: Path, reference: Path, held: Sequence[str]
    ) -> dict[str, Any]:
        """The report, as JSON; kept with what it depends on.

        The reference is the raters' own label maps, which every store keeps beside its
        soft labels.
        """
        predicted, drawn = open_store(prediction), open_store(reference)
        measures: dict[str, Any] = {
            "patients": self.config.patients,
            "ignore_label": self.ignore_label,
            "tolerance_mm": self.tolerance_mm,
            "band_mm": self.band_mm,
            "in_plane": self.in_plane,
            "temperature_scaling": self.temperature_scaling,
        }
        asked = {
            "predictions": predicted.config.hash,
            "images": {case: predicted[case].attributes["inputs"] for case in held},
            "references": {case: drawn[case].attributes["inputs"] for case in held},
            **measures,
        }
        path = self.out / "scores" / f"{name}.json"
        if path.exists():
            known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if known["asked"] == asked:
                return dict(known["report"])
        report = evaluate_cases(prediction, reference, batch=self.batch, **measures)
        for record in (*report.failed, *report.skipped):
            if record.case in held:
                raise InputError(f"{record.case}: {record.reason}")
        path.parent.mkdir(exist_ok=True)
        scores = report.to_json()
        scores["cases"] = [each for each in scores["cases"] if each["case"] in held]
        write_json({"asked": asked, "report": scores}, path)
        return scores
