"""From label map files to a soft-label store: many cases, resumed, one record each."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path

from svls_cli.batch.part import Part
from svls_cli.batch.records import Outcome, Record, recorded, until_failure
from svls_cli.batch.workers import Progress, Workers, no_progress
from svls_cli.compiling.cases import SoftCase, compile_cases, write_case
from svls_cli.labels.cases import Case
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.images import file_sha256, open_label_file
from svls_cli.labels.segments import check_names
from svls_cli.soften.devices import check_device
from svls_cli.soften.methods import Method
from svls_cli.store.destination import Destination
from svls_cli.store.objects import folder_at
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
    jobs: int | Workers | None = None,
    part: Part | None = None,
    overwrite: bool = False,
    fail_fast: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> Generator[Record]:
    """Compile label maps into a soft-label store, case by case.

    A case that the store holds already, made from the same file with the same
    parameters, is skipped; so a run that was ended, however, is simply run again.

    Parameters
    ----------
    cases
        What `find_cases` found.
    out
        The store: a folder or ``s3://bucket/name``; made if it does not exist.
    method
        Default: SVLS as published.
    classes
        Default: those of the store if it exists, else every label value found in the
        cases, for which they are read once more.
    ignore_label
        Label value of voxels that get no soft label.
    dtype
        ``uint8``, ``uint16``, ``float16`` or ``float32``.
    device
        ``auto`` softens on a GPU where one can be used; ``gpu`` (or ``cuda``,
        ``cuda:1``) too, and logs a warning where none can; ``cpu`` never. The bytes
        are the same.
    jobs
        Worker processes, or ones already started, or a `Cluster`; default: one for
        each core this process may use.
    part
        Only this share of the cases; other runs, at the same time or not, add theirs
        to the same store. Default: all.
    overwrite
        Make the store anew. The old one goes when the new one is finished; if a case
        failed, it is kept beside it as ``OUT.old``.
    fail_fast
        End with the first case that fails.
    dry_run
        Do everything, sizes on disk included, but leave the store alone.
    progress
        Shows how far it is.

    Returns
    -------
    generator of Record
        One per case, in the order in which they finish; the work is done while they
        are read.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of range, a part is to overwrite the store, or the store
        is in an object store and is to be overwritten.
    InputError
        If there are no classes.
    StoreError
        If ``out`` is no soft-label store, or one made with other parameters.
    UnreachableError
        If an object store does not answer, or does not let us in.
    """
    check_device(device)
    method = method or Method()
    records = compile_cases(
        cases,
        folder_at(out),
        partial(_smooth_case, method=method, device=device),
        configure=partial(StoreConfig.create, method, dtype=dtype),
        doing="smooth",
        classes=classes,
        ignore_label=ignore_label,
        jobs=jobs,
        part=part,
        overwrite=overwrite,
        dry_run=dry_run,
        progress=progress,
    )
    return until_failure(records, fail_fast=fail_fast)


def _smooth_case(
    case: Case,
    *,
    method: Method,
    device: str,
    config: StoreConfig,
    place: Destination,
    threads: int,
) -> Record:
    def work() -> Outcome:
        digest = file_sha256(case.path)
        inputs = [{"name": case.path.name, "rater": None, "sha256": digest}]
        if place.holds(case.name, config, inputs):
            return Outcome(place.output(case.name), skipped="already complete")
        with open_label_file(case.path) as file:
            check_names(file.segments, config.classes)
            geometry = file.geometry
            indices = file.indices(config.classes, ignore_label=config.ignore_label)
        return write_case(
            place,
            case.name,
            SoftCase(geometry, indices, inputs),
            method=method,
            config=config,
            device=device,
            threads=threads,
        )

    return recorded(case.name, case.inputs, work)
