"""The libraries that training needs, which are an extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from svls_cli.errors import InvalidParameterError

_NEEDED = ("torch", "monai", "matplotlib")


def check_libraries() -> None:
    """Check that all libraries are installed, without importing them.

    Raises
    ------
    InvalidParameterError
        If one is not.
    """
    for name in _NEEDED:
        if find_spec(name) is None:
            raise _missing(name)


@contextmanager
def libraries() -> Iterator[None]:
    """Around imports of modules that use PyTorch, which take seconds.

    Raises
    ------
    InvalidParameterError
        If a library is installed, but cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        if error.name is None:
            raise InvalidParameterError(f"training needs PyTorch: {error}") from error
        raise _missing(error.name) from error


def _missing(name: str) -> InvalidParameterError:
    return InvalidParameterError(
        f"training needs {name}: pip install 'svls-cli[train]'"
    )
