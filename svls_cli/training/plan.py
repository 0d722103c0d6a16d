"""The plan of a training run, made before it starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.scans import Scan
from svls_cli.labels.values import listed
from svls_cli.store.reader import Store, StoredCase
from svls_cli.training.choices import Target
from svls_cli.training.config import LEAST_PATCH, TrainingConfig
from svls_cli.training.fingerprints import inputs_hash, voxels_hash
from svls_cli.training.levels import (
    LARGEST_SPACING_RATIO,
    RESAMPLERS,
    enclosing_patch,
    plan_patch,
    shown_mm,
    spacing_ratio,
)
from svls_cli.training.splitting import split_cases

# Training parameters that say no more than how the cases are split.
_SPLIT = ("validation", "split_seed", "patients")
# Largest number of voxels of an automatic patch, by number of axes.
_PATCH_VOXELS = {3: 96**3, 2: 384**2}


@dataclass(frozen=True)
class Plan:
    """The network and data of a run; a resumed one has the same, but for the epochs."""

    # Training parameters, with the patch size per axis that was chosen.
    config: TrainingConfig
    classes: ClassTable
    channels: tuple[str, ...]  # names of the image channels
    # Median spacing of the cases to train on, mm per axis; it shapes the network.
    spacing_mm: tuple[float, ...]
    # Names of the cases to train on and to validate on.
    train: tuple[str, ...]
    validation: tuple[str, ...]
    inputs_hash: str  # hash of what the soft labels and images were made from, and how
    # `voxels_hash` of the images to train on; none before they were read.
    train_voxels: frozenset[str] = frozenset()

    @property
    def patch_size(self) -> tuple[int, ...]:
        """Voxels per axis."""
        assert isinstance(self.config.patch_size, tuple), "a plan has one"
        return self.config.patch_size

    def was_trained_on(self, voxels: npt.NDArray[Any]) -> bool | None:
        """Whether the run trains on this image; None for old runs, which do not tell.

        Other data sets have cases of the same names, and an image may be found under
        another name or in another format: its voxels tell.
        """
        if not self.train_voxels:
            return None
        return voxels_hash(voxels) in self.train_voxels

    def channel_fault(self, scan: Scan) -> str | None:
        """What is wrong with the channels of an image to predict; None if nothing."""
        expected, found = self.channels, scan.channels
        if len(expected) != len(found):
            return f"{len(found)} channels; the network was trained on {len(expected)}"
        if len(expected) > 1 and any(found) and expected != found:
            return (
                f"channels {', '.join(found)}; the network was trained on "
                f"{', '.join(expected)}"
            )
        return None

    def to_json(self) -> dict[str, Any]:
        """The plan as saved."""
        return {
            "config": self.config.to_json(),
            "classes": self.classes.to_json(),
            "channels": list(self.channels),
            "spacing_mm": list(self.spacing_mm),
            "train": list(self.train),
            "validation": list(self.validation),
            "inputs_hash": self.inputs_hash,
            "train_voxels": sorted(self.train_voxels),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Plan:
        """Read a plan as saved."""
        return cls(
            TrainingConfig.from_json(record["config"]),
            ClassTable.from_json(record["classes"]),
            tuple(record["channels"]),
            tuple(record["spacing_mm"]),
            tuple(record["train"]),
            tuple(record["validation"]),
            str(record["inputs_hash"]),
            frozenset(record.get("train_voxels", ())),
        )

    def difference(self, other: Plan) -> str:
        """Differences from another plan, for an error message; empty without any."""
        mine, theirs = self._flat(), other._flat()
        same_split = (self.train, self.validation) == (other.train, other.validation)
        parts = [
            f"{key} is {mine[key]} in the run, {theirs[key]} now"
            for key in mine
            if mine[key] != theirs[key] and not (same_split and key in _SPLIT)
        ]
        for key in ("train", "validation"):
            before, now = set(getattr(self, key)), set(getattr(other, key))
            for names, when in ((before - now, "in the run"), (now - before, "now")):
                if names:
                    parts.append(f"{key} cases only {when}: {listed(sorted(names), 3)}")
        return "; ".join(parts)

    def _flat(self) -> dict[str, Any]:
        """One readable entry for each parameter, and for what was read."""
        classes = (f"{c.value} {c.name}" for c in self.classes.classes)
        return {
            **self.config.to_json(),
            "classes": ", ".join(classes),
            "channels": ", ".join(self.channels),
            "spacing": shown_mm(self.spacing_mm),
            "what labels and images were made from": self.inputs_hash[:8],
        }


def plan_training(
    store: Store,
    cases: Mapping[str, StoredCase],
    scans: Mapping[str, Scan],
    config: TrainingConfig,
) -> Plan:
    """Split the cases and choose the patch size.

    Raises
    ------
    InputError
        If the store holds 2-D and 3-D cases, has no raters' label maps to train on, the
        split leaves no case to train on or to validate on, or an image is a label map.
    InvalidParameterError
        If ``config.validation`` describes no split, the patients cannot be read, or the
        patch size is of other axes.
    """
    check_target(cases, config.target)
    names, validation = split_cases(
        list(cases),
        config.validation,
        seed=config.split_seed,
        patients=config.patients,
    )
    grids = [cases[name].geometry for name in names]
    axes, *others = {case.geometry.ndim for case in cases.values()}
    if others:
        raise InputError(f"{store.path} holds 2-D and 3-D cases; train on one kind")
    spacings = [grid.spacing_mm for grid in grids]
    median = tuple(np.median(spacings, axis=0).tolist())
    ratio = spacing_ratio(spacings)
    if ratio > LARGEST_SPACING_RATIO:
        logging.getLogger(__name__).warning(
            "voxels of one case are %.1f times as long as another's; the network sees "
            "voxels, not mm: first resample images and labels to one spacing, such as "
            "%s, with %s",
            ratio,
            shown_mm(median),
            RESAMPLERS,
        )
    shapes = {name: cases[name].geometry.shape for name in names}
    if config.patch_size is None:
        config = replace(config, patch_size=_patch_for(shapes))
    else:
        size = config.patch_size
        size = (size,) * axes if isinstance(size, int) else size
        if len(size) != axes:
            raise InvalidParameterError(
                f"patch_size has {len(size)} values, the store's cases {axes} axes"
            )
        largest = np.max(list(shapes.values()), axis=0).tolist()
        config = replace(config, patch_size=_clipped(size, largest))
    return Plan(
        config,
        store.classes,
        next(iter(scans.values())).channels,
        median,
        tuple(names),
        tuple(validation),
        inputs_hash(store, cases, scans),
    )


def check_target(cases: Mapping[str, StoredCase], target: Target) -> None:
    """Raise InputError unless every case has what the network learns."""
    unrated = [name for name, case in cases.items() if not case.raters]
    if target == "rater" and unrated:
        raise InputError(
            "target rater needs a store of fuse-raters, which keeps each rater's "
            f"label map; there are none for {listed(unrated)}"
        )


def _patch_for(shapes: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """A patch that fits into every case, but for those too small for any patch."""
    tiny = [name for name, shape in shapes.items() if max(shape) < LEAST_PATCH]
    large = [shape for name, shape in shapes.items() if name not in tiny]
    size: tuple[int, ...] = (0,)
    if large:
        smallest = np.min(large, axis=0).tolist()
        size = plan_patch(smallest, voxels=_PATCH_VOXELS[len(smallest)])
    if max(size) < LEAST_PATCH:
        shape = " x ".join(map(str, shapes[tiny[0]] if tiny else size))
        what = f"case {tiny[0]!r} has" if tiny else "all cases have in common only"
        raise InputError(
            f"{what} {shape} voxels, and a patch at least {LEAST_PATCH} along an axis: "
            "leave such cases out, or give patch_size"
        )
    if tiny:
        logging.getLogger(__name__).warning(
            "cases smaller than any patch, whose patches are filled up: %s",
            ", ".join(tiny),
        )
    return size


def _clipped(size: Sequence[int], largest: Sequence[int]) -> tuple[int, ...]:
    """A patch size no larger than what encloses the largest case.

    What lies beyond would be empty, and cost as much as the rest.
    """
    clipped = tuple(map(min, size, enclosing_patch(largest)))
    patch, case, new = (" x ".join(map(str, n)) for n in (size, largest, clipped))
    if max(clipped) < LEAST_PATCH:
        raise InvalidParameterError(
            f"patch_size {patch}: the largest case has {case} voxels, and a patch at "
            f"least {LEAST_PATCH} along an axis"
        )
    if clipped != tuple(size):
        logging.getLogger(__name__).warning(
            "patch_size %s reaches beyond the largest case, %s voxels: clipped to %s, "
            "the case rounded up to what the network can halve",
            patch,
            case,
            new,
        )
    return clipped
