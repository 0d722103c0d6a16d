"""`fuse-raters` against the script that a user would write.

    python tests/benchmarks/fusion.py [--rounds 3] [--classes N --cases FOLDER]

FOLDER holds `CASE_RATER.nii.gz` of two raters; without it, phantoms. Ours makes
multi-rater SVLS and a STAPLE consensus, two runs of the command, their times added and
the larger memory taken; the script (`raters.py`) makes an unsmoothed mean, a vote and
MultiLabelSTAPLE. Time and memory (all processes together) are of the same run,
interleaved.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import phantoms
from timing import COMMAND, Measured, option_parser, print_table, run_command

HERE = Path(__file__).parent


def write_phantoms(folder: Path, shape: tuple[int, ...]) -> None:
    """Two cases by two raters, one of whom draws a voxel lower."""
    for case in ("one", "two"):
        labels = phantoms.organs(shape, 22)
        for rater, drawn in (("a", labels), ("b", np.roll(labels, 1, axis=1))):
            phantoms.write(folder / f"{case}_{rater}.nii.gz", drawn)


def ours(given: Path, out: Path) -> Measured:
    """Both runs of our command."""
    options = ["--jobs", "2", "--pattern", "{case}_{rater}.nii.gz"]
    runs = [
        run_command([COMMAND, "fuse-raters", *options, *more, given, target])
        for more, target in (
            ([], out / "soft.zarr"),
            (["--fusion", "staple"], out / "consensus"),
        )
    ]
    return Measured(sum(r.seconds for r in runs), max(r.peak_bytes for r in runs))


def script(given: Path, out: Path, n_classes: int) -> Measured:
    """One run of the script over all cases."""
    cases: dict[str, list[Path]] = {}
    for path in sorted(given.glob("*_*.nii.gz")):
        cases.setdefault(path.name.rsplit("_", 1)[0], []).append(path)
    listed: list[str | Path] = []
    for name, paths in cases.items():
        listed += [name, *paths]
    return run_command(
        [sys.executable, HERE / "raters.py", str(n_classes), out, *listed]
    )


def main() -> None:
    parser = option_parser(__doc__, rounds=3)
    parser.add_argument("--classes", type=int, default=22)
    parser.add_argument("--cases", type=Path, help="instead of phantoms")
    options = parser.parse_args()
    runs: dict[str, list[Measured]] = {"ours": [], "script": []}
    with tempfile.TemporaryDirectory(prefix="svls-bench-") as name:
        given = options.cases or Path(name)
        if options.cases is None:
            write_phantoms(given, phantoms.scaled(options.scale, 145, 512, 512))
        for _ in range(options.rounds):
            out = Path(tempfile.mkdtemp(prefix="svls-bench-"))
            out.joinpath("ours").mkdir()
            runs["ours"].append(ours(given, out / "ours"))
            runs["script"].append(script(given, out / "script", options.classes))
            shutil.rmtree(out)
    seconds = {who: median(r.seconds for r in found) for who, found in runs.items()}
    memory = {who: median(r.peak_bytes for r in found) for who, found in runs.items()}
    cells = [f"{taken:.2f} s" for taken in seconds.values()]
    cells.append(f"{seconds['script'] / seconds['ours']:.1f}x")
    cells += [f"{taken / 1e6:.0f} MB" for taken in memory.values()]
    cells.append(f"{memory['ours'] / memory['script']:.2f}")
    header = ["ours", "script", "faster", "memory", "script's", "ratio"]
    print_table("Fusing raters, medians", header, [cells])


if __name__ == "__main__":
    main()
