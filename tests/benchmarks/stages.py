"""Where the time of the whole command goes, one 4-class volume.

    python tests/benchmarks/stages.py [--rounds 5]

Prints median seconds of each stage, run by itself in this process (1 thread); then of
the start of an interpreter with our imports, which a run pays in the parent and in each
worker, partly at the same time; of the whole command; and of a run that skips its case.
"""

import gzip
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import phantoms
from timing import COMMAND, option_parser, print_table, time_functions

from svls_cli import find_cases, smooth_cases
from svls_cli.labels.class_files import parse_classes
from svls_cli.labels.images import file_sha256, open_label_file
from svls_cli.soften.methods import Method
from svls_cli.soften.regions import soften_part
from svls_cli.soften.smoothing import SoftBlock
from svls_cli.store.destination import open_destination
from svls_cli.store.layout import Layout
from svls_cli.store.schema import StoreConfig
from svls_cli.store.shards import encode_chunk


def stages(path: Path, folder: Path) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    spec = parse_classes("0,1,2,3")
    with open_label_file(path) as file:
        indices = file.indices(spec.table, ignore_label=None)
        geometry = file.geometry
    softening = Method().on_grid((1.0,) * 3)
    layout = Layout.choose(indices.shape, n_classes=4, itemsize=1)
    blocks = [v for shard in layout.shards() for _, v in layout.blocks(shard)]

    def read() -> None:
        with open_label_file(path) as opened:
            opened.indices(spec.table, ignore_label=None)

    def soften() -> list[SoftBlock]:
        return [
            soften_part(indices, b, softening, n_classes=4, dtype="uint8")
            for b in blocks
        ]

    softened = [block.soft for block in soften() if not block.constant]

    def command() -> None:
        shutil.rmtree(folder / "a.zarr", ignore_errors=True)
        arguments = [COMMAND, "smooth", path, folder / "a.zarr"]
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)

    def again() -> object:
        return smooth_cases(find_cases([path]), folder / "a.zarr")

    config = StoreConfig.create(Method(), spec.table, None, "uint8")

    def put() -> None:
        shutil.rmtree(folder / "b.zarr", ignore_errors=True)
        with (
            open_destination(
                folder / "b.zarr", config, replace=None, dry_run=False, remote=False
            ) as destination,
            destination.writing("case", geometry) as writer,
        ):
            writer.finish([])

    imports = [sys.executable, "-c", "import svls_cli.compiling.smooth"]
    return {
        "hash the file": lambda: file_sha256(path),
        "gunzip alone": lambda: gzip.decompress(path.read_bytes()),
        "unpack, check, read, map to classes": read,
        "soften every block": soften,
        "pack blocks of several classes": lambda: [encode_chunk(s) for s in softened],
        "describe, flush and rename a case": put,
        "interpreter and imports": lambda: subprocess.run(imports),
        "whole command": command,
        "whole run, all of it skipped": again,
    }


def main() -> None:
    options = option_parser(__doc__, rounds=5).parse_args()
    labels = phantoms.lesion(phantoms.scaled(options.scale, 155, 240, 240), 4)
    with tempfile.TemporaryDirectory(prefix="svls-bench-") as folder:
        path = phantoms.write(Path(folder, "lesion.nii.gz"), labels)
        seconds = time_functions(stages(path, Path(folder)), options.rounds)
    rows = [[stage, f"{median:.3f}"] for stage, median in seconds.items()]
    print_table("One volume, median seconds", ["stage", "seconds"], rows)


if __name__ == "__main__":
    main()
