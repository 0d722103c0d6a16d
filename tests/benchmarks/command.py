"""The whole command against the script that a user would write.

    python tests/benchmarks/command.py [--rounds 3] [--classes N --label-maps FILE...]

The script (`published.py`) reads with SimpleITK, softens with PyTorch on 2 threads and
saves float32 with Zarr's defaults. Ours finds the classes by itself, hashes its inputs,
checks their integrity and uses 2 jobs. Time, memory (all processes together), bytes and
files are of the same run, interleaved.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

import phantoms
import SimpleITK as sitk
from timing import Measured, print_table, run_command

HERE = Path(__file__).parent
COMMAND = Path(sys.executable).with_name("svls-cli")


def compare(name: str, paths: list[Path], n_classes: int, rounds: int) -> list[str]:
    """One row of the table."""
    folder = Path(tempfile.mkdtemp(prefix="svls-bench-"))
    commands = {
        "ours": [COMMAND, "smooth", "--jobs", "2", *paths, folder / "ours"],
        "script": [
            sys.executable,
            HERE / "published.py",
            str(n_classes),
            folder / "script",
            *paths,
        ],
    }
    runs: dict[str, list[Measured]] = {who: [] for who in commands}
    try:
        for _ in range(rounds):
            for who, command in commands.items():
                shutil.rmtree(folder / who, ignore_errors=True)
                runs[who].append(run_command(command))
        files = {
            who: [f for f in (folder / who).rglob("*") if f.is_file()] for who in runs
        }
        sizes = {who: sum(f.stat().st_size for f in files[who]) for who in runs}
    finally:
        shutil.rmtree(folder)
    seconds = {who: median(r.seconds for r in runs[who]) for who in runs}
    memory = {who: median(r.peak_bytes for r in runs[who]) for who in runs}
    return [
        name,
        f"{seconds['ours']:.2f} s",
        f"{seconds['script']:.2f} s",
        f"{seconds['script'] / seconds['ours']:.1f}x",
        f"{memory['ours'] / 1e6:.0f} MB",
        f"{memory['script'] / 1e6:.0f} MB",
        f"{memory['ours'] / memory['script']:.2f}",
        f"{sizes['ours'] / 1e6:.2f} MB",
        f"{sizes['ours'] / sizes['script']:.3f}",
        f"{len(files['ours'])}",
        f"{len(files['ours']) / len(files['script']):.3f}",
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="shrinks the volumes")
    parser.add_argument("--volumes", type=int, default=30, help="of the 4-class row")
    parser.add_argument("--classes", type=int, help="of --label-maps")
    parser.add_argument(
        "--label-maps", type=Path, nargs="+", help="instead of phantoms"
    )
    options = parser.parse_args(arguments)
    header = ["input", "ours", "script", "faster", "memory", "script's", "ratio"]
    header += ["bytes", "ratio", "files", "ratio"]
    if options.label_maps:
        name = f"{len(options.label_maps)} given"
        rows = [compare(name, options.label_maps, options.classes, options.rounds)]
        print_table("Whole command, medians", header, rows)
        return

    def scaled(*shape: int) -> tuple[int, ...]:
        return tuple(max(8, int(n * options.scale)) for n in shape)

    with tempfile.TemporaryDirectory(prefix="svls-bench-") as folder:
        lesions = []
        for number in range(options.volumes):
            lesions.append(Path(folder) / f"lesion_{number:03d}.nii.gz")
            lesion = phantoms.lesion(scaled(155, 240, 240), 4)
            sitk.WriteImage(sitk.GetImageFromArray(lesion), str(lesions[-1]))
        organs = Path(folder) / "organs.nii.gz"
        array = phantoms.organs(scaled(145, 512, 512), 22)
        sitk.WriteImage(sitk.GetImageFromArray(array), str(organs))
        rows = [
            compare("1 x 4 classes", lesions[:1], 4, options.rounds),
            compare(f"{len(lesions)} x 4 classes", lesions, 4, options.rounds),
            compare("1 x 22 classes", [organs], 22, options.rounds),
        ]
    print_table("Whole command, medians", header, rows)


if __name__ == "__main__":
    main()
