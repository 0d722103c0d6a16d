"""The commands as users run them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pexpect
import pytest
from click.testing import CliRunner

from svls_cli import __version__, open_store
from svls_cli.cli.console import readable
from svls_cli.cli.group import COMMANDS, cli
from tests.helpers.commands import (
    COMMAND,
    SAMPLE,
    Run,
    records,
    run_installed,
    run_python,
    shell,
    tree,
)
from tests.helpers.label_maps import blobs, read, write_image


def test_smooth_inspect_export(installed: Run, tmp_path: Path) -> None:
    result = installed("smooth", "--sigma", "1", SAMPLE / "labels", "out.zarr")
    done, made, *following = result.stdout.splitlines()
    assert done.startswith("out.zarr: 8 smoothed (")
    assert made.startswith("svls, sigma 1.0, size 3, strength 0.5; 4 classes: 0 back")
    assert following == [
        "next: svls-cli inspect out.zarr",
        "      svls-cli train out.zarr --images IMAGES --out RUN",
    ]
    assert result.stderr == ""
    result = installed("inspect", "--verify", "out.zarr")
    assert "method   svls, sigma 1.0, size 3, strength 0.5" in result.stdout
    assert "classes  4: 0 background, 1 organ, 2 vessel, 3 lesion" in result.stdout
    assert result.stdout.count("complete") == 8
    assert result.stdout.endswith("\n8 verified\n")
    chosen = ("case_01", "case_04")
    result = installed("export", "--content", "hard", "out.zarr", *chosen, "hard")
    assert result.stdout.startswith("hard: 2 exported (")
    for name in chosen:
        original = next((SAMPLE / "labels").glob(f"{name}.*"))
        exported = read(tmp_path / "hard" / f"{name}.nii.gz")
        np.testing.assert_array_equal(exported, read(original))


def test_json_records(run: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "l" / "b ä.nrrd", blobs((8, 9, 10), 2))
    (tmp_path / "l" / "a.nii").write_bytes(b"")
    result = run("smooth", "--json", "l", "o.zarr", code=4)
    found = records(result.stdout)
    assert found["a"]["reason"] == "the file is empty"
    keys = {"case", "status", "reason", "inputs", "output", "seconds", "bytes"}
    assert found["b ä"].keys() == keys
    assert found["b ä"]["status"] == "done"
    assert found["b ä"]["inputs"] == ["l/b ä.nrrd"]
    assert found["b ä"]["output"] == "o.zarr/b ä"
    inspected = records(run("inspect", "--json", "o.zarr").stdout)
    assert inspected["b ä"]["geometry"]["shape"] == [8, 9, 10]
    forgotten = run("export", "o.zarr", "b ä", code=2).stderr
    assert "OUT is missing: b ä, the last argument, is a case of" in forgotten
    exported = records(run("export", "--json", "o.zarr", "e").stdout)
    assert exported["b ä"]["output"] == "e"
    again = records(run("smooth", "--json", "l/b ä.nrrd", "o.zarr").stdout)
    assert again["b ä"]["status"] == "skipped"


def test_failures_are_named_on_stderr(run: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "l" / "b.nrrd", blobs((8, 9, 10), 2))
    (tmp_path / "l" / "a.nii").write_bytes(b"")
    result = run("smooth", "l", "o.zarr", code=4)
    assert result.stderr == "failed: a: the file is empty [l/a.nii]\n"
    assert "1 smoothed" in result.stdout
    assert "1 failed" in result.stdout


def test_paths_and_records_on_stdin(run: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "x" / "seg.nrrd", blobs((8, 9, 10), 2))
    write_image(tmp_path / "y" / "seg.nrrd", blobs((8, 9, 10), 2, seed=1))
    lines = 'x/seg.nrrd\n{"case": "../../y/1", "label": "y/seg.nrrd"}\n'
    run("smooth", "-", "o.zarr", input=lines)
    windows = "\ufeff" + lines.replace("\n", "\r\n")
    again = run("smooth", "--json", "-", "o.zarr", input=windows)
    assert {r["status"] for r in records(again.stdout).values()} == {"skipped"}
    assert list(open_store(tmp_path / "o.zarr")) == [".._.._y_1", "seg"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.zarr", "x", "y"]


def test_every_smoothing_option(run: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "l" / "deep" / "a_seg.nrrd", blobs((8, 9, 10), 3))
    options = (
        "--method svls --sigma-mm 1,2,2 --size 3,5,5 --strength 0.4 "
        "--pattern **/*_seg.* --classes 0,1 --ignore-label 2 --dtype uint16 "
        "--jobs 1 --fail-fast"
    )
    run("smooth", *options.split(), "l", "o.zarr")
    config = open_store(tmp_path / "o.zarr").config
    window = {"sigma_mm": [1.0, 2.0, 2.0], "size": [3, 5, 5]}
    assert config.method == {"name": "svls", **window, "strength": 0.4}
    assert (config.ignore_label, config.dtype) == (2, "uint16")
    assert config.to_json().keys() == {"method", "ignore_label", "dtype", "classes"}
    run("smooth", "--method", "ls", "--alpha", "0.2", "l/deep", "ls.zarr")
    run("smooth", "--method", "gaussian", "--size", "auto", "l/deep", "g.zarr")
    run("smooth", "--method", "onehot", "l/deep", "1.zarr")


def test_dry_run(run: Run, tmp_path: Path) -> None:
    result = run("smooth", "--dry-run", SAMPLE / "labels", "o.zarr")
    assert result.stdout.startswith("o.zarr: 8 would be smoothed (")
    assert result.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["smooth"], 2, "Missing argument"),
        (["smooth", "l"], 2, "OUT.zarr is missing: l, the last argument, is taken"),
        (["smooth", "l"], 2, "Expected, for example: svls-cli smooth l out.zarr"),
        (["smooth", "o.zarr"], 2, "Missing argument 'INPUTS...'"),
        (["smooth", "l", "l"], 2, "svls-cli smooth l l out.zarr"),
        (["smooth", "l", "-"], 2, "OUT.zarr is missing: -, the last argument, is"),
        (["smooth", "--sigma", "1,1,1", "d", "d"], 2, "OUT.zarr is missing: d, the"),
        (["smooth", "l", "l/a.nrrd"], 2, "OUT.zarr is missing: l/a.nrrd"),
        (["fuse-raters", "--sigma", "1", "l"], 2, "fuse-raters --sigma 1 l out.zarr"),
        (["fuse-raters", "l", "l"], 2, "OUT is missing: l, the last argument, is"),
        (["predict", "run", "l"], 2, "svls-cli predict run l out.zarr"),
        (["predict", "run"], 2, "Missing argument 'IMAGES...'"),
        (["compare", "--images", "l", "--out", "c"], 2, "argument 'LABELS...'"),
        (["export", "none"], 2, "Missing argument 'OUT'"),
        (["smooth", "--sigma", "x", "l", "o"], 2, "neither a number nor z,y,x"),
        (["smooth", "--size", "3,x", "l", "o"], 2, "nor 'auto'"),
        (["smooth", "--size", "4", "l", "o"], 2, "size must be odd"),
        (["smooth", "--sigma", "1", "--sigma-mm", "1", "l", "o"], 2, "not both"),
        (["smooth", "--method", "ls", "--size", "3", "l", "o"], 2, "does not apply"),
        (["smooth", "--jobs", "0", "l", "o"], 2, "--jobs"),
        (["smooth", "--nonsense", "l", "o"], 2, "No such option"),
        (["smooth", "--ignore-label", "1", "--classes", "0,1", "l", "o"], 2, "class"),
        (["smooth", "--sgma", "1", "l", "o"], 2, "--sigma"),
        (["melt"], 2, "No such command 'melt'.\n"),
        (["smoth"], 2, "No such command 'smoth'. Did you mean 'smooth'?"),
        (["fuse"], 2, "No such command 'fuse'. Did you mean 'fuse-raters'?"),
        (["smooth", "none", "o"], 3, "none: no such file or folder"),
        (["smooth", "--classes", "none.csv", "l", "o"], 3, "none.csv"),
        (["smooth", "--classes", "0,0", "l", "o"], 2, "class value given twice: 0"),
        (["smooth", "--classes", "a,b", "l", "o"], 2, "'a,b' is neither label values"),
        (["smooth", "l", "d"], 3, "d: not a Zarr v3 group"),
        (["inspect", "none"], 3, "none: no such store"),
        (["inspect", "l"], 3, "l: not a Zarr v3 group"),
        (["export", "none", "o"], 3, "none: no such store"),
    ],
)
def test_mistakes(
    arguments: list[str], code: int, message: str, run: Run, tmp_path: Path
) -> None:
    write_image(tmp_path / "l" / "a.nrrd", blobs((3, 4, 5), 2))
    (tmp_path / "d" / "e").mkdir(parents=True)
    result = run(*arguments, code=code)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "l"]


def test_images_by_mistake(run: Run, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 124, (9, 20, 30)).astype(np.uint8)
    write_image(tmp_path / "l" / "a.nrrd", noise)
    write_image(tmp_path / "l" / "b.nrrd", blobs((9, 20, 30), 3))
    question = "124 different values: is this an image?"
    assert run("smooth", "l", "o.zarr").stderr == f"note: a: {question}\n"
    result = run("smooth", SAMPLE / "images", "i.zarr", code=4)
    assert result.stderr.count(" is not a label; labels are whole numbers") == 8
    scan = np.arange(20 * 30 * 2, dtype=np.uint16).reshape(2, 20, 30)
    write_image(tmp_path / "i" / "a.nrrd", scan)
    write_image(tmp_path / "i" / "b.nrrd", scan + 1200)
    result = run("smooth", "i", "i.zarr", code=4)
    assert result.stderr.count("1200 labels that no other case has: is this ") == 2


def test_inspect_names_what_is_damaged(run: Run, tmp_path: Path) -> None:
    run("smooth", SAMPLE / "labels", "o.zarr")
    shard = tmp_path / "o.zarr/case_03/0/c/0/0/0/0"
    shard.write_bytes(shard.read_bytes()[:-9])
    (tmp_path / "o.zarr" / "stranger" / "0").mkdir(parents=True)
    result = run("inspect", "--verify", "--json", "o.zarr", code=4)
    found = records(result.stdout)
    assert found["stranger"]["reason"] == "incomplete: it has no zarr.json"
    assert "does not match its checksum" in found["case_03"]["reason"]
    assert sum(r["status"] == "done" for r in found.values()) == 7
    table = run("inspect", "--verify", "o.zarr", code=4).stdout
    assert "0/c/0/0/0/0 does not match its checksum" in table
    assert "stranger: incomplete: it has no zarr.json\n" in table
    assert len(re.findall(r"  damaged$", table, re.MULTILINE)) == 2
    assert table.endswith("\n7 verified, 2 damaged\n")
    assert "verified" not in run("inspect", "o.zarr", code=4).stdout


def test_progress_bar_on_a_terminal_only(tmp_path: Path) -> None:
    arguments = ["smooth", str(SAMPLE / "labels"), "o.zarr"]
    options: dict[str, Any] = {"cwd": str(tmp_path), "dimensions": (24, 80)}
    child = pexpect.spawn(str(COMMAND), arguments, encoding="utf-8", **options)
    shown = child.read()
    child.close()
    assert child.exitstatus == 0
    for part in ("scan:", "smooth:", "/8 ["):
        assert part in shown
    assert run_installed(*arguments, cwd=tmp_path).stderr == ""


def test_reader_that_stops_reading(tmp_path: Path) -> None:
    command = f"svls-cli smooth --json '{SAMPLE / 'labels'}' o.zarr | head -n 1"
    result = shell(f"{command}; exit ${{PIPESTATUS[0]}}", cwd=tmp_path)
    assert result.returncode == 141
    assert json.loads(result.stdout)["status"] == "done"
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "o.zarr.tmp").exists()


def test_closed_streams(tmp_path: Path) -> None:
    write_image(tmp_path / "l" / "a.nrrd", blobs((3, 4, 5), 2))
    for line, code in (
        ("smooth - o.zarr <&-", 3),
        ("smooth l o.zarr >&-", 0),
        ("smooth l p.zarr 2>&-", 0),
        ("smooth l q.zarr <&- >&- 2>&-", 0),
    ):
        result = shell(f"svls-cli {line}", cwd=tmp_path)
        assert result.returncode == code, (line, result.stderr)
        assert "Traceback" not in result.stderr


EVIL = "\x1b[2J\x9b\u202eevil\x7f"


def test_nothing_steers_the_terminal(run: Run, tmp_path: Path) -> None:
    """No name of a file or a class, in whatever is printed."""
    write_image(tmp_path / "l" / f"{EVIL}.nrrd", blobs((8, 9, 10), 2))
    (tmp_path / "l" / f"{EVIL}2.nrrd").write_text("NRRD0004")
    classes = tmp_path / "c.json"
    classes.write_text(json.dumps({"background": 0, EVIL: 1}))
    made = ("smooth", "--classes", classes, "l", "a.zarr")
    results = [
        run(*made, code=4),
        run(*made, "--json", code=4),
        run("inspect", "a.zarr"),
        run("inspect", "--json", "a.zarr"),
        run("smooth", EVIL, "b.zarr", code=3),
        run("smooth", "--dtype", EVIL, "l", "b.zarr", code=2),
        run("smooth", "-", "b.zarr", input=f'{{"case": "x", "label": {EVIL}\n', code=3),
    ]
    for result in results:
        assert not set(EVIL) - set("[2Jevil") & set(result.stdout + result.stderr)
    inputs = [record["inputs"] for record in records(results[1].stdout).values()]
    assert [f"l/{EVIL}2.nrrd"] in inputs


def test_names_that_are_no_unicode(run: Run, tmp_path: Path) -> None:
    path = write_image(tmp_path / "l" / "a.nrrd", blobs((3, 4, 5), 2))
    path.rename(path.with_name(os.fsdecode(b"bad\xff.nrrd")))
    for arguments in (
        ["smooth", "--json", "l", "o.zarr"],
        ["smooth", "l", "p.zarr"],
        ["inspect", "o.zarr"],
        ["export", "--json", "o.zarr", "e"],
    ):
        subprocess.run([COMMAND, *arguments], cwd=tmp_path, check=True)
    (line,) = run("smooth", "--json", "l", "j.zarr").stdout.splitlines()
    (path,) = json.loads(line)["inputs"]
    assert line.encode().decode() == line  # UTF-8
    assert os.fsencode(path) == b"l/bad\xff.nrrd"
    again = json.dumps({"case": "a", "label": path})
    result = run("smooth", "--json", "-", "k.zarr", input=again)
    assert records(result.stdout)["a"]["inputs"] == [path]
    line = '{"case": "\\ud800", "label": "none.nii"}'
    result = run("smooth", "--json", "-", "q.zarr", input=line, code=4)
    assert records(result.stdout)["_"]["status"] == "failed"


def test_bug_is_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("svls_cli.store.reader.open_store", broken)
    result = CliRunner().invoke(cli, ["inspect", "o.zarr"])
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


def test_consensus_of_before_is_no_forgotten_out(run: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "r" / "a.nrrd", blobs((3, 4, 5), 2))
    assert "1 fused" in run("fuse-raters", "r", "fused").stdout
    assert "1 already complete" in run("fuse-raters", "r", "fused").stdout


def test_case_named_by_a_pattern(run: Run, tmp_path: Path) -> None:
    """In label maps, references and raters alike."""
    for name in ("a", "b"):
        write_image(tmp_path / "l" / f"{name}_seg.nrrd", blobs((8, 9, 10), 2))
        write_image(tmp_path / "l" / f"{name}_scan.nrrd", blobs((8, 9, 10), 2))
    pattern = ("--pattern", "{case}_seg.nrrd")
    run("smooth", *pattern, "l", "o.zarr")
    assert list(open_store(tmp_path / "o.zarr")) == ["a", "b"]
    result = run("evaluate", "o.zarr", "--reference", "l", *pattern, "--json")
    assert list(records(result.stdout)) == ["a", "b"]
    run("fuse-raters", *pattern, "l", "f.zarr")
    assert open_store(tmp_path / "f.zarr")["a"].raters == ("l",)
    result = run("smooth", "--pattern", "{name}.nii", "l", "p.zarr", code=2)
    assert "has {name}; in braces may stand {case}" in result.stderr


def test_python_m(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "svls_cli", "smooth"]
    write_image(tmp_path / "l" / "a.nrrd", blobs((3, 4, 5), 2))
    arguments = [*command, "l", "o.zarr"]
    result = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "1 smoothed" in result.stdout


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"svls-cli, version {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str, run: Run) -> None:
    if shell == "bash" and not Path("/bin/bash").exists():
        pytest.fail("bash is needed to test its completion")
    script = run(env={"_SVLS_CLI_COMPLETE": f"{shell}_source"}).stdout
    assert "svls-cli" in script
    words = {"COMP_WORDS": "svls-cli sm", "COMP_CWORD": "1"}
    answer = run(env={"_SVLS_CLI_COMPLETE": "bash_complete", **words}).stdout
    assert "smooth" in answer


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("export o.zarr ", ["case_01", "case_02"]),
        ("export o.zarr case_01 ca", ["case_02"]),
        ("export --content hard o.zarr case_02", ["case_02"]),
        ("export none.zarr ca", []),
        ("export s3://b/o.zarr ca", []),
        ("export ", []),
        ("smooth o.zarr o.zarr ", []),
    ],
)
def test_completion_offers_cases(
    words: str, expected: list[str], run: Run, tmp_path: Path
) -> None:
    for name in ("", "case_01", "case_02"):
        (tmp_path / "o.zarr" / name).mkdir()
        (tmp_path / "o.zarr" / name / "zarr.json").touch()
    (tmp_path / "o.zarr" / "case_03").mkdir()
    line = f"svls-cli {words}"
    given = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    answer = run(env={"_SVLS_CLI_COMPLETE": "bash_complete", **given})
    offered = [line for line in answer.stdout.splitlines() if line.startswith("plain")]
    assert offered == [f"plain,{name}" for name in expected]
    assert answer.stderr == ""


def test_long_help_has_groups() -> None:
    def headings(command: str) -> list[str]:
        text = CliRunner().invoke(cli, [command, "--help"]).output
        return re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE)

    assert headings("smooth") == ["Smoothing", "Input", "Output", "Running"]
    assert headings("inspect") == ["Options"]
    for command in COMMANDS:
        assert headings(command)[-1] in ("Running", "Options")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_speaks_of_every_option(command: str) -> None:
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0
    for parameter in cli.get_command(None, command).params:  # type: ignore[arg-type,union-attr]
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_imports_nothing_heavy(command: str | None) -> None:
    arguments = [*filter(None, [command]), "--help"]
    script = (
        "import sys, svls_cli.cli.group as g\n"
        f"try: g.main({arguments})\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'scipy', 'SimpleITK', 'zarr', 'torch', 'joblib', 'tqdm', "
        "'pydicom'}\n"
        "sys.stderr.write(','.join(heavy & set(sys.modules)))\n"
    )
    result = run_python("-c", script)
    assert "Usage: svls-cli" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (3e12, "3.0 TB")],
)
def test_sizes_for_people(size: float, expected: str) -> None:
    assert readable(size) == expected


def test_stores_do_not_depend_on_where_they_are_made(run: Run, tmp_path: Path) -> None:
    run("smooth", SAMPLE / "labels", "a.zarr")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    relative = os.path.relpath(SAMPLE / "labels", tmp_path)
    run("smooth", relative, "deep/er/b.zarr")
    assert tree(tmp_path / "a.zarr") == tree(tmp_path / "deep" / "er" / "b.zarr")
