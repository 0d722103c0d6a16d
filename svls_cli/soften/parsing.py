"""Methods as texts."""

from __future__ import annotations

from typing import Any

from svls_cli.errors import InvalidParameterError, check_choice
from svls_cli.soften.choices import METHODS
from svls_cli.soften.methods import PARAMETERS, Method


def parse_method(text: str) -> Method:
    """A method from ``name`` or ``name:parameter=value:...``.

    Parameters are those of `Method`; one value per axis is written ``1x3x3``; a bare
    number is the alpha of ``ls`` and the sigma of the others.

    Raises
    ------
    InvalidParameterError
        If the text cannot be parsed, or a value is out of range.

    Examples
    --------
    >>> parse_method("ls:0.2").alpha
    0.2
    >>> parse_method("svls:sigma_mm=1.5:strength=0.8").strength
    0.8
    """
    name, *parts = text.split(":")
    parameters: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals:
            key, value = ("alpha" if name == "ls" else "sigma"), part
        if key in parameters:
            raise InvalidParameterError(f"method {text!r}: {key} is given twice")
        if key not in (known := PARAMETERS.get(name, (key,))):
            raise InvalidParameterError(
                f"method {text!r}: {name} has no parameter {key!r}; it has "
                f"{', '.join(known) or 'none'}"
            )
        parameters[key] = _value(key, value, text)
    check_choice("method", name, METHODS)
    return Method(name, **parameters)  # type: ignore[arg-type]


def _value(key: str, value: str, text: str) -> Any:
    kind = int if key == "size" else float
    word = "auto" if key == "size" else None
    try:
        parts = value.split("x")
        values = tuple(part if part == word else kind(part) for part in parts)
    except ValueError:
        raise InvalidParameterError(
            f"method {text!r}: {value!r} is no number"
        ) from None
    return values[0] if len(values) == 1 else values
