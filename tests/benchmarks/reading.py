"""Random patches of soft labels, by whoever can read them.

    python tests/benchmarks/reading.py [--rounds 5]

A patch is drawn from one of several cases, with all classes or one: from the store
through `StoredCase.patch`, zarr-python and tensorstore (arrays open, no cache of
unpacked chunks), and from one `.nii.gz` file per class through SimpleITK. The codec's
own time, unpacking the chunks that the patches touch and nothing else, is the limit.
All in turn in every round; medians of patches per second of processor time, not of the
clock, because in training every core has a worker of its own.
"""

import itertools
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt
import phantoms
import tensorstore
from numcodecs.zstd import Zstd
from timing import option_parser, print_table, time_functions

from svls_cli import StoredCase, find_cases, open_store, smooth_cases
from svls_cli.store.shards import encode_chunk

Region = tuple[slice, ...]
Patch = tuple[StoredCase, Region]
Reader = Callable[[StoredCase, Region], npt.NDArray[Any]]


def make_cases(paths: list[Path], folder: Path) -> list[StoredCase]:
    """Cases of a store, and their soft labels as one file per class."""
    for record in smooth_cases(find_cases(paths), folder / "a.zarr"):
        assert record.status == "done", record.reason
    cases = list(open_store(folder / "a.zarr").values())
    for case in cases:
        for index in range(len(case.classes)):
            path = folder / f"{case.name}_{index}.nii.gz"
            phantoms.write(path, case.patch(classes=index))
    return cases


def random_patches(
    cases: Sequence[StoredCase], edge: int, n_patches: int, *, one_class: bool
) -> list[Patch]:
    """Cubes, or what of a cube a volume has room for."""
    rng = np.random.default_rng(0)
    patches = []
    for _ in range(n_patches):
        case = cases[int(rng.integers(len(cases)))]
        n_classes, *shape = case.soft.shape
        corner = [int(rng.integers(max(1, n - edge + 1))) for n in shape]
        ends = (min(at + edge, n) for at, n in zip(corner, shape, strict=True))
        index = int(rng.integers(n_classes))
        classes = slice(index, index + 1) if one_class else slice(0, n_classes)
        patches.append((case, (classes, *map(slice, corner, ends))))
    return patches


def nifti_patch(case: StoredCase, region: Region) -> npt.NDArray[Any]:
    """From the files of each class."""
    classes, *space = region
    stem = f"{case.path.parents[1] / case.name}"
    paths = (Path(f"{stem}_{at}.nii.gz") for at in range(classes.start, classes.stop))
    return np.stack([phantoms.extract(path, tuple(space)) for path in paths])


def packed_chunks(case: StoredCase, region: Region) -> list[bytes]:
    """The chunks that a region touches, packed as they are in the store."""
    chunk = case.soft.chunks
    touched = (
        range(s.start // n * n, s.stop, n) for s, n in zip(region, chunk, strict=True)
    )
    packed = []
    for corner in itertools.product(*touched):
        inside = (slice(at, at + n) for at, n in zip(corner, chunk, strict=True))
        values = case.soft[tuple(inside)]
        if values.any():  # else there is none
            missing = zip(chunk, values.shape, strict=True)
            whole = np.pad(values, [(0, n - have) for n, have in missing], "edge")
            packed.append(encode_chunk(whole))
    return packed


def compare(name: str, patches: list[Patch], rounds: int) -> list[str]:
    """One row of the table."""
    cases = {case.name: case for case, _ in patches}
    opened = {
        name: tensorstore.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{case.path}/0"}}
        ).result()
        for name, case in cases.items()
    }
    readers: dict[str, Reader] = {
        "ours": lambda case, region: case.patch(region[1:], classes=region[0]),
        "zarr": lambda case, region: np.asarray(case.soft[region]),
        "tensorstore": lambda case, region: opened[case.name][region].read().result(),
        ".nii.gz": nifti_patch,
    }
    expected = patches[0][0].soft[patches[0][1]]
    for reader, read in readers.items():
        if not np.array_equal(read(*patches[0]), expected):
            raise RuntimeError(f"{reader} reads something else")
    packed = [packed_chunks(*patch) for patch in patches]
    counts = dict.fromkeys((*readers, "codec"), len(patches))
    counts[".nii.gz"] = min(8, len(patches))  # they take long, and hold for the others

    def unpack() -> None:
        for chunk in itertools.chain.from_iterable(packed):
            Zstd().decode(chunk)

    def draw(read: Reader, n_patches: int) -> None:
        for patch in patches[:n_patches]:
            read(*patch)

    contestants: dict[str, Callable[[], None]] = {
        reader: partial(draw, read, counts[reader]) for reader, read in readers.items()
    }
    contestants["codec"] = unpack
    seconds = time_functions(contestants, rounds, clock=process_time)
    rate = {reader: counts[reader] / s for reader, s in seconds.items()}
    return [
        name,
        *(f"{rate[reader]:.1f}" for reader in ("codec", *readers)),
        f"{rate['ours'] * expected.nbytes / 1e6:.0f}",
        *(f"{rate['ours'] / rate[reader]:.1f}x" for reader in list(readers)[1:]),
        f"{rate['ours'] / rate['codec']:.2f}x",
    ]


def main() -> None:
    parser = option_parser(__doc__, rounds=5)
    parser.add_argument(
        "--label-maps", type=Path, nargs="+", help="instead of phantoms"
    )
    options = parser.parse_args()
    large, small = phantoms.scaled(options.scale, 96, 64)
    header = ["patch", "codec", "ours", "zarr", "tensorstore", ".nii.gz", "MB/s"]
    header += ["to zarr", "to tensorstore", "to .nii.gz", "to codec"]
    rows = []
    with tempfile.TemporaryDirectory(prefix="svls-bench-") as name:
        few, many = Path(name, "few"), Path(name, "many")
        few.mkdir()
        many.mkdir()
        if options.label_maps:
            sets = [(options.label_maps, few)]
        else:
            lesion = phantoms.lesion(phantoms.scaled(options.scale, 155, 240, 240), 4)
            organs = phantoms.organs(phantoms.scaled(options.scale, 145, 512, 512), 22)
            sets = [
                (phantoms.write_cases(few, lesion, 4, step=7, suffix=".nrrd"), few),
                (phantoms.write_cases(many, organs, 1, suffix=".nrrd"), many),
            ]
        for paths, folder in sets:
            cases = make_cases(paths, folder)
            n_classes = len(cases[0].classes)
            for edge, one_class in ((large, False), (small, False), (large, True)):
                patches = random_patches(cases, edge, 30, one_class=one_class)
                title = f"{edge}^3, {'1 of ' if one_class else ''}{n_classes} classes"
                rows.append(compare(title, patches, options.rounds))
    print_table("Random patches per second of a core, medians", header, rows)


if __name__ == "__main__":
    main()
