"""The label maps that predictions are compared with: files, or a store's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from svls_cli.arrays import UIntArray
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.cases import Case, find_cases
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import open_label_file
from svls_cli.labels.rater_maps import RaterMaps
from svls_cli.labels.raters import HARD
from svls_cli.labels.values import distinct_values, listed
from svls_cli.store.reader import Store, StoredCase, open_store


@dataclass(frozen=True)
class Reference:
    """The label maps of one case.

    Parameters
    ----------
    source
        A label map file, or a case of a store.
    raters
        Which of its label maps.
    """

    source: Case | StoredCase
    raters: tuple[str, ...] = (HARD,)

    def read(
        self, grid: Geometry, classes: ClassTable, *, ignore_label: int | None
    ) -> RaterMaps:
        """The label maps as channels of ``classes``.

        Raises
        ------
        InputError
            If they lie on another grid, hold other values than ``classes``, or a file
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
            with open_label_file(self.source.path) as file:
                _check_grid(grid, file.geometry)
                maps = (file.indices(classes, ignore_label=ignore_label),)
        return RaterMaps(grid, classes, self.raters, maps)


@dataclass(frozen=True)
class References:
    """Those of all cases.

    Parameters
    ----------
    place
        Where they are, for messages.
    cases
        By name.
    classes, ignore_label
        Of the store they are in; None for files.
    """

    place: str
    cases: Mapping[str, Reference]
    classes: ClassTable | None = None
    ignore_label: int | None = None

    def check_classes(self, prediction: ClassTable) -> None:
        """Raise InputError unless a prediction has the same label values."""
        if self.classes is None:
            return
        mine, theirs = (
            set(self.classes.values.tolist()),
            set(prediction.values.tolist()),
        )
        if mine != theirs:
            missing, extra = sorted(mine - theirs), sorted(theirs - mine)
            parts = [f"the prediction lacks {listed(missing)}"] if missing else []
            parts += [f"the reference lacks {listed(extra)}"] if extra else []
            raise InputError(
                f"the label values of the classes differ: {'; '.join(parts)}"
            )


def find_references(
    given: str | Path | Iterable[str | Path],
    *,
    raters: Sequence[str] | None = None,
    pattern: str | None = None,
    lines: Iterable[str] = (),
) -> References:
    """Find the label maps to compare with.

    Parameters
    ----------
    given
        A soft-label store; or label map files, folders and lists, as `find_cases`
        takes them.
    raters
        Which of the store's raters; ``hard`` is the consensus. Default: for each case
        all that it has, or the hard label map where it has none.
    pattern, lines
        As in `find_cases`.

    Raises
    ------
    InputError
        As `find_cases`; or if no case has a label map by one of ``raters``.
    InvalidParameterError
        If raters or a pattern are given where they have no meaning.
    StoreError
        If it looks like a store, but is none that can be read.
    """
    places = [given] if isinstance(given, str | Path) else list(given)
    if len(places) == 1 and _is_store(places[0]):
        if pattern is not None:
            raise InvalidParameterError(
                "a pattern picks files; the reference is a store"
            )
        return _in_store(open_store(places[0]), raters)
    if raters is not None:
        raise InvalidParameterError(
            "raters are chosen from a store; the reference is label map files"
        )
    cases = find_cases(places, pattern=pattern, lines=lines)
    place = ", ".join(map(str, places))
    return References(place, {case.name: Reference(case) for case in cases})


def _is_store(place: str | Path) -> bool:
    return str(place).rstrip("/").endswith(".zarr") or Path(place, "zarr.json").exists()


def _in_store(store: Store, chosen: Sequence[str] | None) -> References:
    cases, everyone = {}, {HARD}
    for name, case in store.items():
        everyone.update(case.raters)
        wanted = (case.raters or (HARD,)) if chosen is None else chosen
        found = tuple(rater for rater in wanted if rater in (HARD, *case.raters))
        if found:
            cases[name] = Reference(case, found)
    if unknown := sorted(set(chosen or ()) - everyone):
        raise InputError(
            f"{store.path}: no label map by {listed(unknown)}; there are "
            f"{listed(sorted(everyone))}"
        )
    return References(str(store.path), cases, store.classes, store.config.ignore_label)


def _stored(
    case: StoredCase, rater: str, classes: ClassTable, ignore_label: int | None
) -> UIntArray:
    values = case.label_patch(rater)
    found = distinct_values(values).tolist()
    if unknown := classes.unknown(found, ignore_label=ignore_label):
        raise InputError(
            f"label values {listed(unknown)} of {rater} are not among the classes "
            f"({listed(classes.values.tolist())})"
        )
    return classes.indices(values, ignore_label=ignore_label)


def _check_grid(prediction: Geometry, reference: Geometry) -> None:
    if difference := prediction.difference(reference):
        raise InputError(
            f"prediction and reference lie on different grids: {difference}"
        )
