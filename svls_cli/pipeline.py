"""From label map files to a soft-label store: many cases, resumed, one record each."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

from svls_cli.errors import InputError
from svls_cli.labels.cases import Case
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.classes import ClassTable, default_name
from svls_cli.labels.images import LabelFile, file_sha256, open_label_file
from svls_cli.labels.values import UIntArray
from svls_cli.records import Outcome, Record, recorded, until_failure
from svls_cli.scan import ClassScan
from svls_cli.soften.methods import Method, Softening
from svls_cli.soften.smoothing import soften_block
from svls_cli.soften.volume import region_with_halo
from svls_cli.store.destination import Destination, destination, existing_store
from svls_cli.store.schema import StoreConfig, case_attributes
from svls_cli.store.transaction import folder_bytes
from svls_cli.store.writer import CaseWriter, EncodedBlock
from svls_cli.workers import Progress, Workers, no_progress


def smooth_cases(
    cases: Sequence[Case],
    out: str | Path,
    *,
    method: Method | None = None,
    classes: ClassSpec | None = None,
    ignore_label: int | None = None,
    dtype: str = "uint8",
    jobs: int | Workers | None = None,
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
        The store; made if it does not exist.
    method
        Default: SVLS as published.
    classes
        Default: those of the store if it exists, else every label value found in the
        cases, for which they are read once more.
    ignore_label
        Label value of voxels that get no soft label.
    dtype
        ``uint8``, ``uint16``, ``float16`` or ``float32``.
    jobs
        Worker processes, or ones already started; default: one for each core this
        process may use.
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
        If a parameter is out of range.
    InputError
        If there are no classes.
    StoreError
        If ``out`` is no soft-label store, or one made with other parameters.
    """
    records = _smooth(
        cases,
        Path(out),
        method=method or Method(),
        classes=classes,
        ignore_label=ignore_label,
        dtype=dtype,
        jobs=jobs,
        overwrite=overwrite,
        dry_run=dry_run,
        progress=progress,
    )
    return until_failure(records, fail_fast=fail_fast)


def _smooth(
    cases: Sequence[Case],
    out: Path,
    *,
    method: Method,
    classes: ClassSpec | None,
    ignore_label: int | None,
    dtype: str,
    jobs: int | Workers | None,
    overwrite: bool,
    dry_run: bool,
    progress: Progress,
) -> Generator[Record]:
    if not cases:
        raise InputError("no cases to smooth")
    existing = existing_store(out)
    kept = None if overwrite else existing
    if ignore_label is None and classes is not None:
        ignore_label = classes.ignore_label
    table = classes.table if classes else kept.classes if kept else None
    with Workers.of(jobs, items=len(cases)) as workers:
        scan = ClassScan()
        if table is None:
            yield from scan.run(cases, workers, progress)
            cases = scan.cases
            if not cases:
                return
            table = scan.table(ignore_label)
        config = StoreConfig.create(method, table, ignore_label, dtype)
        replaced = existing if overwrite else None
        with destination(out, config, replace=replaced, dry_run=dry_run) as place:
            place.failed.extend(scan.failed)
            task = partial(
                _smooth_case,
                method=method,
                config=config,
                place=place,
                threads=max(1, workers.jobs // len(cases)),
            )
            with closing(workers.map(task, cases, crashed=_crashed)) as records:
                for record in progress(records, len(cases), "smooth"):
                    if record.status == "failed":
                        place.failed.append(record.case)
                    yield record


def _smooth_case(
    case: Case, *, method: Method, config: StoreConfig, place: Destination, threads: int
) -> Record:
    def work() -> Outcome:
        output = str(place.shown / case.name)
        digest = file_sha256(case.path)
        inputs = [{"name": case.path.name, "rater": None, "sha256": digest}]
        if place.holds(case.name, config, inputs):
            return Outcome(output, skipped="already complete")
        with open_label_file(case.path) as file:
            _check_names(file, config.classes)
            geometry = file.geometry
            indices = file.indices(config.classes, ignore_label=config.ignore_label)
        sigma_size = method.window_json(geometry.spacing_mm)
        softening = method.on_grid(geometry.spacing_mm)
        with place.building(case.name) as folder:
            writer = CaseWriter(folder, case.name, geometry=geometry, config=config)
            _write_volume(writer, indices, softening, config, threads)
            writer.finish(
                case_attributes(
                    config,
                    geometry=geometry.to_json(),
                    window=sigma_size,
                    inputs=inputs,
                    shards=writer.shards,
                )
            )
            size = folder_bytes(folder)
        return Outcome(output, size)

    return recorded(case.name, (str(case.path),), work)


def _write_volume(
    writer: CaseWriter,
    indices: UIntArray,
    softening: Softening,
    config: StoreConfig,
    threads: int,
) -> None:
    """Soften and encode block by block, write shard by shard."""
    radius = softening.radius or (0,) * indices.ndim

    def encode(block: tuple[tuple[int, ...], list[slice]]) -> EncodedBlock:
        place, voxels = block
        soft = soften_block(
            region_with_halo(indices, voxels, radius),
            softening,
            n_classes=len(config.classes),
            dtype=config.dtype,
        )
        return writer.encode(place, soft, indices[tuple(voxels)])

    with ThreadPoolExecutor(threads) as pool:
        for shard in writer.layout.shards():
            writer.write_shard(shard, pool.map(encode, writer.layout.blocks(shard)))


def _check_names(file: LabelFile, table: ClassTable) -> None:
    """A segment must not be smoothed under another's name."""
    for label in table.classes:
        segment = file.segments.get(label.value)
        named = label.name != default_name(label.value)
        if segment and segment.name and named and segment.name != label.name:
            raise InputError(
                f"label {label.value} is named {segment.name!r} here and "
                f"{label.name!r} in the classes"
            )


def _crashed(case: Case, how: str) -> Record:
    return Record.failure(case.name, how, (str(case.path),))
