"""The label maps that predictions are compared with: files, or a store's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from svls_cli.arrays import UIntArray
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.cases import LABEL_MAPS, LabelFiles, find_cases
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.names import composed
from svls_cli.labels.rater_maps import RaterMaps
from svls_cli.labels.raters import HARD
from svls_cli.labels.sources import LabelSource
from svls_cli.labels.suffixes import suffix_of
from svls_cli.labels.values import distinct_values, listed
from svls_cli.store.reader import Store, StoredCase, open_store


@dataclass(frozen=True)
class Reference:
    """The label maps of one case."""

    source: LabelSource | StoredCase
    raters: tuple[str, ...] = (HARD,)  # names of the label maps to compare with

    @property
    def path(self) -> str:
        """Where the label maps lie, to name in records."""
        if isinstance(self.source, StoredCase):
            return str(self.source.path)
        return str(self.source.paths[0])

    def read(
        self, grid: Geometry, classes: ClassTable, *, ignore_label: int | None
    ) -> RaterMaps:
        """Read the label maps as class indices of ``classes``.

        Raises
        ------
        InputError
            If they lie on another grid or hold other values than ``classes``, or a file
            cannot be read or is no label map.
        StoreError
            If the store is damaged.
        """
        if isinstance(self.source, StoredCase):
            _check_grid(grid, self.source.geometry)
            maps = tuple(
                _stored(self.source, rater, classes, ignore_label)
                for rater in self.raters
            )
        else:
            with self.source.open() as file:
                hint = "; --series puts DICOM segmentations on their series"
                is_dicom = not suffix_of(self.source.paths[0])
                _check_grid(grid, file.geometry, hint * is_dicom)
                maps = (file.indices(classes, ignore_label=ignore_label),)
                notes = tuple(file.notes(classes))
            return RaterMaps(grid, classes, self.raters, maps, notes)
        return RaterMaps(grid, classes, self.raters, maps)


@dataclass(frozen=True)
class References:
    """The label maps of all cases."""

    location: str  # paths of the files or of the store, for messages
    cases: Mapping[str, Reference]  # reference of each case, by name
    damaged: Mapping[str, str]  # damaged cases of a store, each with what is wrong
    # Classes and ignore label of a store; None for files.
    classes: ClassTable | None = None
    ignore_label: int | None = None

    def check_classes(self, prediction: ClassTable) -> None:
        """Raise InputError unless a prediction has the same label values."""
        if self.classes is None:
            return
        mine = set(self.classes.values.tolist())
        theirs = set(prediction.values.tolist())
        if mine != theirs:
            missing, extra = sorted(mine - theirs), sorted(theirs - mine)
            parts = [f"the prediction lacks {listed(missing)}"] if missing else []
            parts += [f"the reference lacks {listed(extra)}"] if extra else []
            raise InputError(
                f"the label values of the classes differ: {'; '.join(parts)}"
            )


def find_references(
    reference: str | Path | Iterable[str | Path],
    *,
    raters: Sequence[str] | None = None,
    pattern: str | None = None,
    lines: Iterable[str] = (),
    files: LabelFiles = LABEL_MAPS,
) -> References:
    """Find the label maps to compare with.

    Parameters are those of `evaluate_cases`.

    Raises
    ------
    InputError
        As `find_cases`; or if no case has a label map by one of ``raters``.
    InvalidParameterError
        If ``raters`` goes with files, or ``pattern`` with a store.
    StoreError
        If a store cannot be read.
    """
    paths = [reference] if isinstance(reference, str | Path) else list(reference)
    if len(paths) == 1 and _is_store(paths[0]):
        if pattern is not None:
            raise InvalidParameterError(
                "a pattern picks files; the reference is a store"
            )
        chosen = None if raters is None else [composed(rater) for rater in raters]
        return _in_store(open_store(paths[0]), chosen)
    if raters is not None:
        raise InvalidParameterError(
            "raters are chosen from a store; the reference is label map files"
        )
    cases = find_cases(paths, pattern=pattern, lines=lines, files=files)
    location = ", ".join(map(str, paths))
    return References(
        location, {case.name: Reference(case.source) for case in cases}, {}
    )


def _is_store(path: str | Path) -> bool:
    return str(path).rstrip("/").endswith(".zarr") or Path(path, "zarr.json").exists()


def _in_store(store: Store, chosen: Sequence[str] | None) -> References:
    cases, everyone = {}, {HARD}
    for name, case in store.items():
        everyone.update(case.raters)
        wanted = (case.raters or (HARD,)) if chosen is None else chosen
        raters = tuple(rater for rater in wanted if rater in (HARD, *case.raters))
        if raters:
            cases[name] = Reference(case, raters)
    if unknown := sorted(set(chosen or ()) - everyone):
        raise InputError(
            f"{store.path}: no label map by {listed(unknown)}; there are "
            f"{listed(sorted(everyone))}"
        )
    return References(
        str(store.path),
        cases,
        store.incomplete(),
        store.classes,
        store.config.ignore_label,
    )


def _stored(
    case: StoredCase, rater: str, classes: ClassTable, ignore_label: int | None
) -> UIntArray:
    labels = case.label_patch(rater)
    values = distinct_values(labels).tolist()
    if unknown := classes.unknown(values, ignore_label=ignore_label):
        raise InputError(
            f"label values {listed(unknown)} of {rater} are not among the classes "
            f"({listed(classes.values.tolist())})"
        )
    return classes.indices(labels, ignore_label=ignore_label)


def _check_grid(prediction: Geometry, reference: Geometry, hint: str = "") -> None:
    if difference := prediction.difference(reference):
        raise InputError(
            f"prediction and reference lie on different grids: {difference}{hint}"
        )
