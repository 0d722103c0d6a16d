"""Exceptions, grouped by who can fix the problem, and the most common check."""

from collections.abc import Collection
from types import UnionType


class SvlsError(Exception):
    """Base of all errors that a user, not a developer, can fix."""


class InvalidParameterError(SvlsError, ValueError):
    """A parameter is out of range, or conflicts with another."""


class InputError(SvlsError, ValueError):
    """An input file, list or table is invalid."""


class StoreError(SvlsError, ValueError):
    """A store is of another kind or format, damaged, or made with other parameters."""


class DeviceError(SvlsError, RuntimeError):
    """The GPU fails, or cannot be used."""


class WorkersError(SvlsError, RuntimeError):
    """Worker processes cannot be started, or a cluster cannot be used."""


class UnreachableError(SvlsError, RuntimeError):
    """An object store does not answer, or denies access."""


class UnknownCaseError(SvlsError, KeyError):
    """The store does not hold the requested case."""

    # `KeyError` would quote the message.
    __str__ = Exception.__str__


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise InvalidParameterError unless a parameter is one of its choices."""
    if value not in choices:
        raise InvalidParameterError(
            f"{name} must be one of {', '.join(choices)}, found {value!r}"
        )


def check_type(name: str, value: object, kind: type | UnionType, expected: str) -> None:
    """Raise InvalidParameterError unless a parameter is of a type.

    ``expected`` says in words what it should be.
    """
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InvalidParameterError(f"{name} must be {expected}, found {value!r}")
