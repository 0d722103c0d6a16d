"""The paper's experiment: the same network, trained on soft labels of several methods.

A composition of what the commands do: stores, runs, predictions, scores. Each finished
piece is kept, so a comparison that was ended is simply run again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from svls_cli.batch.run import Batch
from svls_cli.comparison.result import Comparison, Trial
from svls_cli.compiling.smooth import smooth_cases
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.evaluation.evaluate import evaluate_cases
from svls_cli.files import write_json
from svls_cli.labels.cases import Case, find_cases
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.images import file_sha256
from svls_cli.labels.names import safe_name
from svls_cli.labels.values import listed
from svls_cli.soften.devices import parse_device
from svls_cli.soften.methods import Method, parse_method
from svls_cli.store.objects import disk_folder
from svls_cli.store.reader import open_store
from svls_cli.training.config import TrainingConfig
from svls_cli.training.image_cache import clear_cache, find_images
from svls_cli.training.libraries import check_libraries
from svls_cli.training.predict import predict_validation
from svls_cli.training.run_folder import RunFolder
from svls_cli.training.run_state import RunState
from svls_cli.training.splitting import split_cases
from svls_cli.training.train import train


@dataclass(frozen=True)
class Experiment:
    """What every trial shares."""

    cases: Sequence[Case]
    # As in `find_scans`.
    images: Sequence[str | Path]
    image_pattern: str | None
    out: Path
    config: TrainingConfig  # parameters of the runs, except their seeds
    ignore_label: int | None  # as in `smooth_cases`
    # As in `evaluate_cases`.
    tolerance_mm: float
    band_mm: float
    # As in `train`.
    loaders: int
    device: str
    batch: Batch  # as in `smooth_cases`

    def store(self, method: str) -> Path:
        """Soft labels of a method."""
        return self.out / "stores" / f"{safe_name(method)}.zarr"

    def labelled(self, label: str) -> Experiment:
        """The same, whose progress says of which trial it is."""

        def show(items: Iterator[Any], total: int, doing: str) -> Iterator[Any]:
            return self.batch.progress(items, total, f"{label}: {doing}")

        return replace(self, batch=replace(self.batch, progress=show))

    def run(self, method: str, seed: int) -> Trial:
        """Train, predict and evaluate; what is there already is not done again."""
        name = f"{safe_name(method)}_seed_{seed}"
        run = RunFolder(self.out / "runs" / name)
        train(
            self.store(method),
            self.images,
            run.path,
            config=replace(self.config, seed=seed),
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
        return Trial(method, seed, self._evaluate(name, prediction, held))

    def _evaluate(
        self, name: str, prediction: Path, held: Sequence[str]
    ) -> dict[str, Any]:
        """The report, as JSON; kept with what it depends on."""
        references = [case.path for case in self.cases if case.name in held]
        predicted = open_store(prediction)
        asked = {
            "predictions": predicted.config.hash,
            "images": {case: predicted[case].attributes["inputs"] for case in held},
            "references": [file_sha256(path) for path in references],
            "ignore_label": self.ignore_label,
            "tolerance_mm": self.tolerance_mm,
            "band_mm": self.band_mm,
        }
        path = self.out / "scores" / f"{name}.json"
        if path.exists():
            known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if known["asked"] == asked:
                return dict(known["report"])
        report = evaluate_cases(
            prediction,
            references,
            ignore_label=self.ignore_label,
            tolerance_mm=self.tolerance_mm,
            band_mm=self.band_mm,
            batch=self.batch,
        )
        for record in (*report.failed, *report.skipped):
            raise InputError(f"{record.case}: {record.reason}")
        path.parent.mkdir(exist_ok=True)
        write_json({"asked": asked, "report": report.to_json()}, path)
        return report.to_json()


def compare_methods(
    labels: str | Path | Iterable[str | Path],
    images: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    methods: Sequence[str] = ("onehot", "ls:0.1", "svls"),
    seeds: int = 3,
    config: TrainingConfig | None = None,
    classes: ClassSpec | None = None,
    ignore_label: int | None = None,
    pattern: str | None = None,
    image_pattern: str | None = None,
    tolerance_mm: float = 1.0,
    band_mm: float = 2.0,
    loaders: int = 0,
    device: str = "auto",
    on_start: Callable[[str], None] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    batch: Batch | None = None,
) -> Comparison:
    """Train the same network on the soft labels of each method, and evaluate it.

    The last weights of each run predict the validation cases, whose label maps are the
    reference. All methods and seeds have the same cases to train on.

    Parameters
    ----------
    labels, pattern
        Label maps, as in `find_cases`.
    images, image_pattern
        As in `find_scans`.
    out
        Folder for stores, runs, predictions and scores. What is finished there, with
        the same parameters, is not done again.
    methods
        As `parse_method` reads them.
    seeds
        Number of trainings of each method, with seeds from 0.
    config
        Parameters of the runs, whose seeds are set here.
    classes, ignore_label
        As in `smooth_cases`.
    tolerance_mm, band_mm
        As in `evaluate_cases`.
    loaders, device
        As in `train`.
    on_start
        Called with a line that says which trial of how many begins.
    on_trial
        Called with each trial as soon as it is finished.
    batch
        As in `smooth_cases`.

    Returns
    -------
    Comparison
        A trial for each seed and method.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of its range.
    InputError
        If an input is broken, or ``out`` holds another comparison.
    """
    check_libraries()
    parse_device(device)
    if seeds < 1:
        raise InvalidParameterError(f"seeds must be at least 1, found {seeds}")
    softened = _parsed(methods)
    config = config or TrainingConfig()
    cases = find_cases(labels, pattern=pattern)
    names = [case.name for case in cases]
    if not split_cases(names, config.validation, seed=config.split_seed)[1]:
        raise InvalidParameterError(
            f"a comparison needs validation cases, {config.validation!r} gives none"
        )
    images = [images] if isinstance(images, str | Path) else list(images)
    find_images(names, images, pattern=image_pattern)
    if ignore_label is None and classes is not None:
        ignore_label = classes.ignore_label
    experiment = Experiment(
        cases,
        images,
        image_pattern,
        disk_folder(out),
        config,
        ignore_label,
        tolerance_mm,
        band_mm,
        loaders,
        device,
        batch or Batch(),
    )
    _check_folder(experiment.out, set(names))
    (experiment.out / "stores").mkdir(parents=True, exist_ok=True)
    (experiment.out / "predictions").mkdir(exist_ok=True)
    for name, method in softened.items():
        records = smooth_cases(
            experiment.cases,
            experiment.store(name),
            method=method,
            classes=classes,
            ignore_label=ignore_label,
            device=device,
            batch=experiment.batch,
        )
        if failed := [f"{r.case}: {r.reason}" for r in records if r.status == "failed"]:
            raise InputError(f"label maps cannot be used: {'; '.join(failed[:10])}")
        # The first store's classes serve all: one look at the label maps is enough.
        classes = ClassSpec(open_store(experiment.store(name)).classes, ignore_label)
    trials = []
    planned = [(name, seed) for seed in range(seeds) for name in softened]
    for number, (name, seed) in enumerate(planned, start=1):
        label = f"[{number}/{len(planned)}] {name} seed {seed}"
        if on_start is not None:
            on_start(label)
        trials.append(experiment.labelled(label).run(name, seed))
        if on_trial is not None:
            on_trial(trials[-1])
    clear_cache(experiment.out / "cache")
    return Comparison(tuple(trials))


def _parsed(methods: Sequence[str]) -> dict[str, Method]:
    """The methods by the texts that name them."""
    if not methods:
        raise InvalidParameterError("expected at least one method")
    parsed: dict[str, Method] = {}
    for text in methods:
        if text in parsed:
            raise InvalidParameterError(f"method {text!r} is named twice")
        parsed[text] = parse_method(text)
    return parsed


def _check_folder(out: Path, names: set[str]) -> None:
    """Raise InputError, before anything is written, if the folder is of something else.

    Stores that a run was trained on must not get other cases.
    """
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / "stores").is_dir()):
        raise InputError(f"{out} holds something else; expected a new name")
    if not (out / "runs").is_dir():
        return
    for path in (out / "stores").glob("*.zarr"):
        store = open_store(path)
        stored = {*store, *store.incomplete()}  # what is damaged is made again
        if others := sorted(names ^ stored):
            raise InputError(
                f"{out} compares other cases: {listed(others)} are only in it or only "
                "among the label maps; take another name"
            )
