"""The paper's experiment: the same network, trained on soft labels of several methods.

A composition of what the commands do: stores, runs, predictions, scores.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from svls_cli.batch.run import Batch
from svls_cli.comparison.experiment import Experiment
from svls_cli.comparison.losses import LOSSES
from svls_cli.comparison.recipes import Recipe, parse_recipes
from svls_cli.comparison.result import Comparison, Trial
from svls_cli.errors import InputError, InvalidParameterError, check_choice
from svls_cli.evaluation.evaluate_case import Measures
from svls_cli.labels.cases import LABEL_MAPS, Case, LabelFiles, find_cases
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.patients import find_patients
from svls_cli.labels.raters import RatedCase, find_rated_cases
from svls_cli.labels.values import listed
from svls_cli.soften.devices import parse_device
from svls_cli.store.objects import disk_folder
from svls_cli.store.reader import open_store
from svls_cli.training.config import TrainingConfig
from svls_cli.training.image_cache import clear_cache, find_images
from svls_cli.training.libraries import check_libraries
from svls_cli.training.splitting import split_cases


def compare_methods(
    labels: str | Path | Iterable[str | Path],
    images: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    methods: Sequence[str] = ("onehot", "ls:0.1", "svls"),
    losses: Sequence[str] = ("ce",),
    seeds: int = 3,
    config: TrainingConfig | None = None,
    classes: ClassSpec | None = None,
    ignore_label: int | None = None,
    resample_to_first: bool = False,
    pattern: str | None = None,
    lines: Iterable[str] = (),
    files: LabelFiles = LABEL_MAPS,
    image_pattern: str | None = None,
    tolerance_mm: float = 1.0,
    band_mm: float = 2.0,
    in_plane: bool = False,
    temperature_scaling: str = "band",
    loaders: int = 0,
    device: str = "auto",
    on_start: Callable[[str], None] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    batch: Batch | None = None,
) -> Comparison:
    """Train the same network on the soft labels of each method, and evaluate it.

    The last weights of each run predict the validation cases, whose label maps, those
    of all raters, are the reference. All methods, losses and seeds have the same cases
    to train on.

    Parameters
    ----------
    labels, pattern, lines, files
        Label maps: one per case, as in `find_cases`; or, if the methods name fusions,
        those of several raters, as in `find_rated_cases`.
    images, image_pattern
        As in `find_scans`.
    out
        Folder for stores, runs, predictions and scores. What is finished there, with
        the same parameters, is not done again.
    methods
        As `parse_recipe` reads them.
    losses
        Each ``ce``, cross-entropy, or ``ce+dice``, the Dice loss added to it.
    seeds
        Number of trainings of each method and loss, with seeds from 0.
    config
        Parameters of the runs, whose targets, losses and seeds are set here. Intervals
        are over its patients.
    classes, ignore_label
        As in `smooth_cases`.
    resample_to_first
        As in `fuse_cases`.
    tolerance_mm, band_mm, in_plane, temperature_scaling
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
        A trial for each seed, loss and method.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of its range.
    InputError
        If an input is broken, fewer than two patients are held out, or ``out`` holds
        another comparison.
    """
    check_libraries()
    parse_device(device)
    Measures(tolerance_mm, band_mm)  # it checks them
    if seeds < 1:
        raise InvalidParameterError(f"seeds must be at least 1, found {seeds}")
    recipes = parse_recipes(methods)
    _check_losses(losses)
    config = config or TrainingConfig()
    labels = [labels] if isinstance(labels, str | Path) else list(labels)
    cases = _find_cases(recipes, labels, pattern=pattern, lines=lines, files=files)
    names = [case.name for case in cases]
    train, held = split_cases(
        names, config.validation, seed=config.split_seed, patients=config.patients
    )
    patients = find_patients(names, config.patients)
    if len({patients[name] for name in held}) < 2:
        raise InvalidParameterError(
            "a comparison needs validation cases of at least two patients; "
            f"{config.validation!r} gives {listed(held) if held else 'none'}"
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
        resample_to_first,
        tolerance_mm,
        band_mm,
        in_plane,
        temperature_scaling,
        loaders,
        device,
        batch or Batch(),
    )
    _check_folder(experiment.out, set(names))
    recipes = experiment.tuned(recipes, train)
    across = [recipe.name for recipe in recipes if recipe.smooths_across_slices]
    if in_plane and across:
        logging.getLogger(__name__).warning(
            "%s: smoothed across slices, too; within slices the size is 1x3x3, as in "
            "svls:size=1x3x3",
            ", ".join(across),
        )
    (experiment.out / "stores").mkdir(parents=True, exist_ok=True)
    (experiment.out / "predictions").mkdir(exist_ok=True)
    for recipe in recipes:
        experiment.compile(recipe, classes)
        # The first store's classes serve all: one look at the label maps is enough.
        found = open_store(experiment.store(recipe)).classes
        classes = ClassSpec(found, ignore_label)
    trials = []
    planned = [
        (recipe, loss, seed)
        for seed in range(seeds)
        for loss in losses
        for recipe in recipes
    ]
    for number, (recipe, loss, seed) in enumerate(planned, start=1):
        label = f"[{number}/{len(planned)}] {recipe.name} {loss} seed {seed}"
        if on_start is not None:
            on_start(label)
        trials.append(experiment.labelled(label).run(recipe, loss, seed))
        if on_trial is not None:
            on_trial(trials[-1])
    clear_cache(experiment.out / "cache")
    return Comparison(tuple(trials), tuple(recipes), config, patients)


def _find_cases(
    recipes: Sequence[Recipe],
    labels: Sequence[str | Path],
    *,
    pattern: str | None,
    lines: Iterable[str],
    files: LabelFiles,
) -> Sequence[Case] | Sequence[RatedCase]:
    """Cases of one label map, or of several raters' if the recipes fuse them."""
    if recipes[0].fusion is None:
        try:
            return find_cases(labels, pattern=pattern, lines=lines, files=files)
        except (InputError, InvalidParameterError) as error:
            if len(labels) == 1 and "{rater}" not in (pattern or ""):
                raise
            raise type(error)(
                f"{error}. If they are of several raters, methods name their fusion, "
                f"as majority+{recipes[0].name}"
            ) from error
    rated = find_rated_cases(labels, pattern=pattern, lines=lines, files=files)
    if all(len(case.raters) < 2 for case in rated):
        raise InvalidParameterError(
            f"method {recipes[0].name!r} is of several raters, and no case has two "
            "label maps"
        )
    if missing := [case.name for case in rated if case.missing]:
        logging.getLogger(__name__).warning(
            "%d of %d cases lack raters: %s",
            len(missing),
            len(rated),
            listed(missing, 3),
        )
    return rated


def _check_losses(losses: Sequence[str]) -> None:
    if not losses:
        raise InvalidParameterError("expected at least one loss")
    for at, loss in enumerate(losses):
        check_choice("loss", loss, tuple(LOSSES))
        if loss in losses[:at]:
            raise InvalidParameterError(f"loss {loss!r} is named twice")


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
