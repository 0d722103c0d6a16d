"""Images unpacked once, so that patches are read without their files.

A ``.nii.gz`` is unpacked from its start for any patch of it. Here each case's voxels
lie as they are, in the files' own type, in one array that is mapped into memory: images
may exceed it, and the system keeps what is used.

An array's name says which files it came from, so several runs may share a folder at the
same time, whatever their images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from svls_cli.arrays import Region
from svls_cli.batch.records import Outcome
from svls_cli.batch.run import Batch, run_cases
from svls_cli.errors import InputError
from svls_cli.files import replacing, write_json
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.header import check_regular
from svls_cli.labels.scans import Scan
from svls_cli.labels.scans import find_images as find_images
from svls_cli.store.objects import disk_folder
from svls_cli.store.reader import StoredCase
from svls_cli.training.fingerprints import voxels_hash

_OWN_NAME = re.compile(r".+\.[0-9a-f]{16}\.(npy|json)")


@dataclass(frozen=True)
class Scaling:
    """Shift and scale that bring intensities to the range that networks expect."""

    # (c,) a voxel becomes ``(clipped - shift) / scale``.
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    window: tuple[float, float] | None = None  # clipped to, or None

    @classmethod
    def of(cls, voxels: npt.NDArray[Any]) -> Scaling:
        """The scaling of an image (c, z, y, x) to mean 0 and deviation 1 by channel."""
        flat = voxels.reshape(len(voxels), -1)
        deviations = flat.std(axis=1, dtype=np.float64)
        return cls(
            tuple(flat.mean(axis=1, dtype=np.float64).tolist()),
            tuple(np.where(deviations > 0, deviations, 1.0).tolist()),
        )

    def within(self, window: tuple[float, float] | None) -> Scaling:
        """The scaling of a window to -1..1 instead, if there is one."""
        if window is None:
            return self
        low, high = window
        count = len(self.shift)
        return Scaling(((low + high) / 2,) * count, ((high - low) / 2,) * count, window)

    def apply(self, voxels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Scaled intensities (c, z, y, x), float32."""
        scaled = voxels.astype(np.float32)
        if self.window is not None:
            np.clip(scaled, *self.window, out=scaled)
        axes = (-1, *(1,) * (voxels.ndim - 1))
        scaled -= np.reshape(self.shift, axes).astype(np.float32)
        scaled /= np.reshape(self.scale, axes).astype(np.float32)
        return scaled


@dataclass(frozen=True)
class CachedImage:
    """One case's image, unpacked.

    Parameters
    ----------
    path
        File of the array (c, z, y, x), ``.npy``.
    scaling
        Scaling of its intensities.
    hash
        `voxels_hash` of it.
    """

    path: Path
    scaling: Scaling
    hash: str

    def __getstate__(self) -> dict[str, Any]:
        # Mapped voxels would be pickled whole.
        return {name: self.__dict__[name] for name in ("path", "scaling", "hash")}

    @cached_property
    def _voxels(self) -> npt.NDArray[Any]:
        return np.asarray(np.load(self.path, mmap_mode="r"))

    def patch(self, region: Region) -> npt.NDArray[np.float32]:
        """Scaled intensities (c, z, y, x) of a region within the volume."""
        return self.scaling.apply(self._voxels[(slice(None), *region)])


@dataclass(frozen=True)
class ScanOnGrid:
    """An image, and the voxel grid that it has to lie on."""

    scan: Scan
    grid: Geometry

    @property
    def name(self) -> str:
        """The case's name."""
        return self.scan.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """The files, as records name them."""
        return self.scan.inputs


def unpack_images(
    cases: Mapping[str, StoredCase],
    scans: Mapping[str, Scan],
    cache: str | Path,
    *,
    window: tuple[float, float] | None = None,
    batch: Batch | None = None,
) -> dict[str, CachedImage]:
    """Unpack each case's image, unless it was unpacked from the same files before.

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
    batch
        As in `smooth_cases`.

    Raises
    ------
    InputError
        If images are broken or on another grid than their labels, each named.
    """
    folder = disk_folder(cache)
    folder.mkdir(parents=True, exist_ok=True)
    images = [ScanOnGrid(scan, cases[name].geometry) for name, scan in scans.items()]
    finished = run_cases(
        ImageUnpacker(folder), images, batch or Batch(), doing="read images"
    )
    failed = [each.record for each in finished if each.record.status == "failed"]
    if failed:
        reasons = sorted(f"{record.case}: {record.reason}" for record in failed)
        more = f"; and {len(failed) - 10} more" if len(failed) > 10 else ""
        raise InputError(
            f"{len(failed)} of {len(finished)} images cannot be used: "
            f"{'; '.join(reasons[:10])}{more}"
        )
    arrays = {each.record.case: each.result for each in finished}
    return {name: _unpacked(arrays[name], window) for name in scans}


def clear_cache(folder: Path) -> None:
    """Remove what `unpack_images` made, and the folder if nothing else is in it."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if _OWN_NAME.fullmatch(path.name):
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


@dataclass(frozen=True)
class ImageUnpacker:
    """Unpacks the image of one case into a folder, in a worker process."""

    folder: Path

    def __call__(self, image: ScanOnGrid) -> Outcome[Path]:
        """Unpack an image, unless it was unpacked from the same files before."""
        scan = image.scan
        sources = [_source(path) for path in scan.paths]
        content = json.dumps([sources, image.grid.to_json()]).encode()
        key = sha256(content).hexdigest()[:16]
        array = self.folder / f"{scan.name}.{key}.npy"
        notes = array.with_suffix(".json")
        if not _usable(array, notes):
            voxels = scan.read_on(image.grid)
            with replacing(array) as part, part.open("wb") as file:
                # `np.save` would not tell why the disk refuses what it writes.
                header = npy.header_data_from_array_1_0(voxels)
                npy.write_array_header_1_0(file, header)
                file.write(np.ascontiguousarray(voxels).data)
            scaling = Scaling.of(voxels)
            record = {"shift": scaling.shift, "scale": scaling.scale}
            write_json(record | {"hash": voxels_hash(voxels)}, notes)
        return Outcome(str(array), result=array)


def _unpacked(array: Path | None, window: tuple[float, float] | None) -> CachedImage:
    assert array is not None, "no image failed"
    record = json.loads(array.with_suffix(".json").read_text(encoding="utf-8"))
    scaling = Scaling(tuple(record["shift"]), tuple(record["scale"]))
    return CachedImage(array, scaling.within(window), record["hash"])


def _usable(array: Path, notes: Path) -> bool:
    """Whether an image was unpacked before, all of it."""
    try:
        np.load(array, mmap_mode="r")
        return "hash" in json.loads(notes.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _source(path: Path) -> list[Any]:
    """Path, size and time of a file, which tell it from others without reading it."""
    check_regular(path)
    status = path.stat()
    return [str(path.absolute()), status.st_size, status.st_mtime_ns]
