"""Parameters of a training run: checked, and saved with its weights."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from svls_cli.errors import InputError, InvalidParameterError, check_choice
from svls_cli.labels.texts import read_text
from svls_cli.training.choices import TARGETS, Target

# Voxels that a patch has along one axis at least.
LEAST_PATCH = 4
# More is a slip, and would fill the memory or never end.
_MOST = {
    "batch_size": 1024,
    "epochs": 10**6,
    "steps_per_epoch": 10**6,
    "filters": 320,
}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a network is trained.

    Parameters
    ----------
    target
        Target of the network: ``soft``, the store's soft labels; ``hard``, its hard
        label map; ``rater``, one of the case's raters' label map, drawn for each patch.
    patch_size : one int, one per spatial axis in array order, or None
        Voxels of a patch; one int stands for every axis. What would reach beyond the
        largest case is clipped. By default as much of the smallest case as `plan_patch`
        allows.
    batch_size
        Number of patches in a step.
    epochs
        Number of epochs; each ends with a validation, a checkpoint and a line in the
        log. A run can be resumed with more: its learning rate is from there on that of
        a run of so many.
    steps_per_epoch
        Number of optimiser steps in an epoch.
    learning_rate
        Learning rate of AdamW at the start; it falls to 0 as (1 - step / steps) ^ 0.9.
    weight_decay
        Weight decay of AdamW.
    dice_weight
        Weight of the soft Dice loss beside the cross-entropy's 1. By default none: it
        draws probabilities towards 0 and 1, away from soft labels.
    filters
        Number of filters of the network's first level; each level has twice as many,
        up to 320.
    foreground_share, boundary_share
        Share of the patches centred on a voxel of a foreground class (each class as
        often), and of those centred on a voxel beside another class. The others lie
        anywhere.
    augment
        Mirror patches, scale and shift their intensities, add noise. Nothing that
        would interpolate: soft labels stay as they were stored.
    mirror
        Axes that may be mirrored, of ``zyx``; none of them: ``none``. Leave out the
        one from left to right if left and right are different classes.
    window : (low, high) or None
        Intensities to clip to and scale to -1..1, such as (-160, 240) for soft tissue
        in CT. By default each image's channels get mean 0 and deviation 1.
    validation
        Cases that are not trained on: a share such as ``0.2``; fold I of N, ``1/5``; or
        a file that names one case per line.
    split_seed
        Seed of the draw for a share or fold.
    patients
        Patient of each case, as `find_patients` reads it: all cases of a patient are on
        one side of the split. By default each case is a patient of its own.
    seed
        Seed of weights, patches and augmentation. A run on the CPU can be repeated
        to the last bit with the same number of threads.
    amp
        Compute in bfloat16 where it is right, on CUDA only.

    Raises
    ------
    InvalidParameterError
        If a value is out of its range.
    """

    target: Target = "soft"
    patch_size: int | tuple[int, ...] | None = None
    batch_size: int = 2
    epochs: int = 100
    steps_per_epoch: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    dice_weight: float = 0.0
    filters: int = 32
    foreground_share: float = 0.33
    boundary_share: float = 0.33
    augment: bool = True
    mirror: str = "zyx"
    window: tuple[float, float] | None = None
    validation: str = "0.2"
    split_seed: int = 0
    patients: str | None = None
    seed: int = 0
    amp: bool = True

    def __post_init__(self) -> None:
        for name in ("patch_size", "window"):  # lists will do
            value = getattr(self, name)
            value = tuple(value) if isinstance(value, Iterable) else value
            object.__setattr__(self, name, value)
        self._check_types()
        check_choice("target", self.target, TARGETS)
        for name, most in _MOST.items():
            self._check(name, 1 <= getattr(self, name) <= most, f"from 1 to {most}")
        for name in ("weight_decay", "dice_weight"):
            good = 0 <= getattr(self, name) < math.inf
            self._check(name, good, "at least 0, and finite")
        for name in ("seed", "split_seed"):
            self._check(name, 0 <= getattr(self, name) < 2**63, "from 0 to 2^63 - 1")
        good = 0 < self.learning_rate < math.inf
        self._check("learning_rate", good, "above 0, and finite")
        for name in ("foreground_share", "boundary_share"):
            self._check(name, 0 <= getattr(self, name) <= 1, "in [0, 1]")
        if self.foreground_share + self.boundary_share > 1:
            raise InvalidParameterError(
                "foreground_share and boundary_share are more than all patches: "
                f"{self.foreground_share} + {self.boundary_share}"
            )
        axes = "" if self.mirror == "none" else self.mirror
        good = bool(self.mirror) and not set(axes) - {*"zyx"}
        self._check("mirror", good, "some of zyx, or none")
        if self.patch_size is not None:
            size = self.patch_size
            sides = (size, size) if isinstance(size, int) else size
            right = len(sides) in (2, 3) and min(sides) >= 1
            right = right and max(sides) >= LEAST_PATCH
            expected = f"one number, or 2 or 3, one of them at least {LEAST_PATCH}"
            self._check("patch_size", right, expected)
        if self.window is not None:
            pair = isinstance(self.window, tuple) and len(self.window) == 2
            ascending = pair and -math.inf < self.window[0] < self.window[1] < math.inf
            self._check("window", ascending, "two ascending numbers")

    def mirrored(self, axes: int) -> list[int]:
        """Spatial axes that may be mirrored.

        Examples
        --------
        >>> TrainingConfig(mirror="zx").mirrored(3), TrainingConfig().mirrored(2)
        ([0, 2], [0, 1])
        """
        chosen = "" if self.mirror == "none" else self.mirror
        return [at for at, axis in enumerate("zyx"[-axes:]) if axis in chosen]

    @property
    def steps(self) -> int:
        """Number of optimiser steps in all epochs."""
        return self.epochs * self.steps_per_epoch

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, text and lists, as they are saved."""
        record = asdict(self)
        for name in ("patch_size", "window"):
            if isinstance(record[name], tuple):
                record[name] = list(record[name])
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TrainingConfig:
        """A configuration from its own `to_json`, or a part of it.

        Raises
        ------
        InvalidParameterError
            If there is an unknown name, or a value of the wrong type or range.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(record) - known):
            raise InvalidParameterError(
                f"unknown training parameters: {', '.join(unknown)}"
            )
        try:
            return cls(**record)
        except TypeError as error:
            raise InvalidParameterError(f"training parameters: {error}") from error

    def _check_types(self) -> None:
        """Raise InvalidParameterError for a wrong type, which a TOML file may hold."""
        for field in fields(self):
            value, default = getattr(self, field.name), field.default
            items = value if isinstance(value, tuple) else (value,)
            if field.name == "patch_size":
                kind: Any = int
            elif field.name == "patients":
                kind = str
            elif field.name == "window" or isinstance(default, float):
                kind = (int, float)
            else:
                kind = type(default)
            wrong = isinstance(value, bool) != isinstance(default, bool)
            if value is not None and (
                wrong or not all(isinstance(each, kind) for each in items)
            ):
                raise InvalidParameterError(
                    f"{field.name} is of the wrong type: {value!r}"
                )

    def _check(self, name: str, right: bool, expected: str) -> None:
        if not right:
            raise InvalidParameterError(
                f"{name} must be {expected}, found {getattr(self, name)}"
            )


def read_toml(path: Path) -> dict[str, Any]:
    """Training parameters of a TOML file.

    Raises
    ------
    InvalidParameterError
        If it cannot be read, is no TOML, or has values that no run can have.
    """
    try:
        content = read_text(path)
    except InputError as error:
        raise InvalidParameterError(str(error)) from error
    except OSError as error:
        raise InvalidParameterError(f"{path}: {error.strerror}") from error
    try:
        record = tomllib.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidParameterError(f"{path}: {error}") from error
    if isinstance(share := record.get("validation"), int | float):
        record["validation"] = str(share)
    TrainingConfig.from_json(record)
    return record
