"""Time and memory of the whole command by size of the volume and number of classes.

    python tests/benchmarks/memory.py [--rounds 1] [--slices 128 ...] [--classes 4 ...]

A row is `svls-cli smooth --jobs 2` on one volume of 512 x 512 x SLICES voxels, a
`.nii.gz` of uint8 labels, whose classes the command finds. Memory is that of all
processes together, looked at ten times a second; divided by the number of voxels it
would be at least that of classes if the class axis were held for the whole volume.
"""

import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import phantoms
from timing import COMMAND, option_parser, print_table, run_command


def write_phantom(path: Path, shape: tuple[int, ...], n_classes: int) -> None:
    """Organs drawn at half the resolution; in one corner, every class in one voxel."""
    labels = phantoms.organs([-(-n // 2) for n in shape], n_classes)
    for axis, n in enumerate(shape):
        labels = labels.repeat(2, axis).take(range(n), axis)
    labels.flat[:n_classes] = np.arange(n_classes)
    phantoms.write(path, labels)


def measure(
    folder: Path, shape: tuple[int, ...], n_classes: int, rounds: int
) -> list[str]:
    """One row of the table."""
    path, out = folder / "organs.nii.gz", folder / "organs.zarr"
    write_phantom(path, shape, n_classes)
    command = [COMMAND, "smooth", "--jobs", "2", "--overwrite", path, out]
    runs = [run_command(command) for _ in range(rounds)]
    seconds = median(run.seconds for run in runs)
    peak_bytes = max(run.peak_bytes for run in runs)
    voxels = int(np.prod(shape))
    stored = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    cells = [" x ".join(map(str, shape)), f"{n_classes}", f"{seconds:.1f}"]
    cells += [f"{voxels / seconds / 1e6:.1f}", f"{peak_bytes / 1e6:.0f}"]
    cells.append(f"{peak_bytes / voxels:.2f}")
    return [*cells, f"{path.stat().st_size / 1e6:.1f}", f"{stored / 1e6:.1f}"]


def main() -> None:
    parser = option_parser(__doc__, rounds=1)
    parser.add_argument("--slices", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--classes", type=int, nargs="+", default=[4, 36, 117])
    options = parser.parse_args()
    rows = []
    for slices in options.slices:
        shape = phantoms.scaled(options.scale, slices, 512, 512)
        for n_classes in options.classes:
            with tempfile.TemporaryDirectory(prefix="svls-bench-") as folder:
                rows.append(measure(Path(folder), shape, n_classes, options.rounds))
    header = ["voxels", "classes", "seconds", "Mvoxel/s", "MB of memory", "bytes/voxel"]
    print_table("One volume, 2 jobs", [*header, "MB in", "MB out"], rows)


if __name__ == "__main__":
    main()
