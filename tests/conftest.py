"""Fixtures that all tests share."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.commands import COMMAND, Run

# No test asserts a time, not even on a busy machine.
settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")


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
