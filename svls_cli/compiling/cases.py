"""What `pipeline` and `fusing` share: many cases into one store, one case written."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

from svls_cli.arrays import UIntArray
from svls_cli.batch.ahead import ahead
from svls_cli.batch.part import Part
from svls_cli.batch.records import Outcome, Record, Scannable, crashed
from svls_cli.batch.workers import Progress, Workers
from svls_cli.compiling.class_scan import ClassScan
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.raters import HARD
from svls_cli.labels.values import look_up
from svls_cli.soften.methods import Method, Softening
from svls_cli.soften.mixture import Mixture
from svls_cli.soften.regions import SoftenLater, soften_blocks
from svls_cli.store.destination import (
    Destination,
    destination,
    existing_store,
    store_case,
    store_to_replace,
)
from svls_cli.store.objects import Folder
from svls_cli.store.schema import StoreConfig
from svls_cli.store.shards import Place
from svls_cli.store.writer import CaseWriter, EncodedBlock

# Of a shard, of a block in it, and the block's voxels.
Block = tuple[Place, Place, list[slice]]


class Compile(Protocol):
    """Makes one case of a store, in a worker process."""

    def __call__(
        self, case: Any, *, config: StoreConfig, place: Destination, threads: int
    ) -> Record: ...


def compile_cases(
    cases: Sequence[Scannable],
    out: Folder,
    compile_case: Compile,
    *,
    configure: Callable[..., StoreConfig],
    doing: str,
    classes: ClassSpec | None,
    ignore_label: int | None,
    jobs: int | Workers | None,
    part: Part | None,
    overwrite: bool,
    dry_run: bool,
    progress: Progress,
) -> Generator[Record]:
    """Find the classes, open the store, and make every case in parallel.

    Parameters
    ----------
    cases
        What the cases are made of.
    out
        The store.
    compile_case
        Run in a worker on each case.
    configure
        Makes the configuration, given ``classes`` and ``ignore_label``.
    doing
        Shown by the progress bar.
    classes, ignore_label, jobs, part, overwrite, dry_run, progress
        As in `svls_cli.smooth_cases`.

    Raises
    ------
    InvalidParameterError
        If a part is to overwrite the store.
    InputError
        If there are no cases or no classes.
    StoreError
        If ``out`` is no soft-label store, or one made with other parameters.
    """
    if not cases:
        raise InputError(f"no cases to {doing}")
    if part and overwrite:
        raise InvalidParameterError(
            "--part does not go with --overwrite: the parts would remove each other's "
            "cases; remove the store before they start, or give it another name"
        )
    own = part.of(cases) if part else cases
    if not own:
        return
    replaced = store_to_replace(out) if overwrite else None
    kept = None if overwrite else existing_store(out)
    if ignore_label is None and classes is not None:
        ignore_label = classes.ignore_label
    stored = None if kept is None else kept.classes
    table = classes.table if classes else stored
    with Workers.of(jobs, items=len(cases)) as workers:
        scan = ClassScan()
        if table is None:
            # Classes are those of the whole set, whatever this run's part of it.
            names = {case.name for case in own}
            failures = scan.run(cases, workers, progress)
            yield from (record for record in failures if record.case in names)
            own = [case for case in scan.cases if case.name in names]
            if not own:
                return
            table = scan.table(ignore_label)
        config = configure(classes=table, ignore_label=ignore_label)
        with destination(
            out, config, replace=replaced, dry_run=dry_run, remote=workers.remote
        ) as place:
            place.failed.extend(scan.failed)
            task = partial(
                compile_case,
                config=config,
                place=place,
                threads=max(1, workers.jobs // len(own)),
            )
            with closing(workers.map(task, own, crashed=crashed)) as records:
                for record in progress(records, len(own), doing):
                    if record.status == "failed":
                        place.failed.append(record.case)
                    yield record


@dataclass(frozen=True)
class SoftCase:
    """What one case of a store is made from.

    Parameters
    ----------
    geometry
        Its grid.
    labels : (z, y, x) or (y, x)
        Class index of each voxel, ``n_classes`` where it is ignored; or codes of
        ``mixture``.
    inputs
        ``name``, ``rater`` and ``sha256`` of each file.
    mixture
        What the codes stand for.
    maps : by rater, like ``labels``
        Class indices of the label maps that are kept beside the hard one.
    raters
        ``name`` and ``weight`` of each, for fused cases.
    """

    geometry: Geometry
    labels: UIntArray
    inputs: list[dict[str, Any]]
    mixture: Mixture | None = None
    maps: Mapping[str, UIntArray] = field(default_factory=dict)
    raters: list[dict[str, Any]] | None = None


def write_case(
    place: Destination,
    name: str,
    case: SoftCase,
    *,
    method: Method,
    config: StoreConfig,
    device: str,
    threads: int,
) -> Outcome:
    """Soften one case and put it into the store, whole or not at all."""
    spacing_mm = case.geometry.spacing_mm
    softening = method.on_grid(spacing_mm)
    return store_case(
        place,
        name,
        partial(
            _write_volume,
            case=case,
            softening=softening,
            config=config,
            device=device,
            threads=threads,
        ),
        geometry=case.geometry,
        config=config,
        inputs=case.inputs,
        window=method.window_json(spacing_mm),
        maps=list(case.maps),
        raters=case.raters,
    )


def _write_volume(
    writer: CaseWriter,
    case: SoftCase,
    softening: Softening,
    config: StoreConfig,
    device: str,
    threads: int,
) -> None:
    """Soften and encode block by block, ahead of writing shard by shard."""
    layout = writer.layout
    blocks: list[Block] = [
        (shard, place, voxels)
        for shard in layout.shards()
        for place, voxels in layout.blocks(shard)
    ]
    softened = soften_blocks(
        case.labels,
        ([tuple(b[2]) for b in group] for _, group in groupby(blocks, itemgetter(0))),
        softening,
        n_classes=len(config.classes),
        dtype=config.dtype,
        mixture=case.mixture,
        device=device,
    )

    def encode(work: tuple[Block, SoftenLater]) -> tuple[Place, EncodedBlock]:
        (shard, place, voxels), soften = work
        hard = case.labels[tuple(voxels)]
        if case.mixture is not None:
            hard = look_up(case.mixture.hard, hard)
        maps = {rater: labels[tuple(voxels)] for rater, labels in case.maps.items()}
        return shard, writer.encode(place, soften(), {HARD: hard, **maps})

    with ThreadPoolExecutor(threads) as pool:
        work = zip(blocks, softened, strict=True)
        encoded = ahead(pool, encode, work, 2 * threads)
        for shard, of_shard in groupby(encoded, key=itemgetter(0)):
            writer.write_shard(shard, (block for _, block in of_shard))
