"""Imports point one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "svls_cli"
# Each may import those before it.
LAYERS = (
    "version",
    "errors",
    "labels",
    "soften",
    "store",
    "records",
    "workers",
    "cluster",
    "scan",
    "compiling",
    "pipeline",
    "fusing",
    "consensus",
    "evaluation",
    "agreement_report",
    "rater_agreement",
    "inspection",
    "export",
    "training",
    "comparison",
    "experiment",
    "__init__",
    "cli",
)
# Who alone may use a library.
OWNERS = {
    "SimpleITK": ("labels/images.py", "labels/output.py"),
    "zarr": "store/",
    "numcodecs": "store/",
    "google_crc32c": "store/",
    "joblib": "workers.py",
    "dask": "cluster.py",
    "distributed": "cluster.py",
    "s3fs": "store/objects.py",
    "fsspec": "store/objects.py",
    "botocore": "store/objects.py",
    "click": "cli/",
    "tqdm": "cli/",
    "matplotlib": ("evaluation/figures.py", "training/curves.py"),
    "torch": "training/",
    "monai": "training/",
    "cupy": "soften/gpu.py",
    "cupyx": "soften/gpu.py",
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(module: Path) -> set[str]:
    """Full names of everything that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute"
            found |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return found


def layer(name: str) -> int:
    """Of `svls_cli.labels.cases` or of a path in the package."""
    parts = name.replace("/", ".").removesuffix(".py").split(".")
    return LAYERS.index(parts[0])


def test_every_module_has_a_layer() -> None:
    for module in MODULES:
        assert layer(str(module.relative_to(PACKAGE))) >= 0


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_imports_point_downward(module: Path) -> None:
    own = layer(str(module.relative_to(PACKAGE)))
    for name in imports(module):
        first, _, rest = name.partition(".")
        if first == "svls_cli" and rest.split(".")[0] in LAYERS:
            assert layer(rest) <= own, f"imports {name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_each_library_has_one_user(module: Path) -> None:
    place = str(module.relative_to(PACKAGE))
    used = {name.split(".")[0] for name in imports(module)}
    for library, owner in OWNERS.items():
        assert library not in used or place.startswith(owner), f"{library} in {place}"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_modules_are_small(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 300
