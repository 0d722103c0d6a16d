"""The method on a GPU: against its memory, the published method, and the CPU.

    python tests/benchmarks/gpu.py [--rounds 5]

First table: median milliseconds in which the GPU softens a volume that it holds, result
included; what share that is of the rate at which it copies the bytes that have to be
moved (labels read once, soft labels written once); and how many times slower PyTorch is
with the published method on the same GPU, if this PyTorch has one. Second table: the
whole command with `--device cpu` and `--device gpu`. Without a GPU it says so.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import phantoms
from timing import COMMAND, option_parser, print_table, time_command

from svls_cli.soften.dense import soften_dense
from svls_cli.soften.devices import gpu_problem
from svls_cli.soften.methods import Method

Labels = npt.NDArray[np.uint8]


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    """Median time on the GPU, the first round uncounted."""
    import cupy

    taken = []
    for _ in range(rounds + 1):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        result = work()
        end.record()
        end.synchronize()
        del result  # not while the clock runs
        taken.append(cupy.cuda.get_elapsed_time(start, end))
    return median(taken[1:])


def copy_rate(rounds: int) -> float:
    """Bytes a millisecond that the GPU reads and writes when it copies."""
    import cupy

    source = cupy.zeros(2**29, cupy.uint8)
    target = cupy.empty_like(source)
    cost = milliseconds(lambda: cupy.copyto(target, source), rounds)
    return 2 * source.nbytes / cost


def published(labels: Labels, n_classes: int, size: int, rounds: int) -> float | None:
    """Milliseconds of the published method on the same GPU."""
    import torch
    from published import soften

    if not torch.cuda.is_available():
        return None
    indices = torch.from_numpy(labels).cuda()[None]
    taken = []
    for _ in range(rounds + 1):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        soften(indices, n_classes, size=size)
        end.record()
        end.synchronize()
        taken.append(start.elapsed_time(end))
    return median(taken[1:])


def volume_row(
    name: str, labels: Labels, n_classes: int, size: int, dtype: str, rounds: int
) -> list[str]:
    """One row of the first table."""
    import cupy

    softening = Method(size=size).on_grid((1.0,) * 3)
    region = cupy.asarray(labels)
    ours = milliseconds(
        lambda: soften_dense(
            region, softening, n_classes=n_classes, dtype=dtype, ignores=False
        ),
        rounds,
    )
    moved = labels.nbytes + labels.size * n_classes * np.dtype(dtype).itemsize
    theirs = published(labels, n_classes, size, rounds)
    cells = [name, "x".join(map(str, labels.shape)), f"{n_classes}", f"{size}", dtype]
    cells += [f"{ours:.3f}", f"{moved / ours / 1e6:.0f} GB/s"]
    cells.append(f"{100 * moved / ours / copy_rate(rounds):.0f} %")
    return [*cells, "-" if theirs is None else f"{theirs / ours:.1f}x"]


def command_row(
    name: str, labels: Labels, cases: int, rounds: int, *more: Any
) -> list[str]:
    """One row of the second table."""
    seconds: dict[str, list[float]] = {"cpu": [], "gpu": []}
    with tempfile.TemporaryDirectory(prefix="svls-bench-") as folder:
        inputs = phantoms.write_cases(Path(folder), labels, cases)
        for turn in range(rounds):
            for device, taken in seconds.items():
                out = f"{folder}/{device}{turn}.zarr"
                options = ["--device", device, *more]
                taken.append(time_command([COMMAND, "smooth", *options, *inputs, out]))
    cpu, gpu = (median(taken) for taken in seconds.values())
    return [name, f"{cases}", f"{cpu:.2f} s", f"{gpu:.2f} s", f"{cpu / gpu:.1f}x"]


def main() -> None:
    options = option_parser(__doc__, rounds=5).parse_args()
    if problem := gpu_problem():
        print(f"nothing to measure without a GPU: {problem}")
        return
    lesion = phantoms.lesion(phantoms.scaled(options.scale, 155, 240, 240), 4)
    organs = phantoms.organs(phantoms.scaled(options.scale, 256, 256, 256), 36)
    rows = [
        volume_row(*volume, dtype, options.rounds)
        for volume in (
            ("lesion", lesion, 4, 3),
            ("organs", organs, 36, 3),
            ("lesion", lesion, 4, 9),
        )
        for dtype in ("uint8", "float32")
    ]
    header = ["phantom", "shape", "classes", "size", "dtype"]
    header += ["ms", "moved", "of a copy", "published/ours"]
    print_table("On the GPU, medians", header, rows)
    rows = [
        command_row("lesion, window 3", lesion, 8, options.rounds),
        command_row("lesion, window 15", lesion, 8, options.rounds, "--size", 15),
        command_row("organs, window 3", organs, 2, options.rounds),
    ]
    header = ["input", "cases", "cpu", "gpu", "faster"]
    print_table("Whole command, medians", header, rows)


if __name__ == "__main__":
    main()
