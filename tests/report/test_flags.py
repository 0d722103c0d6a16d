"""Flags, by brute force."""

from collections import deque
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from svls_cli.labels.classes import ClassTable
from svls_cli.report.flags import find_flags
from svls_cli.report.islands import find_islands
from svls_cli.report.summary import CaseSummary

TABLE = ClassTable.from_values([0, 3, 7], names={3: "liver", 7: "spleen"})


def summary(case: str, **values: Any) -> CaseSummary:
    usual: dict[str, Any] = {
        "shape": [4, 5, 6],
        "spacing_mm": [1.0, 1.0, 1.0],
        "sizes": {"3": 1.0},
        "ignored_share": 0.0,
        "entropy_bits": 0.1,
        "raters": [],
        "missing": [],
        "dice": None,
        "surface_dice": None,
        "disputed_share": None,
        "islands": [],
        "scores": None,
        "notes": [],
    }
    return CaseSummary(case=case, **(usual | values))


def flags_of(*cases: CaseSummary) -> list[list[str]]:
    return list(find_flags(cases, TABLE).values())


def test_usual_cases_have_no_flags() -> None:
    assert flags_of(*(summary(name) for name in "abcde")) == [[]] * 5
    assert flags_of(summary("a", sizes={"3": 1.0, "7": 2.0})) == [[]]


def test_class_that_most_have_is_missed() -> None:
    both = {"3": 1.0, "7": 1.0}
    found = flags_of(summary("a", sizes=both), summary("b", sizes=both), summary("c"))
    assert found == [[], [], ["empty: spleen"]]
    # Half of the cases are not most.
    found = flags_of(summary("a", sizes=both), summary("b"))
    assert found == [["only here: spleen"], []]


@given(st.lists(st.sampled_from([1.0, 1.001, 1.5, 2.0, 4.0]), min_size=4, max_size=12))
def test_spacing_far_outside_of_the_quartiles(spacings: list[float]) -> None:
    found = flags_of(
        *(summary(str(n), spacing_mm=[mm, 1.0, 1.0]) for n, mm in enumerate(spacings))
    )
    q1, q3 = np.percentile(np.log(spacings), (25, 75))
    low, high = q1 - 3 * (q3 - q1) - 0.01, q3 + 3 * (q3 - q1) + 0.01
    odd = [not low <= np.log(mm) <= high for mm in spacings]
    assert [bool(each) for each in found] == odd


def test_one_other_spacing_among_equal_ones_is_told() -> None:
    cases = [summary(str(n)) for n in range(5)]
    other = summary("x", spacing_mm=[1.0, 1.0, 1.2])
    assert flags_of(*cases, other) == [[]] * 5 + [["spacing unlike the others"]]
    assert flags_of(*cases[:2], other) == [[]] * 3


def test_raters_islands_and_notes() -> None:
    islands = [{"value": 7, "count": 2, "voxels": 3}]
    case = summary("a", islands=islands, missing=["r2"], notes=["no image"])
    assert flags_of(case) == [["2 islands: spleen", "no r2", "no image"]]


@given(
    arrays(np.uint8, st.tuples(*[st.integers(1, 7)] * 2), elements=st.integers(0, 3))
)
def test_islands_are_small_parts(indices: npt.NDArray[np.uint8]) -> None:
    big = np.zeros((8, 16), np.uint8)
    big[:, :4] = 1
    big[: indices.shape[0], 6 : 6 + indices.shape[1]] = indices
    found = {i.value: (i.count, i.voxels) for i in find_islands(big, TABLE)}
    expected = {}
    for c in TABLE.classes[1:]:
        sizes = parts(big == c.index)
        small = [n for n in sizes if 10 * n < max(sizes)]
        if small:
            expected[c.value] = (len(small), max(small))
    assert found == expected


def parts(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Sizes of what is connected, by walking from pixel to pixel."""
    left = set(map(tuple, np.argwhere(mask).tolist()))
    sizes = []
    while left:
        queue, size = deque([left.pop()]), 0
        while queue:
            y, x = queue.popleft()
            size += 1
            for step in product((-1, 0, 1), repeat=2):
                near = (y + step[0], x + step[1])
                if near in left:
                    left.remove(near)
                    queue.append(near)
        sizes.append(size)
    return sizes
