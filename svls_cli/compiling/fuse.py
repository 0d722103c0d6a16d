"""From several raters' label maps to one soft-label store."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from svls_cli.batch.part import Part
from svls_cli.batch.records import Outcome, Record, recorded, until_failure
from svls_cli.batch.workers import Progress, Workers, no_progress
from svls_cli.compiling.cases import SoftCase, compile_cases, write_case
from svls_cli.labels.class_files import ClassSpec
from svls_cli.labels.rater_maps import rater_inputs, read_rater_maps
from svls_cli.labels.raters import RatedCase
from svls_cli.raters.fusion import Fusion, check_weights, fuse
from svls_cli.raters.votes import tally
from svls_cli.soften.devices import check_device
from svls_cli.soften.methods import Method
from svls_cli.store.destination import Destination
from svls_cli.store.objects import folder_at
from svls_cli.store.schema import StoreConfig


def fuse_cases(
    cases: Sequence[RatedCase],
    out: str | Path,
    *,
    fusion: Fusion | None = None,
    method: Method | None = None,
    keep_raters: bool = True,
    resample_to_first: bool = False,
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
    """Fuse the label maps of several raters and compile them into a soft-label store.

    Parameters
    ----------
    cases
        What `find_rated_cases` found.
    out
        The store; made if it does not exist.
    fusion
        Default: the mean of all raters that annotated the case.
    method
        How the fused map is smoothed. Default: SVLS as published; with the mean that is
        the paper's multi-rater SVLS.
    keep_raters
        Keep each rater's own label map in the store, beside the hard consensus.
    resample_to_first
        Bring raters of other grids onto the first one's by nearest neighbour.
    classes, ignore_label, dtype, device, jobs, part
        As in `smooth_cases`.
    overwrite, fail_fast, dry_run, progress
        Likewise.

    Returns
    -------
    generator of Record
        One per case, in the order in which they finish; the work is done while they
        are read. A case that lacks raters is done with those it has, and says so in
        its ``reason``.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of range, weights and raters differ, or a part is to
        overwrite the store.
    InputError
        If there are no classes.
    StoreError
        If ``out`` is no soft-label store, or one made with other parameters.

    References
    ----------
    .. [1] Islam & Glocker, "Spatially Varying Label Smoothing", IPMI 2021,
       arXiv:2104.05788.
    """
    check_device(device)
    fusion, method = fusion or Fusion(), method or Method()
    check_weights(cases, fusion)
    settings: dict[str, Any] = {
        **fusion.to_json(),
        "keep_raters": keep_raters,
        "resample_to_first": resample_to_first,
    }
    records = compile_cases(
        cases,
        folder_at(out),
        partial(_fuse_case, fusion=fusion, method=method, device=device),
        configure=partial(StoreConfig.create, method, dtype=dtype, fusion=settings),
        doing="fuse",
        classes=classes,
        ignore_label=ignore_label,
        jobs=jobs,
        part=part,
        overwrite=overwrite,
        dry_run=dry_run,
        progress=progress,
    )
    return until_failure(records, fail_fast=fail_fast)


def _fuse_case(
    case: RatedCase,
    *,
    fusion: Fusion,
    method: Method,
    device: str,
    config: StoreConfig,
    place: Destination,
    threads: int,
) -> Record:
    settings = config.fusion or {}

    def work() -> Outcome:
        inputs = rater_inputs(case)
        if place.holds(case.name, config, inputs):
            return Outcome(place.output(case.name), skipped="already complete")
        given = read_rater_maps(
            case,
            config.classes,
            ignore_label=config.ignore_label,
            resample_to_first=settings["resample_to_first"],
        )
        fused = fuse(
            tally(given.maps, n_classes=len(config.classes)), given.raters, fusion
        )
        weights = fused.weights or (None,) * len(given.raters)
        names = zip(given.raters, weights, strict=True)
        kept = zip(given.raters, given.maps, strict=True)
        soft = SoftCase(
            given.geometry,
            fused.labels,
            inputs,
            mixture=fused.mixture,
            maps=dict(kept) if settings["keep_raters"] else {},
            raters=[{"name": rater, "weight": weight} for rater, weight in names],
        )
        outcome = write_case(
            place,
            case.name,
            soft,
            method=method,
            config=config,
            device=device,
            threads=threads,
        )
        return Outcome(outcome.output, outcome.bytes, note=case.missing_note)

    return recorded(case.name, case.inputs, work)
