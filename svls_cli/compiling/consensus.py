"""From several raters' label maps to a folder of hard consensus label maps.

Beside each label map, ``CASE.json`` says what it was made from and how; a label map
without one is somebody else's and is not touched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from svls_cli.batch.records import Outcome, Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.batch.version import __version__
from svls_cli.errors import InputError, StoreError
from svls_cli.files import unfinished_folder
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.classes import ClassTable, check_ignore_label
from svls_cli.labels.output import write_image
from svls_cli.labels.rater_maps import rater_inputs, read_rater_maps
from svls_cli.labels.raters import RatedCase, named_classes
from svls_cli.labels.suffixes import suffix_of
from svls_cli.raters.fusion import Fusion, check_weights, fuse_maps
from svls_cli.store.objects import disk_folder

FORMAT = "svls-consensus"

# By the first rater's suffix: what can be written with the geometry that was read.
# TIFF has no place for that of a volume.
_SUFFIXES = {
    ".nii.gz": ".nii.gz",
    ".nii": ".nii.gz",
    ".hdr": ".nii.gz",
    ".mgz": ".nii.gz",
    ".mgh": ".nii.gz",
    ".mha": ".mha",
    ".mhd": ".mha",
    ".png": ".png",
}


def write_consensus(
    cases: Sequence[RatedCase],
    out: str | Path,
    *,
    fusion: Fusion | None = None,
    resample_to_first: bool = False,
    classes: ClassSpec | None = None,
    ignore_label: int | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    batch: Batch | None = None,
) -> list[Record]:
    """Write one hard label map per case, as the raters together see it.

    Parameters
    ----------
    cases
        Label maps of the raters, as `find_rated_cases` lists them.
    out
        Folder; made if it does not exist. A case is named ``CASE.nii.gz``, or with the
        suffix of its first rater if that is NRRD, MetaImage or PNG.
    fusion, resample_to_first
        As in `fuse_cases`; of hard labels ``mean`` and ``majority`` are the same here.
    classes
        Default: the label values of each case; of labels that go by names, all names.
    ignore_label
        Label value of voxels that a rater gives no label; the consensus has it where
        all raters do.
    dry_run, batch
        As in `smooth_cases`.
    overwrite
        Replace what is there, whoever made it, but for the raters' own label maps.

    Returns
    -------
    list of Record
        One per case, as in `fuse_cases`.

    Raises
    ------
    InvalidParameterError
        If weights and raters differ, or the ignore label is one of the classes.
    StoreError
        If ``out`` is no folder, is a store, or was made with other parameters.
    """
    fusion, folder = fusion or Fusion(), disk_folder(out)
    check_weights(cases, fusion)
    table = classes.table if classes else named_classes(cases)
    if ignore_label is None and classes:
        ignore_label = classes.ignore_label
    if table is not None:
        check_ignore_label(ignore_label, table)
    settings: dict[str, Any] = {
        "fusion": fusion.to_json(),
        "resample_to_first": resample_to_first,
        "ignore_label": ignore_label,
        "classes": table and table.to_json(),
    }
    if not overwrite:
        _refuse_mixture(folder, settings)
    if not dry_run:
        folder.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(Path(gettempdir()) if dry_run else folder) as unfinished:
        writer = ConsensusWriter(
            folder.absolute(),
            folder,
            unfinished.absolute(),
            fusion,
            settings,
            table,
            _inputs_in(folder, cases),
            overwrite,
            dry_run,
        )
        finished = run_cases(writer, cases, batch or Batch(), doing="fuse")
    return [each.record for each in finished]


def _inputs_in(folder: Path, cases: Sequence[RatedCase]) -> frozenset[str]:
    paths = [
        path for case in cases for _, source in case.raters for path in source.paths
    ]
    same = {
        p for p in {path.parent for path in paths} if p.resolve() == folder.resolve()
    }
    return frozenset(path.name for path in paths if path.parent in same)


def _refuse_mixture(folder: Path, settings: dict[str, Any]) -> None:
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: a file; expected a folder, or a name that is free")
    if (folder / "zarr.json").exists():
        raise StoreError(f"{folder}: a Zarr store; expected a folder for label maps")
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        description = _sidecar(path)
        if not description:
            continue
        for key, now in settings.items():
            if description.get(key) != now:
                raise StoreError(
                    f"{path} was made with other parameters: {key} is "
                    f"{description.get(key)} there, {now} now. Use the same, another "
                    "folder, or --overwrite"
                )


def _sidecar(path: Path) -> dict[str, Any]:
    """What is known of a label map that we wrote; empty if it is not ours."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    ours = isinstance(record, dict) and record.get("format") == FORMAT
    return record if ours else {}


@dataclass(frozen=True)
class ConsensusWriter:
    """Writes the consensus of one case, in a worker process."""

    folder: Path  # folder for label maps and their descriptions
    shown: Path  # the same folder, as users know it
    unfinished: Path  # folder for files that are being written, on the same file system
    # As in `write_consensus`.
    fusion: Fusion
    settings: Mapping[str, Any]  # every parameter, as described beside each label map
    classes: ClassTable | None  # None for the label values of each case
    inputs: frozenset[str]  # names of raters' label maps that lie in the folder
    overwrite: bool
    dry_run: bool

    def __call__(self, case: RatedCase) -> Outcome[None]:
        """Write the label map and its description, both whole or not at all."""
        suffix = _SUFFIXES.get(suffix_of(case.raters[0][1].paths[0]), ".nrrd")
        target = self.folder / f"{case.name}{suffix}"
        sidecar = self.folder / f"{case.name}.json"
        output = str(self.shown / target.name)
        if target.name in self.inputs:
            raise InputError(
                f"{output} is a rater's own label map, which is never replaced; choose "
                "another folder"
            )
        inputs = rater_inputs(case)
        known = _sidecar(sidecar)
        if not self.overwrite:
            for path in (target, sidecar):
                if path.exists() and not known:
                    raise InputError(
                        f"{self.shown / path.name} exists; use --overwrite to replace "
                        "it"
                    )
            made = (known.get("sha256"), known.get("replaced_sha256"))
            if target.exists() and known and _hash(target) not in made:
                raise InputError(
                    f"{output} was changed since it was made; remove it, or use "
                    "--overwrite, to make it anew"
                )
            if known.get("inputs") == inputs and known.get("sha256") == _hash(target):
                return Outcome(output, skipped="already complete")
        part = self.unfinished / target.name
        raters, notes = self._fuse_into(part, case)
        record = {
            "format": FORMAT,
            **self.settings,
            "raters": raters,
            "inputs": inputs,
            "sha256": _hash(part),
            "tool_version": __version__,
        }
        if target.exists():
            # A run that is killed now leaves the old label map with this description.
            record["replaced_sha256"] = _hash(target)
        part_sidecar = self.unfinished / sidecar.name
        text = json.dumps(record, ensure_ascii=False, indent=1)
        part_sidecar.write_text(text, encoding="utf-8")
        size = part.stat().st_size
        if not self.dry_run:
            # The label map last: one that stands there is described.
            part_sidecar.replace(sidecar)
            part.replace(target)
        return Outcome(output, size, note="; ".join(notes) or None)

    def _fuse_into(
        self, path: Path, case: RatedCase
    ) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
        """Write the consensus of a case; its raters as in the store, and remarks."""
        ignore_label = self.settings["ignore_label"]
        drawn = read_rater_maps(
            case,
            self.classes,
            ignore_label=ignore_label,
            resample_to_first=self.settings["resample_to_first"],
        )
        classes = drawn.classes
        fused = fuse_maps(drawn, self.fusion)
        values = [*classes.values.tolist(), ignore_label or 0]
        table = classes.value_dtype(ignore_label).type(values)
        write_image(path, table[fused.hard(fused.labels)], drawn.geometry)
        return fused.raters_json(drawn.raters), drawn.notes


def _hash(path: Path) -> str | None:
    if not path.exists():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
