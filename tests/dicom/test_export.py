import shutil
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest

from svls_cli.store.reader import open_store
from tests.helpers.commands import Run
from tests.helpers.dicom import SeriesGrid, write_series
from tests.helpers.label_maps import OBLIQUE, blobs
from tests.helpers.segmentations import save, segmentation

GRID = SeriesGrid((6, 7, 9))
TILTED = SeriesGrid((6, 7, 9), orientation=tuple(OBLIQUE.T[:2].ravel().tolist()))


def labels() -> Any:
    """Of four classes, and two empty slices at one end, one at the other."""
    found = blobs(GRID.shape, 4, seed=3)
    found[[0, 1, 5]] = 0
    return found


def make_store(tmp_path: Path, run: Run, *options: str, grid: SeriesGrid = GRID) -> Any:
    write_series(tmp_path / "ct", grid)
    (tmp_path / "in").mkdir()
    save(segmentation(tmp_path / "ct", labels()), tmp_path / "in" / "p1.dcm")
    run("smooth", "--series", "ct", "in", "a.zarr", "-j1", *options)
    return open_store(tmp_path / "a.zarr")["p1"]


EXPORT = ("export", "--format", "dicom-seg", "--series", "ct", "a.zarr", "out", "-j1")


@pytest.mark.parametrize("grid", [GRID, TILTED], ids=["axial", "oblique"])
@pytest.mark.parametrize("series", [("--series", "ct"), ()])
def test_round_trip_to_the_last_byte(
    grid: SeriesGrid, series: tuple[str, ...], tmp_path: Path, run: Run
) -> None:
    before = make_store(tmp_path, run, grid=grid)
    run(*EXPORT)
    run("smooth", *series, "out/p1.dcm", "b.zarr", "-j1")
    after = open_store(tmp_path / "b.zarr")["p1"]
    np.testing.assert_array_equal(before.patch(), after.patch())
    assert before.classes == after.classes
    assert before.geometry.difference(after.geometry) == ""
    assert after.attributes["method"]["name"] == "onehot"


def test_highdicom_reads_it(tmp_path: Path, run: Run) -> None:
    case = make_store(tmp_path, run)
    run(*EXPORT)
    file = hd.seg.segread(tmp_path / "out" / "p1.dcm")
    volume = file.get_volume(rescale_fractional=False).array[::-1]
    np.testing.assert_array_equal(np.moveaxis(volume, 3, 0), case.patch()[1:])
    assert file.SegmentationFractionalType == "PROBABILITY"
    assert file.MaximumFractionalValue == 255
    images = [pydicom.dcmread(path) for path in (tmp_path / "ct").iterdir()]
    assert {uid for _, _, uid in file.get_source_image_uids()} == {
        image.SOPInstanceUID for image in images
    }


def test_hard_labels(tmp_path: Path, run: Run) -> None:
    case = make_store(tmp_path, run)
    run(*EXPORT, "--content", "hard")
    file = hd.seg.segread(tmp_path / "out" / "p1.dcm")
    assert (file.SegmentationType, file.SegmentsOverlap) == ("BINARY", "NO")
    volume = file.get_volume(combine_segments=True).array[::-1]
    np.testing.assert_array_equal(volume, case.hard[...])


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_finer_probabilities_are_rounded(dtype: str, tmp_path: Path, run: Run) -> None:
    case = make_store(tmp_path, run, "--dtype", dtype)
    told = run(*EXPORT, "--json").stdout
    assert f"probabilities of {dtype} rounded to steps of 1/255" in told
    run("smooth", "out/p1.dcm", "b.zarr", "-j1", "--series", "ct")
    after = open_store(tmp_path / "b.zarr")["p1"]
    np.testing.assert_allclose(
        case.probabilities(), after.probabilities(), atol=1 / 255
    )


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_ignored_voxels_are_background(dtype: str, tmp_path: Path, run: Run) -> None:
    case = make_store(tmp_path, run, "--dtype", dtype, "--ignore-label", "3")
    told = run(*EXPORT, "--json").stdout
    assert "voxels without a label are background there" in told
    file = hd.seg.segread(tmp_path / "out" / "p1.dcm")
    volume = file.get_volume().array[::-1]
    ignored = labels() == 3
    assert not volume[ignored].any()
    expected = np.moveaxis(case.probabilities()[1:], 0, 3)
    np.testing.assert_allclose(volume, expected, atol=1 / 255)


def test_codes_and_numbers_of_segments(tmp_path: Path, run: Run) -> None:
    table = tmp_path / "classes.csv"
    table.write_text(
        "value,name,color,category,type\n0,background,,,\n"
        "1,Körper,00FF00,,\n5,Leber,,SCT^123037004^Anatomical Structure,"
        "SCT^10200004^Liver\n9,Rest,,,mine\n"
    )
    write_series(tmp_path / "ct", GRID)
    array = np.array([0, 1, 5, 9], np.uint8)[labels()]
    file = segmentation(tmp_path / "ct", array, "LABELMAP", ("", "", ""), (1, 5, 9))
    save(file, tmp_path / "p1.dcm")
    run("smooth", "--series", "ct", "p1.dcm", "a.zarr", "--classes", table, "-j1")
    told = run(*EXPORT, "--json").stdout
    assert "labels 5, 9 have other numbers" in told
    assert "Körper, Rest without a code: called 'Tissue'" in told
    found = hd.seg.segread(tmp_path / "out" / "p1.dcm")
    segments = [found.get_segment_description(n) for n in found.segment_numbers]
    assert [s.segment_label for s in segments] == ["Körper", "Leber", "Rest"]
    kinds = [s.segmented_property_type for s in segments]
    assert [kind.meaning for kind in kinds] == ["Tissue", "Liver", "Tissue"]
    assert segments[1].segmented_property_category.value == "123037004"


def test_files_that_exist(tmp_path: Path, run: Run) -> None:
    make_store(tmp_path, run)
    run(*EXPORT)
    first = (tmp_path / "out" / "p1.dcm").read_bytes()
    assert "already complete" in run(*EXPORT).stdout
    assert (tmp_path / "out" / "p1.dcm").read_bytes() == first
    hard = (*EXPORT, "--content", "hard")
    assert "use --overwrite" in run(*hard, code=4).stderr
    run(*hard, "--overwrite")
    # Nobody's own file is replaced.
    into = (*EXPORT[:-2], "in", "-j1", "--overwrite")
    assert "was not written by svls-cli" in run(*into, code=4).stderr
    assert not [p for p in (tmp_path / "out").iterdir() if p.suffix != ".dcm"]


def test_another_series(tmp_path: Path, run: Run) -> None:
    make_store(tmp_path, run)
    other = SeriesGrid((6, 7, 8))
    write_series(tmp_path / "other", other)
    told = run(*EXPORT[:4], "other", *EXPORT[5:], code=4).stderr
    assert "different grids: shape is (6, 7, 9) and (6, 7, 8) in other" in told


def test_several_series_on_one_grid(tmp_path: Path, run: Run) -> None:
    make_store(tmp_path, run)
    for name in ("p1", "p2"):
        write_series(tmp_path / "all" / name, SeriesGrid((6, 7, 9)))
    run(*EXPORT[:4], "all", *EXPORT[5:])
    (tmp_path / "all" / "p1").rename(tmp_path / "all" / "p3")
    told = run(*EXPORT[:4], "all", *EXPORT[5:], code=4).stderr
    assert "2 image series lie on its grid" in told


def test_no_case_goes_onto_another_ones_images(tmp_path: Path, run: Run) -> None:
    make_store(tmp_path, run)
    shutil.copy(tmp_path / "in" / "p1.dcm", tmp_path / "in" / "p2.dcm")
    run("smooth", "--series", "ct", "in", "a.zarr", "-j1")
    told = run(*EXPORT, code=4).stderr
    assert "the grid of the image series in ct is that of p1, p2" in told
    assert not list((tmp_path / "out").iterdir())
    (tmp_path / "all").mkdir()
    (tmp_path / "ct").rename(tmp_path / "all" / "p1")
    told = run(*EXPORT[:4], "all", *EXPORT[5:], code=4).stderr
    assert "failed: p2: the grid" in told
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["p1.dcm"]
    run(*EXPORT[:4], "all", "a.zarr", "p2", "out", "-j1")
    assert (tmp_path / "out" / "p2.dcm").exists()


def test_options_that_do_not_go_together(tmp_path: Path, run: Run) -> None:
    make_store(tmp_path, run)
    told = run("export", "--format", "dicom-seg", "a.zarr", "out", code=2).stderr
    assert "--format dicom-seg and --series go together" in told
    told = run("export", "--series", "ct", "a.zarr", "out", code=2).stderr
    assert "go together" in told
    assert "--bids does not go" in run(*EXPORT, "--bids", code=2).stderr
