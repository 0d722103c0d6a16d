import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.class_files import parse_classes
from svls_cli.labels.classes import ClassTable
from svls_cli.palette import class_color

values = st.sets(st.integers(0, 2**32 - 1), min_size=1, max_size=300)


@given(values, st.data())
def test_indices_and_values_are_inverse(found: set[int], data: st.DataObject) -> None:
    others = st.integers(0, 2**32 - 1).filter(lambda v: v not in found)
    ignore = data.draw(st.none() | others)
    table = ClassTable.from_values(found)
    pool = [*found, *([] if ignore is None else [ignore])]
    drawn = data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=20))
    labels = np.array(drawn, np.min_scalar_type(max(pool)))
    indices = table.indices(labels, ignore_label=ignore)
    back = np.append(table.values, ignore or 0)[indices]
    np.testing.assert_array_equal(back, labels)
    ignored = np.array([value == ignore for value in drawn])
    np.testing.assert_array_equal(indices == len(table), ignored)


@given(values)
def test_json_round_trip(found: set[int]) -> None:
    table = ClassTable.from_values(found, names={min(found): "first"})
    assert ClassTable.from_json(json.loads(json.dumps(table.to_json()))) == table


def test_unknown_values_are_named() -> None:
    table = ClassTable.from_values([0, 1])
    assert table.unknown([1, 5, 9, 0], ignore_label=9) == [5]


def test_colours_tell_neighbouring_values_apart() -> None:
    colors = {class_color(value) for value in range(120)}
    assert len(colors) == 120


@pytest.mark.parametrize(
    ("given_values", "names", "message"),
    [
        ([], {}, "no classes"),
        ([1, 1], {}, "class value given twice: 1"),
        ([0, 1], {0: "a", 1: "a"}, "class name given twice: a"),
        ([-1], {}, "must lie in 0..4294967295"),
        ([2**32], {}, "must lie in 0..4294967295"),
        (range(65_536), {}, "65536 distinct labels; at most 65535"),
    ],
)
def test_tables_that_are_none(given_values: Any, names: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClassTable.from_values(given_values, names=names)


FILES = {
    "names.json": '{"0": "background", "1": "liver"}',
    "values.json": '{"background": 0, "liver": 1}',
    "list.json": '[{"value": 0, "name": "background"}, {"value": 1, "name": "liver"}]',
    "nnunet1.json": '{"labels": {"0": "background", "1": "liver"}, "numTraining": 3}',
    "nnunet2.json": '{"labels": {"background": 0, "liver": 1}, "file_ending": ".nrrd"}',
    "table.csv": "value,name,color\n0,background,\n1,liver,#FF0000\n",
    "excel.csv": "\ufeffValue,Name\r\n0.0,background\r\n,\r\n\r\n1.0,liver\r\n",
    "dseg.tsv": "index\tname\tabbreviation\tcolor\tmapping\n"
    "0\tbackground\tBG\t#000000\t0\n1\tliver\tL\t#ff0000\t1\n",
}


@pytest.mark.parametrize("name", FILES)
def test_class_files(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(FILES[name], encoding="utf-8")
    table = parse_classes(str(path)).table
    assert {c.value: c.name for c in table.classes} == {0: "background", 1: "liver"}
    if "FF0000" in FILES[name].upper():
        assert table.classes[1].color == "FF0000"


def test_values_on_the_command_line() -> None:
    assert parse_classes("0, 5,2").table.values.tolist() == [0, 2, 5]


def test_bids_says_n_a_for_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "dseg.tsv"
    path.write_text("index\tname\tcolor\n0\tbackground\tn/a\n1\tn/a\t#ff0000\n")
    names = [c.name for c in parse_classes(str(path)).table.classes]
    assert names == ["background", "label 1"]


def test_nnunet_ignore_label(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_text('{"labels": {"background": 0, "liver": 1, "ignore": 2}}')
    spec = parse_classes(str(path))
    assert spec.ignore_label == 2
    assert spec.table.values.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "a.json: Expecting"),
        ("a.json", "3", "expected an object or a list"),
        ("a.json", "[3]", "list of objects"),
        ("a.json", '{"labels": [1]}', "must map names to values"),
        ("a.json", '{"labels": {"whole": [1, 2]}}', "region of several labels"),
        ("a.json", '{"liver": "one"}', "'one' is not a label value"),
        ("a.json", '{"liver": true}', "True is not a label value"),
        ("a.csv", "name\nliver\n", "expected a column value or index"),
        ("a.csv", "value\n-3\n", "'-3' is not a label value"),
        ("a.csv", "value,color\n1,red\n", "'red' is not a colour"),
        ("a.csv", "value\n1\n1\n", "value given twice"),
        ("a.csv", "value\n", "no classes"),
        ("a.json", '{"a": 0, "b": 1, "c": 1}', "class value given twice: 1"),
        ("a.json", '{"0": "a", "0": "b"}', "key given twice: 0"),
        ("a.json", '{"²": "a"}', "'a' is not a label value"),
        ("a.json", '{"%s": "a"}' % ("9" * 5000), "is not a label value"),
        ("a.json", "[" * 100_000, "recursion"),
    ],
)
def test_broken_files(name: str, content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        parse_classes(str(path))


@pytest.mark.parametrize("text", ["a,b", "0;1", "0,1.5", "0,0", "0,9999999999"])
def test_neither_values_nor_a_file(text: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"classes:? '{text}'"):
        parse_classes(text)


def test_class_file_that_is_missing_or_binary(tmp_path: Path) -> None:
    neither = "neither label values such as 0,1,2 nor a file"
    with pytest.raises(InputError, match=neither):
        parse_classes(str(tmp_path / "none.csv"))
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(InputError, match=r"a\.csv: not UTF-8"):
        parse_classes(str(tmp_path / "a.csv"))


def test_class_file_without_an_end() -> None:
    with pytest.raises(InputError, match="/dev/zero: larger than 64 MiB"):
        parse_classes("/dev/zero")
