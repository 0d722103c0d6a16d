"""Names that are one folder's on every file system, and the same for every user."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from svls_cli.labels.names import safe_name


@given(st.text(st.characters()) | st.text(st.characters(categories=["Cs"])))
@example("con\u0301")
@example("__..")
@example("日" * 100)
def test_safe_names_are_one_folder_inside_the_store(name: str) -> None:
    safe = safe_name(name)
    inside = Path("/store") / safe
    assert inside.parent == Path("/store")
    assert inside.name == safe
    assert safe not in ("", ".", "..", "zarr.json")
    assert not safe.startswith("__")
    assert not safe.endswith((".", " "))
    assert len(os.fsencode(safe)) <= 223
    assert unicodedata.is_normalized("NFC", safe)
    assert safe_name(safe) == safe


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        " a",
        "-rf",
        "~",
        "$(x)",
        "Größe ä",
        "日本",
        "a.b",
        "a" * 223,
        "\udcff",
        "'",
    ],
)
def test_names_that_are_kept(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a:b", "a_b"),
        ('<a>|"b"?*', "_a___b___"),
        ("C:\\x", "C__x"),
        ("a. .", "a___"),
        ("..", "_"),
        ("CON", "_CON"),
        ("nul .x", "_nul .x"),
        ("COM1.a.b", "_COM1.a.b"),
        ("lpt³", "_lpt³"),
        ("CONIN$", "_CONIN$"),
        ("console", "console"),
        ("com10", "com10"),
        ("Zarr.JSON", "_Zarr.JSON"),
        ("\u202egpj", "_gpj"),
        ("a\x9b\u2028\u200f", "a___"),
        ("e\u0301", "é"),
        ("y" * 100_000, "y" * 214 + "_24f3b78c"),
        ("日" * 90, "日" * 71 + "_08b7464e"),
    ],
)
def test_names_that_are_made_safe(name: str, expected: str) -> None:
    assert safe_name(name) == expected


def test_long_names_that_begin_alike_stay_apart() -> None:
    assert safe_name("x" * 300 + "1") != safe_name("x" * 300 + "2")
