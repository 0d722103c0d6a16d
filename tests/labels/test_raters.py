"""Which cases and raters are found in folders, by patterns and in records."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.raters import RatedCase, find_rated_cases, named_classes
from svls_cli.labels.segments import Segment
from svls_cli.labels.sources import LabelMapFile
from tests.helpers.label_maps import touch, unreadable

BY_RATER = "{case}_{rater}.nii"  # one folder for all


def found(cases: list[RatedCase]) -> dict[str, list[str]]:
    return {case.name: [rater for rater, _ in case.raters] for case in cases}


def line(case: str, **raters: str) -> str:
    return json.dumps({"case": case, "raters": raters})


def test_folder_per_rater(tmp_path: Path) -> None:
    bob, ann = tmp_path / "bob", tmp_path / "ann"
    touch(tmp_path, "bob/b.nii.gz", "bob/a.nii.gz", "ann/a.nrrd", "ann/notes.txt")
    cases = find_rated_cases([bob, ann])
    assert cases == [
        RatedCase(
            "a",
            (
                ("bob", LabelMapFile(bob / "a.nii.gz")),
                ("ann", LabelMapFile(ann / "a.nrrd")),
            ),
        ),
        RatedCase("b", (("bob", LabelMapFile(bob / "b.nii.gz")),), ("ann",)),
    ]
    assert cases[0].inputs == (str(bob / "a.nii.gz"), str(ann / "a.nrrd"))


def test_one_folder_need_not_be_a_list(tmp_path: Path) -> None:
    touch(tmp_path, "ann/a.nii")
    assert found(find_rated_cases(tmp_path / "ann")) == {"a": ["ann"]}
    assert found(find_rated_cases(str(tmp_path / "ann"))) == {"a": ["ann"]}


@pytest.mark.parametrize(
    ("pattern", "case"), [("*_seg.nii", "a_seg"), ("{case}_seg.nii", "a")]
)
def test_pattern_in_a_folder_per_rater(pattern: str, case: str, tmp_path: Path) -> None:
    touch(tmp_path, "r1/a_seg.nii", "r1/a_image.nii", "r2/a_seg.nii", "r2/a_image.nii")
    cases = find_rated_cases([tmp_path / "r1", tmp_path / "r2"], pattern=pattern)
    assert found(cases) == {case: ["r1", "r2"]}


def test_folders_of_one_name_are_told_apart_by_their_parents(tmp_path: Path) -> None:
    folders = [touch(tmp_path / rater / "labels", "a.nii") for rater in ("r2", "r1")]
    assert found(find_rated_cases(folders)) == {"a": ["r2_labels", "r1_labels"]}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{case}_{rater}.nii.gz", "s_1_ann.nii.gz s_1_bob.nii.gz s2_ann.nii.gz"),
        ("{rater}-{case}.mha", "ann-s_1.mha bob-s_1.mha ann-s2.mha"),
        ("{case}/{rater}.nii.gz", "s_1/ann.nii.gz s_1/bob.nii.gz s2/ann.nii.gz"),
        ("{rater}/{case}.nrrd", "ann/s_1.nrrd bob/s_1.nrrd ann/s2.nrrd"),
        ("{case}/*/{rater}?.nii", "s_1/x/ann1.nii s_1/y/bob2.nii s2/z/ann3.nii"),
    ],
)
def test_patterns(pattern: str, names: str, tmp_path: Path) -> None:
    touch(tmp_path, *names.split(), "readme.txt", "deep/er/and/er.nii.gz")
    first, second, other = (tmp_path / name for name in names.split())
    assert find_rated_cases([tmp_path], pattern=pattern) == [
        RatedCase("s2", (("ann", LabelMapFile(other)),), ("bob",)),
        RatedCase("s_1", (("ann", LabelMapFile(first)), ("bob", LabelMapFile(second)))),
    ]


def test_dots_in_a_pattern_are_dots(tmp_path: Path) -> None:
    touch(tmp_path, "a_ann.nii", "a_bobxnii.nii")
    cases = find_rated_cases([tmp_path], pattern=BY_RATER)
    assert found(cases) == {"a": ["ann", "bobxnii"]}
    with pytest.raises(InputError, match=r"no image files match \{case\}x"):
        find_rated_cases([tmp_path], pattern="{case}x{rater}.n.i")


def test_patterns_pick_label_maps_only(tmp_path: Path) -> None:
    touch(tmp_path, "a_ann.nii", "a_ann.txt")
    (tmp_path / "a_bob.nii").mkdir()
    (tmp_path / "a_eve.nii").symlink_to("nowhere")
    (tmp_path / "a_eve.txt").symlink_to("nowhere")
    (case,) = find_rated_cases([tmp_path], pattern="{case}_{rater}.*")
    assert [Path(path).name for path in case.inputs] == [
        "a_ann.nii",
        "a_bob.nii",
        "a_eve.nii",
    ]


def test_map_that_is_no_file_is_not_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "ann/1.nii", "ann/2.nii", "bob/1.nii")
    (tmp_path / "bob" / "2.nii").symlink_to("nowhere")
    folders = [tmp_path / "ann", tmp_path / "bob"]
    assert {case.missing for case in find_rated_cases(folders)} == {()}
    by_pattern = find_rated_cases([tmp_path], pattern="{rater}/{case}.nii")
    assert {case.missing for case in by_pattern} == {()}


def test_raters_folders_may_be_links(tmp_path: Path) -> None:
    touch(tmp_path, "data/ann/1.nii", "real/bob/1.nii", "data/.trash/1.nii")
    (tmp_path / "data" / "bob").symlink_to(tmp_path / "real" / "bob")
    cases = find_rated_cases([tmp_path / "data"], pattern="{rater}/{case}.nii")
    assert found(cases) == {"1": ["ann", "bob"]}
    (tmp_path / "data" / "eve").symlink_to(tmp_path / "real" / "eve")
    cases = find_rated_cases([tmp_path / "data"], pattern="{rater}/{case}.nii")
    assert found(cases) == {"1": ["ann", "bob"], "eve": ["eve"]}  # the last fails
    with pytest.raises(InputError, match=r"eve: a link to .*, which is not there"):
        find_rated_cases([tmp_path / "data" / "ann", tmp_path / "data" / "eve"])


def test_pattern_in_several_folders(tmp_path: Path) -> None:
    touch(tmp_path, "x/a_ann.nii", "y/a_bob.nii")
    cases = find_rated_cases([tmp_path / "x", tmp_path / "y"], pattern=BY_RATER)
    assert found(cases) == {"a": ["ann", "bob"]}


def test_records(tmp_path: Path) -> None:
    first, last = line("p/1", bob="x.nii", ann="y y.nii"), line("o", eve="z.nii")
    lines = [f"{first}\n", "\n", last]
    assert find_rated_cases("-", lines=lines) == [
        RatedCase("o", (("eve", LabelMapFile(Path("z.nii"))),), ("bob", "ann")),
        RatedCase(
            "p_1",
            (
                ("bob", LabelMapFile(Path("x.nii"))),
                ("ann", LabelMapFile(Path("y y.nii"))),
            ),
            ("eve",),
        ),
    ]


def test_raters_of_one_case_on_several_lines() -> None:
    lines = [line("a", ann="1.nii"), line("a", bob="2.nii"), line("a", ann="1.nii")]
    assert found(find_rated_cases(["-"], lines=lines)) == {"a": ["ann", "bob"]}


def test_records_and_folders(tmp_path: Path) -> None:
    touch(tmp_path, "bob/a.nii")
    cases = find_rated_cases([tmp_path / "bob", "-"], lines=[line("a", ann="1.nii")])
    assert {rater for rater, _ in cases[0].raters} == {"ann", "bob"}


@pytest.mark.parametrize(
    "text",
    [
        "a.nii",
        '{"case": "a"',
        '{"case": "a"}',
        '{"raters": {"r": "a.nii"}}',
        '{"case": 1, "raters": {"r": "a.nii"}}',
        '{"case": "a", "raters": {}}',
        '{"case": "a", "raters": {"r": "a.nii", "r": "b.nii"}}',
        '{"case": "a", "raters": ["a.nii"]}',
        '{"case": "a", "raters": "a.nii"}',
        '{"case": "a", "raters": {"r": 1}}',
        '{"case": "a", "raters": {"r": null}}',
        '{"case": "a", "raters": {"r": ["a.nii"]}}',
        '{"case": "a", "raters": {"r": "a\\u0000.nii"}}',
        "[]",
        "null",
        '{"case": ' + "[" * 100_000,
    ],
)
def test_lines_that_are_not_understood(text: str) -> None:
    with pytest.raises(InputError, match=r"standard input: expected .* per line"):
        find_rated_cases(["-"], lines=[text])


@pytest.mark.parametrize(
    "rater",
    ["hard", "Hard", "", "a/b", "a:b", "CON", "a.", "..", "zarr.json", "__x", "a\n"],
)
def test_names_that_no_rater_can_have(rater: str) -> None:
    lines = [json.dumps({"case": "a", "raters": {rater: "a.nii"}})]
    with pytest.raises(InputError, match="cannot be a rater's name"):
        find_rated_cases(["-"], lines=lines)


def test_raters_that_differ_only_in_the_case_of_letters(tmp_path: Path) -> None:
    touch(tmp_path, "x_Ann.nii", "y_ann.nii", "r1/Seg/a.nii", "r2/seg/a.nii")
    message = "raters 'Ann' and 'ann' differ only .*: .*x_Ann.nii and .*y_ann.nii"
    with pytest.raises(InputError, match=message):
        find_rated_cases([tmp_path], pattern=BY_RATER)
    folders = [tmp_path / "r1" / "Seg", tmp_path / "r2" / "seg"]
    assert found(find_rated_cases(folders)) == {"a": ["r1_Seg", "r2_seg"]}
    lines = [line("Pat1", ann="1.nii"), line("pat1", ann="2.nii")]
    with pytest.raises(InputError, match="cases 'Pat1' and 'pat1' differ only"):
        find_rated_cases("-", lines=lines)


def test_composed_and_decomposed_names_are_one(tmp_path: Path) -> None:
    composed, decomposed = "Müller", "Mu\u0308ller"
    touch(tmp_path, f"a/{composed}.nii", f"b/{decomposed}.nii")
    cases = find_rated_cases([tmp_path / "a", tmp_path / "b"])
    assert found(cases) == {composed: ["a", "b"]}
    lines = [line("1", **{composed: "x.nii"}), line("2", **{decomposed: "y.nii"})]
    assert found(find_rated_cases("-", lines=lines)) == {
        "1": [composed],
        "2": [composed],
    }
    folders = [touch(tmp_path / name, "x.nii") for name in (composed, decomposed)]
    with pytest.raises(InputError, match="two raters' folders have one name"):
        find_rated_cases(folders)


def test_folder_named_as_the_consensus(tmp_path: Path) -> None:
    touch(tmp_path, "hard/a.nii", "ann/a.nii", "b_hard.nii")
    with pytest.raises(InputError, match="'hard' cannot be a rater's name"):
        find_rated_cases([tmp_path / "ann", tmp_path / "hard"])
    with pytest.raises(InputError, match="'hard' cannot be a rater's name"):
        find_rated_cases([tmp_path], pattern=BY_RATER)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("{rater}.nii", r"needs \{case\}, too"),
        (
            "{case}_{rater}_{side}.nii",
            r"has \{side\}; in braces may stand \{case\}, \{ra",
        ),
        (
            "{}_{case}_{rater}.nii",
            r"has \{\}; .* may stand \{case\}, \{rater\} and \{class\}",
        ),
        ("{case", "has a brace by itself; in braces may stand"),
    ],
)
def test_patterns_with_wrong_names(pattern: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match=reason):
        find_rated_cases([tmp_path], pattern=pattern)


def test_folder_that_cannot_be_read_is_a_case_that_fails(tmp_path: Path) -> None:
    """Whoever's it is: its case is known from the pattern."""
    touch(tmp_path, "a/seg/ann.nii", "b/seg/ann.nii")
    secret = tmp_path / "b" / "seg"
    with pytest.MonkeyPatch.context() as patch:
        unreadable(patch, secret)
        cases = find_rated_cases([tmp_path], pattern="{case}/seg/{rater}.nii")
        alone = find_rated_cases([tmp_path / "b"], pattern="{case}/{rater}.nii")
    assert cases == [
        RatedCase("a", (("ann", LabelMapFile(tmp_path / "a" / "seg" / "ann.nii")),)),
        RatedCase("b", (("ann", LabelMapFile(secret)),)),
    ]
    assert alone == [RatedCase("seg", (("unknown", LabelMapFile(secret)),))]


def test_pattern_with_a_name_twice(tmp_path: Path) -> None:
    touch(tmp_path, "c1/c1_ann.nii", "c1/c2_bob.nii")
    found = find_rated_cases([tmp_path], pattern="{case}/{case}_{rater}.nii")
    assert [(case.name, case.raters[0][0]) for case in found] == [("c1", "ann")]


def test_masks_of_each_rater(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their classes are known without a look into the files, which hold nothing."""
    touch(tmp_path, "p1/ann/rib.nii", "p1/ann/lung.nii", "p1/bob/rib.nii", "p2/x.nii")
    touch(tmp_path, "p2/bob/heart.nii", "p2/bob/Background.nii")
    cases = find_rated_cases(tmp_path, pattern="{case}/{rater}/{class}.nii")
    assert found(cases) == {"p1": ["ann", "bob"], "p2": ["bob"]}
    shown = [f"rater ann: {tmp_path}/p1/ann", f"rater bob: {tmp_path}/p1/bob/rib.nii"]
    assert [name for name, _ in cases[0].sources] == shown
    names = {0: "background", 1: "heart", 2: "lung", 3: "rib"}
    table = named_classes(cases)
    assert table == ClassTable.from_values(names, names=names)
    assert named_classes([]) is None
    touch(tmp_path, "maps/p1.nii", "maps/p2.nii")
    assert named_classes(find_rated_cases(tmp_path / "maps")) is None
    # Of a folder that cannot be read nobody knows the classes.
    unreadable(monkeypatch, tmp_path / "p1" / "bob")
    cases = find_rated_cases(tmp_path, pattern="{case}/{rater}/{class}.nii")
    assert found(cases) == {"p1": ["ann", "bob"], "p2": ["bob"]}
    assert named_classes(cases) == table


def test_codes_of_names_are_kept() -> None:
    codes = ("SCT^123037004^Structure", "SCT^10200004^Liver")
    segment = Segment("liver", "AA0000", *codes)
    drawn: Any = SimpleNamespace(named=lambda: [segment])
    table = named_classes([RatedCase("p1", (("ann", drawn),))])
    assert table is not None
    liver = table.classes[1]
    assert (liver.name, liver.color) == ("liver", "AA0000")
    assert (liver.category, liver.type) == codes


def test_two_files_for_one_rater(tmp_path: Path) -> None:
    touch(tmp_path, "x/a_ann.nii", "y/a_ann.nii")
    clash = "two files are case 'a' of rater 'ann': .*a_ann.nii and .*a_ann"
    with pytest.raises(InputError, match=clash):
        find_rated_cases([tmp_path / "x", tmp_path / "y"], pattern=BY_RATER)
    touch(tmp_path, "x/a_ann.nrrd")
    with pytest.raises(InputError, match=clash):
        find_rated_cases([tmp_path / "x"], pattern="{case}_{rater}.*")
    lines = [line("a", ann="a_ann.nii"), line("a", ann="b/a_ann.nii")]
    with pytest.raises(InputError, match=clash):
        find_rated_cases(["-"], lines=lines)


def test_names_that_become_one_when_made_safe() -> None:
    lines = [line("a/b", ann="1.nii"), line("a_b", ann="2.nii")]
    with pytest.raises(InputError, match="two files are case 'a_b' of rater 'ann'"):
        find_rated_cases(["-"], lines=lines)


def test_two_files_of_one_case_in_one_folder(tmp_path: Path) -> None:
    touch(tmp_path, "ann/a.nii", "ann/a.nrrd")
    with pytest.raises(InputError, match="two files are case 'a'"):
        find_rated_cases([tmp_path / "ann"])


def test_folder_given_twice(tmp_path: Path) -> None:
    touch(tmp_path, "ann/a.nii")
    again = tmp_path / "ann" / ".." / "ann"
    with pytest.raises(InputError, match="a rater's folder is given twice"):
        find_rated_cases([tmp_path / "ann", again])


def test_nothing_to_do(tmp_path: Path) -> None:
    touch(tmp_path, "file.nii")
    (tmp_path / "empty").mkdir()
    for name, pattern, message in (
        ("nowhere", None, "nowhere: no such folder; give one"),
        ("nowhere", BY_RATER, "nowhere: no such folder"),
        ("file.nii", None, "file.nii: no such folder; give one"),
        ("file.nii", BY_RATER, "file.nii: no such folder"),
        ("empty", "{case}/{rater}.nii", r"empty: no image files match \{case\}/"),
        ("empty", None, r"empty: no image files match \*"),
    ):
        with pytest.raises(InputError, match=message):
            find_rated_cases([tmp_path / name], pattern=pattern)
    for inputs in ([], ["-"]):
        with pytest.raises(InputError, match="no cases: no label maps of any rater"):
            find_rated_cases(inputs, lines=["\n"])
