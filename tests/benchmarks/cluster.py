"""The same cases on a Dask cluster of two workers and with `--jobs 2`.

    python tests/benchmarks/cluster.py [--rounds 5] [--volumes 40]

Whole commands, interleaved, start-up included; the cluster, of this machine, is up
before. Both stores must be the same to the last byte.
"""

import shutil
import tempfile
from pathlib import Path
from statistics import median

import phantoms
from distributed import LocalCluster
from timing import COMMAND, option_parser, print_table, time_command


def content(store: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file()
    }


def compare(folder: Path, address: str, rounds: int) -> list[str]:
    """Median seconds of both, and what the cluster costs."""
    ways = {"jobs": ("--jobs", "2"), "cluster": ("--scheduler", address)}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, options in ways.items():
            out = folder / f"{way}.zarr"
            shutil.rmtree(out, ignore_errors=True)
            command = [COMMAND, "smooth", *options, folder / "labels", out]
            seconds[way].append(time_command(command))
        if content(folder / "jobs.zarr") != content(folder / "cluster.zarr"):
            raise RuntimeError("the stores differ")
    jobs, cluster = (median(seconds[way][1:]) for way in ways)  # the first warms up
    count = len(list((folder / "labels").iterdir()))
    cells = [f"{count}", f"{jobs:.2f} s", f"{cluster:.2f} s", f"{cluster / jobs:.1f}x"]
    return [*cells, f"{100 * (cluster / jobs - 1):+.1f} %", "identical"]


def main() -> None:
    parser = option_parser(__doc__, rounds=5)
    parser.add_argument("--volumes", type=int, default=40)
    options = parser.parse_args()
    labels = phantoms.lesion(phantoms.scaled(options.scale, 155, 240, 240), 4)
    with (
        tempfile.TemporaryDirectory(prefix="svls-bench-") as name,
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
    ):
        folder = Path(name)
        (folder / "labels").mkdir()
        phantoms.write_cases(folder / "labels", labels, options.volumes)
        row = compare(folder, cluster.scheduler_address, options.rounds)
    header = ["cases", "--jobs 2", "cluster", "ratio", "overhead", "stores"]
    print_table("Dask cluster of two workers, medians", header, [row])


if __name__ == "__main__":
    main()
