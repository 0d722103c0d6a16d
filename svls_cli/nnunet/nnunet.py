"""`nnunet`: a store's soft labels on the grid of nnU-Net's preprocessed cases."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from svls_cli.batch.records import Finished, Outcome, Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.errors import InputError, UnknownCaseError
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.names import safe_name
from svls_cli.labels.values import listed
from svls_cli.nnunet.preprocessed import (
    PreprocessedCase,
    PreprocessedCases,
    find_preprocessed,
    read_classes,
)
from svls_cli.nnunet.soft_files import SUFFIX, made_from, write_soft_file
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
    batch: Batch | None = None,
) -> Bridged:
    """Bring soft labels onto the grid of nnU-Net's preprocessed cases.

    By nnU-Net's own steps: axes transposed, cropped to the box that it cropped the
    images to, resampled as label maps are, but as probabilities. Each case becomes a
    blosc2 file of uint8 beside the folder of the preprocessed cases, for
    ``nnUNetTrainerSVLS``. One that was made from the same case before is left.

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
        If classes or ignore label differ.
    StoreError
        If ``store`` is no soft-label store.
    """
    opened = open_store(store)
    found = find_preprocessed(dataset, plans, configurations)
    classes = read_classes(found[0].folder)
    _check_classes(opened, classes)
    batch, records, agreements = batch or Batch(), list[Record](), list[float]()
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
        case, target = self._stored(safe_name(item.name)), self.cases.case(item.name)
        path = self.cases.soft_folder / f"{item.name}{SUFFIX}"
        key = self._made_from(case, target, item.name)
        if made_from(path) == key:
            return Outcome(str(path), skipped="already complete")
        soft = soft_on_grid(case, target, self.values)
        agreement = check_agreement(soft, np.asarray(target.labels[:])[0], self.values)
        path.parent.mkdir(exist_ok=True)
        size = write_soft_file(
            path, soft, patch_size=self.cases.manager.patch_size, made_from=key
        )
        return Outcome(str(path), size, result=agreement)

    def _stored(self, name: str) -> StoredCase:
        try:
            return self.store[name]
        except UnknownCaseError:
            damage = self.store.incomplete().get(name, "has no case of this name")
            raise InputError(f"{self.store.path}: {damage}") from None

    def _made_from(self, case: StoredCase, target: PreprocessedCase, name: str) -> str:
        """Hash of all that the result depends on."""
        kept = {k: v for k, v in target.properties.items() if k != "class_locations"}
        labels = self.cases.cases_folder.glob(f"{name}_seg.*")
        content = [
            case.attributes,
            self.values,
            repr(kept),
            self.cases.plans.transpose_forward,
            self.cases.manager.configuration,
            [zlib.crc32(path.read_bytes()) for path in sorted(labels)],
        ]
        text = json.dumps(content, sort_keys=True, default=str)
        return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _check_classes(store: Store, classes: ClassSpec) -> None:
    mine, theirs = set(store.classes.values.tolist()), classes.table.values.tolist()
    if extra := sorted(mine - {*theirs}):
        raise InputError(
            f"{store.path} has label values {listed(extra)} that are no classes of "
            f"nnU-Net's data set ({listed(theirs)})"
        )
    if store.config.ignore_label != classes.ignore_label:
        raise InputError(
            f"the ignore label is {store.config.ignore_label} in {store.path} and "
            f"{classes.ignore_label} in nnU-Net's dataset.json: smooth the label maps "
            "with --classes dataset.json"
        )
