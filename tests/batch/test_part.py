"""Several runs share the work, and make the store that one run makes."""

from pathlib import Path

import pytest

from svls_cli import Batch, Part, find_cases, open_store, smooth_cases
from svls_cli.errors import InvalidParameterError
from svls_cli.labels.cases import Case
from svls_cli.labels.sources import LabelMapFile
from tests.helpers.commands import SAMPLE, Run, records, start, tree
from tests.helpers.label_maps import blobs, write_image

RATERS = [str(SAMPLE / "raters" / rater) for rater in "abc"]
LABELS = [str(SAMPLE / "labels")]


def run_parts(*arguments: str, count: int, cwd: Path) -> list[str]:
    """All parts at the same time; what each wrote."""
    options = ("--json", "-j1", "--part")
    parts = [
        start(*arguments, *options, f"{number}/{count}", cwd=cwd)
        for number in range(1, count + 1)
    ]
    said = [part.communicate(timeout=120) for part in parts]
    assert [part.returncode for part in parts] == [0] * count, said
    return [output for output, _ in said]


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (["smooth", *LABELS], "out.zarr"),
        (["fuse-raters", *RATERS], "out.zarr"),
        (["fuse-raters", *RATERS], "folder"),
    ],
    ids=["smooth", "fuse", "consensus"],
)
def test_parts_at_once_make_what_one_run_makes(
    command: list[str], out: str, run: Run, tmp_path: Path
) -> None:
    outputs = run_parts(*command, out, count=3, cwd=tmp_path)
    found = [set(records(output)) for output in outputs]
    whole = records(run(*command, "--json", f"one_{out}").stdout)
    assert sorted(case for part in found for case in part) == sorted(whole)
    assert max(map(len, found)) - min(map(len, found)) <= 1
    assert tree(tmp_path / out) == tree(tmp_path / f"one_{out}")
    assert not (tmp_path / "out.zarr.tmp").exists()


@pytest.mark.parametrize("count", [1, 2, 3, 8, 11])
def test_every_case_is_in_one_part(count: int) -> None:
    cases = [Case(name, LabelMapFile(Path(name))) for name in "hgfedcba"]
    parts = [Part(number + 1, count).of(cases) for number in range(count)]
    assert sorted(c.name for part in parts for c in part) == list("abcdefgh")
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "x", "1", "-1/3", "1/3/5", ""])
def test_no_such_part(text: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="expected i/N"):
        Part.parse(text)
    if text in ("0/3", "x"):
        result = run("smooth", "--part", text, *LABELS, "out.zarr", code=2)
        assert "expected i/N" in result.stderr
        assert not list(tmp_path.iterdir())


def test_classes_are_those_of_all_parts(tmp_path: Path) -> None:
    for number in range(4):
        array = blobs((8, 9, 10), 2 + number, seed=number)
        write_image(tmp_path / "l" / f"{number}.nrrd", array)
    cases = find_cases([tmp_path / "l"])
    done = smooth_cases(cases, tmp_path / "a.zarr", batch=Batch(part=Part(1, 4)))
    assert [record.case for record in done] == ["0"]
    assert open_store(tmp_path / "a.zarr").classes.values.tolist() == [0, 1, 2, 3, 4]


def test_a_broken_case_is_told_by_its_own_part_only(tmp_path: Path) -> None:
    write_image(tmp_path / "l" / "a.nrrd", blobs((8, 9, 10), 2))
    (tmp_path / "l" / "b.nrrd").write_bytes(b"")
    cases = find_cases([tmp_path / "l"])
    told = {}
    for number in (1, 2, 3):
        batch = Batch(part=Part(number, 3))
        found = smooth_cases(cases, tmp_path / "a.zarr", batch=batch)
        told[number] = [(record.case, record.status) for record in found]
    assert told == {1: [("a", "done")], 2: [("b", "failed")], 3: []}


@pytest.mark.parametrize("command", [["smooth", *LABELS], ["fuse-raters", *RATERS]])
def test_a_part_never_overwrites(command: list[str], run: Run, tmp_path: Path) -> None:
    run(*command, "out.zarr")
    before = tree(tmp_path / "out.zarr")
    options = ["--part", "1/2", "--overwrite", "--strength", "0.3"]
    result = run(*command, *options, "out.zarr", code=2)
    assert "--part does not go with --overwrite" in result.stderr
    assert tree(tmp_path / "out.zarr") == before


def test_the_report_is_of_all_parts(run: Run, tmp_path: Path) -> None:
    options = ["--part", "1/2", "--report", "r.json"]
    result = run("fuse-raters", *options, *RATERS, "out.zarr", code=2)
    assert "--report measures all cases" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_part_with_other_parameters_is_refused(run: Run, tmp_path: Path) -> None:
    run("smooth", "--part", "1/2", *LABELS, "out.zarr")
    options = ["--part", "2/2", "--strength", "0.3"]
    result = run("smooth", *options, *LABELS, "out.zarr", code=3)
    assert "strength is 0.5 in the store, 0.3 now" in result.stderr
