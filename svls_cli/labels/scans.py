"""Scans: the images that label maps were drawn on, one channel or several."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from svls_cli.errors import InputError
from svls_cli.labels.cases import (
    Case,
    each_once,
    find_cases,
)
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import read_image
from svls_cli.labels.listing import list_images
from svls_cli.labels.names import check_letter_case, safe_name
from svls_cli.labels.raters import RatedCase
from svls_cli.labels.suffixes import case_name, suffix_of
from svls_cli.labels.values import listed

AnyCase = TypeVar("AnyCase", Case, RatedCase)

# nnU-Net's channels: case_0000.nii.gz, case_0001.nii.gz, ...
_CHANNEL = re.compile(r"(.+)_(\d{4})")


@dataclass(frozen=True)
class Scan:
    """One case's images, all on one grid."""

    name: str
    paths: tuple[Path, ...]  # an image file per channel
    # Names of the channels; ``""`` where there is one, or only their order is known.
    channels: tuple[str, ...] = ("",)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of its files in records."""
        return tuple(map(str, self.paths))

    def read(self) -> tuple[Geometry, npt.NDArray[Any]]:
        """The grid, and the voxels (c, z, y, x) or (c, y, x) in the files' own type.

        Raises
        ------
        InputError
            If a file cannot be read, is broken, holds a NaN or infinity, or more than
            one number per voxel; or if the channels lie on different grids.
        """
        grids, channels = [], []
        for path in self.paths:
            try:
                grid, voxels = read_image(path)
            except InputError as error:
                raise InputError(f"{path.name}: {error}") from error
            grids.append(grid)
            channels.append(voxels)
            if difference := grids[0].difference(grids[-1]):
                raise InputError(
                    f"channels on different grids: {difference} in "
                    f"{self.paths[0].name} and {path.name}"
                )
        return grids[0], np.stack(channels)

    def read_on(self, grid: Geometry) -> npt.NDArray[Any]:
        """The voxels, as `read`, of an image that has to lie on a grid.

        Raises
        ------
        InputError
            As `read`, or if it does not.
        """
        own, voxels = self.read()
        if difference := grid.difference(own):
            raise InputError(f"labels and image on different grids: {difference}")
        return voxels


def find_scans(
    inputs: str | Path | Iterable[str | Path],
    *,
    pattern: str | None = None,
    lines: Iterable[str] = (),
    wanted: Collection[str] = (),
    n_channels: int | None = None,
) -> dict[str, Scan]:
    """All scans of files and folders, by the name of their case.

    A case's channels are files ``CASE_0000``, ``CASE_0001``, ... as nnU-Net names them,
    if every file is named so and, unless ``wanted`` or ``n_channels`` tell, every case
    has the same from 0 on; else each file is a case of one channel.

    Parameters
    ----------
    inputs
        Image files and folders of them; ``-`` stands for ``lines``.
    pattern
        Path inside a folder, as in `list_images`, with ``{case}`` and, unless there is
        one channel, ``{channel}``; channels are in the order of their names. Or a glob
        that picks files in folders.
    lines
        A path; or a JSON record ``{"case": ..., "image": path}``, or with ``"images":
        [path, ...]`` in the order of the channels, per line.
    wanted
        Cases that there should be: numbers at the names' ends are channels if more of
        these are found so.
    n_channels
        Number of channels of each case; several are numbers at the names' ends.

    Raises
    ------
    InputError
        If there are none, an input does not exist, a line is not understood, or two
        files have one name, or names that differ only in the case of letters.
    """
    paths, scans = list[Path](), list[Scan]()
    for given in [inputs] if isinstance(inputs, str | Path) else inputs:
        if str(given) != "-":
            paths.append(Path(given))
            continue
        for text in (line.rstrip("\r\n") for line in lines if line.strip()):
            if text.lstrip().startswith("{"):
                scans.append(_parse_record(text))
            else:
                paths.append(Path(text))
    found = {}
    if paths or not scans:
        found = _find(paths, pattern, wanted, n_channels)
    for scan in scans:
        if found.setdefault(scan.name, scan) != scan:
            raise InputError(
                f"two images are case {scan.name!r}: "
                f"{', '.join(found[scan.name].inputs)} and {', '.join(scan.inputs)}"
            )
    check_letter_case([(s.name, s.paths[0]) for s in found.values()], "cases")
    return found


def find_images(
    cases: Iterable[str],
    images: str | Path | Iterable[str | Path],
    *,
    pattern: str | None = None,
    lines: Iterable[str] = (),
) -> dict[str, Scan]:
    """Find each case's image.

    Parameters
    ----------
    cases
        Names of the cases; a `Store` will do.
    images, pattern, lines
        As in `find_scans`.

    Raises
    ------
    InputError
        If a case has no image, or other channels than the others.
    """
    names = sorted(cases)
    scans = find_scans(images, pattern=pattern, lines=lines, wanted=names)
    if missing := [name for name in names if name not in scans]:
        numbered = any(_CHANNEL.fullmatch(name) for name in scans)
        raise InputError(
            f"no image for {len(missing)} of {len(names)} cases: {listed(missing)}; "
            f"there are images of {listed(sorted(scans), 3)}"
            + "; _0000 and the like at the end of a name tell the channel only if all "
            "images have them: say which are meant with --image-pattern" * numbered
        )
    first = scans[names[0]].channels
    if odd := [name for name in names if scans[name].channels != first]:
        raise InputError(
            f"the image of {names[0]} has {len(first)} channels ({listed(first)}), "
            f"that of {odd[0]} has {listed(scans[odd[0]].channels)}: give all cases "
            "the same"
        )
    return {name: scans[name] for name in names}


def pair_images(
    cases: Sequence[AnyCase],
    images: str | Path | Iterable[str | Path],
    *,
    pattern: str | None = None,
) -> list[AnyCase]:
    """The cases, each with its image: the one that its record names, or one found.

    Parameters
    ----------
    cases
        As `find_cases` or `find_rated_cases` lists them.
    images, pattern
        As in `find_scans`.

    Raises
    ------
    InputError
        If a case has no image, or one of several channels.
    """
    without = [case.name for case in cases if case.image is None]
    if not without:
        return list(cases)
    scans = find_images(without, images, pattern=pattern)
    for name, scan in scans.items():
        if len(scan.paths) > 1:
            raise InputError(
                f"the image of {name} has {len(scan.paths)} channels "
                f"({listed(scan.channels)}), and one is expected: name it with "
                f"--image-pattern '{{case}}_{scan.channels[0]}"
                f"{suffix_of(scan.paths[0])}'"
            )
    return [
        replace(case, image=scans[case.name].paths[0]) if case.image is None else case
        for case in cases
    ]


def _find(
    given: list[Path],
    pattern: str | None,
    wanted: Collection[str],
    n_channels: int | None,
) -> dict[str, Scan]:
    if pattern and "{" in pattern:
        files: dict[tuple[str, ...], Path] = {}
        for folder in given:
            for names, path in list_images(folder, pattern, ("case", "channel")):
                key = names["case"], names.get("channel", "")
                if files.setdefault(key, path) != path:
                    channel = f", channel {key[1]!r}" if key[1] else ""
                    raise InputError(
                        f"two images are of case {key[0]!r}{channel}: {files[key]} and "
                        f"{path}"
                    )
        check_letter_case([(key[0], path) for key, path in files.items()], "cases")
        return _by_case(files)
    cases = find_cases(given, pattern=pattern)
    paths = {case.name: case.source.paths[0] for case in cases}
    plain = _by_case({(name, ""): path for name, path in paths.items()})
    channels = _channels(paths)
    if channels is None:
        return plain
    found = _by_case(channels)
    if wanted:
        return max(plain, found, key=lambda scans: len(scans.keys() & set(wanted)))
    if n_channels is not None and n_channels > 1:
        return found
    numbers = {tuple(map(int, scan.channels)) for scan in found.values()}
    count = len(next(iter(numbers)))
    complete = numbers == {tuple(range(count))}
    return found if complete and n_channels in (None, count) else plain


def _parse_record(text: str) -> Scan:
    try:
        record = json.loads(text, object_pairs_hook=each_once)
        if {"image", "images"} <= record.keys():
            raise ValueError("both are given")
        images = [record["image"]] if "image" in record else record["images"]
        if not (isinstance(images, list) and images) or "\0" in "".join(images):
            raise TypeError("images are a list of paths")
        paths = tuple(map(Path, images))
        name = record["case"] if len(paths) > 1 else record.get("case", None)
        name = case_name(paths[0]) if name is None else safe_name(name)
        return Scan(name, paths, ("",) * len(paths))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            'standard input: expected a path, {"case": ..., "image": path} or '
            f'{{"case": ..., "images": [path, ...]}} per line, found {text[:200]!r}'
        ) from error


def _by_case(files: Mapping[tuple[str, ...], Path]) -> dict[str, Scan]:
    found: dict[str, dict[str, Path]] = {}
    for (case, channel), path in sorted(files.items()):
        found.setdefault(case, {})[channel] = path
    return {
        name: Scan(name, tuple(paths.values()), tuple(paths))
        for name, paths in found.items()
    }


def _channels(paths: Mapping[str, Path]) -> dict[tuple[str, ...], Path] | None:
    """By case and channel; None if the names are not all of that kind."""
    matches = {name: _CHANNEL.fullmatch(name) for name in paths}
    if not all(matches.values()):
        return None
    return {m.groups(): paths[name] for name, m in matches.items() if m is not None}
