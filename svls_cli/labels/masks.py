"""One mask file per class, read as one label map: classes by the masks' names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from svls_cli.arrays import FloatArray, UIntArray
from svls_cli.errors import InputError, check_choice
from svls_cli.labels.choices import OVERLAPS, Overlap
from svls_cli.labels.classes import MAX_CLASSES, ClassTable, default_name
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import input_record, read_header
from svls_cli.labels.mask_voxels import marked, naming
from svls_cli.labels.segments import Segment
from svls_cli.labels.sources import Kind, Labels, SoftLabels
from svls_cli.labels.values import listed, look_up

_BACKGROUND = default_name(0)


@dataclass(frozen=True)
class MaskFiles:
    """The masks of one case, or of one of its raters: a source of labels.

    Parameters
    ----------
    masks
        Name of the class, and the file in which its voxels are not 0, of each; sorted.
    overlap
        ``fail``, ``first``, ``last`` or ``share``.
    """

    masks: tuple[tuple[str, Path], ...]
    overlap: Overlap = "fail"

    def __post_init__(self) -> None:
        check_choice("overlap", self.overlap, OVERLAPS)

    @property
    def kind(self) -> Kind:
        return "hard"

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(path for _, path in self.masks)

    def named(self) -> tuple[Segment, ...]:
        """A class for each mask, but for one of the background."""
        return tuple(
            Segment(name, "")
            for name, _ in self.masks
            if name and name.casefold() != _BACKGROUND
        )

    def geometry(self) -> Geometry:
        """The grid of all masks.

        Raises
        ------
        InputError
            If one cannot be read, or they lie on different grids.
        """
        grids = []
        for path in self.paths:
            with naming(path):
                grids.append(read_header(path).geometry)
            if difference := grids[0].difference(grids[-1]):
                raise InputError(
                    f"{self.paths[0].name} and {path.name} lie on different grids: "
                    f"{difference}"
                )
        return grids[0]

    @contextmanager
    def open(self) -> Iterator[Labels]:
        masks = dict(self.masks)
        yield MaskLabels(self.geometry(), masks, self.named(), self.overlap)

    def records(self, rater: str | None = None) -> list[dict[str, Any]]:
        own = {"overlap": self.overlap}
        return [
            input_record(path, rater) | {"class": name} | own
            for name, path in self.masks
        ]

    def absolute(self) -> MaskFiles:
        masks = tuple((name, path.absolute()) for name, path in self.masks)
        return MaskFiles(masks, self.overlap)


def group_masks(
    found: Iterable[tuple[Mapping[str, str], Path]], overlap: Overlap
) -> list[tuple[dict[str, str], MaskFiles]]:
    """Masks of one case and rater, together.

    Parameters
    ----------
    found
        What each file's path says, with the name ``class``, and the path.
    overlap
        As in `MaskFiles`.

    Returns
    -------
    list of (names, masks)
        Without the name ``class``.

    Raises
    ------
    InputError
        If two masks of a case are of one class.
    """
    groups: dict[tuple[tuple[str, str], ...], dict[str, Path]] = {}
    for names, path in found:
        rest = dict(names)
        name = rest.pop("class", "")  # a folder that cannot be read says none
        masks = groups.setdefault(tuple(rest.items()), {})
        if masks.setdefault(name, path) != path:
            raise InputError(
                f"two masks of one case are of class {name!r}: {masks[name]} and {path}"
            )
    return [
        (dict(names), MaskFiles(tuple(sorted(masks.items())), overlap))
        for names, masks in groups.items()
    ]


@dataclass
class MaskLabels:
    """Masks on one grid; they are read when their labels are asked for."""

    geometry: Geometry
    masks: Mapping[str, Path]
    named: Sequence[Segment]
    overlap: Overlap
    _overlaps: str = ""  # remark on voxels in several masks, once these were read

    @property
    def segments(self) -> Mapping[int, Segment]:
        """None: which label value a name has, the classes say."""
        return {}

    def notes(self, table: ClassTable) -> list[str]:
        """Masks that are no classes, classes that have no mask, and overlaps."""
        every = {label.name for label in table.classes}
        others = [name for name in self.masks if name not in every]
        lacking = [name for name in _names(table) if name not in self.masks]
        notes = {
            "masks that are not among the classes": others,
            "no mask, which counts as empty": lacking,
        }
        told = [f"{what}: {listed(those)}" for what, those in notes.items() if those]
        return [*told, self._overlaps] if self._overlaps else told

    def distinct(self) -> list[int]:
        """The background; masks have names."""
        return [0]

    def indices(self, table: ClassTable, *, ignore_label: int | None) -> UIntArray:
        """Channel of each voxel; of a voxel that masks share, the first.

        Raises
        ------
        InputError
            If a file cannot be read or is no mask; if none is among the classes, or
            there is no background among these; or if masks overlap, unless they may.
        """
        codes, members = self._merged(table)
        first = np.array([min(each) for each in members])
        return look_up(first.astype(np.min_scalar_type(len(table))), codes)

    def soft(self, table: ClassTable, *, ignore_label: int | None) -> SoftLabels | None:
        """The shares of each voxel, if masks share voxels; else None.

        Raises
        ------
        InputError
            As `indices`.
        """
        if self.overlap != "share":
            return None
        codes, members = self._merged(table)
        shares: FloatArray = np.zeros((len(members), len(table)))
        for row, classes in zip(shares, members, strict=True):
            row[list(classes)] = 1 / len(classes)
        return SoftLabels(codes, shares, shares.argmax(axis=1))

    def _merged(self, table: ClassTable) -> tuple[UIntArray, list[tuple[int, ...]]]:
        """A code for each voxel, and the channels that each code stands for.

        The first codes are the table's channels.
        """
        channels = self._channels(table)
        background = table.values.tolist().index(0)
        members: dict[tuple[int, ...], int] = {(c,): c for c in range(len(table))}
        # Sums of several classes are few, and have room beside them.
        wide = np.uint16 if self.overlap == "share" else np.min_scalar_type(len(table))
        codes: UIntArray = np.full(self.geometry.shape, background, wide)
        common: Counter[tuple[int, int]] = Counter()
        covered: list[str] = []
        for name, channel in channels.items():
            alone = []
            for rows, inside in marked(self.masks[name]):
                here = codes[rows]
                both = inside & (here != background)
                inside &= ~both
                here[inside] = channel
                alone.append(bool(inside.any()))
                if not both.any():
                    continue
                taken, which, n = np.unique(
                    here[both], return_inverse=True, return_counts=True
                )
                sets = [list(members)[code] for code in taken]
                for others, count in zip(sets, n.tolist(), strict=True):
                    common.update({(each, channel): count for each in others})
                if self.overlap == "share":
                    here[both] = _codes(sets, channel, members).astype(wide)[which]
            if alone and not any(alone):
                covered.append(name)
        if common:
            self._overlaps = _overlaps(common, covered, table, self.overlap)
        return codes, list(members)

    def _channels(self, table: ClassTable) -> dict[str, int]:
        """Channel of each mask that is a class; those first that keep their voxels."""
        names = _names(table)
        if 0 not in table.values:
            raise InputError("masks need a background, label 0, among the classes")
        channels = {name: at for name, at in names.items() if name in self.masks}
        if not channels:
            raise InputError(
                f"none of its masks is among the classes: they are "
                f"{listed(list(self.masks))}, and the classes {listed(list(names))}"
            )
        return dict(reversed(channels.items())) if self.overlap == "last" else channels


def _names(table: ClassTable) -> dict[str, int]:
    """Channel of each class but the background, by its name."""
    return {c.name: c.index for c in table.classes if c.value != 0}


def _codes(
    sets: Iterable[tuple[int, ...]], channel: int, members: dict[tuple[int, ...], int]
) -> UIntArray:
    """Codes of some sets of channels with one more: those they have, or new ones."""
    codes = [members.setdefault((*each, channel), len(members)) for each in sets]
    if len(members) > MAX_CLASSES:
        raise InputError(f"masks overlap in more than {MAX_CLASSES} ways")
    return np.array(codes, np.uint32)


def _overlaps(
    common: Counter[tuple[int, int]],
    covered: Sequence[str],
    table: ClassTable,
    overlap: Overlap,
) -> str:
    """What becomes of voxels in several masks.

    ``common`` counts them by pair of channels; ``covered`` are masks that lie in those
    that keep their voxels.
    """
    pairs = [
        f"{' and '.join(table.classes[c].name for c in sorted(pair))} ({count} voxels)"
        for pair, count in common.most_common()
    ]
    what = f"masks overlap: {listed(pairs, 3)}"
    if overlap == "fail":
        raise InputError(f"{what}; --overlap says what becomes of such voxels")
    if overlap == "share":
        return f"{what}, which they share"
    said = f"{what}, which the {overlap} of them has"
    if not covered:
        return said
    value = "lower" if overlap == "first" else "higher"
    return (
        f"{said}; nothing is left of {listed(covered)}, unless --classes gives it a "
        f"{value} label value"
    )
