"""`svls-cli tune` as users run it."""

import json
import re
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click import UsageError

from svls_cli import Method, open_store
from svls_cli.cli.tune import command
from svls_cli.errors import InputError, InvalidParameterError
from tests.helpers import commands as helpers
from tests.helpers.commands import SAMPLE, Run, run_python
from tests.helpers.label_maps import blobs, write_image

FAST = ("--sigmas", "1,1.5", "--strengths", "0.5,.8", "--jobs", "1")


invoke = partial(helpers.invoke, command, *FAST)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three raters of four cases; the third rater lacks one."""
    draw(tmp_path, 4)
    return tmp_path


def draw(folder: Path, n_cases: int) -> None:
    """Label maps by three raters, a voxel apart."""
    for at in range(n_cases):
        base = blobs((12, 16, 16), 3, seed=at)
        for rater, shift in (("a", 0), ("b", 1), ("c", -1)):
            if (rater, at) != ("c", 0):
                path = folder / "raters" / rater / f"case {at}.mha"
                write_image(path, np.roll(base, shift, axis=1), spacing=(1, 1, 2))


def raters(folder: Path) -> list[Path]:
    return [folder / "raters" / name for name in "abc"]


def test_images(folder: Path) -> None:
    for at in range(4):
        image = blobs((12, 16, 16), 3, seed=at).astype(np.int16)
        write_image(folder / "images" / f"case {at}.mha", image, spacing=(1, 1, 2))
    given = ("--images", folder / "images", "--intensity-scales", "0.3,1", "--json")
    result = json.loads(invoke(*raters(folder), *given).stdout)
    assert result["parameters"]["intensity_scales"] == [0.3, 1.0]
    assert "image-guided" in result["one_map"]["best_of"]
    with pytest.raises(UsageError, match="of use with --images only"):
        invoke(*raters(folder), "--intensity-scales", "1")
    with pytest.raises(UsageError, match="takes files and folders, not standard"):
        invoke(*raters(folder), "--images", "-")


def test_tables(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = invoke(*raters(folder), "--classes", "0,1,2,5")
    assert result.return_value == 0
    # The raters are a voxel apart: narrower and stronger than what is tried here.
    assert result.stderr.splitlines() == [
        f"warning: {target}: {text}"
        for target in ("one map", "fused")
        for text in (
            "sigma 1 is the smallest that was tried: try smaller sigmas",
            "strength 0.8 is the largest that was tried: try larger strengths",
        )
    ]
    lines = result.stdout.splitlines()
    assert lines[0].startswith("4 cases, 2 to 3 raters: ")
    one_map, fused = (at for at, line in enumerate(lines) if " (for " in line)
    check_target(lines[one_map:fused], "one-hot", cases=4, command="smooth")
    check_target(lines[fused:], "mean", cases=3, command="fuse-raters")


def check_target(
    lines: list[str], unsmoothed: str, *, cases: int, command: str
) -> None:
    """One part of the tables."""
    rows = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in lines if "  " in line)
    best = [name for name in rows if name.startswith("best, ")]
    assert list(rows) == [
        "method",
        f"{unsmoothed}, not smoothed",
        *(f"label smoothing: --alpha {alpha}" for alpha in (0.1, 0.2, 0.3)),
        "SVLS as published: --sigma 1 --size 3 --strength 0.5",
        *best,
        "score",
        "NLL",
        "class NLL",
        "Brier score",
        "label",
        *"012",
    ]
    assert "1 class is in no case's band" in lines
    assert "Held out" in lines  # with no interval over so few
    few = f"{cases} cases are too few to settle anything: keep the defaults"
    assert few in lines
    kinds = [name.partition(":")[0] for name in best]
    assert kinds == ["best, mm", "best, voxels", "best, size 3"]
    held_out = r"0\.\d{4}"
    for score in ("NLL", "class NLL", "Brier score"):
        assert re.fullmatch(rf"{held_out}\s+{held_out}", rows[score])
    assert rows["0"].split()[:2] == ["background", str(cases)]
    inputs = {"smooth": "LABELS", "fuse-raters": "RATERS..."}[command]
    copied = [line for line in lines if line.startswith("svls-cli ")]
    assert copied == [f"svls-cli {command} --classes 0,1,2,5 {inputs} OUT.zarr"]


def test_intervals_over_six_cases(folder: Path) -> None:
    draw(folder, 6)
    lines = invoke(*raters(folder)[:2]).stdout.splitlines()
    assert "Held out, with 95 % intervals over cases" in lines
    interval = r"0\.\d{4} \[0\.\d{4}, 0\.\d{4}\]"
    assert (
        sum(bool(re.search(rf"{interval}\s+{interval}$", line)) for line in lines) == 3
    )


def test_two_raters_have_one_answer(folder: Path) -> None:
    result = invoke(*raters(folder)[:2])
    assert "fuse-raters" not in result.stdout
    assert "one of two left out leaves one map" in result.stdout.replace("\n", " ")
    assert json.loads(invoke("--json", *raters(folder)[:2]).stdout)["fused"] is None


def test_cases_of_one_patient_stay_together(folder: Path) -> None:
    table = folder / "cases.csv"
    rows = ["case,patient,site", *(f"case {at},p{at // 2},x" for at in range(5))]
    table.write_text("\n".join(rows))
    result = invoke("--patients", table, *raters(folder))
    assert result.stdout.startswith("4 cases of 2 patients, 2 to 3 raters: ")
    found = json.loads(invoke("--json", "--patients", table, *raters(folder)).stdout)
    assert [case["patient"] for case in found["one_map"]["cases"]] == [
        "p0",
        "p0",
        "p1",
        "p1",
    ]
    folds = [fold["held_out"] for fold in found["one_map"]["held_out"]["folds"]]
    assert sorted(folds) == [["case 0", "case 1"], ["case 2", "case 3"]]
    pattern = invoke("--patients", "{patient} *", *raters(folder))
    assert pattern.stdout.startswith("4 cases of 1 patient, 2 to 3 raters: ")
    text = "one patient only, nothing is held out: keep the defaults\n"
    assert pattern.stdout.count(text) == 2
    last = pattern.stdout.splitlines()[-1]
    assert last == "svls-cli fuse-raters RATERS... OUT.zarr"


def test_in_plane(folder: Path) -> None:
    result = invoke("--in-plane", *raters(folder))
    assert "SVLS as published: --sigma 1 --size 1,3,3 --strength 0.5" in result.stdout
    assert "within 2 mm of boundaries in each slice" in result.stdout.replace("\n", " ")
    found = json.loads(invoke("--in-plane", "--json", *raters(folder)).stdout)
    assert found["parameters"]["in_plane"]
    for target in ("one_map", "fused"):
        assert found[target]["recommendation"]["method"]["size"][0] == 1


def test_report_figure_and_json_say_the_same(folder: Path) -> None:
    report, figure = folder / "report.json", folder / "ä" / "figure.png"
    figure.parent.mkdir()
    options = ("--json", "--report", report, "--figure", figure, "--folds", 2)
    result = invoke(*raters(folder), *options)
    found = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert found == json.loads(report.read_text(encoding="utf-8"))
    assert figure.read_bytes().startswith(b"\x89PNG")
    written = sorted(path.name for path in folder.iterdir())
    assert written == ["raters", "report.json", "ä"]
    keys = "tool_version parameters one_map fused left_out failed notes"
    assert found.keys() == set(keys.split())
    assert found["parameters"]["sigmas"] == [1, 1.5]
    assert found["parameters"]["folds"] == 2
    assert [case["raters"] for case in found["one_map"]["cases"]] == [2, 3, 3, 3]
    assert [case["raters"] for case in found["fused"]["cases"]] == [3, 3, 3]
    for target in (found["one_map"], found["fused"]):
        keys = "recommendation best held_out warnings published baselines best_of "
        keys += "per_class candidates cases"
        assert target.keys() == set(keys.split())
        assert len(target["candidates"]) == 8 * 2
        least = min(target["candidates"], key=lambda candidate: candidate["nll"])
        assert target["best"] == least
        assert not target["recommendation"]["settled"]  # by four cases
        cases, held_out = target["cases"], target["held_out"]
        sizes = [len(fold["held_out"]) for fold in held_out["folds"]]
        assert sorted(sizes) == [len(cases) // 2, (len(cases) + 1) // 2]
        for score in ("nll", "brier", "class_nll"):
            means = [fold[score] for fold in held_out["folds"]]
            mean = np.average(means, weights=sizes)
            assert held_out[score]["mean"] == pytest.approx(mean)
            gain = target["published"][score] - mean
            assert held_out["gain"][score]["mean"] == pytest.approx(gain)
        mean = np.mean([case["nll_published"] for case in cases])
        assert target["published"]["nll"] == pytest.approx(mean)


def test_the_recommended_commands_run(installed: Run, folder: Path) -> None:
    """The installed commands, one after the other."""
    given: dict[str, list[Any]] = {
        "one_map": ["LABELS", folder / "raters" / "a"],
        "fused": ["RATERS...", *raters(folder)],
    }
    draw(folder, 7)
    read = ("--pattern", "case*.mha", "--ignore-label", 7, "--classes", "0,1,2")
    result = installed("tune", "--json", "--in-plane", *FAST, *read, *raters(folder))
    for target, (name, *inputs) in given.items():
        found = json.loads(result.stdout)[target]["recommendation"]
        program, *arguments = shlex.split(found["command"])
        assert program == "svls-cli"
        assert found["settled"]
        assert set(map(str, read)) < set(arguments)
        assert arguments[-2:] == [name, "OUT.zarr"]
        installed(*arguments[:-2], *inputs, f"{target}.zarr")
        config = open_store(folder / f"{target}.zarr").config
        stored = config.method
        assert config.ignore_label == 7
        assert stored == found["method"]
        assert Method(**found["method"]).to_json() == stored


def test_sample_data(run: Run) -> None:
    folders = [SAMPLE / "raters" / name for name in "abc"]
    result = run("tune", *folders)
    assert result.stdout.startswith("3 cases, 3 raters: ")
    assert run("tune", "--jobs", "1", *folders).stdout == result.stdout


def test_cases_that_do_not_count(folder: Path) -> None:
    (folder / "raters" / "a" / "case 1.mha").write_bytes(b"")
    write_image(folder / "raters" / "b" / "case 2.mha", blobs((9, 9, 9), 2))
    (folder / "raters" / "a" / "case 0.mha").unlink()
    result = invoke(*raters(folder))
    assert result.return_value == 4
    assert result.stdout.startswith("1 case, 3 raters: ")
    assert "Held out" not in result.stdout
    lines = result.stderr.splitlines()
    left_out, *failed = [line for line in lines if "tried" not in line]
    assert left_out == "left out: case 0: fewer than two raters"
    assert failed[0].startswith("failed: case 1: rater a: ")
    assert "case 1.mha: the file is empty [" in failed[0]
    assert failed[1].startswith("failed: case 2: ")
    assert "lie on different grids: shape is (12, 16, 16) and (9, 9, 9)" in failed[1]
    assert "one case only, nothing is held out: keep the defaults\n" in result.stdout
    assert result.stdout.endswith("\nsvls-cli fuse-raters RATERS... OUT.zarr\n")


def test_resample_to_first(folder: Path) -> None:
    base = blobs((12, 16, 16), 3, seed=2)
    path = folder / "raters" / "b" / "case 2.mha"
    write_image(path, base[:, :, ::2], spacing=(2, 1, 2))
    assert "different grids" in invoke(*raters(folder)).stderr
    result = invoke("--resample-to-first", *raters(folder))
    assert result.return_value == 0
    assert result.stdout.startswith("4 cases")


def test_other_ways_to_name_the_raters(folder: Path) -> None:
    expected = invoke(*raters(folder)).stdout
    pattern = ("--pattern", "{rater}/{case}.mha")
    named = invoke(*pattern, folder / "raters").stdout
    for given in ("{rater}/{case}.mha", "RATER/{case}.mha"):  # smooth takes one rater's
        assert named.count(f" --pattern '{given}'") == 1
        named = named.replace(f" --pattern '{given}'", "")
    assert named == expected
    lines = [
        json.dumps({"case": path.stem, "raters": {rater.name: str(path)}})
        for rater in raters(folder)
        for path in rater.iterdir()
    ]
    assert invoke("-", input="\n".join(lines)).stdout == expected


def test_ignored_voxels_do_not_count(folder: Path) -> None:
    expected = json.loads(invoke("--json", *raters(folder)).stdout)
    for path in (folder / "raters").rglob("*.mha"):
        base = blobs((12, 16, 16), 3, seed=int(path.stem[-1]))
        shift = {"a": 0, "b": 1, "c": -1}[path.parent.name]
        ignored = np.full((9, 16, 16), 77, np.uint8)
        labels = np.concatenate([np.roll(base, shift, axis=1), ignored])
        write_image(path, labels, spacing=(1, 1, 2))
    found = json.loads(invoke("--json", "--ignore-label", 77, *raters(folder)).stdout)
    # The scores differ at the border: outside the image its edge is repeated, and what
    # is ignored has no share. What they are means over does not.
    for key in ("forecasts", "disagreement"):
        for target in ("one_map", "fused"):
            before, after = (
                [case[key] for case in report[target]["cases"]]
                for report in (expected, found)
            )
            assert before == after
    assert found["parameters"]["ignore_label"] == 77
    assert [c["value"] for c in found["parameters"]["classes"]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--report", "missing/report.json"), "there is no folder missing"),
        (("--figure", "missing/figure.png"), "there is no folder missing"),
        (("--report", "a.csv"), "a report ends in .json, found a.csv"),
        (("--report", "raters.json"), "raters.json is a folder"),
        (("--sigmas", "1,100"), "--sigmas 100 is no sigma in voxels"),
        (("--figure", "figure.docx"), "figure.docx: a figure's name ends in .png"),
        (("--strengths", "0,0.5"), "strengths must lie in"),
        (("--sigmas", "-1"), "sigma must be positive"),
        (("--band-mm", "nan"), "band_mm must be positive"),
        (("--patients", "no.csv"), "'no.csv' is neither a pattern with"),
        (("--folds", "1"), "folds must be at least 2"),
        (("--seed", "-1"), "seed must be at least 0"),
        (("--classes", "0,1,2", "--ignore-label", "2"), "ignore_label 2 is also"),
    ],
)
def test_bad_parameters_are_refused_before_any_work(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(folder)
    for path in (folder / "raters").rglob("*.mha"):
        path.write_bytes(b"")  # reading it would be told
    (folder / "raters.json").mkdir()
    with pytest.raises(InvalidParameterError, match=message):
        invoke(*arguments, *raters(folder))
    assert {path.name for path in folder.iterdir()} == {"raters", "raters.json"}


def test_figure_needs_matplotlib(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    install = r"pip install 'svls-cli\[figures\]"
    with pytest.raises(InvalidParameterError, match=install):
        invoke("--figure", folder / "figure.png", folder / "no such folder")


def test_usage_errors(run: Run, folder: Path) -> None:
    for option in ("--sigmas", "--strengths"):
        result = run("tune", option, "1,x", "raters/a", code=2)
        assert "'1,x' is no list of numbers such as 0.5,1,2" in result.stderr
    result = run("tune", "--figure", "missing/a.png", "raters/a", code=2)
    assert result.stderr == "svls-cli: missing/a.png: there is no folder missing\n"


def test_in_plane_of_slices_is_refused(run: Run, tmp_path: Path) -> None:
    for rater in "ab":
        write_image(tmp_path / "raters" / rater / "c.mha", blobs((9, 9), 2))
    result = run("tune", "--in-plane", "raters/a", "raters/b", code=2)
    assert result.stderr.startswith("svls-cli: --in-plane is for volumes")
    assert result.stderr.count("\n") == 1


def test_what_an_interrupted_command_says(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`smooth` goes on where it was, `tune` does not."""

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("svls_cli.cli.console.stdin_lines", interrupted)
    result = run("tune", "raters/a", "raters/b", code=130)
    assert result.stderr == "\nsvls-cli: interrupted\n"
    again = "run the same command again to go on"
    result = run("smooth", "raters/a", "a.zarr", code=130)
    assert result.stderr == f"\nsvls-cli: interrupted; {again}\n"


def test_nothing_to_tune_by(run: Run, folder: Path) -> None:
    with pytest.raises(InputError, match="no case is left to tune by: case 0: fewer"):
        invoke(folder / "raters" / "a")
    result = run("tune", "raters/a", "--report", "r.json", code=3)
    assert result.stderr.startswith("svls-cli: no case is left to tune by: ")
    assert not (folder / "r.json").exists()
    assert "no such folder" in run("tune", "raters/x", code=3).stderr


def test_an_unwritable_target_keeps_what_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up while the report is written."""
    report = folder / "report.json"
    report.write_text("old")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        invoke(*raters(folder), "--report", report)
    assert report.read_text() == "old"
    assert len(list(folder.iterdir())) == 2


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'numpy', 'scipy', 'SimpleITK', 'zarr', 'matplotlib'}"
    code = (
        "import sys; from svls_cli.cli.tune import command\n"
        "try: command(['--help'])\n"
        f"except SystemExit: assert not {heavy} & sys.modules.keys()"
    )
    run_python("-c", code)
