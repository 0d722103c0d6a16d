"""nnU-Net's data sets: their folders, plans and classes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.class_files import ClassSpec, parse_classes
from svls_cli.labels.values import listed
from svls_cli.nnunet.preprocessed import PreprocessedCases


def find_preprocessed(
    dataset: str, plans_name: str, configurations: Sequence[str]
) -> list[PreprocessedCases]:
    """The configurations of a data set that nnU-Net has preprocessed.

    Parameters
    ----------
    dataset
        Number or name of the data set, as nnU-Net's commands take them.
    plans_name
        Name of the plans.
    configurations
        Names of the configurations; if there are none, all that are preprocessed,
        but for the second stages of cascades.

    Raises
    ------
    InvalidParameterError
        If there is no such data set or configuration, it is not preprocessed, or it is
        the second stage of a cascade.
    InputError
        If the plans cannot be read.
    """
    folder = _dataset_folder(dataset)
    if not (folder / f"{plans_name}.json").is_file():
        others = ("dataset", "dataset_fingerprint", "splits_final")
        stems = sorted(path.stem for path in folder.glob("*.json"))
        there = [stem for stem in stems if stem not in others]
        raise InvalidParameterError(
            f"{folder} has no plans {plans_name!r}; there are {listed(there) or 'none'}"
        )
    try:
        plans = PlansManager(str(folder / f"{plans_name}.json"))
        known = plans.available_configurations
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{folder / plans_name}.json cannot be read: {error}"
        ) from error
    if unknown := [name for name in configurations if name not in known]:
        raise InvalidParameterError(
            f"the plans {plans_name} have no configuration {listed(unknown)}; there "
            f"are {listed(known)}"
        )
    found = []
    for name in configurations or known:
        cases = PreprocessedCases(folder, plans_name, name)
        first = cases.manager.previous_stage_name
        preprocessed = cases.cases_folder.is_dir()
        if not configurations and (first is not None or not preprocessed):
            continue
        if first is not None:
            raise InvalidParameterError(
                f"{name} is the second stage of a cascade, after {first}: it gets soft "
                "labels from that stage's predictions, which is not supported"
            )
        if not preprocessed:
            raise InvalidParameterError(
                f"{cases.cases_folder} does not exist: run nnUNetv2_preprocess -d "
                f"{dataset} -plans_name {plans_name} -c {name} first"
            )
        found.append(cases)
    if not found:
        raise InvalidParameterError(
            f"no configuration of {folder.name} is preprocessed with the plans "
            f"{plans_name}: run nnUNetv2_preprocess -d {dataset} -plans_name "
            f"{plans_name} first"
        )
    return found


def read_classes(folder: Path) -> ClassSpec:
    """Classes and ignore label of a preprocessed data set.

    Raises
    ------
    InvalidParameterError
        If its labels are regions, that is, each several classes.
    InputError
        If its ``dataset.json`` cannot be read.
    """
    path = folder / "dataset.json"
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if regions := [name for name, value in labels.items() if isinstance(value, list)]:
        raise InvalidParameterError(
            f"{folder.name} has regions ({listed(regions)}): its network predicts "
            "overlapping masks, not one class per voxel, which is not supported"
        )
    return parse_classes(str(path))


def _dataset_folder(dataset: str) -> Path:
    root = nnUNet_preprocessed.get()
    if root is None:
        raise InvalidParameterError(
            "nnUNet_preprocessed is not set: it names nnU-Net's folder of preprocessed "
            "data sets"
        )
    if not Path(root).is_dir():
        raise InvalidParameterError(f"nnUNet_preprocessed: there is no folder {root}")
    folders = sorted(path for path in Path(root).iterdir() if path.is_dir())
    names = [path.name for path in folders if path.name.startswith("Dataset")]
    if re.fullmatch(r"[0-9]{1,3}", dataset):
        start = f"Dataset{int(dataset):03d}_"
        found = [name for name in names if name.startswith(start)]
    else:
        found = [name for name in names if name == dataset]
    if len(found) != 1:
        what = f"{listed(found)} are both" if found else f"{root} has no data set"
        there = "" if found else f"; there are {listed(names) or 'none'}"
        raise InvalidParameterError(f"{what} {dataset}{there}")
    return Path(root, found[0])
