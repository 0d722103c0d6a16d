"""What several tests use: phantoms, files, the installed command."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, settings
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

# No test asserts a time, not even on a busy machine.
settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "sample_data"
COMMAND = Path(sys.executable).with_name("svls-cli")

# Direction cosines of a tilted scan.
OBLIQUE = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()

LabelMap = npt.NDArray[Any]


def blobs(shape: Sequence[int], n_classes: int, *, seed: int = 0) -> LabelMap:
    """Smooth random regions of every class, as anatomy has them."""
    rng = np.random.default_rng(seed)
    fields = [gaussian_filter(rng.normal(size=shape), 2) for _ in range(n_classes)]
    return np.argmax(fields, axis=0).astype(np.uint8)


def write_image(
    path: Path,
    array: LabelMap,
    *,
    spacing: Sequence[float] | None = None,
    origin: Sequence[float] | None = None,
    direction: Sequence[float] | None = None,
) -> Path:
    """An image file; geometry in SimpleITK's (x, y, z) order."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing or (1.0,) * array.ndim)
    image.SetOrigin(origin or (0.0,) * array.ndim)
    if direction is not None:
        image.SetDirection(direction)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def records(output: str) -> dict[str, dict[str, Any]]:
    """`--json` output by case."""
    lines = [json.loads(line) for line in output.splitlines()]
    return {line["case"]: line for line in lines}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder and its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def free_port() -> int:
    """Of this machine, for a server."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The installed command, in a process of its own, in an empty folder."""

    def call(
        *arguments: str | Path, code: int = 0, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **options.pop("env", {})}
        result = subprocess.run(
            [COMMAND, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=300,
            **options,
        )
        assert result.returncode == code, result.stderr
        return result

    return call
