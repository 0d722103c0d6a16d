"""Slices are cropped to what is drawn on them, and their greys show it."""

from pathlib import Path

import numpy as np
import pytest

from svls_cli.labels.scans import find_scans
from svls_cli.report.reading import CaseContent, CaseToReport, read_case
from svls_cli.report.shown import shown_slices, window_of
from tests.helpers.label_maps import write_image
from tests.helpers.stores import smoothed


@pytest.fixture
def content(tmp_path: Path) -> CaseContent:
    """A body of fat (-100) with two organs (50 and 70), air (-1000) around, a bone."""
    labels = np.zeros((9, 80, 90), np.uint8)
    labels[2:5, 30:40, 20:45] = 1
    labels[6, 41:51, 50:60] = 2
    image = np.full(labels.shape, -1000, np.int16)
    image[:, 10:70, 10:80] = -100
    image[:, 36:40, 46:52] = 1200
    image[labels == 1], image[labels == 2] = 50, 70
    image += np.random.default_rng(0).normal(0, 20, image.shape).astype(np.int16)
    write_image(tmp_path / "labels" / "a.nii.gz", labels, spacing=(1, 1, 5))
    write_image(tmp_path / "images" / "a.nii.gz", image, spacing=(1, 1, 5))
    case = smoothed(tmp_path / "labels", tmp_path / "a.zarr")["a"]
    scan = find_scans(tmp_path / "images")["a"]
    return read_case(CaseToReport(case, scan=scan), ignore_label=None)


def test_each_slice_is_cropped_to_its_labels(content: CaseContent) -> None:
    shown = {each.number: each for each in shown_slices(content, 4)}
    assert set(shown) <= set(range(1, 8))
    assert {2, 3, 4} & set(shown)
    for number, each in shown.items():
        assert each.image is not None
        assert each.image.shape == each.hard.shape
        assert (each.hard > 0).sum() == (content.hard[number] > 0).sum()
        rows, columns = np.nonzero(each.hard)
        if rows.size:
            assert min(rows.min(), columns.min()) >= 8
            assert each.hard.shape[0] - rows.max() > 8
            assert each.hard.shape[1] - columns.max() > 8
            assert each.hard.shape[0] <= np.ptp(rows) + 20
        assert sum(each.soft.values()) == pytest.approx(1, abs=1e-6)


def test_air_and_bone_leave_the_greys_to_tissue(content: CaseContent) -> None:
    shown = shown_slices(content, 4)
    low, high = window_of(content, shown)
    assert -600 < low < 20
    assert 90 < high < 600


def test_without_an_image_there_is_no_window(content: CaseContent) -> None:
    assert window_of(content, []) == (0, 1)
