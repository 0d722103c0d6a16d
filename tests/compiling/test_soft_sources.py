"""Labels that are soft before any smoothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svls_cli.arrays import UIntArray
from svls_cli.compiling.smooth import smooth_cases
from svls_cli.errors import InvalidParameterError
from svls_cli.labels.cases import Case
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.segments import Segment
from svls_cli.labels.sources import Kind, LabelMapFile, SoftLabels
from svls_cli.soften.methods import Method
from svls_cli.store.reader import open_store
from tests.helpers.label_maps import blobs, grid, write_image

SHAPE = (5, 6, 7)
# Shares of class 1 at every voxel, in 255ths.
SHARES = 17 * np.random.default_rng(0).integers(0, 16, SHAPE)


class GivenLabels:
    """Labels of two classes, with the shares above."""

    geometry = grid(SHAPE)
    segments = {1: Segment("lesion", "")}  # noqa: RUF012
    named = ()

    def notes(self, table: ClassTable) -> list[str]:
        return ["half of it is a guess"]

    def distinct(self) -> list[int]:
        return [0, 1]

    def indices(self, table: ClassTable, *, ignore_label: int | None) -> UIntArray:
        return (SHARES > 127).astype(np.uint8)

    def soft(self, table: ClassTable, *, ignore_label: int | None) -> SoftLabels:
        shares = np.arange(256) / 255
        codes = SHARES.astype(np.uint8)
        return SoftLabels(
            codes, np.column_stack([1 - shares, shares]), np.arange(256) // 128
        )


@dataclass(frozen=True)
class Given:
    """A source of them."""

    path: Path
    kind: Kind = "probabilities"

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)

    def geometry(self) -> Geometry:
        return GivenLabels.geometry

    @contextmanager
    def open(self) -> Iterator[GivenLabels]:
        yield GivenLabels()

    def records(self, rater: str | None = None) -> list[dict[str, Any]]:
        return [{"name": self.path.name, "rater": rater, "sha256": "0" * 64}]

    def absolute(self) -> Given:
        return self


def test_what_is_soft_is_stored_as_given(tmp_path: Path) -> None:
    case = Case("a", Given(tmp_path / "a"))
    (record,) = smooth_cases([case], tmp_path / "out.zarr")
    assert (record.status, record.inputs) == ("done", (str(tmp_path / "a"),))
    assert record.reason == "half of it is a guess"
    store = open_store(tmp_path / "out.zarr")
    assert store.config.method == Method("onehot").to_json()
    assert [each.name for each in store.classes.classes] == ["background", "lesion"]
    levels = np.asarray(store["a"].soft[...])
    np.testing.assert_array_equal(levels, np.stack([255 - SHARES, SHARES]))
    np.testing.assert_array_equal(store["a"].hard[...], SHARES > 127)


def test_what_is_soft_is_smoothed_as_a_mean_of_raters_if_asked(tmp_path: Path) -> None:
    """Smoothing is linear: each rater's map, smoothed, in the share of its levels."""
    case = Case("a", Given(tmp_path / "a"))
    method = Method("svls", sigma=1.5)
    smooth_cases([case], tmp_path / "out.zarr", method=method, dtype="float32")
    found = open_store(tmp_path / "out.zarr")["a"].probabilities()
    raters = []
    for level in range(0, 255, 17):
        path = write_image(
            tmp_path / "maps" / f"{level}.nii", (level < SHARES).astype(np.uint8)
        )
        raters.append(Case(f"r{level}", LabelMapFile(path)))
    smooth_cases(raters, tmp_path / "each.zarr", method=method, dtype="float32")
    each = open_store(tmp_path / "each.zarr")
    mean = np.mean([case.probabilities() for case in each.values()], axis=0)
    np.testing.assert_allclose(found, mean, atol=2e-6)


def test_soft_and_hard_cases_need_a_method(tmp_path: Path) -> None:
    hard = write_image(tmp_path / "b.nii", blobs(SHAPE, 2))
    cases = [Case("a", Given(tmp_path / "a")), Case("b", LabelMapFile(hard))]
    with pytest.raises(InvalidParameterError, match="already: a; not yet: b"):
        smooth_cases(cases, tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()
    records = smooth_cases(cases, tmp_path / "out.zarr", method=Method())
    assert [record.status for record in records] == ["done", "done"]
