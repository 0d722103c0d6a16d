"""Segmentations as sources of labels: segments are classes by their names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svls_cli.dicom.finding import DicomFiles
from svls_cli.errors import InputError
from svls_cli.labels.classes import ClassTable
from svls_cli.labels.sources import LabelSource
from svls_cli.store.reader import open_store
from tests.helpers.commands import Run
from tests.helpers.dicom import SeriesGrid, write_series
from tests.helpers.label_maps import blobs
from tests.helpers.segmentations import save, segmentation

GRID = SeriesGrid((6, 7, 9))
LABELS = blobs(GRID.shape, 3, seed=3)  # 0 to 2


def write(
    path: Path,
    names: Sequence[str],
    numbers: Sequence[int],
    kind: str = "BINARY",
) -> LabelSource:
    """The blobs as segments 1 and 2 of ``names``, on the series in ``ct``."""
    ct = path.parents[1] / "ct"
    if not ct.exists():
        write_series(ct, GRID)
    path.parent.mkdir(exist_ok=True)
    order = np.argsort(numbers)
    array: Any = np.array([0, *numbers], np.uint8)[LABELS]
    if kind == "FRACTIONAL":
        array = np.stack([array == number for number in sorted(numbers)], -1) * 0.6
    ordered = [names[at] for at in order]
    more = {"numbers": sorted(numbers)} if kind == "LABELMAP" else {}
    file = segmentation(ct, array, kind, ordered, **more)
    save(file, path)
    return DicomFiles(ct).source(path)


def classes(store: Path) -> dict[int, str]:
    return {c.value: c.name for c in open_store(store).classes.classes}


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_patients_whose_numbers_differ(kind: str, tmp_path: Path, run: Run) -> None:
    write(tmp_path / "in" / "p1.dcm", ["liver", "kidney"], [2, 1], kind)
    write(tmp_path / "in" / "p2.dcm", ["liver", "kidney"], [1, 2], kind)
    run("smooth", "--series", "ct", "in", "a.zarr", "-j1", "--method", "onehot")
    # The first patient's numbers.
    assert classes(tmp_path / "a.zarr") == {0: "background", 1: "kidney", 2: "liver"}
    store = open_store(tmp_path / "a.zarr")
    one, two = store["p1"].patch(), store["p2"].patch()
    assert one[1:].any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(one, two)
    hard = np.array([0, 2, 1])[LABELS]
    np.testing.assert_array_equal(store["p2"].hard[...], hard)
    # The same store, made on with patients of other numbers again.
    write(tmp_path / "in" / "p3.dcm", ["liver", "kidney"], [2, 1], kind)
    run("smooth", "--series", "ct", "in", "a.zarr", "-j1", "--method", "onehot")
    np.testing.assert_array_equal(open_store(tmp_path / "a.zarr")["p3"].patch(), one)


def test_numbers_that_agree_are_kept(tmp_path: Path, run: Run) -> None:
    write(tmp_path / "in" / "p1.dcm", ["liver", "kidney"], [9, 5], "LABELMAP")
    write(tmp_path / "in" / "p2.dcm", ["liver", "spleen"], [9, 7], "LABELMAP")
    run("smooth", "--series", "ct", "in", "a.zarr", "-j1")
    assert classes(tmp_path / "a.zarr") == {
        0: "background", 5: "kidney", 7: "spleen", 9: "liver"
    }  # fmt: skip


def test_classes_given(tmp_path: Path) -> None:
    source = write(tmp_path / "in" / "p1.dcm", ["liver", "kidney"], [1, 2])

    def indices(*values: int, ignore_label: int | None = None, **names: str) -> Any:
        given = {int(key[1:]): name for key, name in names.items()}
        table = ClassTable.from_values(values, names=given)
        with source.open() as labels:
            return labels.indices(table, ignore_label=ignore_label)

    by_name = indices(0, 1, 2, _1="kidney", _2="liver")
    np.testing.assert_array_equal(by_name, np.array([0, 2, 1])[LABELS])
    # Classes without names are found by number.
    np.testing.assert_array_equal(indices(0, 1, 2), LABELS)
    ignored = indices(0, 1, ignore_label=2, _1="liver")
    np.testing.assert_array_equal(ignored, LABELS)
    match = r"'kidney' not among the classes \(background, liver, bone\)"
    with pytest.raises(InputError, match=match):
        indices(0, 1, 2, _1="liver", _2="bone")
    with pytest.raises(InputError, match="the background, 'kidney' not among"):
        indices(1, _1="liver")


def test_segments_without_names_go_by_number(tmp_path: Path) -> None:
    source = write(tmp_path / "in" / "p1.dcm", ["", "kidney"], [1, 2])
    assert source.named() is None
    with source.open() as labels:
        assert labels.named == ()
        assert labels.segments[2].name == "kidney"
        assert labels.distinct() == [0, 1, 2]
    named = write(tmp_path / "in" / "p2.dcm", ["liver", "kidney"], [1, 2])
    with named.open() as labels:
        assert labels.segments == {}
        assert [(s.name, s.value) for s in labels.named] == [
            ("liver", 1),
            ("kidney", 2),
        ]
        assert labels.distinct() == [0]


def test_raters_whose_numbers_differ(tmp_path: Path, run: Run) -> None:
    write(tmp_path / "a" / "p1.dcm", ["liver", "kidney"], [1, 2])
    write(tmp_path / "b" / "p1.dcm", ["liver", "kidney"], [2, 1])
    options = ("--series", "ct", "-j1")
    told = run("fuse-raters", *options, "a", "b", "a.zarr", "--report", "r.json")
    assert classes(tmp_path / "a.zarr") == {0: "background", 1: "liver", 2: "kidney"}
    for name in ("liver", "kidney"):
        assert f"{name}" in told.stderr
    case = open_store(tmp_path / "a.zarr")["p1"]
    for rater in "ab":
        np.testing.assert_array_equal(case.label_map(rater), LABELS)
    run("fuse-raters", *options, "a", "b", "consensus")
    run("smooth", "consensus", "b.zarr", "-j1")
    np.testing.assert_array_equal(open_store(tmp_path / "b.zarr")["p1"].hard[:], LABELS)


def test_raters_whose_slices_differ(tmp_path: Path, run: Run) -> None:
    write_series(tmp_path / "ct", GRID)
    for rater, empty in (("a", 0), ("b", 5)):
        (tmp_path / rater).mkdir()
        array = LABELS.copy()
        array[empty] = 0
        save(segmentation(tmp_path / "ct", array), tmp_path / rater / "p1.dcm")
    told = run("fuse-raters", "-j1", "a", "b", "a.zarr", code=4).stderr
    assert "different grids: origin" in told
    assert "and --series puts DICOM segmentations on their series" in told
    run("fuse-raters", "-j1", "--series", "ct", "a", "b", "a.zarr")
    assert open_store(tmp_path / "a.zarr")["p1"].geometry.shape == GRID.shape
