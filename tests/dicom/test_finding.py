import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    generate_uid,
)

from svls_cli.cli.label_files import AnyFiles
from svls_cli.dicom.finding import DicomFiles
from svls_cli.errors import InputError
from svls_cli.labels.cases import find_cases
from svls_cli.store.reader import open_store
from tests.helpers.commands import Run
from tests.helpers.dicom import SeriesGrid, drawn, write_rtstruct, write_series
from tests.helpers.label_maps import blobs, write_image
from tests.helpers.segmentations import save, segmentation
from tests.helpers.shapes import square

SHAPE = (6, 7, 9)


def labels(seed: int = 3) -> Any:
    found = blobs(SHAPE, 3, seed=seed)
    found[[0, 5]] = 0
    return found


def write_study(folder: Path, name: str = "seg.dcm", *, seed: int = 3) -> SeriesGrid:
    """A series in ``ct``, and a segmentation at a path beside it."""
    grid = SeriesGrid(SHAPE)
    write_series(folder / "ct", grid)
    (folder / name).parent.mkdir(exist_ok=True)
    save(segmentation(folder / "ct", labels(seed)), folder / name)
    return grid


def cases(*inputs: Path, **more: Any) -> list[str]:
    return [
        case.name for case in find_cases(inputs, files=AnyFiles(None, "fail"), **more)
    ]


def test_names_of_cases(tmp_path: Path) -> None:
    write_study(tmp_path / "all" / "p1", "SEG/1-1")
    write_study(tmp_path / "all" / "p2", "SEG/1-1")
    assert cases(tmp_path / "all") == ["p1", "p2"]
    assert cases(tmp_path / "all" / "p1") == ["SEG"]
    assert cases(tmp_path / "all", pattern="{case}/SEG/*") == ["p1", "p2"]
    assert cases(tmp_path / "all" / "p1" / "SEG" / "1-1") == ["1-1"]
    (tmp_path / "all" / "p1" / "SEG" / "1-1").rename(tmp_path / "all" / "a.1.dcm")
    assert cases(tmp_path / "all") == ["a.1", "p2"]
    assert cases(tmp_path / "all", pattern="{case}.dcm") == ["a.1"]
    with pytest.raises(InputError, match="no DICOM segmentations or contours match"):
        cases(tmp_path / "all", pattern="{case}/ct/*.dcm")
    with pytest.raises(InputError, match="no DICOM segmentations"):
        cases(tmp_path / "all" / "p2" / "ct")


def test_label_maps_beside_dicom(tmp_path: Path) -> None:
    write_study(tmp_path)
    write_image(tmp_path / "b.nii.gz", labels())
    assert cases(tmp_path) == ["b"]
    assert cases(tmp_path, pattern="{case}.dcm") == ["seg"]
    assert cases(tmp_path / "b.nii.gz", tmp_path / "seg.dcm") == ["b", "seg"]


def test_the_series_beside_the_labels_is_the_grid(tmp_path: Path, run: Run) -> None:
    write_study(tmp_path / "study")
    run("smooth", "study", "a.zarr", "-j1")
    case = open_store(tmp_path / "a.zarr")["seg"]
    np.testing.assert_array_equal(case.hard[...], labels())
    assert [file["name"] for file in case.attributes["inputs"]] == ["seg.dcm", "ct"]
    # The file alone has the slices that hold labels.
    told = run("smooth", "study/seg.dcm", "b.zarr", "-j1", "--json").stdout
    note = "its labels reach its first or last slice: --series brings back empty slices"
    assert note in told
    alone = open_store(tmp_path / "b.zarr")["seg"]
    np.testing.assert_array_equal(alone.hard[...], labels()[1:5])
    run("smooth", "study/seg.dcm", "c.zarr", "-j1", "--series", "study/ct")
    with_series = open_store(tmp_path / "c.zarr")["seg"]
    np.testing.assert_array_equal(with_series.patch(), case.patch())


def test_series_of_several_patients(tmp_path: Path, run: Run) -> None:
    for name, seed in (("p1", 1), ("p2", 2)):
        write_study(tmp_path / name, seed=seed)
        (tmp_path / "seg").mkdir(exist_ok=True)
        (tmp_path / name / "seg.dcm").rename(tmp_path / "seg" / f"{name}.dcm")
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "images" / f"x{name}")
    write_study(tmp_path / "other")
    (tmp_path / "other" / "seg.dcm").rename(tmp_path / "seg" / "p3.dcm")
    told = run("smooth", "--series", "images", "seg", "a.zarr", "-j1", code=4).stderr
    assert "p3: the labels were drawn on image series" in told
    store = open_store(tmp_path / "a.zarr")
    for name, seed in (("p1", 1), ("p2", 2)):
        np.testing.assert_array_equal(store[name].hard[...], labels(seed))


def test_series_by_frame_of_reference(tmp_path: Path) -> None:
    write_study(tmp_path)
    file = pydicom.dcmread(tmp_path / "seg.dcm")
    del file.ReferencedSeriesSequence
    file.save_as(tmp_path / "seg.dcm")
    (case,) = find_cases([tmp_path / "seg.dcm"], files=DicomFiles(tmp_path / "ct"))
    assert case.source.geometry().shape == SHAPE


def test_nothing_of_the_patient_is_kept(tmp_path: Path, run: Run) -> None:
    write_study(tmp_path / "study")
    run("smooth", "study", "a.zarr", "-j1")
    texts = [path.read_bytes() for path in (tmp_path / "a.zarr").rglob("*.json")]
    assert texts
    header = pydicom.dcmread(tmp_path / "study" / "seg.dcm")
    secret = [header.SOPInstanceUID, header.StudyInstanceUID, "Doe", "MRN-12345"]
    for text in texts:
        assert not [each for each in secret if each.encode() in text]


def test_raters_and_references(tmp_path: Path, run: Run) -> None:
    for rater, seed in (("a", 1), ("b", 2)):
        for patient in ("p1", "p2"):
            write_study(tmp_path / rater / patient, "SEG/1.dcm", seed=seed)
    run("fuse-raters", "a", "b", "f.zarr", "-j1", "--fusion", "mean")
    case = open_store(tmp_path / "f.zarr")["p1"]
    assert case.raters == ("a", "b")
    np.testing.assert_array_equal(case.label_patch("b"), labels(2))
    run("smooth", "a", "s.zarr", "-j1")
    told = run("evaluate", "s.zarr", "--reference", "a", "-j1").stdout
    assert "1.0000" in told or "1.000" in told


def test_one_broken_file_costs_its_case_only(tmp_path: Path, run: Run) -> None:
    write_study(tmp_path / "study")
    content = (tmp_path / "study" / "seg.dcm").read_bytes()
    (tmp_path / "study" / "bad.dcm").write_bytes(content[:200])
    (tmp_path / "study" / "cut.dcm").write_bytes(content[:-100])
    told = run("smooth", "study", "a.zarr", "-j1", code=4).stderr
    assert "failed: bad: " in told
    assert "failed: cut: " in told
    assert list(open_store(tmp_path / "a.zarr")) == ["seg"]


def test_a_dicomdir_is_no_case(tmp_path: Path, run: Run) -> None:
    write_study(tmp_path / "study")
    listing = pydicom.Dataset()
    listing.file_meta = pydicom.dataset.FileMetaDataset()
    listing.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    listing.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    listing.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    listing.FileSetID, listing.DirectoryRecordSequence = "", []
    listing.save_as(tmp_path / "study" / "DICOMDIR", enforce_file_format=True)
    run("smooth", "study", "a.zarr", "-j1")
    assert list(open_store(tmp_path / "a.zarr")) == ["seg"]
    told = run("smooth", "study/DICOMDIR", "b.zarr", "-j1", code=4).stderr
    assert "DICOMDIR: a DICOMDIR, which names files; give their folder" in told


def test_series_that_is_no_folder(tmp_path: Path, run: Run) -> None:
    write_study(tmp_path / "study")
    for given, wrong in (("none", "no such folder"), ("study/seg.dcm", "not a folder")):
        told = run("smooth", "--series", given, "study/seg.dcm", "a.zarr", code=3)
        assert f"{given}: " in told.stderr
        assert wrong in told.stderr


def test_not_a_dicom_file(tmp_path: Path, run: Run) -> None:
    (tmp_path / "a.dcm").write_text("none")
    told = run("smooth", "a.dcm", "a.zarr", "-j1", code=4).stderr
    assert "a: not a DICOM file" in told


def test_without_the_extra(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path / "study")
    monkeypatch.delitem(sys.modules, "svls_cli.dicom.finding")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    told = run("smooth", "study", "a.zarr", code=2).stderr
    assert "pip install 'svls-cli[dicom]'" in told


def test_a_note_of_many_cases_is_told_once(tmp_path: Path, run: Run) -> None:
    for name in ("p1", "p2", "p3"):
        write_study(tmp_path, f"in/{name}.dcm")
    told = run("smooth", "in", "a.zarr", "-j1").stderr
    note = "its labels reach its first or last slice"
    first, rest = [line for line in told.splitlines() if note in line]
    assert first.startswith(f"note: p1: {note}")
    assert rest.startswith(f"note: 2 more cases: {note}")


def test_an_image_cut_short_fails_alone(tmp_path: Path, run: Run) -> None:
    for name in ("p1", "p2"):
        grid = SeriesGrid()
        write_series(tmp_path / "all" / name / "ct", grid)
        heart = drawn("Heart", grid, {1: [square(3, 9)]})
        write_rtstruct(tmp_path / "all" / name / "rt.dcm", grid, [heart])
    cut = sorted((tmp_path / "all" / "p1" / "ct").iterdir())[0]
    cut.write_bytes(cut.read_bytes()[:600])
    told = run("smooth", "all", "a.zarr", "-j1", code=4).stderr
    assert f"failed: p1: all/p1/ct/{cut.name}: broken or truncated" in told
    assert list(open_store(tmp_path / "a.zarr")) == ["p2"]
    for image in cut.parent.iterdir():  # of no series now
        image.write_bytes(cut.read_bytes())
    run("smooth", "all", "b.zarr", "-j1", code=4)
    store = open_store(tmp_path / "b.zarr")
    assert (list(store), store["p2"].attributes["method"]["name"]) == (
        ["p2"],
        "contours",
    )
