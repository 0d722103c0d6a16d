"""Images unpacked once, so that patches are read without their files.

A ``.nii.gz`` is unpacked from its start for any patch of it. Here each case's voxels
lie as they are, in the files' own type, in one array that is mapped into memory: images
may exceed it, and the system keeps what is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.errors import InputError
from svls_cli.evaluation.output import replacing, write_json
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.scans import Scan, find_scans
from svls_cli.labels.values import some
from svls_cli.records import Outcome, Record, recorded
from svls_cli.store.reader import StoredCase
from svls_cli.workers import Progress, Workers, no_progress

Region = tuple[slice, ...]


@dataclass(frozen=True)
class Scaling:
    """What brings intensities to where networks expect them.

    Parameters
    ----------
    shift, scale : (c,)
        A voxel becomes ``(clipped - shift) / scale``.
    window
        Clipped to, or None.
    """

    shift: tuple[float, ...]
    scale: tuple[float, ...]
    window: tuple[float, float] | None

    @classmethod
    def of(
        cls, voxels: npt.NDArray[Any], window: tuple[float, float] | None
    ) -> Scaling:
        """Of an image (c, z, y, x): mean 0 and deviation 1, or a window to -1..1."""
        if window is not None:
            middle, half = (window[0] + window[1]) / 2, (window[1] - window[0]) / 2
            return cls((middle,) * len(voxels), (half,) * len(voxels), window)
        flat = voxels.reshape(len(voxels), -1)
        deviations = flat.std(axis=1, dtype=np.float64)
        return cls(
            tuple(flat.mean(axis=1, dtype=np.float64).tolist()),
            tuple(np.where(deviations > 0, deviations, 1.0).tolist()),
            None,
        )

    def apply(self, voxels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(c, z, y, x) float32."""
        if self.window is not None:
            voxels = np.clip(voxels, *self.window)
        axes = (-1, *(1,) * (voxels.ndim - 1))
        shift, scale = np.reshape(self.shift, axes), np.reshape(self.scale, axes)
        scaled: npt.NDArray[np.float32] = ((voxels - shift) / scale).astype(np.float32)
        return scaled


@dataclass(frozen=True)
class CachedImage:
    """One case's image, unpacked.

    Parameters
    ----------
    path
        Of the array (c, z, y, x), a ``.npy`` file.
    scaling
        Of its intensities.
    """

    path: Path
    scaling: Scaling

    @property
    def channels(self) -> int:
        """How many there are."""
        return len(self.scaling.shift)

    def patch(self, region: Region) -> npt.NDArray[np.float32]:
        """(c, z, y, x) scaled intensities of a region within the volume."""
        voxels = np.load(self.path, mmap_mode="r")
        return self.scaling.apply(np.asarray(voxels[(slice(None), *region)]))


def find_images(
    cases: Mapping[str, StoredCase],
    images: str | Path | Iterable[str | Path],
    *,
    pattern: str | None = None,
) -> dict[str, Scan]:
    """Each case's image.

    Parameters
    ----------
    cases
        By name.
    images, pattern
        As in `find_scans`.

    Raises
    ------
    InputError
        If a case has no image, or another number of channels than the others.
    """
    scans = find_scans(images, pattern=pattern, wanted=list(cases))
    names = sorted(cases)
    if missing := [name for name in names if name not in scans]:
        raise InputError(
            f"no image for {len(missing)} of {len(names)} cases: {some(missing)}; "
            f"there are images of {some(sorted(scans), 3)}"
        )
    first = len(scans[names[0]].paths)
    if odd := [name for name in names if len(scans[name].paths) != first]:
        raise InputError(
            f"the image of {names[0]} has {first} channels, those of {some(odd)} have "
            "not: give all cases the same"
        )
    return {name: scans[name] for name in names}


def unpack_images(
    cases: Mapping[str, StoredCase],
    scans: Mapping[str, Scan],
    cache: str | Path,
    *,
    window: tuple[float, float] | None = None,
    jobs: int | Workers | None = None,
    progress: Progress = no_progress,
) -> dict[str, CachedImage]:
    """Unpack each case's image, unless it was from the same files before.

    Parameters
    ----------
    cases
        By name.
    scans
        As `find_images` finds them.
    cache
        Folder for the unpacked images; made if it does not exist.
    window
        As in `TrainingConfig`.
    jobs, progress
        As in `smooth_cases`.

    Raises
    ------
    InputError
        If images are broken or on another grid than their labels, each named.
    """
    folder = Path(cache)
    folder.mkdir(parents=True, exist_ok=True)
    grids = {name: cases[name].geometry for name in scans}
    task = partial(_unpack, grids=grids, folder=folder)
    with (
        Workers.of(jobs, items=len(scans)) as workers,
        closing(workers.map(task, scans.values(), crashed=_crashed)) as records,
    ):
        found = list(progress(records, len(scans), "read images"))
    if failed := [f"{r.case}: {r.reason}" for r in found if r.status == "failed"]:
        raise InputError(
            f"{len(failed)} of {len(found)} images cannot be used: "
            + "; ".join(sorted(failed)[:10])
        )
    return {name: _unpacked(folder, name, window) for name in scans}


def _unpack(scan: Scan, *, grids: dict[str, Geometry], folder: Path) -> Record:
    def work() -> Outcome:
        array, notes = _files(folder, scan.name)
        sources = [_source(path) for path in scan.paths]
        if array.exists() and notes.exists():
            known = json.loads(notes.read_text(encoding="utf-8"))
            grid = Geometry.from_json(known["geometry"])
            if known["sources"] == sources and not grid.difference(grids[scan.name]):
                return Outcome(skipped="unpacked before")
        grid, voxels = scan.read()
        if difference := grids[scan.name].difference(grid):
            raise InputError(f"labels and image on different grids: {difference}")
        notes.unlink(missing_ok=True)  # it vouches for the array
        with replacing(array) as part:
            np.save(part, voxels)
        scaling = Scaling.of(voxels, None)
        record = {"shift": scaling.shift, "scale": scaling.scale}
        write_json(
            {"sources": sources, "geometry": grid.to_json(), "scaling": record}, notes
        )
        return Outcome()

    return recorded(scan.name, scan.inputs, work)


def _unpacked(
    folder: Path, name: str, window: tuple[float, float] | None
) -> CachedImage:
    array, notes = _files(folder, name)
    record = json.loads(notes.read_text(encoding="utf-8"))["scaling"]
    shift, scale = tuple(record["shift"]), tuple(record["scale"])
    if window is not None:
        return CachedImage(array, Scaling.of(np.zeros((len(shift), 1)), window))
    return CachedImage(array, Scaling(shift, scale, None))


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.npy", folder / f"{name}.json"


def _source(path: Path) -> list[Any]:
    """What tells that a file is the same, without reading it."""
    status = path.stat()
    return [str(path.absolute()), status.st_size, status.st_mtime_ns]


def _crashed(scan: Scan, how: str) -> Record:
    return Record.failure(scan.name, how, scan.inputs)
