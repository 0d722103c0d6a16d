"""`smooth`: from label map files to a soft-label store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from svls_cli.batch.records import Record
from svls_cli.batch.run import Batch
from svls_cli.compiling.cases import SoftCase, compile_cases
from svls_cli.errors import InvalidParameterError
from svls_cli.labels.cases import Case
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.segments import check_names
from svls_cli.labels.values import FEW_VALUES, image_doubt, listed
from svls_cli.soften.methods import Method
from svls_cli.soften.mixture import Mixture
from svls_cli.store.schema import StoreConfig


def smooth_cases(
    cases: Sequence[Case],
    out: str | Path,
    *,
    method: Method | None = None,
    classes: ClassSpec | None = None,
    ignore_label: int | None = None,
    dtype: str = "uint8",
    device: str = "auto",
    overwrite: bool = False,
    dry_run: bool = False,
    batch: Batch | None = None,
) -> list[Record]:
    """Compile label maps into a soft-label store, case by case.

    A case that the store holds already, made from the same file with the same
    parameters, is skipped; so a run that was ended, however, is simply run again.

    Parameters
    ----------
    cases
        Label maps, as `find_cases` lists them.
    out
        The store: a folder or ``s3://bucket/name``; made if it does not exist.
    method
        Default: `default_method`.
    classes
        Default: those of the store if it exists, else every label value of the
        cases, for which they are read once more.
    ignore_label
        Label value of voxels that get no soft label.
    dtype
        ``uint8``, ``uint16``, ``float16`` or ``float32``.
    device
        ``auto`` softens on a GPU where one can be used; ``gpu`` (or ``cuda``,
        ``cuda:1``) too, and logs a warning where none can; ``cpu`` never. The bytes
        are the same; those of ``bilateral`` may differ by a level.
    overwrite
        Make the store anew, if the same command made it. The old one goes when the new
        one is finished; if a case failed, or the old one holds files that no run made,
        it is kept beside it as ``OUT.old``.
    dry_run
        Do everything, sizes on disk included, but leave the store alone.
    batch
        How the run goes through the cases: workers, part, failures, progress. Runs of
        other parts, at the same time or not, add their cases to the same store.

    Returns
    -------
    list of Record
        One per case, in the order in which they finish; ``batch.on_record`` has each
        as it comes.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of range, a part is to overwrite the store, the store is
        in an object store and is to be overwritten, as `default_method`, or if method
        ``contours`` is to be used on anything else.
    InputError
        If there are no classes.
    StoreError
        If ``out`` is no soft-label store, one made with other parameters, or one that
        is to be overwritten and was made by another command.
    UnreachableError
        If an object store does not answer, or does not let us in.
    """
    return compile_cases(
        cases,
        out,
        Smoothing(method or default_method(cases), dtype, device),
        classes=classes,
        ignore_label=ignore_label,
        overwrite=overwrite,
        dry_run=dry_run,
        batch=batch,
    )


def default_method(cases: Sequence[Case]) -> Method:
    """SVLS as published; of labels that are soft already, no smoothing.

    Raises
    ------
    InvalidParameterError
        If some are soft, and others are not.
    """
    kinds = {case.source.kind for case in cases} - {"unknown"}
    if kinds <= {"hard"}:
        return Method()
    if kinds == {"contours"}:
        return Method("contours")
    if "hard" not in kinds:
        return Method("onehot")
    hard = [case.name for case in cases if case.source.kind == "hard"]
    soft = [case.name for case in cases if case.source.kind not in ("hard", "unknown")]
    raise InvalidParameterError(
        f"soft labels already: {listed(soft, 3)}; not yet: {listed(hard, 3)}. Say "
        "which method is for all of them (--method), or give them apart"
    )


@dataclass(frozen=True)
class Smoothing:
    """The recipe for one label map a case; parameters as in `smooth_cases`."""

    method: Method
    dtype: str
    device: str

    doing = command = "smooth"

    def check(self, cases: Sequence[Case]) -> None:
        """Raise InvalidParameterError unless ``contours`` is used on contours."""
        fit = ("contours", "unknown")
        others = [case.name for case in cases if case.source.kind not in fit]
        if self.method.needs_contours and others:
            raise InvalidParameterError(
                "method contours stores the area inside the contours of an RTSTRUCT, "
                f"which {listed(others, 3)} have not"
            )

    def configure(self, classes: ClassTable, ignore_label: int | None) -> StoreConfig:
        """The configuration of the store."""
        return StoreConfig.create(
            self.method, classes=classes, ignore_label=ignore_label, dtype=self.dtype
        )

    def inputs(self, case: Case) -> list[dict[str, Any]]:
        """The case's files."""
        return case.source.records()

    def read(self, case: Case, config: StoreConfig) -> SoftCase:
        """The labels of the case, and their grid."""
        classes, ignore_label = config.classes, config.ignore_label
        with case.source.open() as file:
            check_names(file.segments, classes)
            soft = file.soft(classes, ignore_label=ignore_label)
            if soft is not None:
                mixture = Mixture.from_table(
                    soft.table,
                    np.arange(len(classes)),
                    soft.hard,
                    n_classes=len(classes),
                )
                note = "; ".join(file.notes(classes)) or None
                return SoftCase(file.geometry, soft.codes, mixture, note=note)
            indices = file.indices(classes, ignore_label=ignore_label)
            notes = file.notes(classes)
            if len(classes) > FEW_VALUES and (doubt := image_doubt(indices)):
                notes.append(doubt)
            return SoftCase(file.geometry, indices, note="; ".join(notes) or None)
