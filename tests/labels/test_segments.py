"""Label values of segments that are classes by their names."""

from __future__ import annotations

import pytest

from svls_cli.errors import InputError
from svls_cli.labels.segments import Segment, number_segments


def named(*pairs: tuple[str, int | None]) -> list[Segment]:
    return [Segment(name, "", value=value) for name, value in pairs]


def numbers(*pairs: tuple[str, int | None], values: tuple[int, ...] = (0,)) -> object:
    found = number_segments(values, {}, named(*pairs))
    return {segment.name: value for value, segment in found.items()}


def test_values_are_kept_where_files_agree() -> None:
    assert numbers(("liver", 5), ("kidney", 2), ("liver", 5)) == {
        "liver": 5, "kidney": 2
    }  # fmt: skip


def test_the_first_file_decides_where_they_do_not() -> None:
    first = [("liver", 1), ("kidney", 2)]
    assert numbers(*first, ("kidney", 1), ("liver", 2)) == {"liver": 1, "kidney": 2}
    # New names whose values are taken come after all others, in the order of names.
    more = [("spleen", 2), ("aorta", 1), ("vein", 7)]
    assert numbers(*first, *more) == {
        "liver": 1, "kidney": 2, "vein": 7, "aorta": 8, "spleen": 9
    }  # fmt: skip
    # A later file may have a value for it that is free.
    assert numbers(*first, ("spleen", 2), ("spleen", 3))["spleen"] == 3  # type: ignore[index]


def test_names_alone() -> None:
    assert numbers(("b", None), ("c", 1), ("a", None)) == {"a": 2, "b": 3, "c": 1}
    assert numbers(("c", None), ("c", 4)) == {"c": 4}
    assert number_segments([0], {3: Segment("c", "")}, named(("c", None))) == {
        3: Segment("c", "")
    }
    found = number_segments([0], {}, named(("a", None), ("b", None)), ignore_label=1)
    assert list(found) == [2, 3]


def test_names_alone_beside_values_alone() -> None:
    match = "a have names and no label values, and labels 2 have values and no names"
    with pytest.raises(InputError, match=match):
        number_segments([0, 2, 3], {3: Segment("c", "")}, named(("a", None)))
    # What is ignored is no label; a segment's own value may be anybody's.
    found = number_segments([0, 2], {}, named(("a", None)), ignore_label=2)
    assert list(found) == [3]
    assert numbers(("liver", 2), values=(0, 2)) == {"liver": 2}
