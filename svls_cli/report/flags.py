"""What in a case a reader should look at first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from svls_cli.arrays import BoolArray
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.values import listed
from svls_cli.report.summary import CaseSummary

# Tukey's rule for values that are far out: so many interquartile ranges beyond the
# quartiles; and at least this share, since files round.
_FAR = 3
_ROUNDING = 0.01
_FEWEST = 4


def find_flags(
    summaries: Sequence[CaseSummary], classes: ClassTable
) -> dict[str, list[str]]:
    """Flags of each case, in words.

    Empty: a class that more than half of the cases have, and this one does not. Island:
    as `find_islands`. Only here: a class that no other case has. Spacing: far outside
    of the quartiles of all cases along an axis (Tukey's rule), from four cases on.
    Raters missing. And the notes of the case.
    """
    names = {str(c.value): c.name for c in classes.classes}
    having = Counter(value for each in summaries for value in each.sizes)
    usual = [value for value in names if 2 * having[value] > len(summaries)]
    odd = _odd_spacing(summaries)
    flags = {}
    for each, is_odd in zip(summaries, odd, strict=True):
        found = []
        if empty := [names[value] for value in usual if value not in each.sizes]:
            found.append(f"empty: {listed(empty, 3)}")
        if len(summaries) > 1 and (
            alone := [names[value] for value in each.sizes if having[value] == 1]
        ):
            found.append(f"only here: {listed(alone, 3)}")
        if each.islands:
            found.append(_islands(each.islands, names))
        if is_odd:
            found.append("spacing unlike the others")
        if each.missing:
            found.append(f"no {listed(each.missing, 3)}")
        flags[each.case] = [*found, *each.notes]
    return flags


def _islands(islands: Sequence[Mapping[str, int]], names: Mapping[str, str]) -> str:
    count = sum(each["count"] for each in islands)
    of = listed([names[str(each["value"])] for each in islands], 3)
    return f"{count} island{'s' * (count > 1)}: {of}"


def _odd_spacing(summaries: Sequence[CaseSummary]) -> BoolArray:
    odd = np.zeros(len(summaries), bool)
    for n_axes in (2, 3):
        own = [at for at, s in enumerate(summaries) if len(s.shape) == n_axes]
        if len(own) < _FEWEST:
            continue
        logs = np.log([summaries[at].spacing_mm for at in own])
        low, high = np.percentile(logs, (25, 75), axis=0)
        reach = _FAR * (high - low) + _ROUNDING
        odd[own] = ((logs < low - reach) | (logs > high + reach)).any(axis=1)
    return odd
