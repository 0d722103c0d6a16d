"""Contours to voxels: errors beside what others do, time and memory.

    python tests/benchmarks/contours.py [--rounds 2] [--scale 1]

Errors are of the area, against that of the shape, the largest, and of the voxels on its
edge, against 64 x 64 points of each, the mean; both over offsets by a part of a voxel.
Pixel centres are what most programs count. An integer fill rounds the vertices and
takes what an edge touches for inside, like OpenCV's `fillPoly`, and with it rt-utils.
"""

import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np
import numpy.typing as npt
import phantoms
from timing import option_parser, print_table

from svls_cli.dicom.contours import occupancy
from svls_cli.dicom.shares import soft_volume

Points = npt.NDArray[np.float64]
RADII = (3, 5, 10, 30)
OFFSETS = 5
# Smallest and largest radius, in parts of a slice.
ORGANS, LESIONS = (0.02, 0.1), (0.006, 0.02)


def circle(radius: float, centre: Points, *, n: int = 720, flat: float = 1) -> Points:
    """A circle, or an ellipse ``flat`` times as high as wide, as (y, x) vertices."""
    angles = 2 * np.pi * np.arange(n) / n
    return np.asarray(radius * np.c_[flat * np.sin(angles), np.cos(angles)] + centre)


def star(radius: float, centre: Points) -> Points:
    """Five points, four tenths as deep."""
    angles = np.pi * np.arange(10) / 5 + 0.1
    radii = radius * np.tile([1, 0.4], 5)[:, np.newaxis]
    return np.asarray(radii * np.c_[np.sin(angles), np.cos(angles)] + centre)


# Contours and area of each shape, by radius and centre.
SHAPES: dict[str, Callable[[float, Points], tuple[list[Points], float]]] = {
    "circle": lambda r, c: ([circle(r, c)], np.pi * r**2),
    "ellipse": lambda r, c: ([circle(r, c, flat=0.5)], np.pi * r**2 / 2),
    "ring": lambda r, c: ([circle(r, c), circle(r / 2, c)], np.pi * r**2 * 0.75),
    "star": lambda r, c: ([star(r, c)], 2 * r**2 * np.sin(np.pi / 5)),
}


def ours(contours: Sequence[Points], shape: tuple[int, int]) -> Points:
    """What a store holds in float32."""
    shares = np.zeros(shape)
    box, inside = occupancy(contours, shape)
    shares[box] = inside
    return shares


def points(contours: Sequence[Points], shape: tuple[int, int], times: int) -> Points:
    """Share of ``times`` x ``times`` points of each voxel inside, even-odd."""
    fine = times * np.array(shape)
    edges = np.vstack([np.hstack([c, np.roll(c, -1, axis=0)]) for c in contours])
    y0, x0, y1, x1 = (times * (edges + 0.5) - 0.5).T
    first = np.ceil(np.minimum(y0, y1)).astype(int)
    counts = np.ceil(np.maximum(y0, y1)).astype(int) - first
    edge = np.repeat(np.arange(len(edges)), counts)
    rows = np.arange(len(edge)) + np.repeat(first + counts - counts.cumsum(), counts)
    slope = (x1 - x0)[edge] / (y1 - y0)[edge]
    columns = np.floor(x0[edge] + (rows - y0[edge]) * slope).astype(int) + 1
    inside = np.zeros(fine, np.uint8)
    np.bitwise_xor.at(inside, (rows, columns), 1)
    np.bitwise_xor.accumulate(inside, axis=1, out=inside)
    in_row = inside.reshape(-1, shape[1], times).sum(axis=2, dtype=np.uint16)
    return np.asarray(in_row.reshape(shape[0], times, -1).mean(axis=1) / times)


def integer_fill(contours: Sequence[Points], shape: tuple[int, int]) -> Points:
    """Whole-numbered vertices, and what is on an edge is inside."""
    rounded = [np.rint(contour) for contour in contours]
    whole = [c[(c != np.roll(c, -1, axis=0)).any(axis=1)] for c in rounded]
    filled = points(whole, shape, 1)
    for contour in whole:
        for start, end in zip(contour, np.roll(contour, -1, 0), strict=True):
            steps = int(max(abs(end - start))) + 1
            ys, xs = np.rint(np.linspace(start, end, steps)).astype(int).T
            filled[ys, xs] = 1
    return filled


RASTERISERS: Mapping[str, Callable[[Sequence[Points], tuple[int, int]], Points]] = {
    "ours": ours,
    "8 x 8 points": lambda contours, shape: points(contours, shape, 8),
    "pixel centres": lambda contours, shape: points(contours, shape, 1),
    "integer fill": integer_fill,
}


def error_cells(name: str, radius: int, n_offsets: int) -> list[str]:
    """Errors of each rasteriser: of the area in %, and of voxels on the edge."""
    random = np.random.default_rng(radius)
    of_area: dict[str, list[float]] = {who: [] for who in RASTERISERS}
    of_voxels: dict[str, list[float]] = {who: [] for who in RASTERISERS}
    shape = (2 * radius + 6, 2 * radius + 6)
    for _ in range(n_offsets):
        contours, area = SHAPES[name](radius, radius + 2 + random.uniform(0, 1, 2))
        expected = points(contours, shape, 64)
        mixed = (expected > 0) & (expected < 1)
        for who, rasterise in RASTERISERS.items():
            shares = rasterise(contours, shape)
            of_area[who].append(100 * abs(shares.sum() / area - 1))
            of_voxels[who].append(abs(shares - expected)[mixed].mean())
    return [
        f"{max(of_area[who]):.3f} / {np.mean(of_voxels[who]):.4f}"
        for who in RASTERISERS
    ]


def organs(
    shape: Sequence[int], n: int, radii: tuple[float, float]
) -> list[dict[int, list[Points]]]:
    """Contours of roundish structures, on a third of the slices each, many crossing."""
    random, (depth, height, width) = np.random.default_rng(n), shape
    structures = []
    for _ in range(n):
        radius = random.uniform(*radii) * height
        centre = random.uniform(0.3, 0.7, 2) * (height, width)
        first = random.integers(0, depth - depth // 3)
        structures.append(
            {
                int(z): [circle(radius, centre + random.normal(0, 0.5, 2), n=150)]
                for z in range(first, first + depth // 3)
            }
        )
    return structures


def cost_cells(
    shape: tuple[int, ...], n: int, radii: tuple[float, float], rounds: int
) -> list[str]:
    """Seconds and memory of all structures of one volume."""
    structures = organs(shape, n, radii)
    seconds: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        soft_volume(structures, shape)
        seconds.append(time.perf_counter() - start)
    tracemalloc.start()
    codes, shares, _ = soft_volume(structures, shape)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return [
        f"{n}",
        f"{sum(map(len, structures))}",
        "{:g} to {:g}".format(*(round(radius * shape[1], 1) for radius in radii)),
        f"{median(seconds):.2f} s",
        f"{peak / 1e6:.0f} MB",
        f"{codes.nbytes / 1e6:.0f} MB",
        f"{len(shares)}",
    ]


def main() -> None:
    options = option_parser(__doc__, rounds=2).parse_args()
    n_offsets = max(1, round(OFFSETS * options.scale))
    rows = [
        [name, f"{radius}", *error_cells(name, radius, n_offsets)]
        for name in SHAPES
        for radius in RADII
    ]
    print_table(
        "Error of the area, % / of voxels on the edge",
        ["", "radius", *RASTERISERS],
        rows,
    )
    shape = phantoms.scaled(options.scale, 150, 512, 512)
    crowds = [(2, ORGANS), (20, ORGANS), (100, LESIONS)]
    print_table(
        f"Soft labels of a volume of {'x'.join(map(str, shape))}",
        ["structures", "contours", "radius", "time", "memory", "of codes", "mixtures"],
        [cost_cells(shape, n, radii, options.rounds) for n, radii in crowds],
    )


if __name__ == "__main__":
    main()
