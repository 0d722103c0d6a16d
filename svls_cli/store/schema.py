"""The store's own metadata: the `svls` attributes of the root and of each case."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from svls_cli.batch.version import __version__
from svls_cli.errors import StoreError, check_choice
from svls_cli.labels.classes import ClassTable, check_ignore_label
from svls_cli.soften.choices import DTYPES
from svls_cli.soften.methods import Method

FORMAT = "svls-soft-labels"
PREDICTION = "prediction"  # the method of a network's probabilities
# Version 1 had no checksums, but the number of files of each array.
FORMAT_VERSION = 2
# Exceptions that reading foreign or damaged metadata may raise.
DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    MemoryError,
)


@dataclass(frozen=True)
class StoreConfig:
    """Configuration shared by all cases of a store, which their content depends on.

    Parameters
    ----------
    method
        The method's `Method.to_json`.
    classes
        The class axis.
    ignore_label
        Label value of voxels that carry no soft label, or None.
    dtype
        Type of the soft labels: one of `DTYPES`.
    fusion
        How several raters were fused and which of their maps are kept; None for one
        label map per case.
    """

    method: Mapping[str, Any]
    classes: ClassTable
    ignore_label: int | None
    dtype: str
    fusion: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, DTYPES)
        check_ignore_label(self.ignore_label, self.classes)

    @classmethod
    def create(
        cls,
        method: Method,
        classes: ClassTable,
        ignore_label: int | None,
        dtype: str,
        fusion: Mapping[str, Any] | None = None,
    ) -> StoreConfig:
        """The configuration of a new store."""
        return cls(method.to_json(), classes, ignore_label, dtype, fusion)

    @property
    def made_by(self) -> str:
        """The command that makes stores of this kind."""
        if self.method["name"] == PREDICTION:
            return "predict"
        return "smooth" if self.fusion is None else "fuse-raters"

    @property
    def hash(self) -> str:
        """Hash of all that a case's values depend on, except the inputs."""
        # The version of the first stores, for they can be gone on with.
        content = {"format_version": 1, **self.to_json()}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The configuration as stored."""
        record = {
            "method": dict(self.method),
            "ignore_label": self.ignore_label,
            "dtype": self.dtype,
            "classes": self.classes.to_json(),
        }
        return record if self.fusion is None else {**record, "fusion": self.fusion}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> StoreConfig:
        """Rebuild a configuration from stored attributes."""
        return cls(
            {"name": record["method"]["name"], **record["method"]},
            ClassTable.from_json(record["classes"]),
            record["ignore_label"],
            record["dtype"],
            dict(record["fusion"]) if record.get("fusion") else None,
        )

    def difference(self, other: StoreConfig) -> str:
        """Differences of another configuration, for an error message; "" if none.

        Examples
        --------
        >>> table = ClassTable.from_values([0, 1])
        >>> stored = StoreConfig.create(Method(), table, None, "uint8")
        >>> asked = StoreConfig.create(Method(sigma=2), table, None, "uint8")
        >>> stored.difference(asked)
        'sigma is 1.0 in the store, 2.0 now'
        """
        mine, theirs = _flat(self), _flat(other)
        return "; ".join(
            f"{key} is {mine.get(key, 'unset')} in the store, "
            f"{theirs.get(key, 'unset')} now"
            for key in dict.fromkeys([*mine, *theirs])
            if mine.get(key) != theirs.get(key)
        )


def method_text(method: Mapping[str, Any]) -> str:
    """A method and its parameters, for people.

    Examples
    --------
    >>> method_text({"name": "svls", "sigma": 1.0, "size": 3, "sigma_vox": [1.0]})
    'svls, sigma 1.0, size 3'

    The weights of a network are told apart by the first digits of their digest:

    >>> method_text({"name": "prediction", "weights": "0123456789abcdef" * 4})
    'prediction, weights 01234567'
    """
    name, *settings = method.items()
    # What the parameters are in the voxels of a case says little more.
    told = [
        f"{key} {str(value)[:8] if key == 'weights' else value}"
        for key, value in settings
        if not key.endswith("_vox")
    ]
    return ", ".join([str(name[1]), *told])


SOFT = "0"  # path in a case of the soft labels' array


def label_array(name: str) -> str:
    """Path in a case of a label image's array: "hard" or a rater's."""
    return f"labels/{name}/0"


def root_attributes(config: StoreConfig) -> dict[str, Any]:
    """Attributes of the store's root group."""
    return {
        "svls": {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **config.to_json(),
            "config_hash": config.hash,
        }
    }


def case_attributes(
    config: StoreConfig,
    name: str,
    *,
    geometry: Mapping[str, Any],
    window: Mapping[str, Any],
    inputs: list[dict[str, Any]],
    checksums: Mapping[str, str],
    raters: list[dict[str, Any]] | None = None,
    trained_on: bool | None = None,
    soft_input: bool = False,
) -> dict[str, Any]:
    """The `svls` attributes of a complete case, except the sha256 of its document.

    ``name`` is that of the case's folder. ``window`` is the method's
    `Method.window_json` on this case's grid. ``inputs`` are ``name``, ``rater`` and
    ``sha256`` of each file, and ``image`` of what guided the smoothing; ``raters`` are
    ``name`` and ``weight`` of each rater, for fused cases. ``trained_on`` is, for
    predictions, whether the network was trained on the case's image. ``soft_input``
    says that its labels were soft before the method. ``checksums`` are the crc32c of
    every other file of the case, by its path inside the case.
    """
    more = {
        "raters": raters,
        "trained_on": trained_on,
        "soft_input": soft_input or None,
    }
    return {
        "format_version": FORMAT_VERSION,
        "case": name,
        "geometry": dict(geometry),
        **config.to_json(),
        "method": {**config.method, **window},
        "inputs": inputs,
        **{key: value for key, value in more.items() if value is not None},
        "config_hash": config.hash,
        "tool_version": __version__,
        "crc32c": dict(sorted(checksums.items())),
        "state": "complete",
    }


def check_root(attributes: Mapping[str, Any], path: str) -> StoreConfig:
    """Check the attributes of a store's root; return the store's configuration.

    Raises
    ------
    StoreError
        If it is another program's Zarr group, of a newer format, or damaged.
    """
    svls = attributes.get("svls")
    if not isinstance(svls, Mapping) or svls.get("format") != FORMAT:
        raise StoreError(f"{path}: a Zarr group, but not a soft-label store")
    try:
        check_version(svls.get("format_version"))
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error
    try:
        config = StoreConfig.from_json(svls)
        intact = svls["config_hash"] == config.hash
    except DAMAGE as error:
        raise StoreError(f"{path}: damaged attributes: {error!r}") from error
    if not intact:
        raise StoreError(f"{path}: damaged attributes: their hash is another")
    return config


def check_version(version: object) -> None:
    """Check that a store or case is of a format that we read.

    Raises
    ------
    StoreError
        If it is not.
    """
    if type(version) is int and 1 <= version <= FORMAT_VERSION:
        return
    if type(version) is int and version > FORMAT_VERSION:
        raise StoreError(
            f"format version {version} is newer than this svls-cli "
            f"({FORMAT_VERSION}); upgrade svls-cli"
        )
    raise StoreError(f"format version {version!r} is unknown")


def keeps_argmax(attributes: Mapping[str, Any]) -> bool:
    """Whether a voxel's own class is never less likely than another.

    Examples
    --------
    >>> keeps_argmax({"method": {"name": "svls", "strength": 0.8}})
    False
    """
    method, fusion = attributes["method"], attributes.get("fusion")
    if method["name"] == "gaussian" or (fusion and fusion["name"] != "majority"):
        return False
    if attributes.get("soft_input") and method.get("strength"):
        return False
    return bool(method.get("strength", 0) <= 0.5)


def scale_factor(dtype: str) -> float | None:
    """Factor from stored levels to probabilities (CF convention); None for floats."""
    kind = np.dtype(dtype)
    return 1 / np.iinfo(kind).max if kind.kind == "u" else None


def _flat(config: StoreConfig) -> dict[str, Any]:
    """One readable entry per parameter."""
    classes = [f"{c.value}={c.name}" for c in config.classes.classes]
    colors = [c.color for c in config.classes.classes]
    method = {"method" if k == "name" else k: v for k, v in config.method.items()}
    fusion = {
        "fusion" if k == "name" else k: v for k, v in (config.fusion or {}).items()
    }
    return {
        **method,
        **fusion,
        "ignore_label": config.ignore_label,
        "dtype": config.dtype,
        "classes": ", ".join(classes),
        "colors": ", ".join(colors),
    }
