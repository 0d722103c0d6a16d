"""`svls-cli fuse-raters`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from svls_cli.cli import console, options, smoothing_options, store_tables
from svls_cli.cli.command import PATH, Command, option
from svls_cli.labels.names import composed
from svls_cli.raters.choices import FUSIONS, MEASURED_WEIGHTS, TIES

# What a folder of hard label maps has no use for.
_SOFT_OPTIONS = (
    "method",
    *smoothing_options.METHOD_PARAMETERS,
    "images",
    "image_pattern",
    "dtype",
    "device",
    "drop_raters",
)

if TYPE_CHECKING:
    from svls_cli.batch.run import Batch
    from svls_cli.labels.class_files import ClassSpec


def parse_weights(text: str) -> Any:
    """``staple``, ``dice``, or ``r1=2,r2=1`` as a number for each rater."""
    if text in MEASURED_WEIGHTS:
        return text
    try:
        pairs = [part.rsplit("=", 1) for part in text.split(",")]
        weights = {composed(rater.strip()): float(number) for rater, number in pairs}
    except ValueError:
        message = f"{text!r} is neither staple, dice nor r1=2,r2=1"
        raise click.BadParameter(message) from None
    if len(weights) < len(pairs):
        raise click.BadParameter(f"{text!r} names a rater twice")
    return weights


@click.command("fuse-raters", cls=Command)
@click.argument("raters", nargs=-1, required=True, metavar="RATERS...", type=PATH)
@click.argument("out", metavar="OUT", type=PATH)
@option(
    "--fusion",
    group="Fusion",
    type=click.Choice(FUSIONS),
    default="mean",
    help="mean: the raters' mean, which smoothed is the paper's multi-rater SVLS. "
    "majority: the label of most raters. staple: how probable each label is, by "
    "STAPLE over the voxels on which the raters disagree; three raters or fewer "
    "disagree in too few ways for it to tell who is right. Labels that are soft "
    "already, as contours are, are averaged as they are by mean; to the others each "
    "voxel is the class with the largest share.",
)
@option(
    "--weights",
    group="Fusion",
    type=parse_weights,
    metavar="R1=2,R2=1|dice|staple",
    help="Weight of each rater: numbers by name; or, measured case by case, the mean "
    "Dice with the others, or the sensitivity that STAPLE finds. [default: all count "
    "the same]",
)
@option(
    "--ties",
    group="Fusion",
    type=click.Choice(TIES),
    default="lowest",
    help="Value of the hard label where several labels have the same weight.",
)
@smoothing_options.smoothing
@options.rater_pattern
@options.series
@options.overlap_or_share
@options.classes
@options.unlabelled
@options.resample_to_first
@options.dtype
@option(
    "--drop-raters",
    group="Output",
    is_flag=True,
    help="Leave each rater's own label map out of the store.",
)
@options.overwrite("Make OUT anew, instead of going on with it.")
@options.dry_run
@options.as_json
@options.report(
    "Also measure how far the raters agree: Dice, surface Dice, Fleiss' kappa, "
    "volumes, disputed voxels, entropy, each rater against STAPLE's consensus. The "
    "file gets every case, standard error a summary.",
    group="Agreement",
    metavar="FILE.json|.csv",
)
@options.tolerance_mm("the report's ", group="Agreement")
@options.device
@options.jobs
@options.scheduler
@options.part
@options.fail_fast
def command(
    raters: tuple[str, ...],
    out: str,
    report: Path | None,
    tolerance_mm: float,
    as_json: bool,
    **rest: Any,
) -> int:
    """Fuse the label maps of several raters.

    RATERS are folders, one per rater, in which files of one case have one name; or,
    with --pattern '{case}_{rater}.nii.gz', folders of all raters' files; or - to read
    JSON records {"case": ..., "raters": {"r1": path, ...}} from standard input, which
    may also name the "image". A case may lack raters.

    If OUT ends in .zarr, it becomes a store of soft labels, as smooth makes, which also
    keeps each rater's own map; it is a folder, or s3://bucket/name.zarr. Otherwise OUT
    becomes a folder of hard consensus label maps.

    Cases that OUT holds already, made from the same files with the same parameters, are
    skipped: to resume, run the same command again.

    \b
      svls-cli fuse-raters --sigma 1 a/ b/ c/ out.zarr
      svls-cli fuse-raters --pattern '{case}/{rater}.nii.gz' lidc/ out.zarr
      svls-cli fuse-raters --fusion staple a/ b/ c/ fused/
    """
    from svls_cli.cli.label_files import label_files
    from svls_cli.labels.raters import find_rated_cases

    _check_report(report, tolerance_mm, rest["part"])
    lines = console.stdin_lines(raters)
    pattern = rest.pop("pattern")
    files = label_files(rest.pop("series"), rest.pop("overlap"), pattern)
    cases = find_rated_cases(raters, pattern=pattern, lines=lines, files=files)
    fuse = _into_store if out.endswith(".zarr") else _into_folder
    done = "would be fused" if rest["dry_run"] else "fused"
    reporter = console.Reporter(as_json=as_json, done=done, where=out)
    classes = rest["classes"] = options.classes_of(rest["classes"])
    if rest["ignore_label"] is None and classes is not None:
        rest["ignore_label"] = classes.ignore_label
    read = {key: rest[key] for key in ("ignore_label", "resample_to_first")}
    with console.batch(
        rest, items=len(cases), module="svls_cli.compiling.fuse", on_record=reporter
    ) as batch:
        fuse(cases, out, batch=batch, **rest)
        code = reporter.finish()
        made = fuse is _into_store and not rest["dry_run"]
        if made and reporter.tells_more:
            store_tables.show_made(out)
        if report is not None:
            _measure(cases, report, tolerance_mm, _classes(out, classes), batch, **read)
    return code


def _check_report(report: Path | None, tolerance_mm: float, part: Any) -> None:
    """Complain of wrong parameters before the work, not after it."""
    if report is not None:
        if part is not None:
            raise click.UsageError(
                "--report measures all cases: ask for it without --part, once all "
                "parts are done"
            )
        from svls_cli.files import check_report_path
        from svls_cli.metrics.surface import check_tolerance_mm

        check_report_path(report)
        check_tolerance_mm(tolerance_mm)


def _classes(out: str, classes: ClassSpec | None) -> Any:
    """Classes of the store, once there is one."""
    from svls_cli.store.destination import existing_store
    from svls_cli.store.objects import folder_at

    store = existing_store(folder_at(out)) if out.endswith(".zarr") else None
    if store is not None:
        return store.classes
    return None if classes is None else classes.table


def _measure(
    cases: Any,
    report: Path,
    tolerance_mm: float,
    classes: Any,
    batch: Batch,
    **rest: Any,
) -> None:
    from svls_cli.batch.run import ignore
    from svls_cli.raters.measuring import measure_cases

    agreement, _ = measure_cases(  # a case that fails here failed before
        cases,
        classes=classes,
        tolerance_mm=tolerance_mm,
        batch=replace(batch, on_record=ignore, fail_fast=False),
        **rest,
    )
    if agreement is None:
        console.echo("no case could be measured, so there is no report", err=True)
        return
    agreement.write(report)
    console.echo("\n".join(agreement.table(width=console.width())), err=True)


def _into_store(cases: Any, out: str, *, drop_raters: bool, **rest: Any) -> Any:
    from svls_cli.compiling.fuse import fuse_cases

    cases = smoothing_options.with_images(cases, rest)
    fusion, method = _fusion(rest), smoothing_options.method_of(rest)
    return fuse_cases(
        cases, out, fusion=fusion, method=method, keep_raters=not drop_raters, **rest
    )


def _into_folder(cases: Any, out: str, **rest: Any) -> Any:
    from svls_cli.compiling.consensus import write_consensus

    _refuse_soft_options(out)
    cases = smoothing_options.with_images(cases, rest)
    for name in _SOFT_OPTIONS:
        rest.pop(name, None)
    return write_consensus(cases, out, fusion=_fusion(rest), **rest)


def _refuse_soft_options(out: str) -> None:
    """Complain of options on the command line that mean soft labels."""
    context = click.get_current_context()
    unused = [
        f"--{name.replace('_', '-')}"
        for name in _SOFT_OPTIONS
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    ]
    if unused:
        raise click.UsageError(
            f"{', '.join(unused)}: of no use for {out}, a folder of hard label maps; a "
            "store of soft labels ends in .zarr"
        )


def _fusion(rest: dict[str, Any]) -> Any:
    from svls_cli.raters.fusion import Fusion

    return Fusion(*map(rest.pop, ("fusion", "weights", "ties")))
