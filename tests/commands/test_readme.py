"""Every command and every example in the README runs."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import pytest

from svls_cli.cli.group import COMMANDS
from tests.helpers.commands import ROOT, SAMPLE, shell

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


SECTIONS = re.split(r"^#{2,3} ", README, flags=re.MULTILINE)
# The Python examples of a section go on from its first one.
EXAMPLES = [found for found in (blocks("python", text) for text in SECTIONS) if found]
LIGHTNING = "import lightning"
# Set-up is what .ci/run does; the benchmarks' commands are run by test_benchmarks.py.
SHELL = [
    line
    for line in "".join(blocks("sh")).splitlines()
    if not line.startswith(("pip install", "python tests/benchmarks", "eval"))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reader stands: beside the sample data."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(SAMPLE, folder / "sample_data")
    check("svls-cli smooth --sigma 1 sample_data/labels out.zarr", folder)
    return folder


def check(line: str, folder: Path) -> None:
    result = shell(line, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


def seen_by_git(folder: Path) -> set[str]:
    """What the README wrote that git would take for a part of the project."""
    paths = [p for p in folder.iterdir() if p.name not in ("sample_data", "example.py")]
    made = {f"{p.name}/" if p.is_dir() else p.name for p in paths}
    ignored = subprocess.run(
        ["git", "check-ignore", "--stdin"],
        input="\n".join(made),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return made - set(ignored.stdout.splitlines())


@pytest.mark.slow
def test_shell_commands(folder: Path) -> None:
    assert len(SHELL) > 8
    for line in SHELL:
        check(line, folder)
    assert len(list((folder / "probabilities").iterdir())) == 32
    assert (folder / "named.zarr" / "patient 7").is_dir()
    assert seen_by_git(folder) == set()


@pytest.mark.slow
def test_python_examples(folder: Path) -> None:
    assert len(EXAMPLES) == 4
    for examples in EXAMPLES:
        run_script((each for each in examples if LIGHTNING not in each), folder)
    assert seen_by_git(folder) == set()


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("lightning") is None, reason="lightning is too large for the extra `test`"
)
def test_lightning_example(folder: Path) -> None:
    [examples] = [each for each in EXAMPLES if LIGHTNING in "".join(each)]
    [lightning] = [each for each in examples if LIGHTNING in each]
    run_script([examples[0], lightning], folder)


def run_script(examples: Iterable[str], folder: Path) -> None:
    script = folder / "example.py"
    # A script that starts workers needs no guard; it must not be run again by them.
    script.write_text("\n".join(examples))
    subprocess.run([sys.executable, script], cwd=folder, check=True)


def test_every_command_is_documented() -> None:
    for command in COMMANDS:
        assert f"svls-cli {command}" in README


def test_setup_is_two_commands() -> None:
    setup = README.split("## Set-up")[1].split("\n## ")[0]
    lines = "".join(re.findall(r"```sh\n(.*?)```", setup, re.DOTALL)).splitlines()
    assert [shlex.split(line)[:2] for line in lines] == [["pip", "install"]] * 2


def test_sample_data_is_what_its_script_makes(tmp_path: Path) -> None:
    for script in ("make.py", "make_dicom.py"):
        shutil.copy(SAMPLE / script, tmp_path)
        subprocess.run([sys.executable, tmp_path / script], check=True)
    made = {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()}
    kept = {p.relative_to(SAMPLE) for p in SAMPLE.rglob("*") if p.is_file()}
    assert made == {path for path in kept if "__pycache__" not in path.parts}
    size = sum((SAMPLE / path).stat().st_size for path in made)
    assert size < 2_000_000
    for path in (SAMPLE / "dicom").rglob("*.dcm"):
        again = tmp_path / path.relative_to(SAMPLE)
        assert path.read_bytes() == again.read_bytes()
