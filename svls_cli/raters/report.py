"""Report on the raters' agreement in a data set: records, and tables to print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.files import Cell, aligned, write_report
from svls_cli.labels.values import listed
from svls_cli.metrics.averages import mean, or_none
from svls_cli.raters.case_agreement import CaseAgreement, ClassAgreement

# Cases listed to be looked at again.
_WORST_CASES = 5
_CLASS_MEANS = ("dice", "surface_dice", "kappa", "volume_spread", "disputed_voxels")
_CASE_MEANS = ("kappa", "disputed_voxels", "disputed_share", "entropy_bits")
_SET_MEANS = ("dice", "surface_dice", "volume_spread")

_CLASS_HEADER = [
    *("label", "name", "cases", "Dice", "surface Dice", "kappa"),
    *("volume spread", "disputed voxels"),
]
_RATER_HEADER = ["rater", "cases", "sensitivity", "specificity", "Dice"]
_WORST_HEADER = ["case", "worst class", "its Dice", "mean Dice"]


@dataclass(frozen=True, eq=False)
class AgreementReport:
    """The agreement in every case, and its means over cases.

    A mean is over the cases in which the value is defined, all of the same weight.

    Parameters
    ----------
    cases
        Agreement in at least one case, all with the same tolerance.

    Raises
    ------
    InputError
        If there are no cases, or a case occurs twice.
    InvalidParameterError
        If the tolerances differ.
    """

    cases: Sequence[CaseAgreement]

    def __post_init__(self) -> None:
        if not self.cases:
            raise InputError("no cases to report on")
        if len({case.case for case in self.cases}) < len(self.cases):
            raise InputError("a case occurs twice in the report")
        tolerances = {case.tolerance_mm for case in self.cases}
        if len(tolerances) > 1:
            raise InvalidParameterError(
                f"tolerance_mm differs between cases: {listed(sorted(tolerances))}"
            )

    @property
    def tolerance_mm(self) -> float:
        """Tolerance of the surface Dice, mm."""
        return self.cases[0].tolerance_mm

    @property
    def raters(self) -> list[str]:
        """Names of all raters, sorted."""
        return sorted({rater for case in self.cases for rater in case.raters})

    def to_json(self) -> dict[str, Any]:
        """The report as written; undefined values are None."""
        return {
            "tolerance_mm": self.tolerance_mm,
            "set": self._set(),
            "classes": self._classes(),
            "raters": [self._rater(name) for name in self.raters],
            "worst": self._worst(),
            "cases": [case.to_json() for case in self.cases],
        }

    def csv_rows(self) -> list[list[Cell]]:
        """A header, then one row per case and class; None where undefined."""
        sizes = sorted({case.size_name for case in self.cases})
        columns = [
            (name, rater)
            for name in ("sensitivity", "specificity", *sizes)
            for rater in self.raters
        ]
        fixed: list[Cell] = ["case", "value", "name", "raters", *_CLASS_MEANS]
        rows = [[*fixed, *(f"{name}[{rater}]" for name, rater in columns)]]
        for case in self.cases:
            for record in case.to_json()["classes"]:
                start = [case.case, record["value"], record["name"], len(case.raters)]
                means = [record[name] for name in _CLASS_MEANS]
                own = [record.get(name, {}).get(rater) for name, rater in columns]
                rows.append([*start, *means, *own])
        return rows

    def table(self, *, width: float = math.inf) -> list[str]:
        """Lines to print: classes, raters, and the cases with the least agreement."""
        classes = map(_class_line, self._classes())
        raters = map(_rater_line, map(self._rater, self.raters))
        return [
            f"agreement by class; surface Dice at {self.tolerance_mm:g} mm",
            *aligned(_CLASS_HEADER, classes, width=width, keys=2),
            "",
            "raters against the consensus, and their Dice with each other",
            *aligned(_RATER_HEADER, raters, width=width),
            "",
            "cases with the least Dice",
            *aligned(
                _WORST_HEADER, map(_worst_line, self._worst()), width=width, keys=2
            ),
        ]

    def write(self, path: Path) -> None:
        """Write a ``.json`` or ``.csv`` file, whole or not at all.

        Raises
        ------
        InvalidParameterError
            If the suffix is another, or the file cannot be written there.
        """
        write_report(self, path)

    def _set(self) -> dict[str, Any]:
        """Means over cases; class measures are first averaged over the classes."""
        values = {name: [getattr(c, name) for c in self.cases] for name in _CASE_MEANS}
        for name in _SET_MEANS:
            values[name] = [c.class_mean(name) for c in self.cases]
        return {
            "cases": len(self.cases),
            "raters": len(self.raters),
            **{name: or_none(mean(each)) for name, each in values.items()},
        }

    def _classes(self) -> list[dict[str, Any]]:
        by_value: dict[int, list[ClassAgreement]] = {}
        for case in self.cases:
            for c in case.classes:
                by_value.setdefault(c.value, []).append(c)
        return [
            {
                "value": value,
                "name": group[0].name,
                "cases": len(group),
                **{
                    name: or_none(mean([getattr(c, name) for c in group]))
                    for name in _CLASS_MEANS
                },
                **{
                    name: or_none(mean([mean(getattr(c, name)) for c in group]))
                    for name in ("sensitivity", "specificity")
                },
            }
            for value, group in sorted(by_value.items())
        ]

    def _rater(self, name: str) -> dict[str, Any]:
        own = [(c, c.raters.index(name)) for c in self.cases if name in c.raters]
        rates = {
            rate: or_none(mean([case.rater_mean(rate, at) for case, at in own]))
            for rate in ("sensitivity", "specificity")
        }
        dice = or_none(mean([case.rater_dice(at) for case, at in own]))
        return {"rater": name, "cases": len(own), **rates, "dice": dice}

    def _worst(self) -> list[dict[str, Any]]:
        """The cases with the least mean Dice, worst first."""
        measured = [
            (case.class_mean("dice"), case.case, case)
            for case in self.cases
            if not math.isnan(case.class_mean("dice"))
        ]
        records = []
        for dice, name, case in sorted(measured, key=lambda m: m[:2])[:_WORST_CASES]:
            compared = [c for c in case.classes if not math.isnan(c.dice)]
            worst = min(compared, key=lambda c: c.dice)
            label = {"value": worst.value, "name": worst.name, "dice": worst.dice}
            records.append({"case": name, "dice": dice, "class": label})
        return records


def _class_line(record: dict[str, Any]) -> list[str]:
    *shares, voxels = (record[name] for name in _CLASS_MEANS)
    start = [str(record["value"]), record["name"], str(record["cases"])]
    return [*start, *map(_shown, shares), _shown(voxels, digits=1)]


def _rater_line(record: dict[str, Any]) -> list[str]:
    shares = (record[name] for name in ("sensitivity", "specificity", "dice"))
    return [record["rater"], str(record["cases"]), *map(_shown, shares)]


def _worst_line(record: dict[str, Any]) -> list[str]:
    worst = record["class"]
    dice = (worst["dice"], record["dice"])
    return [record["case"], worst["name"], *map(_shown, dice)]


def _shown(value: float | None, *, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
