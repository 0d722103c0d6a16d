import json
import os
import re
from pathlib import Path

import pytest

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.cases import Case, find_cases
from svls_cli.labels.sources import LabelMapFile
from svls_cli.labels.suffixes import case_name
from tests.helpers.label_maps import touch, unreadable


def names(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


def test_folder_holds_its_label_maps(tmp_path: Path) -> None:
    touch(tmp_path, "b.nii.gz", "a.nrrd", "c.SEG.NRRD", "notes.txt", "deeper/d.mha")
    assert names(find_cases([tmp_path])) == ["a", "b", "c"]
    assert names(find_cases([tmp_path], pattern="**/*.mha")) == ["d"]
    assert names(find_cases([tmp_path], pattern="**/*")) == ["a", "b", "c", "d"]


def test_a_name_at_the_end_of_a_pattern_has_no_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "b.SEG.nrrd", "p/q.nii/c.png")
    assert names(find_cases(tmp_path, pattern="{case}")) == ["a", "b"]
    assert names(find_cases(tmp_path, pattern="p/{case}/*")) == ["q.nii"]
    touch(tmp_path, "m/x_liver.nii.gz", "m/x_spleen.mgz")
    [case] = find_cases(tmp_path / "m", pattern="{case}_{class}")
    assert [each.name for each in case.source.named()] == ["liver", "spleen"]


def test_pictures_of_other_formats_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Unless they show what is read, as previews do."""
    touch(tmp_path, "a.nii.gz", "a.jpg", "b.JPG", "c.bmp", "notes.txt")
    assert names(find_cases(tmp_path, pattern="a*")) == ["a"]
    assert not caplog.messages
    assert names(find_cases(tmp_path)) == ["a"]
    assert caplog.messages == [
        f"{tmp_path}: left out, as pictures of these formats are not read: b.JPG, c.bmp"
    ]


def test_hidden_files_are_no_cases(tmp_path: Path) -> None:
    touch(tmp_path, "._a.nii.gz", "a.nii.gz")
    assert names(find_cases([tmp_path])) == ["a"]
    assert names(find_cases(tmp_path, pattern=".*")) == ["._a"]
    touch(tmp_path, ".trash/b.nii.gz", ".trash/c.nii")
    for pattern in ("*", "**/*", "{case}.nii.gz"):
        assert names(find_cases(tmp_path, pattern=pattern)) == ["a"]
    assert names(find_cases(tmp_path, pattern=".trash/{case}.nii*")) == ["b", "c"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{case}_seg.nii.gz", ["a", "b"]),
        ("{case}_s?g.*", ["a", "b"]),
        ("[!b]_seg.nii.gz", ["a_seg"]),
        ("[b-c]_seg.*", ["b_seg"]),
        ("**/{case}_seg.nii.gz", ["a", "b", "d"]),
        ("{case}/**/*_seg.nii.gz", ["deep"]),
        ("*/*/{case}_seg.nii.gz", ["d"]),
        ("./deep/**", ["d_seg"]),
        ("**/er/**/{case}_seg.nii.gz", ["d"]),
        ("{case}/er/{case}_seg.nii.gz", []),
    ],
)
def test_patterns(pattern: str, expected: list[str], tmp_path: Path) -> None:
    """One folder deep, any depth, and the case named by the file or by the path."""
    touch(tmp_path, "a_seg.nii.gz", "b_seg.nii.gz", "a.nii.gz", "deep/er/d_seg.nii.gz")
    if expected:
        assert names(find_cases(tmp_path, pattern=pattern)) == expected
    else:
        with pytest.raises(InputError, match="no image files match"):
            find_cases(tmp_path, pattern=pattern)


def test_images_in_folders_inside_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no image files match .*, \.tif$"):
        find_cases(tmp_path)
    touch(tmp_path, "deep/er/a.nii.gz")
    with pytest.raises(
        InputError, match=r"pattern '\*\*/\*' finds those in its folders"
    ):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("{name}.nii", r"has \{name\}; in braces may stand \{case\} and \{class\}$"),
        ("{case}_{rater}.nii", r"has \{rater\}; .* may stand \{case\} and \{class\}$"),
        ("case}.nii", "has a brace by itself"),
        ("", "expected a path inside the folder"),
        ("/x", "expected a path inside the folder"),
        ("../*.nii", "expected a path inside the folder"),
        ("a**.nii", r"\*\* is a path's part by itself"),
        ("[z-a].nii", "bad character range"),
    ],
)
def test_wrong_patterns(pattern: str, reason: str, tmp_path: Path) -> None:
    message = f"pattern {re.escape(repr(pattern))}.*{reason}"
    with pytest.raises(InvalidParameterError, match=message):
        find_cases([tmp_path], pattern=pattern)


def test_cases_that_a_pattern_gives_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "x/1.nii", "x/2.nii")
    with pytest.raises(InputError, match="two files are case 'x'"):
        find_cases(tmp_path, pattern="{case}/*.nii")


def test_links_are_followed_but_not_by_any_depth(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.nii")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "real")
    (folder / "circle").symlink_to(folder)
    assert names(find_cases(folder, pattern="*/*")) == ["a"]
    with pytest.raises(InputError, match="no image files match"):
        find_cases(folder, pattern="**/*.nii")


def test_what_matches_and_is_no_file_is_a_case_that_fails(tmp_path: Path) -> None:
    touch(tmp_path, "good.nii")
    (tmp_path / "link.nii").symlink_to("nowhere")
    (tmp_path / "self.nii").symlink_to("self.nii")
    (tmp_path / "folder.nii").mkdir()
    os.mkfifo(tmp_path / "pipe.nii")
    expected = ["folder", "good", "link", "pipe", "self"]
    for pattern in (None, "*.nii", "{case}.nii", "**/*", "**/{case}.nii"):
        assert names(find_cases(tmp_path, pattern=pattern)) == expected
    for name in ("link.nii", "self.nii", "pipe.nii"):
        given = tmp_path / name
        assert find_cases([given]) == [Case(given.stem, LabelMapFile(given))]


def test_folder_named_as_a_file_is_a_way_to_what_matches_inside(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz/x.nii.gz", "b.nii.gz/notes.txt")
    for pattern, expected in {
        "{case}.nii.gz/x.nii.gz": ["a"],
        "*.gz/*": ["x"],
        "**/*": ["b", "x"],
        "*": ["a", "b"],
    }.items():
        assert names(find_cases(tmp_path, pattern=pattern)) == expected


def test_links_to_no_folder_on_the_way_are_cases_that_fail(tmp_path: Path) -> None:
    touch(tmp_path, "a/seg.nii", "notes.txt")
    (tmp_path / "b").symlink_to("nowhere")
    (tmp_path / "c").symlink_to("c")
    found = find_cases(tmp_path, pattern="{case}/seg.nii")
    assert found == [
        Case("a", LabelMapFile(tmp_path / "a" / "seg.nii")),
        Case("b", LabelMapFile(tmp_path / "b")),
        Case("c", LabelMapFile(tmp_path / "c")),
    ]


def test_links_into_hidden_folders_are_files(tmp_path: Path) -> None:
    """As git-annex makes them."""
    touch(tmp_path, ".git/annex/objects/ab/x.nii.gz", "sub-2/.a.nii", "sub-2/.b/c.nii")
    link = tmp_path / "sub-1.nii.gz"
    link.symlink_to(".git/annex/objects/ab/x.nii.gz")
    for pattern in ("*", "**/*", "**/*.nii.gz", "{case}.nii.gz", "**/{case}.nii*"):
        assert find_cases(tmp_path, pattern=pattern) == [
            Case("sub-1", LabelMapFile(link))
        ]
    assert names(find_cases(tmp_path, pattern="**/.b/*")) == ["c"]


def test_file_named_twice_is_one_case(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz")
    assert names(find_cases([tmp_path, tmp_path / "a.nii.gz"])) == ["a"]


def test_lines_are_paths_or_records(tmp_path: Path) -> None:
    touch(tmp_path, "one.nii")
    records = ['{"case": "p/1", "label": "y.nrrd"}', '{"label": "z.mha"}']
    found = find_cases([tmp_path, "-"], lines=["x/a b.nii.gz\n", "\n", *records])
    assert names(found) == ["a b", "one", "p_1", "z"]
    assert found[2].source.paths[0] == Path("y.nrrd")


def test_file_is_taken_at_its_word(tmp_path: Path) -> None:
    touch(tmp_path, "label.png")
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


def test_two_files_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.nii.gz", "b/x.nrrd")
    message = r"two files are case 'x': .*x.nii.gz and .*x.nrrd"
    with pytest.raises(InputError, match=message):
        find_cases([tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize(
    ("first", "second"),
    [("a/b", "a_b"), ("a:b", "a_b"), ("CON", "_CON"), ("a.", "a_"), ("é", "e\u0301")],
)
def test_names_that_become_one_when_made_safe(first: str, second: str) -> None:
    records = [{"case": first, "label": "1.nii"}, {"case": second, "label": "2.nii"}]
    with pytest.raises(InputError, match=r"two files are case '.*': 1.nii and 2.nii"):
        find_cases(["-"], lines=map(json.dumps, records))


def test_names_that_differ_only_in_the_case_of_letters(tmp_path: Path) -> None:
    touch(tmp_path, "Pat1.nii", "pat1.nrrd", "x/PAT2.nii", "y/pat2.nii", "z/pat2.nii")
    message = "cases 'Pat1' and 'pat1' differ only .*Pat1.nii and .*pat1.nrrd; rename"
    with pytest.raises(InputError, match=message):
        find_cases(tmp_path)
    with pytest.raises(InputError, match=r"PAT2.nii and .*y/pat2.nii"):
        find_cases([tmp_path / "x", tmp_path / "y"])


def test_composed_and_decomposed_names_are_one(tmp_path: Path) -> None:
    """As macOS and other systems write them."""
    composed, decomposed = "Müller", "Mu\u0308ller"
    for folder, name in {"a": composed, "b": decomposed}.items():
        touch(tmp_path / folder, f"{name}_seg.nii")
        for case in ("{case}", composed, decomposed):
            (found,) = find_cases(tmp_path / folder, pattern=f"{case}_seg.nii")
            assert found.name in (composed, f"{composed}_seg")
            assert found.source.paths[0] == tmp_path / folder / f"{name}_seg.nii"
    touch(tmp_path / "a", f"{decomposed}_seg.nii")
    with pytest.raises(InputError, match="two files are case 'Müller_seg'"):
        find_cases(tmp_path / "a")


@pytest.mark.parametrize(
    "line",
    [
        '{"case": 1',
        '{"case": "x"}',
        '{"label": 3}',
        '{"label": "a.nii", "label": "b.nii"}',
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
    for name in ("labels.nii/a", "a\0b"):
        touch(tmp_path, "labels.nii")
        with pytest.raises(InputError, match="no such file or folder"):
            find_cases([tmp_path / name])
    with pytest.raises(InvalidParameterError, match="pattern '/x'"):
        find_cases([tmp_path], pattern="/x")


def test_name_that_no_file_can_have_is_a_case_that_fails(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 300)
    assert [case.source.paths[0] for case in find_cases(path)] == [path]


def test_folder_that_cannot_be_read_is_a_case_that_fails(tmp_path: Path) -> None:
    touch(tmp_path, "good/a.nii", "secret/b.nii")
    secret = Case("secret", LabelMapFile(tmp_path / "secret"))
    good = Case("a", LabelMapFile(tmp_path / "good" / "a.nii"))
    with pytest.MonkeyPatch.context() as patch:
        unreadable(patch, tmp_path / "secret")
        assert find_cases([tmp_path / "secret"]) == [secret]
        assert find_cases([tmp_path], pattern="**/*.nii") == [good, secret]
