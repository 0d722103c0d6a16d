"""`svls-cli smooth`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from svls_cli.cli import console, options, smoothing_options, store_tables
from svls_cli.cli.command import PATH, Command


@click.command("smooth", cls=Command)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUTS...", type=PATH)
@click.argument("out", metavar="OUT.zarr", type=PATH)
@smoothing_options.smoothing
@options.pattern
@options.series
@options.overlap_or_share
@options.classes
@options.unlabelled
@options.dtype
@options.overwrite("Make the store anew, instead of going on with it.")
@options.dry_run
@options.as_json
@options.device
@options.jobs
@options.scheduler
@options.part
@options.fail_fast
def command(
    inputs: tuple[str, ...],
    out: str,
    pattern: str | None,
    series: Path | None,
    overlap: Any,
    classes: str | None,
    as_json: bool,
    **rest: Any,
) -> int:
    """Compile label maps into a store of soft labels.

    INPUTS are label map files (NIfTI, NRRD, MetaImage, MGZ, PNG, TIFF, DICOM), folders
    of them, DICOM studies, or - to read one path, or one JSON record {"case": ...,
    "label": ...}, per line of standard input; a record may also name the "image". A
    case is named after its file, or as --pattern says.

    OUT.zarr is a folder, or s3://bucket/name.zarr.

    Cases that OUT.zarr holds already, made from the same file with the same parameters,
    are skipped: to resume, run the same command again.

    \b
      svls-cli smooth --sigma 1 labels/ out.zarr
      svls-cli smooth --sigma-mm 1.5 --classes dataset.json labelsTr/ out.zarr
      svls-cli smooth --pattern '{case}/{case}_seg.nii.gz' cases/ out.zarr
      svls-cli smooth --pattern '{case}/{class}.nii.gz' masks/ out.zarr
      svls-cli smooth --series ct/ seg.dcm out.zarr
      svls-cli smooth --method bilateral --images images/ labels/ out.zarr
      find . -name '*_seg.nrrd' | svls-cli smooth --json - out.zarr
    """
    from svls_cli.cli.label_files import label_files
    from svls_cli.labels.cases import find_cases

    lines = console.stdin_lines(inputs)
    files = label_files(series, overlap, pattern)
    cases = find_cases(inputs, pattern=pattern, lines=lines, files=files)
    cases = smoothing_options.with_images(cases, rest)
    done = "would be smoothed" if rest["dry_run"] else "smoothed"
    reporter = console.Reporter(as_json=as_json, done=done, where=out)
    with console.batch(
        rest,
        items=len(cases),
        module="svls_cli.compiling.smooth",
        on_record=reporter,
    ) as batch:
        from svls_cli.compiling.smooth import smooth_cases

        smooth_cases(
            cases,
            out,
            method=smoothing_options.method_of(rest),
            classes=options.classes_of(classes),
            batch=batch,
            **rest,
        )
    code = reporter.finish()
    if reporter.tells_more and not rest["dry_run"]:
        store_tables.show_made(out)
    return code
