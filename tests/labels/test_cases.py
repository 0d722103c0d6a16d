from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svls_cli.errors import InputError
from svls_cli.labels.cases import Case, case_name, find_cases, safe_name


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


def test_folder_holds_its_label_maps(tmp_path: Path) -> None:
    touch(*(tmp_path / n for n in ("b.nii.gz", "a.nrrd", "c.SEG.NRRD", "notes.txt")))
    touch(tmp_path / "deeper" / "d.mha")
    assert names(find_cases([tmp_path])) == ["a", "b", "c"]
    assert names(find_cases([tmp_path], pattern="**/*.mha")) == ["d"]
    assert names(find_cases([tmp_path], pattern="**/*")) == ["a", "b", "c", "d"]


def test_hidden_files_are_no_cases(tmp_path: Path) -> None:
    touch(tmp_path / "._a.nii.gz", tmp_path / "a.nii.gz")
    assert names(find_cases([tmp_path])) == ["a"]
    assert names(find_cases(tmp_path, pattern=".*")) == ["._a"]


def test_file_named_twice_is_one_case(tmp_path: Path) -> None:
    touch(tmp_path / "a.nii.gz")
    assert names(find_cases([tmp_path, tmp_path / "a.nii.gz"])) == ["a"]


def test_lines_are_paths_or_records(tmp_path: Path) -> None:
    touch(tmp_path / "one.nii")
    lines = [
        "x/a b.nii.gz\n",
        "\n",
        '{"case": "p/1", "label": "y.nrrd"}',
        '{"label": "z.mha"}',
    ]
    found = find_cases([tmp_path, "-"], lines=lines)
    assert names(found) == ["a b", "one", "p_1", "z"]
    assert found[2].path == Path("y.nrrd")


def test_file_is_taken_at_its_word(tmp_path: Path) -> None:
    touch(tmp_path / "label.png")
    assert names(find_cases([tmp_path / "label.png"])) == ["label"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.nii.gz", "a"),
        ("v1.2.NII.GZ", "v1.2"),
        ("Größe ä.seg.nrrd", "Größe ä"),
        ("no_suffix", "no_suffix"),
        ("zarr.json.nii", "_zarr.json"),
        ("...nii", "_"),
        (".zgroup.nii", "_zgroup"),
    ],
)
def test_case_names(name: str, expected: str) -> None:
    assert case_name(Path("folder") / name) == expected


@given(st.text(st.characters()) | st.text(st.characters(categories=["Cs"])))
def test_safe_names_are_one_folder_inside_the_store(name: str) -> None:
    safe = safe_name(name)
    inside = Path("/store") / safe
    assert inside.parent == Path("/store")
    assert inside.name == safe
    assert safe not in ("", ".", "..", "zarr.json")
    assert not safe.startswith("__")
    os.fsencode(safe)


def test_two_files_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "x.nii.gz", tmp_path / "b" / "x.nrrd")
    with pytest.raises(
        InputError, match=r"two files are case 'x': .*x.nii.gz and .*x.nrrd"
    ):
        find_cases([tmp_path / "a", tmp_path / "b"])


def test_names_that_become_one_when_made_safe() -> None:
    lines = ['{"case": "a/b", "label": "1.nii"}', '{"case": "a_b", "label": "2.nii"}']
    with pytest.raises(InputError, match="two files are case 'a_b'"):
        find_cases(["-"], lines=lines)


@pytest.mark.parametrize(
    "line",
    [
        '{"case": 1',
        '{"case": "x"}',
        '{"label": 3}',
        '{"case": null, "label": "x"}',
        "a.nii\0b.nii",
        '{"case": ' + "[" * 100_000,
    ],
)
def test_lines_that_are_not_understood(line: str) -> None:
    with pytest.raises(InputError, match="standard input: expected a path or"):
        find_cases(["-"], lines=[line])


def test_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image files match"):
        find_cases([tmp_path])
    with pytest.raises(InputError, match="no image files found"):
        find_cases(["-"])
    with pytest.raises(InputError, match="labelz: no such file or folder"):
        find_cases([tmp_path / "labelz"])
    with pytest.raises(InputError, match="pattern '/x'"):
        find_cases([tmp_path], pattern="/x")


def test_folder_that_cannot_be_read_is_a_case_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "good" / "a.nii", tmp_path / "secret" / "b.nii")

    scandir = os.scandir

    def guarded(folder: Path) -> Any:
        if Path(folder).name == "secret":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    secret = Case("secret", tmp_path / "secret")
    good = Case("a", tmp_path / "good" / "a.nii")
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", guarded)
        assert find_cases([tmp_path / "secret"]) == [secret]
        assert find_cases([tmp_path], pattern="**/*.nii") == [good, secret]
