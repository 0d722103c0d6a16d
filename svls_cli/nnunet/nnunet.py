"""`nnunet`: a store's soft labels on the grid of nnU-Net's preprocessed cases."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.batch.records import Finished, Outcome, Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.errors import InputError, UnknownCaseError
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.names import safe_name
from svls_cli.labels.values import listed
from svls_cli.nnunet.orientation import Reordering, reordering
from svls_cli.nnunet.preprocessed import (
    PreprocessedCase,
    PreprocessedCases,
    find_preprocessed,
    read_classes,
)
from svls_cli.nnunet.soft_files import CERTAIN, SUFFIX, made_from, write_soft_file
from svls_cli.soften.levels import levels
from svls_cli.store.objects import Folder
from svls_cli.store.reader import Store, StoredCase, open_store

# Voxels of which the most probable class must be nnU-Net's label, of all and of those
# that are foreground in either: labels of another case or order agree far less.
_LEAST_AGREEMENT, _LEAST_FOREGROUND = 0.98, 0.5


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
        agreement = _check_agreement(soft, np.asarray(target.labels[:])[0], self.values)
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


def soft_on_grid(
    case: StoredCase, target: PreprocessedCase, values: Sequence[int]
) -> npt.NDArray[np.uint8]:
    """Soft labels of a case on nnU-Net's grid.

    Parameters
    ----------
    case
        The case of a store.
    target
        The same case, as nnU-Net preprocessed it.
    values
        Label value of each channel of the result.

    Returns
    -------
    (c, z, y, x) uint8
        255 is certain; sums to 255, and to 0 where the voxel is ignored.

    Raises
    ------
    InputError
        If the grids differ.
    """
    reorder, top = _reordering(case, target), levels(case.attributes["dtype"])
    channels = {c.value: c.index for c in case.classes.classes}
    ignored = np.zeros(case.geometry.shape)
    if case.attributes["ignore_label"] is not None:
        ignored = top - case.patch().sum(axis=0, dtype=np.float64)
    unseen = _levels(target.resampled(reorder(ignored)), top)
    soft = np.zeros((len(values), *unseen.shape), np.uint8)
    for at, value in enumerate(values):
        if value in channels:
            stored = reorder(case.patch(classes=channels[value]))
            soft[at] = _levels(target.resampled(stored), top)
    for plane, without in zip(soft.swapaxes(0, 1), unseen, strict=True):
        _complete(plane, CERTAIN - without)
    return soft


def _reordering(case: StoredCase, target: PreprocessedCase) -> Any:
    grid, shape = target.grid, case.geometry.shape
    if grid is not None:
        order = reordering(case.geometry, grid)
    else:  # nnU-Net keeps no geometry of formats that have none
        order = Reordering(tuple(range(len(shape))), ())
        if target.images_shape not in (shape, (1, *shape)):
            raise InputError(
                f"soft labels have {shape} voxels, nnU-Net's images "
                f"{target.images_shape}"
            )
    if len(shape) == 3:
        return order
    return lambda volume: order(volume)[np.newaxis]  # to nnU-Net an image is a slice


def _levels(values: npt.NDArray[Any], top: float) -> npt.NDArray[np.uint8]:
    """Values of 0..top as 0..255."""
    if values.dtype == np.uint8:
        return values
    scaled = np.rint(values * (CERTAIN / top))
    return np.clip(scaled, 0, CERTAIN).astype(np.uint8)


def _complete(soft: npt.NDArray[np.uint8], total: npt.NDArray[np.uint8]) -> None:
    """Give the most probable class (c, y, x) what rounding left of the sum (y, x)."""
    rest = total.astype(np.int16) - soft.sum(axis=0, dtype=np.int16)
    if rest.any():
        largest = soft.argmax(axis=0)[np.newaxis]
        value = np.take_along_axis(soft, largest, axis=0)[0] + rest
        np.put_along_axis(
            soft, largest, np.clip(value, 0, CERTAIN).astype(np.uint8)[np.newaxis], 0
        )


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


def _check_agreement(
    soft: npt.NDArray[np.uint8], labels: npt.NDArray[Any], values: Sequence[int]
) -> float:
    """Agreement of soft labels with nnU-Net's label map, in the foreground of either.

    Raises
    ------
    InputError
        If it is so low that these must be labels of another kind.
    """
    if soft.shape[1:] != labels.shape:
        raise InputError(
            f"soft labels become {soft.shape[1:]} voxels, nnU-Net's case has "
            f"{labels.shape}: preprocess the data set again"
        )
    agreed = counted = alike = foreground = 0
    table = np.array(values)
    for plane, truth in zip(soft.swapaxes(0, 1), labels, strict=True):
        seen = plane.any(axis=0) & (truth <= table.max())
        argmax, truth = table[plane.argmax(axis=0)], np.maximum(truth, 0)
        same, either = (argmax == truth) & seen, ((argmax > 0) | (truth > 0)) & seen
        agreed, counted = agreed + same.sum(), counted + seen.sum()
        alike, foreground = alike + (same & either).sum(), foreground + either.sum()
    whole, inside = (
        float(part / all_) if all_ else 1.0
        for part, all_ in ((agreed, counted), (alike, foreground))
    )
    if whole < _LEAST_AGREEMENT or inside < _LEAST_FOREGROUND:
        raise InputError(
            f"the most probable class is nnU-Net's label at {whole:.1%} of all voxels "
            f"and {inside:.1%} of the foreground: these are other labels, or of "
            "another case"
        )
    return inside
