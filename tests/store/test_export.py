import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from svls_cli import Batch, open_store, smooth
from svls_cli.errors import InputError, InvalidParameterError, UnknownCaseError
from svls_cli.files import UNFINISHED, machine
from svls_cli.labels.class_files import parse_classes
from svls_cli.labels.classes import ClassTable
from svls_cli.store.export import ExportOptions, export_cases, file_names
from tests.helpers.commands import dead_pid, tree
from tests.helpers.label_maps import OBLIQUE, blobs, write_image
from tests.helpers.stores import edit_svls, smoothed

GEOMETRY = {
    "spacing": (0.7, 0.8123456789, 2.5),
    "origin": (-12.3456789, 45.678, 1000 / 3),
    "direction": (OBLIQUE @ np.diag([-1, 1, 1])).ravel().tolist(),
}
LABELS = np.array([0, 3, 500], np.uint16)[blobs((12, 13, 14), 3)]


def stored(folder: Path) -> Path:
    smoothed(folder / "labels", folder / "a.zarr")
    return folder / "a.zarr"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_image(tmp_path / "labels" / "one.nrrd", LABELS.astype(np.int32), **GEOMETRY)
    write_image(tmp_path / "labels" / "flat.nii.gz", blobs((20, 30), 2))
    return stored(tmp_path)


def export(store: Path, *cases: str, **options: Any) -> Path:
    out, chosen = store.parent / "out", ExportOptions(**options)
    found = export_cases(store, out, cases=cases, options=chosen, batch=Batch(jobs=1))
    assert all(record.status != "failed" for record in found), list(found)
    return out


def geometry(image: sitk.Image) -> np.ndarray:
    return np.array(image.GetSpacing() + image.GetOrigin() + image.GetDirection())


@pytest.mark.parametrize("suffix", ["nrrd", "mha", "nii.gz", "nii"])
def test_hard_maps_come_back(suffix: str, store: Path) -> None:
    out = export(store, content="hard", format=suffix)
    image = sitk.ReadImage(str(out / f"one.{suffix}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), LABELS)
    given = sitk.ReadImage(str(store.parent / "labels" / "one.nrrd"))
    # NIfTI keeps single precision; the origin here is 333.3333 mm.
    tolerance = 1e-9 if suffix in ("nrrd", "mha") else 2e-5
    np.testing.assert_allclose(geometry(image), geometry(given), atol=tolerance, rtol=0)


def test_png_of_hard_labels(tmp_path: Path) -> None:
    for name, labels in {"few": blobs((20, 30), 2), "volume": LABELS}.items():
        write_image(
            tmp_path / "labels" / f"{name}.nrrd", labels, spacing=[0.5] * labels.ndim
        )
    store = stored(tmp_path)
    out = export(store, "few", content="hard", format="png")
    image = sitk.ReadImage(str(out / "few.png"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), blobs((20, 30), 2))
    again = smoothed(out, tmp_path / "again.zarr")["few"]
    assert again.geometry == open_store(store)["few"].geometry
    options = ExportOptions("hard", "png")
    (record,) = export_cases(store, out, cases=["volume"], options=options)
    assert record.reason == ".png holds images, and this is a volume"
    with pytest.raises(InvalidParameterError, match="png holds hard labels only"):
        ExportOptions("soft", "png")


def test_export_and_smooth_again_gives_the_same_maps(store: Path) -> None:
    out = export(store, content="hard", format="nrrd")
    first, second = open_store(store), smoothed(out, store.parent / "b.zarr")
    for name in ("one", "flat"):
        np.testing.assert_array_equal(first[name].hard[...], second[name].hard[...])
        np.testing.assert_array_equal(first[name].soft[...], second[name].soft[...])
        for field in ("spacing_mm", "origin_mm", "direction"):
            one, other = (getattr(s[name].geometry, field) for s in (first, second))
            np.testing.assert_allclose(one, other, atol=1e-9, rtol=0)


def test_soft_labels_are_one_probability_volume_a_class(store: Path) -> None:
    out = export(store, "one", format="nrrd")
    found = {p.name for p in out.iterdir()}
    table = open_store(store).classes
    assert found == {f"one_{name}.nrrd" for name in file_names(table)}
    soft = smooth(LABELS, classes=table.values.tolist())
    for index, name in enumerate(file_names(table)):
        image = sitk.ReadImage(str(out / f"one_{name}.nrrd"))
        assert image.GetPixelID() == sitk.sitkFloat32
        array = sitk.GetArrayFromImage(image)
        np.testing.assert_allclose(array, soft[index], atol=0.006)


def test_bids_names(store: Path) -> None:
    export(store, "one", content="hard", bids=True)
    out = export(store, "one", bids=True)
    assert {p.name for p in out.iterdir()} == {
        "dseg.tsv",
        "one_dseg.nii.gz",
        "one_label-background_probseg.nii.gz",
        "one_label-label1_probseg.nii.gz",
        "one_label-label3_probseg.nii.gz",
        "one_label-label500_probseg.nii.gz",
    }
    exported = parse_classes(str(out / "dseg.tsv")).table
    assert exported == open_store(store).classes


def test_files_that_exist_are_kept(store: Path) -> None:
    out = export(store, content="hard")
    (out / "one.nii.gz").write_text("mine")
    before = tree(out)
    found = {r.case: r for r in export_cases(store, out, options=ExportOptions("hard"))}
    assert found["one"].status == "failed"
    assert "use --overwrite to replace it" in (found["one"].reason or "")
    assert found["flat"].status == "skipped"
    assert tree(out) == before
    export(store, content="hard", overwrite=True)
    image = sitk.ReadImage(str(out / "one.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), LABELS)
    assert not [p for p in out.iterdir() if p.name.startswith(".")]


def test_export_goes_on_where_it_was_killed(store: Path) -> None:
    out = export(store)
    whole = tree(out)
    (out / "one_background.nii.gz").unlink()
    left = out / f"{UNFINISHED}{machine()}~{dead_pid()}~x"
    left.mkdir()
    found = {r.case: r.status for r in export_cases(store, out)}
    assert found == {"one": "done", "flat": "skipped"}
    assert not left.exists()
    assert {r.reason for r in export_cases(store, out)} == {"already complete"}
    assert tree(out) == whole


def test_files_that_the_store_was_made_from_are_kept(store: Path) -> None:
    labels = store.parent / "labels"
    before = tree(labels)
    for overwrite in (False, True):
        options = ExportOptions("hard", "nrrd", overwrite=overwrite)
        found = {r.case: r for r in export_cases(store, labels, options=options)}
        assert found["one"].status == "failed"
    assert "that the store was made from" in (found["one"].reason or "")
    assert {name: tree(labels)[name] for name in before} == before


def test_damaged_cases_are_named(store: Path) -> None:
    edit_svls(store / "one", lambda svls: svls.update(state="writing"))
    found = {r.case: r for r in export_cases(store, store.parent / "out")}
    assert found["flat"].status == "done"
    assert "does not match its own sha256" in (found["one"].reason or "")


@pytest.mark.parametrize("overwrite", [False, True])
def test_folder_where_a_file_is_to_be_written(overwrite: bool, store: Path) -> None:
    out, options = store.parent / "out", ExportOptions("hard", overwrite=overwrite)
    (out / "one.nii.gz").mkdir(parents=True)
    found = {r.case: r for r in export_cases(store, out, options=options)}
    assert found["flat"].status == "done"
    reason = f"{out / 'one.nii.gz'} is a folder, where a file is to be written"
    assert found["one"].reason == reason


def test_case_that_is_not_there(store: Path) -> None:
    with pytest.raises(UnknownCaseError, match="no case 'two'"):
        export(store, "two")
    assert not (store.parent / "out").exists()


def test_names_are_told_apart() -> None:
    names = {0: "a b", 1: "a-b", 2: "Optic_nerve (left)", 3: "--"}
    table = ClassTable.from_values(names, names=names)
    assert file_names(table) == ["aB0", "aB1", "OpticNerveLeft", "label3"]
    names = {0: "bg", 1: "lung l", 2: "lung_l", 3: "lungL1"}
    table = ClassTable.from_values(names, names=names)
    assert len(set(file_names(table))) == 4


def test_damaged_case_is_not_exported(store: Path) -> None:
    for array in ("labels/hard/0", "0"):
        shutil.rmtree(store / "one" / array / "c")
        options, out = ExportOptions("hard"), store.parent / array[0]
        found = {r.case: r for r in export_cases(store, out, options=options)}
        assert found["one"].status == "failed"
        assert f"the stored case is damaged: {array}" in (found["one"].reason or "")


def test_nothing_is_written_into_the_store_or_through_links(store: Path) -> None:
    with pytest.raises(InputError, match="inside the store"):
        export_cases(store, store / "out")
    out = store.parent / "out"
    out.mkdir()
    (store.parent / "precious").write_text("mine")
    (out / "dseg.tsv").symlink_to(store.parent / "precious")
    export(store, "one", content="hard", bids=True, overwrite=True)
    assert (store.parent / "precious").read_text() == "mine"
    assert "label 3" in (out / "dseg.tsv").read_text()


def test_bids_names_are_not_doubled(tmp_path: Path) -> None:
    write_image(tmp_path / "labels" / "sub-01_dseg.nii.gz", LABELS)
    store = stored(tmp_path)
    out = export(store, content="hard", bids=True)
    assert sorted(p.name for p in out.iterdir()) == ["dseg.tsv", "sub-01_dseg.nii.gz"]


def test_nifti_that_would_bend_the_geometry(tmp_path: Path) -> None:
    header = (
        "NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\n"
        "sizes: 14 13 12\nspace directions: (1,0,0) (0.2,1,0) (0,0,1)\n"
        "kinds: domain domain domain\nencoding: raw\nspace origin: (0,0,0)\n\n"
    )
    (tmp_path / "labels").mkdir()
    content = header.encode() + blobs((12, 13, 14), 3).tobytes()
    (tmp_path / "labels" / "sheared.nrrd").write_bytes(content)
    store = stored(tmp_path)
    options = ExportOptions("hard")
    (record,) = export_cases(store, tmp_path / "x", options=options)
    assert "cannot hold this geometry" in (record.reason or "")
    assert not list((tmp_path / "x").iterdir())
    export(store, content="hard", format="nrrd")


@pytest.mark.parametrize("options", [{"content": "firm"}, {"format": "gif"}])
def test_options_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="must be one of"):
        ExportOptions(**options)
