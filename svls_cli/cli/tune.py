"""`svls-cli tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from svls_cli.cli import console, options, smoothing_options, tune_tables
from svls_cli.cli.command import PATH, Command, option
from svls_cli.tuning.score_names import SCORES


def number_list(text: str) -> tuple[float, ...]:
    """Numbers with commas between them."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        message = f"{text!r} is no list of numbers such as 0.5,1,2"
        raise click.BadParameter(message) from None


@click.command("tune", cls=Command)
@click.argument("raters", nargs=-1, required=True, metavar="RATERS...", type=PATH)
@option(
    "--sigmas",
    group="Search",
    type=number_list,
    metavar="NUMBERS",
    help="Standard deviations to try, in voxels and in mm, each with a window of three "
    "sigmas either side and with one of 3 voxels. [default: 0.5,0.75,1,1.5,2,3]",
)
@option(
    "--strengths",
    group="Search",
    type=number_list,
    metavar="NUMBERS",
    help="Shares of the neighbours to try. [default: 0.1,0.2,...,1]",
)
@option(
    "--intensity-scales",
    group="Search",
    type=number_list,
    metavar="NUMBERS",
    help="Intensity scales of image-guided smoothing to try, with --images. [default: "
    "0.5,1]",
)
@smoothing_options.images("Search")
@option(
    "--score",
    group="Search",
    type=click.Choice(SCORES),
    default="nll",
    help="Score that the choice goes by: negative log-likelihood; the same with all "
    "classes of a case of one weight, so that large ones do not rule; or Brier score.",
)
@options.band_mm("Score voxels", group="Search")
@options.in_plane("windows and band leave out the first axis", group="Search")
@option(
    "--folds",
    group="Search",
    metavar="N",
    default=5,
    help="Number of folds of the cross-validation over patients.",
)
@options.patients(
    "Folds and intervals keep the cases of a patient together. [default: each case is "
    "its own patient]",
    group="Search",
)
@options.seed("Seed of the folds and of the intervals.", group="Search")
@options.rater_pattern
@options.series
@options.overlap
@options.classes
@options.ignore_label(
    "Voxels of this value count neither as a forecast, nor as something to forecast, "
    "nor for any neighbour."
)
@options.resample_to_first
@options.report(
    "Write everything to a file, with each candidate's scores and each fold's choice.",
    group="Output",
    metavar="FILE.json",
)
@options.figure("Draw the scores by sigma and strength")
@option(
    "--json",
    "as_json",
    group="Output",
    is_flag=True,
    help="Print the report as one line of JSON instead of tables.",
)
@options.jobs
def command(
    raters: tuple[str, ...],
    report: Path | None,
    figure: Path | None,
    as_json: bool,
    **rest: Any,
) -> int:
    """Choose sigma, size and strength of SVLS by how raters differ.

    RATERS are label maps of the same cases by several raters, as for fuse-raters. Soft
    labels are a forecast of a rater who had no part in them, and what forecasts best
    near boundaries is looked for: once for labels of one map, as smooth makes, once for
    the mean of several, as fuse-raters makes. Candidates are SVLS, with --images
    image-guided smoothing, label smoothing, and no smoothing.

    The best is recommended if a 95 % interval tells that it is better than SVLS as
    published on cases that did not choose it; otherwise, and with fewer than six
    patients, SVLS as published is.

    \b
      svls-cli tune a/ b/ c/
      svls-cli tune --pattern '{case}/{rater}.nii.gz' --report tune.json lidc/
      svls-cli tune --in-plane --patients cases.csv r1/ r2/ r3/ r4/
    """
    from svls_cli.cli.label_files import label_files
    from svls_cli.files import check_report_path
    from svls_cli.labels.raters import find_rated_cases
    from svls_cli.labels.scans import pair_images

    if report is not None:
        check_report_path(report, (".json",))
    console.check_targets(None, figure)
    read = _input_options(rest)
    lines = console.stdin_lines(raters)
    pattern = rest.pop("pattern")
    files = label_files(rest.pop("series"), rest.pop("overlap"), pattern)
    cases = find_rated_cases(raters, pattern=pattern, lines=lines, files=files)
    images, image_pattern = rest.pop("images"), rest.pop("image_pattern")
    if "-" in images:
        raise click.UsageError("--images takes files and folders, not standard input")
    if images:
        cases = pair_images(cases, images, pattern=image_pattern)
    elif image_pattern or (
        rest["intensity_scales"] and all(case.image is None for case in cases)
    ):
        raise click.UsageError(
            "--image-pattern and --intensity-scales are of use with --images only"
        )
    result = _tune(cases, **rest).read_with(read)
    tune_tables.complain(result)
    _write(result, report, figure)
    if as_json:
        console.print_json(result.to_json())
    else:
        tune_tables.show_tuning(result)
    return console.EXIT_SOME_FAILED if result.failed else 0


def _input_options(rest: dict[str, Any]) -> dict[str, Any]:
    """The options given that say how files are read, for the command to copy."""
    names = (
        "pattern",
        "series",
        "overlap",
        "image_pattern",
        "classes",
        "ignore_label",
        "resample_to_first",
    )
    return {
        f"--{name.replace('_', '-')}": rest[name]
        for name in names
        if rest[name] not in (None, False, "fail")
    }


def _tune(cases: Any, *, classes: str | None, **rest: Any) -> Any:
    module = "svls_cli.tuning.tune"
    with console.batch(rest, items=len(cases), module=module) as batch:
        from svls_cli.tuning.tune import tune_smoothing

        for name in ("sigmas", "strengths"):  # the defaults are the function's
            if rest[name] is None:
                del rest[name]
        return tune_smoothing(
            cases,
            classes=options.classes_of(classes),
            batch=batch,
            **rest,
        )


def _write(result: Any, report: Path | None, figure: Path | None) -> None:
    if report is not None:
        from svls_cli.files import write_json

        write_json(result.to_json(), report)
    if figure is not None:
        from svls_cli.tuning.figure import draw_tuning

        draw_tuning(result, figure)
