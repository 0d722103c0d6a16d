"""Many cases into one store: the classes, the workers, and one case written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

from svls_cli.arrays import Float32Array, UIntArray
from svls_cli.batch.ahead import ahead
from svls_cli.batch.records import Outcome, Record
from svls_cli.batch.run import Batch, run_cases
from svls_cli.compiling.class_scan import Labelled, scan_classes
from svls_cli.compiling.guides import check_images, image_record, read_guide
from svls_cli.errors import InputError, InvalidParameterError, check_type
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.raters import HARD
from svls_cli.labels.values import look_up
from svls_cli.soften.devices import check_device
from svls_cli.soften.methods import Method, Softening
from svls_cli.soften.mixture import Mixture
from svls_cli.soften.regions import SoftenLater, soften_blocks
from svls_cli.store.destination import (
    Destination,
    existing_store,
    open_destination,
    store_to_replace,
)
from svls_cli.store.objects import folder_at
from svls_cli.store.schema import StoreConfig
from svls_cli.store.shards import ChunkIndex
from svls_cli.store.writer import CaseWriter, EncodedBlock

# Of a shard, of a block in it, and the block's voxels.
Block = tuple[ChunkIndex, ChunkIndex, list[slice]]


@dataclass(frozen=True)
class SoftCase:
    """What one case of a store is made from."""

    geometry: Geometry
    # (z, y, x) or (y, x) class index of each voxel, ``n_classes`` where it is ignored;
    # or codes of ``mixture``.
    labels: UIntArray
    mixture: Mixture | None = None
    # By rater, like ``labels``: class indices of the label maps that are kept beside
    # the hard one.
    maps: Mapping[str, UIntArray] = field(default_factory=dict)
    # ``name`` and ``weight`` of each rater, for fused cases.
    raters: list[dict[str, Any]] | None = None
    note: str | None = None  # a remark for the case's record


class Recipe(Protocol):
    """How a case becomes soft labels; travels to the workers."""

    @property
    def doing(self) -> str:
        """Verb for what is done to the cases, shown by the progress bar."""

    @property
    def command(self) -> str:
        """The command that makes such stores."""

    @property
    def method(self) -> Method:
        """How the labels are smoothed."""

    @property
    def device(self) -> str:
        """Device that smooths them."""

    def check(self, cases: Sequence[Any]) -> None:
        """Raise InvalidParameterError if the cases cannot be made in this way."""

    def configure(self, classes: ClassTable, ignore_label: int | None) -> StoreConfig:
        """The configuration of the store."""

    def inputs(self, case: Any) -> list[dict[str, Any]]:
        """``name``, ``rater`` and ``sha256`` of each of the case's files."""

    def read(self, case: Any, config: StoreConfig) -> SoftCase:
        """The case's labels, checked."""


def compile_cases(
    cases: Sequence[Labelled],
    out: str | Path,
    recipe: Recipe,
    *,
    classes: ClassSpec | None,
    ignore_label: int | None,
    overwrite: bool,
    dry_run: bool,
    batch: Batch | None,
) -> list[Record]:
    """Find the classes, open the store, and make every case in parallel.

    Parameters are those of `svls_cli.smooth_cases`; the recipe says how a case is made.

    Raises
    ------
    InvalidParameterError
        If a part is to overwrite the store.
    InputError
        If there are no cases or no classes.
    StoreError
        If ``out`` is no soft-label store, one made with other parameters, or one that
        is to be overwritten and was made by another command.
    """
    check_device(recipe.device)
    check_type("method", recipe.method, Method, "a Method, such as Method(sigma=1)")
    recipe.check(cases)
    check_images(cases, recipe.method)
    check_type("classes", classes, ClassSpec | None, "what parse_classes returns")
    check_type("batch", batch, Batch | None, "a Batch, such as Batch(jobs=4)")
    folder, batch = folder_at(out), batch or Batch()
    if not cases:
        raise InputError(f"no cases to {recipe.doing}")
    if batch.part and overwrite:
        raise InvalidParameterError(
            "--part does not go with --overwrite: the parts would remove each other's "
            "cases; remove the store before they start, or give it another name"
        )
    own = batch.own(cases)
    if not own:
        return []
    replaced = store_to_replace(folder, recipe.command) if overwrite else None
    kept = None if overwrite else existing_store(folder)
    table = None if kept is None else kept.classes
    if classes is not None:
        table = classes.table
        ignore_label = classes.ignore_label if ignore_label is None else ignore_label
    records: list[Record] = []
    with batch.workers(len(cases)) as workers:
        batch = replace(batch, jobs=workers)
        if table is None:
            scan = scan_classes(cases, batch)
            names = {case.name for case in scan.cases}
            own = [case for case in own if case.name in names]
            records += scan.failed
            if not own or (records and batch.fail_fast):
                return records
            table = scan.table(ignore_label)
        config = recipe.configure(table, ignore_label)
        with open_destination(
            folder, config, replace=replaced, dry_run=dry_run, remote=workers.remote
        ) as destination:
            threads = max(1, workers.jobs // len(own))
            compiler = CaseCompiler(recipe, destination, threads)
            batch = replace(batch, part=None)
            finished = run_cases(compiler, own, batch, doing=recipe.doing)
            records += [each.record for each in finished]
            destination.take_place(records, fail_fast=batch.fail_fast)
    return records


@dataclass(frozen=True)
class CaseCompiler:
    """Makes one case of a store, in a worker process."""

    recipe: Recipe
    destination: Destination
    threads: int  # number of threads for one case

    def __call__(self, case: Any) -> Outcome[None]:
        """Soften a case and put it into the store, whole or not at all."""
        destination, method = self.destination, self.recipe.method
        inputs, output = self.recipe.inputs(case), destination.output(case.name)
        if case.image is not None:
            inputs.append(image_record(case.image, inputs))
        if destination.holds(case.name, inputs):
            return Outcome(output, skipped="already complete")
        soft = self.recipe.read(case, destination.config)
        guide, notes = None, [soft.note] if soft.note else []
        if case.image is not None:
            guide = read_guide(case.image, soft.geometry)
            if not guide.any():
                notes.append("the image is constant: all neighbours look alike")
        spacing_mm = soft.geometry.spacing_mm
        with destination.writing(
            case.name, soft.geometry, raters=list(soft.maps)
        ) as writer:
            _write_volume(
                writer,
                soft,
                guide,
                method.on_grid(spacing_mm),
                destination.config,
                self.recipe.device,
                self.threads,
            )
            size = writer.finish(
                inputs,
                window=method.window_json(spacing_mm),
                raters=soft.raters,
                soft_input=soft.mixture is not None and soft.raters is None,
            )
        return Outcome(output, size, note="; ".join(notes) or None)


def _write_volume(
    writer: CaseWriter,
    case: SoftCase,
    guide: Float32Array | None,
    softening: Softening,
    config: StoreConfig,
    device: str,
    threads: int,
) -> None:
    """Soften and encode block by block, ahead of writing shard by shard."""
    layout = writer.layout
    blocks: list[Block] = [
        (shard, chunk, voxels)
        for shard in layout.shards()
        for chunk, voxels in layout.blocks(shard)
    ]
    softened = soften_blocks(
        case.labels,
        ([tuple(b[2]) for b in group] for _, group in groupby(blocks, itemgetter(0))),
        softening,
        n_classes=len(config.classes),
        dtype=config.dtype,
        mixture=case.mixture,
        guide=guide,
        device=device,
    )

    def encode(work: tuple[Block, SoftenLater]) -> tuple[ChunkIndex, EncodedBlock]:
        (shard, chunk, voxels), soften = work
        hard = case.labels[tuple(voxels)]
        if case.mixture is not None:
            hard = look_up(case.mixture.hard, hard)
        maps = {rater: labels[tuple(voxels)] for rater, labels in case.maps.items()}
        return shard, writer.encode(chunk, soften(), {HARD: hard, **maps})

    with ThreadPoolExecutor(threads) as pool:
        work = zip(blocks, softened, strict=True)
        encoded = ahead(pool, encode, work, 2 * threads)
        for shard, of_shard in groupby(encoded, key=itemgetter(0)):
            writer.write_shard(shard, (block for _, block in of_shard))
