"""Templates filled in; the only user of Jinja2."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from svls_cli.errors import InvalidParameterError

if TYPE_CHECKING:
    from jinja2 import Environment

_LIBRARIES = ("jinja2", "contourpy", "PIL")


def check_libraries() -> None:
    """Check that what draws a report is installed, before any work.

    Raises
    ------
    InvalidParameterError
        If it is not.
    """
    for library in _LIBRARIES:
        try:
            import_module(library)
        except ImportError as error:
            raise InvalidParameterError(
                "a report needs Jinja2, contourpy and Pillow: pip install "
                "'svls-cli[report]'"
            ) from error


def render(template: str, values: Mapping[str, Any]) -> bytes:
    """A page, in UTF-8; every text in it is escaped."""
    page = _environment().get_template(template).render(**values)
    return page.encode(errors="replace")


def shown_number(value: float | None, digits: int = 3) -> str:
    """A number for people, a dash if it is undefined.

    Examples
    --------
    >>> shown_number(0.12345), shown_number(1234.7), shown_number(None)
    ('0.123', '1235', '–')

    What is small is not shown as nothing:

    >>> shown_number(0.00042), shown_number(0.0), shown_number(5.4)
    ('0.0004', '0.000', '5.40')
    """
    if value is None or value != value:
        return "–"
    if abs(value) >= 1:
        return f"{value:.{max(0, digits - len(f'{abs(value):.0f}'))}f}"
    if 0 < abs(value) < 0.5 / 10**digits:
        return f"{value:.1g}"
    return f"{value:.{digits}f}"


def link(path: str) -> str:
    """A file's path as the address of a link, whatever its name holds."""
    return quote(os.fsencode(path))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("svls_cli.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(number=shown_number, link=link)
    return environment
