"""Labels softened in the training loop, beside the published loss code.

    python tests/benchmarks/on_the_fly.py [--rounds 9]

Median milliseconds for a batch of label maps, from label values to float32 soft labels,
in interleaved rounds: `training.soften_labels`, and what the published loss does with
the same tensors on the same device: one-hot, padded, through a grouped convolution. On
the CPU with 1 thread, as in a loader's worker, and with 2; and on a GPU, if PyTorch has
one.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import phantoms
import torch
from published import soften
from timing import option_parser, print_table, time_functions

from svls_cli.training import soften_labels


def batches(scale: float) -> Iterator[tuple[str, int, torch.Tensor]]:
    """Phantoms, their number of classes, and batches (b, 1, z, y, x) or without z."""
    volume = phantoms.scaled(scale, 96, 96, 96)
    slices = (8, *phantoms.scaled(scale, 256, 256))
    for make in (phantoms.lesion, phantoms.organs):
        for n_classes in (3, 16):
            patch = make(volume, n_classes)
            patches = np.stack([patch, np.flip(patch, 0)])[:, None]
            yield make.__name__, n_classes, torch.from_numpy(patches).long()
    for n_classes in (3, 16):
        middle = phantoms.organs(slices, n_classes)[4]
        turned = np.stack([np.rot90(middle, k) for k in range(16)])[:, None]
        yield "organs", n_classes, torch.from_numpy(turned).long()


def milliseconds(
    contestants: dict[str, Callable[[], Any]], device: str, rounds: int
) -> dict[str, float]:
    """Median time of each; on a GPU until it has finished."""

    def finished(work: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            work()
            if device != "cpu":
                torch.cuda.synchronize()

        return run

    seconds = time_functions({k: finished(v) for k, v in contestants.items()}, rounds)
    return {name: 1000 * taken for name, taken in seconds.items()}


def row(
    name: str, n_classes: int, labels: torch.Tensor, device: str, rounds: int
) -> list[str]:
    """Cells of the table."""
    labels = labels.to(device)
    contestants: dict[str, Callable[[], Any]] = {
        "ours": lambda: soften_labels(labels, classes=range(n_classes)),
        "published": lambda: soften(labels[:, 0], n_classes),
    }
    ours, theirs = (work() for work in contestants.values())
    taken = milliseconds(contestants, device, rounds)
    where = f"cpu, {torch.get_num_threads()}" if device == "cpu" else device
    cells = [name, "x".join(map(str, labels.shape)), f"{n_classes}", where]
    cells += [f"{taken[who]:.2f}" for who in contestants]
    cells.append(f"{taken['published'] / taken['ours']:.1f}x")
    return [*cells, f"{float((ours - theirs).abs().max()):.0e}"]


def main() -> None:
    options = option_parser(__doc__, rounds=9).parse_args()
    rows = []
    for batch in batches(options.scale):
        for threads in (1, 2):
            torch.set_num_threads(threads)
            rows.append(row(*batch, "cpu", options.rounds))
        if torch.cuda.is_available():
            rows.append(row(*batch, "cuda", options.rounds))
    header = ["phantom", "batch", "classes", "device, threads"]
    header += ["ours ms", "published ms", "published/ours", "largest difference"]
    print_table("Labels softened on the fly, medians", header, rows)


if __name__ == "__main__":
    main()
