"""A run's share of the cases, as in a SLURM array."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from svls_cli.errors import InvalidParameterError


class Named(Protocol):
    """Anything with a case's name."""

    @property
    def name(self) -> str: ...


AnyCase = TypeVar("AnyCase", bound=Named)


@dataclass(frozen=True)
class Part:
    """A run's share of the cases, when several runs share the work.

    Parameters
    ----------
    number
        Which part, from 1 to ``count``.
    count
        How many parts there are.

    Raises
    ------
    InvalidParameterError
        If there is no such part.

    Examples
    --------
    >>> from types import SimpleNamespace as Case
    >>> cases = [Case(name=name) for name in "abcde"]
    >>> [case.name for case in Part.parse("2/3").of(cases)]
    ['b', 'e']
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InvalidParameterError(
                f"part {self.number}/{self.count}: expected i/N with i from 1 to N"
            )

    @classmethod
    def parse(cls, text: str) -> Part:
        """A part from ``i/N``."""
        if not re.fullmatch(r"[0-9]{1,9}/[0-9]{1,9}", text):
            raise InvalidParameterError(
                f"part {text!r}: expected i/N, such as 1/10, with i from 1 to N"
            )
        return cls(*map(int, text.split("/")))

    def of(self, cases: Sequence[AnyCase]) -> list[AnyCase]:
        """Every ``count``-th case in the order of their names."""
        return sorted(cases, key=lambda case: case.name)[self.number - 1 :: self.count]
