"""What a case costs the whole command beside its voxels: many tiny label maps.

    python tests/benchmarks/tiny.py [--rounds 3] [--cases 170]

Cases have the size of hippocampus crops, 36 x 52 x 35 voxels and 3 classes. A run of
one case is the start-up; what a run of all takes longer, divided by the cases more, is
the price of a case. Then the same for runs that skip them, being there already.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from statistics import median

import phantoms
from timing import COMMAND, print_table, time_command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", type=int, default=170)
    options = parser.parse_args()
    seconds: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="svls-bench-") as name:
        labels = phantoms.lesion((36, 52, 35), 3)
        paths = phantoms.write_cases(Path(name), labels, options.cases, step=1)
        out = Path(name, "out.zarr")
        for _ in range(options.rounds):
            for given in (paths[:1], paths):
                shutil.rmtree(out, ignore_errors=True)
                for run in ("new", "skipped"):
                    taken = time_command([COMMAND, "smooth", *given, out])
                    seconds.setdefault((run, len(given)), []).append(taken)
    rows = []
    for run in ("new", "skipped"):
        one, all_of_them = (median(seconds[run, n]) for n in (1, options.cases))
        each_ms = 1000 * (all_of_them - one) / (options.cases - 1)
        rows.append([run, f"{one:.2f}", f"{all_of_them:.2f}", f"{each_ms:.1f}"])
    header = ["cases are", "1 case, s", f"{options.cases} cases, s", "per case, ms"]
    print_table("Tiny label maps, medians", header, rows)


if __name__ == "__main__":
    main()
