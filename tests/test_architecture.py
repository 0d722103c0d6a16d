"""Imports point one way, and each library has one owner."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "svls_cli"
# Folders and root modules; each may import those before it.
LAYERS = (
    "errors",
    "palette",
    "arrays",
    "files",
    "figures",
    "labels",
    "batch",
    "soften",
    "metrics",
    "raters",
    "store",
    "compiling",
    "tuning",
    "evaluation",
    "training",
    "comparison",
    "nnunet",
    "dicom",
    "report",
    "__init__",
    "cli",
    "__main__",
)
# Who alone may use a library.
OWNERS = {
    "SimpleITK": ("labels/output.py",),
    "PIL": ("labels/pillow.py", "report/tiles.py"),
    "contourpy": ("report/contours.py",),
    "jinja2": ("report/rendering.py",),
    "zarr": ("store/",),
    "numcodecs": ("store/",),
    "google_crc32c": ("store/",),
    "joblib": ("batch/workers.py", "batch/worker_process.py"),
    "dask": ("batch/cluster.py",),
    "distributed": ("batch/cluster.py",),
    "s3fs": ("store/objects.py",),
    "fsspec": ("store/objects.py",),
    "botocore": ("store/objects.py",),
    "click": ("cli/",),
    "tqdm": ("cli/",),
    "matplotlib": (
        "figures.py",
        "comparison/figure.py",
        "evaluation/figure.py",
        "training/curves.py",
        "tuning/figure.py",
    ),
    "torch": ("training/", "nnunet/"),
    "nnunetv2": ("nnunet/",),
    "batchgeneratorsv2": ("nnunet/",),
    "blosc2": ("nnunet/",),
    "monai": ("training/",),
    "highdicom": ("dicom/",),
    "pydicom": ("dicom/",),
    "cupy": ("soften/devices.py",),
    "cupyx": ("soften/devices.py",),
    "array_api_compat": ("soften/libraries.py",),
}
MODULES = {
    str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(module: Path) -> set[str]:
    """Full names of everything that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute"
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return names


def file_of(name: str) -> str | None:
    """The package's file that an imported name is, or None."""
    first, _, rest = name.partition(".")
    path = f"{rest.replace('.', '/')}.py"
    return path if first == "svls_cli" and path in MODULES else None


def layer(path: str) -> int:
    """Layer of a file, by its folder or its own name in the root."""
    return LAYERS.index(path.partition("/")[0].removesuffix(".py"))


IMPORTED = {
    path: {f for f in map(file_of, imports(module)) if f is not None}
    for path, module in MODULES.items()
}


def test_every_file_has_a_layer() -> None:
    assert {path for path in MODULES if layer(path) < 0} == set()


def test_imports_point_down() -> None:
    upward = [
        f"{path} imports {other}"
        for path, others in IMPORTED.items()
        for other in others
        if layer(other) > layer(path)
    ]
    assert upward == []


def test_no_files_import_in_a_circle() -> None:
    # Imports inside functions and for type checkers count as well.
    try:
        TopologicalSorter(IMPORTED).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' <- '.join(error.args[1])}")


def test_each_library_has_one_owner() -> None:
    strangers = [
        f"{path} imports {library}"
        for path, module in MODULES.items()
        for library in {name.partition(".")[0] for name in imports(module)}
        if not path.startswith(OWNERS.get(library, ("",)))
    ]
    assert strangers == []


def test_contributing_names_files_that_exist() -> None:
    text = (PACKAGE.parent / ".github" / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", text))
    walks = text[text.index("## The walks") : text.index("## How to add")]
    for walk in walks.split("\n\n"):
        files = re.findall(r"`([a-z_]+/[a-z_]+\.py)`", walk)
        assert len(set(files)) == len(files), walk
    paths = {name.removeprefix("svls_cli/") for name in named}
    assert {path for path in paths if not path.startswith("tests/")} <= set(MODULES)
    assert all((PACKAGE.parent / p).exists() for p in paths if p.startswith("tests/"))
