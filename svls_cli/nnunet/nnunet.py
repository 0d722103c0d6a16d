"""`nnunet`: a store's soft labels on the grid of nnU-Net's preprocessed cases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from svls_cli.batch.records import Finished, Outcome, Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.errors import InputError, StoreError, UnknownCaseError
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.names import safe_name
from svls_cli.labels.values import listed
from svls_cli.nnunet.datasets import find_preprocessed, read_classes
from svls_cli.nnunet.preprocessed import (
    PreprocessedCase,
    PreprocessedCases,
    labels_digest,
)
from svls_cli.nnunet.soft_files import (
    SUFFIX,
    Origin,
    is_whole,
    origin_of,
    write_soft_file,
)
from svls_cli.nnunet.soft_on_grid import check_agreement, soft_on_grid
from svls_cli.store.objects import Folder
from svls_cli.store.reader import Store, StoredCase, open_store


@dataclass(frozen=True)
class Bridged:
    """What `nnunet_cases` did.

    Parameters
    ----------
    configurations
        Names of the configurations.
    records
        One per configuration and case.
    agreements
        Share of the voxels of each case, foreground in either, whose most probable
        class is nnU-Net's label.
    """

    configurations: tuple[str, ...]
    records: tuple[Record, ...]
    agreements: tuple[float, ...]


def nnunet_cases(
    store: str | Path,
    dataset: str,
    *,
    plans: str = "nnUNetPlans",
    configurations: Sequence[str] = (),
    overwrite: bool = False,
    batch: Batch | None = None,
) -> Bridged:
    """Bring soft labels onto the grid of nnU-Net's preprocessed cases.

    By nnU-Net's own steps: axes transposed, cropped to the box that it cropped the
    images to, resampled as label maps are, but as probabilities. Each case becomes a
    blosc2 file of uint8 beside the folder of the preprocessed cases, for
    ``nnUNetTrainerSVLS``. One that was made from the same case before, and is whole, is
    left; one that is no longer right is removed, even if its case then fails.

    Parameters
    ----------
    store
        A soft-label store, of the cases that nnU-Net has, with its classes.
    dataset
        Number or name of nnU-Net's data set.
    plans
        Name of nnU-Net's plans.
    configurations
        Names of configurations, such as ``3d_fullres``; by default all that are
        preprocessed.
    overwrite
        Replace soft labels of a store with other parameters. By default they are an
        error, because a network would be trained on both.
    batch
        As in `smooth_cases`.

    Returns
    -------
    Bridged
        A case without soft labels, on another grid, or whose soft labels are not those
        of nnU-Net's label map has failed; nothing is written for it.

    Raises
    ------
    InvalidParameterError
        If there is no such data set, plans or configuration; or if it is the second
        stage of a cascade, or has regions.
    InputError
        If classes or ignore label differ, or there are soft labels of another store.
    StoreError
        If ``store`` is no soft-label store.
    """
    opened = open_store(store)
    found = find_preprocessed(dataset, plans, configurations)
    classes = read_classes(found[0].folder)
    _check_classes(opened, classes)
    batch, records, agreements = batch or Batch(), list[Record](), list[float]()
    for cases in found:
        _check_others(cases, store_in_words(opened), overwrite=overwrite)
    for cases in found:
        finished: list[Finished[float]] = run_cases(
            Converter(cases, opened, tuple(classes.table.values.tolist())),
            [_Item(name, opened.path, cases.cases_folder) for name in cases.names],
            batch,
            doing=cases.configuration,
        )
        records += [each.record for each in finished]
        agreements += [each.result for each in finished if each.result is not None]
        if batch.fail_fast and any(record.status == "failed" for record in records):
            break
    names = tuple(cases.configuration for cases in found)
    return Bridged(names, tuple(records), tuple(agreements))


@dataclass(frozen=True)
class _Item:
    """A preprocessed case."""

    name: str
    store: Folder
    folder: Path

    @property
    def inputs(self) -> tuple[str, ...]:
        """Paths, as records name them."""
        return str(self.store / safe_name(self.name)), str(self.folder / self.name)


@dataclass(frozen=True)
class Converter:
    """Brings one case onto nnU-Net's grid, in a worker process."""

    cases: PreprocessedCases
    store: Store
    values: tuple[int, ...]  # label values of nnU-Net's classes, by channel

    def __call__(self, item: _Item) -> Outcome[float]:
        """Convert a case and write its file, unless it is there."""
        path = self.cases.soft_folder / f"{item.name}{SUFFIX}"
        try:
            case = self._stored(safe_name(item.name))
            target = self.cases.case(item.name)
            origin = self._origin(case, target, item.name)
            if is_whole(path, origin):
                return Outcome(str(path), skipped="already complete")
            soft = soft_on_grid(case, target, self.values)
            labels = np.asarray(target.labels[:])[0]
            agreement = check_agreement(soft, labels, self.values)
        except (InputError, StoreError):
            path.unlink(missing_ok=True)  # what is there is of another case or store
            raise
        path.parent.mkdir(exist_ok=True)
        size = write_soft_file(
            path, soft, patch_size=self.cases.manager.patch_size, origin=origin
        )
        return Outcome(str(path), size, result=agreement)

    def _stored(self, name: str) -> StoredCase:
        try:
            return self.store[name]
        except UnknownCaseError:
            damage = self.store.incomplete().get(name, "has no case of this name")
            raise InputError(f"{self.store.path}: {damage}") from None

    def _origin(self, case: StoredCase, target: PreprocessedCase, name: str) -> Origin:
        kept = {k: v for k, v in target.properties.items() if k != "class_locations"}
        labels = labels_digest(self.cases.cases_folder, name)
        content = [
            case.attributes,
            self.values,
            repr(kept),
            self.cases.plans.transpose_forward,
            self.cases.manager.configuration,
            labels,
        ]
        text = json.dumps(content, sort_keys=True, default=str)
        key = sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        return Origin(store_in_words(self.store), labels, key)


def store_in_words(store: Store) -> str:
    """Parameters of a store, as a training's log names them."""
    config = store.config
    method = {**config.method}
    parts = [str(method.pop("name")), *(f"{k} {v}" for k, v in method.items())]
    if config.fusion:
        parts.append(
            "fused: " + ", ".join(f"{k} {v}" for k, v in config.fusion.items())
        )
    return ", ".join([*parts, config.dtype])


def _check_others(cases: PreprocessedCases, words: str, *, overwrite: bool) -> None:
    """Remove soft labels of another store, or raise InputError."""
    for path in sorted(cases.soft_folder.glob(f"*{SUFFIX}")):
        try:
            other = origin_of(path).store
        except InputError:
            continue  # is made again
        if other != words and not overwrite:
            raise InputError(
                f"{cases.soft_folder} holds soft labels of another store ({other}; "
                f"this one: {words}): take --overwrite to replace them"
            )
        if other != words:
            path.unlink()


def _check_classes(store: Store, classes: ClassSpec) -> None:
    mine, theirs = set(store.classes.values.tolist()), classes.table.values.tolist()
    if extra := sorted(mine - {*theirs}):
        ignored = classes.ignore_label in extra
        hint = ", which ignores that value: smooth with --classes dataset.json"
        raise InputError(
            f"{store.path} has label values {listed(extra)} that are no classes of "
            f"nnU-Net's data set ({listed(theirs)}){hint if ignored else ''}"
        )
    if store.config.ignore_label != classes.ignore_label:
        raise InputError(
            f"the ignore label is {store.config.ignore_label} in {store.path} and "
            f"{classes.ignore_label} in nnU-Net's dataset.json: smooth the label maps "
            "with --classes dataset.json"
        )
