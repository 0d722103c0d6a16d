"""The engine against the published method and against separable filters.

    python tests/benchmarks/engine.py [--rounds 5]

Prints median seconds over interleaved rounds, and how many times faster the engine is.
The published method runs on PyTorch's CPU backend with 2 threads, the filters are
SciPy's on every class; ours runs on 1 thread, to uint8 (as stored) and to float32.
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
import phantoms
import torch
from published import soft_labels
from scipy.ndimage import correlate1d
from timing import print_table, time_functions

from svls_cli.soften.methods import Method
from svls_cli.soften.volume import soften_volume


def separable_filters(
    labels: npt.NDArray[np.uint8], n_classes: int, *, size: int = 3, sigma: float = 1.0
) -> npt.NDArray[np.float32]:
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


def compare(
    name: str,
    labels: npt.NDArray[np.uint8],
    n_classes: int,
    size: int,
    sigma: float,
    rounds: int,
) -> list[str]:
    """One row of the table."""
    softening = Method(sigma=sigma, size=size).on_grid((1.0, 1.0, 1.0))

    def ours(dtype: str) -> npt.NDArray[np.generic]:
        return soften_volume(labels, softening, n_classes=n_classes, dtype=dtype)

    def published() -> npt.NDArray[np.float32]:
        return soft_labels(labels, n_classes, size=size, sigma=sigma)

    error = np.abs(ours("float32") - published()).max()
    seconds = time_functions(
        {
            "uint8": lambda: ours("uint8"),
            "float32": lambda: ours("float32"),
            "published": published,
            "filters": lambda: separable_filters(
                labels, n_classes, size=size, sigma=sigma
            ),
        },
        rounds,
    )
    ratios = [
        f"{seconds[other] / seconds[mine]:.1f}x"
        for other in ("published", "filters")
        for mine in ("uint8", "float32")
    ]
    return [
        name,
        "x".join(map(str, labels.shape)),
        str(n_classes),
        f"{100 * phantoms.boundary_share(labels):.1f} %",
        f"{size}",
        *(f"{s:.3f}" for s in seconds.values()),
        *ratios,
        f"{error:.0e}",
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="shrinks the volumes")
    options = parser.parse_args(arguments)
    torch.set_num_threads(2)

    def scaled(*shape: int) -> tuple[int, ...]:
        return tuple(max(8, int(n * options.scale)) for n in shape)

    lesion = phantoms.lesion(scaled(155, 240, 240), 4)
    organs = phantoms.organs(scaled(256, 256, 256), 36)
    rows = [
        compare("lesion", lesion, 4, 3, 1.0, options.rounds),
        compare("organs", organs, 36, 3, 1.0, options.rounds),
        compare("lesion", lesion, 4, 9, 1.5, options.rounds),
    ]
    header = ["phantom", "shape", "classes", "boundary", "size"]
    header += ["uint8 s", "float32 s", "published s", "filters s"]
    header += [
        f"{b}/{a}" for b in ("published", "filters") for a in ("uint8", "float32")
    ]
    print_table("Engine, median seconds", [*header, "largest difference"], rows)


if __name__ == "__main__":
    main()
