"""The whole command against the script that a user would write.

    python tests/benchmarks/command.py [--rounds 3] [--classes N --label-maps FILE...]

The script (`published.py`) is told the number of classes, reads with SimpleITK, smooths
with PyTorch on 2 threads and saves float32 with Zarr defaults. Ours hashes its inputs,
checks their integrity and finds the classes by itself, for which it reads all inputs
twice; or it is told them too. Times are interleaved; memory (all processes together) is
that of one more run, which looking at it slows down. The floor is what no program that
makes our store could leave out: gunzip, zstd of what is not constant, writing and
flushing, on as many cores as there are jobs, and without start-up.
"""

import gzip
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import phantoms
import zarr
from timing import COMMAND, option_parser, print_table, run_command, time_command

from svls_cli.store.shards import encode_chunk

HERE = Path(__file__).parent
HEADER = ["input", "run", "median s", "2 jobs", "peak MB", "store MB", "files"]


def compare(
    name: str, paths: list[Path], n_classes: int, rounds: int
) -> list[list[str]]:
    """Rows of the table."""
    folder = Path(tempfile.mkdtemp(prefix="svls-bench-"))
    told = ("--classes", ",".join(map(str, range(n_classes))))
    smooth = [COMMAND, "smooth", *paths]
    script = [sys.executable, HERE / "published.py", str(n_classes)]
    commands = {
        "2 jobs": [*smooth, folder / "2 jobs", "--jobs", "2"],
        "1 job": [*smooth, folder / "1 job", "--jobs", "1"],
        "2 jobs, told": [*smooth, folder / "2 jobs, told", "--jobs", "2", *told],
        "script": [*script, folder / "script", *paths],
    }
    seconds: dict[str, list[float]] = {who: [] for who in commands}
    floors, peak_bytes = [], {}
    try:
        for _ in range(rounds):
            for who, command in commands.items():
                shutil.rmtree(folder / who, ignore_errors=True)
                seconds[who].append(time_command(command))
            floors.append(floor(paths, folder / "2 jobs", folder / "floor") / 2)
        for who, command in commands.items():
            shutil.rmtree(folder / who, ignore_errors=True)
            peak_bytes[who] = run_command(command).peak_bytes
        taken = {who: median(runs) for who, runs in seconds.items()}
        rows = [
            [name, who, *cells(taken[who], taken["2 jobs"], peak, folder / who)]
            for who, peak in peak_bytes.items()
        ]
    finally:
        shutil.rmtree(folder)
    share = median(floors) / taken["2 jobs"]
    rows.append([name, "floor", f"{median(floors):.2f}", f"{share:.2f}x", *"---"])
    return rows


def cells(seconds: float, ours: float, peak_bytes: int, store: Path) -> list[str]:
    """What is said of one contestant."""
    files = [path.stat().st_size for path in store.rglob("*") if path.is_file()]
    return [
        f"{seconds:.2f}",
        f"{seconds / ours:.2f}x",
        f"{peak_bytes / 1e6:.0f}",
        f"{sum(files) / 1e6:.2f}",
        f"{len(files)}",
    ]


def floor(paths: list[Path], store: Path, target: Path) -> float:
    """Seconds of gunzip, zstd, and writing and flushing as many files, on one core."""
    seconds = 0.0
    for path in paths:
        start = time.perf_counter()
        gzip.decompress(path.read_bytes())
        seconds += time.perf_counter() - start
    for number, file in enumerate(store.rglob("*")):
        if file.is_dir():
            continue
        content = file.read_bytes()
        target.mkdir(exist_ok=True)
        start = time.perf_counter()
        with (target / f"{number}").open("wb") as out:
            out.write(content)
            os.fsync(out.fileno())
        seconds += time.perf_counter() - start
    shutil.rmtree(target)
    for case in store.iterdir():
        for name in ("0", "labels/hard/0") if case.is_dir() else ():
            seconds += packing(zarr.open_array(case, path=name, mode="r"))
    return seconds


def packing(array: Any) -> float:
    """Seconds to compress the chunks of an array that are not constant."""
    seconds = 0.0
    for corner in np.ndindex(*array.cdata_shape):
        at = [
            slice(c * n, (c + 1) * n) for c, n in zip(corner, array.chunks, strict=True)
        ]
        chunk = np.asarray(array[tuple(at)])
        if (chunk == chunk[(slice(None), *(slice(0, 1),) * (chunk.ndim - 1))]).all():
            continue
        start = time.perf_counter()
        encode_chunk(chunk)
        seconds += time.perf_counter() - start
    return seconds


def main() -> None:
    parser = option_parser(__doc__, rounds=3)
    parser.add_argument("--volumes", type=int, default=50, help="of the 4-class row")
    parser.add_argument("--classes", type=int, help="of --label-maps")
    parser.add_argument(
        "--label-maps", type=Path, nargs="+", help="instead of phantoms"
    )
    options = parser.parse_args()
    given = options.label_maps
    with tempfile.TemporaryDirectory(prefix="svls-bench-") as name:
        folder = Path(name)
        sets = [(f"{len(given or ())} given", given, options.classes)]
        if not given:
            lesion = phantoms.lesion(phantoms.scaled(options.scale, 155, 240, 240), 4)
            lesions = phantoms.write_cases(folder, lesion, options.volumes)
            organs = phantoms.organs(phantoms.scaled(options.scale, 145, 512, 512), 22)
            sets = [
                ("1 x 4 classes", lesions[:1], 4),
                (f"{len(lesions)} x 4 classes", lesions, 4),
                (
                    "1 x 22 classes",
                    [phantoms.write(Path(name, "o.nii.gz"), organs)],
                    22,
                ),
            ]
        rows = [row for each in sets for row in compare(*each, options.rounds)]
    print_table("Whole command", HEADER, rows)


if __name__ == "__main__":
    main()
