"""The engine against the published method and against separable filters.

    python tests/benchmarks/engine.py [--rounds 5]

Prints median seconds over interleaved rounds, and how many times faster the engine is.
The published method runs on PyTorch's CPU backend with 2 threads, the filters are
SciPy's on every class. Ours runs on 1 thread: block by block as the command has it, and
to the dense array of all classes, as uint8 (as stored) and float32.
Then what the cost grows with: the same boundary between more classes, wider windows.
Then image-guided smoothing beside SVLS of the same window, block by block.
Then where the time goes.
"""

import cProfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import phantoms
import torch
from published import soft_labels
from scipy.ndimage import correlate1d, gaussian_filter
from timing import option_parser, print_table, time_functions

from svls_cli.batch.worker_process import keep_freed_memory
from svls_cli.soften.bilateral import standardised
from svls_cli.soften.choices import MethodName
from svls_cli.soften.methods import Method
from svls_cli.soften.regions import soften_part
from svls_cli.soften.volume import soften_volume
from svls_cli.store.layout import Layout

Soft = npt.NDArray[np.float32]


def separable_filters(
    labels: phantoms.LabelMap, n_classes: int, *, size: int = 3, sigma: float = 1.0
) -> Soft:
    """Gaussian filters of every class, the centre taken out afterwards."""
    offset = np.arange(size) - size // 2
    window = np.exp(-0.5 * (offset / sigma) ** 2)
    neighbours = window.sum() ** 3 - 1
    soft = np.empty((n_classes, *labels.shape), np.float32)
    for c in range(n_classes):
        onehot = (labels == c).astype(np.float32)
        wide = onehot
        for axis in range(3):
            wide = correlate1d(wide, window, axis, mode="nearest")
        soft[c] = 0.5 * onehot + 0.5 / neighbours * (wide - onehot)
    return soft


@dataclass(frozen=True)
class Row:
    """A label map, a window, and who runs on it beside us."""

    name: str
    labels: npt.NDArray[np.uint8]
    n_classes: int
    size: int | tuple[int, ...] = 3
    sigma: float = 1.0
    published: bool = True
    filters: bool = True

    def ours(self, dtype: str) -> npt.NDArray[np.generic]:
        softening = Method(sigma=self.sigma, size=self.size).on_grid((1.0,) * 3)
        n = self.n_classes
        return soften_volume(self.labels, softening, n_classes=n, dtype=dtype)

    def blocks(self, *, guide: Soft | None = None) -> None:
        """As the command does it: never the dense array of all classes."""
        name: MethodName = "svls" if guide is None else "bilateral"
        softening = Method(name, self.sigma, size=self.size).on_grid((1.0,) * 3)
        n = self.n_classes
        layout = Layout.choose(self.labels.shape, n_classes=n, itemsize=1)
        for shard in layout.shards():
            for _, voxels in layout.blocks(shard):
                soften_part(
                    self.labels,
                    voxels,
                    softening,
                    n_classes=n,
                    dtype="uint8",
                    guide=guide,
                )

    def theirs(self, method: Callable[..., Soft]) -> Soft:
        return method(self.labels, self.n_classes, size=self.size, sigma=self.sigma)

    def compare(self, rounds: int) -> list[str]:
        """Cells of the table."""
        contestants: dict[str, Callable[[], object]] = {
            "blocks": self.blocks,
            "uint8": lambda: self.ours("uint8"),
            "float32": lambda: self.ours("float32"),
        }
        if self.published:
            contestants["published"] = lambda: self.theirs(soft_labels)
        if self.filters:
            contestants["filters"] = lambda: self.theirs(separable_filters)
        seconds = time_functions(contestants, rounds)
        error = "-"
        if self.published:
            difference = self.ours("float32") - self.theirs(soft_labels)
            error = f"{np.abs(difference).max():.0e}"
        cells = [self.name, "x".join(map(str, self.labels.shape))]
        cells += [f"{self.n_classes}", f"{self.size}"]
        cells += [f"{100 * phantoms.boundary_share(self.labels):.1f} %"]
        for who in ("blocks", "uint8", "float32", "published", "filters"):
            cells.append(f"{seconds[who]:.3f}" if who in seconds else "-")
        for other in ("published", "filters"):
            for mine in ("blocks", "uint8", "float32"):
                known = other in seconds
                cells.append(f"{seconds[other] / seconds[mine]:.1f}x" if known else "-")
        return [*cells, error]


def growth(shape: Sequence[int], rounds: int) -> list[list[str]]:
    """Rows: the same boundary with more classes, and with wider windows."""
    few, many, most = (phantoms.balls(shape, n) for n in (4, 36, 117))
    rows = [
        Row("balls", few, 4),
        Row("balls", many, 36),
        Row("balls", most, 117),
        *(Row("balls", many, 36, size, size / 6) for size in (5, 9, 15)),
    ]
    runs: dict[str, Callable[[], object]] = {}
    for at, row in enumerate(rows):
        runs[f"blocks {at}"] = row.blocks
        runs[f"volume {at}"] = partial(row.ours, "uint8")
    seconds = time_functions(runs, rounds)
    found = []
    for at, row in enumerate(rows):
        cells = [f"{row.n_classes}", f"{row.size}"]
        cells.append(f"{100 * phantoms.boundary_share(row.labels):.1f} %")
        for way in ("blocks", "volume"):
            taken = seconds[f"{way} {at}"]
            first = seconds[f"{way} {0 if row.size == 3 else 1}"]
            cells += [f"{taken:.3f}", f"{taken / first:.2f}x"]
        found.append(cells)
    return found


def guided(rows: Sequence[Row], rounds: int) -> list[list[str]]:
    """Rows: SVLS and image-guided smoothing of the same window."""
    found = []
    for row in rows:
        noise = np.random.default_rng(0).normal(size=row.labels.shape)
        guide = standardised(gaussian_filter(noise, 1) + row.labels)
        seconds = time_functions(
            {"svls": row.blocks, "bilateral": partial(row.blocks, guide=guide)}, rounds
        )
        cells = [row.name, f"{row.size}"]
        cells += [f"{taken:.3f}" for taken in seconds.values()]
        found.append([*cells, f"{seconds['bilateral'] / seconds['svls']:.1f}x"])
    return found


def profile(rows: Mapping[str, Row]) -> list[list[str]]:
    """Rows: a function, and its own share of the engine's time on each label map."""
    shares: dict[str, dict[str, float]] = {}
    for name, row in rows.items():
        profiler = cProfile.Profile()
        row.ours("uint8")
        profiler.runcall(row.ours, "uint8")
        own = [(entry.code, entry.inlinetime) for entry in profiler.getstats()]
        total = sum(seconds for _, seconds in own)
        for code, seconds in own:
            function = code if isinstance(code, str) else code.co_qualname
            of_function = shares.setdefault(function, dict.fromkeys(rows, 0.0))
            of_function[name] += seconds / total
    most = sorted(shares, key=lambda function: -max(shares[function].values()))
    return [
        [function, *(f"{100 * share:.1f} %" for share in shares[function].values())]
        for function in most[:10]
    ]


def main() -> None:
    options = option_parser(__doc__, rounds=5).parse_args()
    torch.set_num_threads(2)
    keep_freed_memory()  # as workers do
    cube = phantoms.scaled(options.scale, 256, 256, 256)
    lesion = phantoms.lesion(phantoms.scaled(options.scale, 155, 240, 240), 4)
    organs = phantoms.organs(cube, 36)
    rows = [
        Row("lesion", lesion, 4),
        Row("organs", organs, 36),
        Row("lesion", lesion, 4, 9, 1.5),
        Row("organs", organs, 36, 9, 1.5, published=False),
        Row("organs", phantoms.organs(cube, 117), 117, published=False, filters=False),
    ]
    header = ["phantom", "shape", "classes", "size", "boundary"]
    ours = ("blocks", "uint8", "float32")
    header += [*(f"{mine} s" for mine in ours), "published s", "filters s"]
    header += [f"{b}/{a}" for b in ("published", "filters") for a in ours]
    cells = [row.compare(options.rounds) for row in rows]
    print_table("Engine, median seconds", [*header, "largest difference"], cells)
    # One-hot, padded one-hot and result, float32 each.
    needed = 3 * 4 * 117 * np.prod(cube) / 1e9
    print(f"\nThe published method needs {needed:.0f} GB for the last row.")
    header = ["classes", "size", "boundary"]
    header += ["blocks s", "to 4 / 36 of 3", "uint8 s", "to 4 / 36 of 3"]
    print_table("What the cost grows with", header, growth(cube, options.rounds))
    windows = [Row("lesion", lesion, 4, size) for size in ((1, 3, 3), 3, 5)]
    windows += [Row("lesion", lesion, 4, (1, 9, 9), 1.5), Row("organs", organs, 36)]
    cells = guided(windows, options.rounds)
    header = ["phantom", "window", "svls s", "bilateral s", "bilateral/svls"]
    print_table("Image-guided, median seconds", header, cells)
    profiled = {f"{r.name} {r.n_classes}, size {r.size}": r for r in rows}
    header = ["function, by itself", *profiled]
    print_table("Where the time goes, with a profiler", header, profile(profiled))


if __name__ == "__main__":
    main()
