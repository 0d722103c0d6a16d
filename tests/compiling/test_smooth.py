"""`smooth_cases`: resume, replace, refuse; classes found or given."""

import os
import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svls_cli import (
    Batch,
    Method,
    find_cases,
    find_rated_cases,
    fuse_cases,
    open_store,
    parse_classes,
    smooth_cases,
)
from svls_cli.batch.records import Record
from svls_cli.errors import InputError, InvalidParameterError, StoreError
from svls_cli.store.destination import store_to_replace
from tests.helpers.commands import files, tree
from tests.helpers.label_maps import LIVER, blobs, segmentation, write_image
from tests.helpers.stores import make_version_1, smoothed


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    for number in range(3):
        array = blobs((8, 9, 10), 2 + number, seed=number)
        write_image(tmp_path / "labels" / f"case_{number}.nrrd", array)
    return tmp_path / "labels"


Records = dict[str, Record]


def compile_store(labels: Path, name: str = "a.zarr", **options: Any) -> Records:
    found = smooth_cases(find_cases([labels]), labels.parent / name, **options)
    return {record.case: record for record in found}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def statuses(found: Records) -> list[str]:
    return [found[case].status for case in sorted(found)]


def test_classes_are_those_of_all_cases(labels: Path) -> None:
    compile_store(labels)
    store = open_store(labels.parent / "a.zarr")
    assert store.classes.values.tolist() == [0, 1, 2, 3]
    assert all(case.soft.shape[0] == 4 for case in store.values())


def test_second_run_does_nothing(labels: Path) -> None:
    compile_store(labels)
    before = tree(labels.parent / "a.zarr")
    assert statuses(compile_store(labels)) == ["skipped"] * 3
    assert tree(labels.parent / "a.zarr") == before


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("damage", ["emptied", "removed", "a pipe"])
def test_cases_that_lost_a_file_are_made_again(
    damage: str, version: int, labels: Path
) -> None:
    compile_store(labels)
    store = labels.parent / "a.zarr"
    before = tree(store / "case_1")
    if version == 1:
        make_version_1(store)
    shard = files(store / "case_1" / "0" / "c")[0]
    shard.unlink()
    if damage == "emptied":
        shard.touch()
    elif damage == "a pipe":
        os.mkfifo(shard)
    assert statuses(compile_store(labels)) == ["skipped", "done", "skipped"]
    assert tree(store / "case_1") == before


def test_only_changed_and_new_inputs_are_done(labels: Path) -> None:
    compile_store(labels)
    write_image(labels / "case_1.nrrd", blobs((8, 9, 10), 3, seed=9))
    write_image(labels / "case_3.nrrd", blobs((8, 9, 10), 3, seed=8))
    again = compile_store(labels)
    assert statuses(again) == ["skipped", "done", "skipped", "done"]
    fresh = compile_store(labels, "b.zarr")
    assert statuses(fresh) == ["done"] * 4
    assert tree(labels.parent / "a.zarr") == tree(labels.parent / "b.zarr")


def test_new_label_values_in_a_later_case_fail_it(labels: Path) -> None:
    compile_store(labels)
    write_image(labels / "case_9.nrrd", np.full((3, 4, 5), 9, np.uint8))
    found = compile_store(labels)
    assert found["case_9"].status == "failed"
    assert "label values 9 are not among the classes" in (found["case_9"].reason or "")


def test_other_parameters_are_refused_and_named(labels: Path) -> None:
    compile_store(labels)
    before = tree(labels.parent / "a.zarr")
    for options, message in (
        ({"method": Method(sigma=2.0)}, "sigma is 1.0 in the store, 2.0 now"),
        ({"method": Method("ls")}, "method is svls in the store, ls now"),
        ({"dtype": "uint16"}, "dtype is uint8 in the store, uint16 now"),
        ({"ignore_label": 9}, "ignore_label is None in the store, 9 now"),
        ({"classes": parse_classes("0,1,2,3,4")}, "classes is 0=background"),
    ):
        with pytest.raises(StoreError, match=message):
            compile_store(labels, **options)
    assert tree(labels.parent / "a.zarr") == before


def test_overwrite_makes_the_store_anew(labels: Path) -> None:
    compile_store(labels)
    (labels / "case_0.nrrd").unlink()
    options = {"method": Method(sigma=2.0)}
    assert statuses(compile_store(labels, overwrite=True, **options)) == ["done"] * 2
    compile_store(labels, "b.zarr", **options)
    assert tree(labels.parent / "a.zarr") == tree(labels.parent / "b.zarr")
    assert names(labels.parent) == ["a.zarr", "b.zarr", "labels"]


def test_overwrite_with_a_failed_case_keeps_the_old_store(labels: Path) -> None:
    compile_store(labels)
    before = tree(labels.parent / "a.zarr")
    classes = parse_classes("0,1,2")  # the last case has a 3
    for kept in ("a.zarr.old", "a.zarr.old2"):
        found = compile_store(labels, overwrite=True, classes=classes)
        assert statuses(found) == ["done", "done", "failed"]
        assert (labels.parent / kept).exists()
    assert tree(labels.parent / "a.zarr.old") == before
    assert list(open_store(labels.parent / "a.zarr")) == ["case_0", "case_1"]


def test_overwrite_keeps_what_no_run_made(
    labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compile_store(labels)
    store = labels.parent / "a.zarr"
    (store / "case_1" / "loop").symlink_to("loop")
    (store / "self").symlink_to(".")
    compile_store(labels, overwrite=True, dtype="uint16")
    assert names(labels.parent) == ["a.zarr", "labels"]
    (store / "case_0" / "notes.txt").write_text("mine")
    assert statuses(compile_store(labels, overwrite=True)) == ["done"] * 3
    assert names(labels.parent) == ["a.zarr", "a.zarr.old", "labels"]
    assert (labels.parent / "a.zarr.old" / "case_0" / "notes.txt").read_text() == "mine"
    assert "kept as " in caplog.text
    assert "files that no run made: case_0/notes.txt" in caplog.text


def test_overwrite_replaces_stores_of_its_own_kind(labels: Path) -> None:
    compile_store(labels)
    store = labels.parent / "a.zarr"
    before = tree(store)
    for command in ("fuse-raters", "predict"):
        message = f"was made by smooth; {command} --overwrite replaces stores of"
        with pytest.raises(StoreError, match=message):
            store_to_replace(store, command)
    with pytest.raises(StoreError, match="was made by smooth"):
        fuse_cases(find_rated_cases([labels]), store, overwrite=True)
    assert tree(store) == before
    prediction = replace(open_store(store).config, method={"name": "prediction"})
    assert prediction.made_by == "predict"


def test_overwrite_with_an_unreadable_case_keeps_the_old_store(labels: Path) -> None:
    compile_store(labels)
    before = tree(labels.parent / "a.zarr")
    (labels / "case_0.nrrd").write_bytes(b"")
    found = compile_store(labels, overwrite=True, dtype="uint16")
    assert statuses(found) == ["failed", "done", "done"]
    assert tree(labels.parent / "a.zarr.old") == before


def test_overwrite_without_a_single_case_changes_nothing(labels: Path) -> None:
    compile_store(labels)
    before = tree(labels.parent / "a.zarr")
    found = compile_store(labels, overwrite=True, classes=parse_classes("0"))
    assert statuses(found) == ["failed"] * 3
    for path in labels.iterdir():
        path.write_bytes(b"")
    assert statuses(compile_store(labels, overwrite=True)) == ["failed"] * 3
    assert tree(labels.parent / "a.zarr") == before
    assert names(labels.parent) == ["a.zarr", "labels"]


def test_store_without_a_case_keeps_its_parameters(labels: Path) -> None:
    """Somebody may have removed its cases."""
    compile_store(labels)
    for case in names(labels.parent / "a.zarr"):
        shutil.rmtree(labels.parent / "a.zarr" / case, ignore_errors=True)
    for options in ({}, {"dry_run": True}):
        with pytest.raises(StoreError, match="dtype is uint8 in the store"):
            compile_store(labels, dtype="uint16", **options)
    (labels / "case_2.nrrd").unlink()
    compile_store(labels)
    assert len(open_store(labels.parent / "a.zarr").classes) == 4


def test_store_in_the_working_folder_itself(labels: Path) -> None:
    (labels.parent / "empty.zarr").mkdir()
    with chdir(labels.parent / "empty.zarr"):
        found = smooth_cases(find_cases([labels]), ".")
    assert {record.output for record in found} == {"case_0", "case_1", "case_2"}


def test_overwrite_never_touches_what_is_no_store(labels: Path) -> None:
    with pytest.raises(StoreError, match="not a Zarr v3 group"):
        compile_store(labels, "labels", overwrite=True)
    (labels.parent / "file").write_text("precious")
    with pytest.raises(StoreError, match="a file; expected a soft-label store"):
        compile_store(labels, "file", overwrite=True)
    assert (labels.parent / "file").read_text() == "precious"


def test_dry_run_leaves_nothing(labels: Path) -> None:
    planned = compile_store(labels, dry_run=True)
    assert names(labels.parent) == ["labels"]
    done = compile_store(labels)
    for case, record in done.items():
        assert planned[case].bytes == record.bytes
    assert statuses(compile_store(labels, dry_run=True)) == ["skipped"] * 3
    before = tree(labels.parent / "a.zarr")
    again = compile_store(labels, dry_run=True, overwrite=True, dtype="uint16")
    assert statuses(again) == ["done"] * 3
    assert tree(labels.parent / "a.zarr") == before


def test_two_cases_of_one_name_are_refused(labels: Path) -> None:
    cases = find_cases([labels])
    with pytest.raises(InvalidParameterError, match="two cases are named 'case_0'"):
        smooth_cases([*cases, cases[0]], labels.parent / "a.zarr")
    assert names(labels.parent) == ["labels"]


def test_fail_fast_stops(labels: Path) -> None:
    for name in ("case_0.nrrd", "case_1.nrrd", "case_2.nrrd"):
        (labels / name).write_bytes(b"")
    assert len(compile_store(labels, batch=Batch(jobs=1, fail_fast=True))) == 1
    assert statuses(compile_store(labels)) == ["failed"] * 3


def test_fail_fast_leaves_the_store_that_was_to_be_replaced(labels: Path) -> None:
    compile_store(labels)
    before = tree(labels.parent / "a.zarr")
    max(labels.iterdir()).write_bytes(b"")
    classes, batch = parse_classes("0,1,2,3"), Batch(jobs=1, fail_fast=True)
    found = compile_store(labels, classes=classes, overwrite=True, batch=batch)
    assert "done" in statuses(found)
    assert statuses(found)[-1] == "failed"
    assert tree(labels.parent / "a.zarr") == before
    assert names(labels.parent) == ["a.zarr", "labels"]


def test_a_run_that_finishes_no_case_leaves_no_store(labels: Path) -> None:
    found = compile_store(labels, classes=parse_classes("0"))
    assert statuses(found) == ["failed"] * 3
    assert names(labels.parent) == ["labels"]


def test_an_empty_folder_becomes_the_store(labels: Path) -> None:
    (labels.parent / "a.zarr").mkdir()
    assert statuses(compile_store(labels)) == ["done"] * 3


def test_jobs_and_threads_do_not_change_a_byte(labels: Path) -> None:
    write_image(labels / "large.nrrd", blobs((130, 70, 70), 3))
    trees = []
    for number, jobs in enumerate((1, 2, 7)):
        compile_store(labels, f"{number}.zarr", batch=Batch(jobs=jobs))
        trees.append(tree(labels.parent / f"{number}.zarr"))
    assert trees[0] == trees[1] == trees[2]
    options = {"batch": Batch(jobs=3), "classes": parse_classes("0,1,2,3")}
    smoothed(labels / "large.nrrd", labels.parent / "x.zarr", **options)
    alone = tree(labels.parent / "x.zarr" / "large")
    assert alone == tree(labels.parent / "0.zarr" / "large")


def test_two_and_three_dimensions_in_one_store(labels: Path) -> None:
    write_image(labels / "flat.nrrd", blobs((30, 40), 3))
    compile_store(labels)
    store = open_store(labels.parent / "a.zarr")
    assert store["flat"].soft.ndim == 3
    assert store["case_0"].soft.ndim == 4


def test_sigma_per_axis_fails_images_of_other_dimensions(labels: Path) -> None:
    write_image(labels / "flat.nrrd", blobs((30, 40), 3))
    found = compile_store(labels, method=Method(sigma=(1.0, 1.0, 1.0)))
    assert found["flat"].reason == "sigma has 3 values, the image 2 axes"
    assert statuses(found) == ["done", "done", "done", "failed"]


def test_slicer_names_and_colours_become_classes(tmp_path: Path) -> None:
    array = blobs((8, 9, 10), 2)
    segmentation(tmp_path / "labels" / "a.seg.nrrd", array, **LIVER)
    assert statuses(compile_store(tmp_path / "labels")) == ["done"]
    label = open_store(tmp_path / "a.zarr").classes.classes[1]
    assert (label.name, label.color) == ("liver: left lobe", "8000FF")


def other_segment(folder: Path, n: int = 1, **fields: str) -> Path:
    """Two segmentations, whose only segments differ in these fields."""
    array = blobs((8, 9, 10), 2)
    segmentation(folder / "labels" / "a.seg.nrrd", array, **LIVER)
    segmentation(folder / "labels" / "b.seg.nrrd", n * array, **{**LIVER, **fields})
    return folder / "labels"


def test_one_value_under_two_names(tmp_path: Path) -> None:
    labels = other_segment(tmp_path, Segment0_Name="spleen")
    found = compile_store(labels)
    assert statuses(found) == ["done", "failed"]
    named = "label 1 is named 'spleen' here and 'liver: left lobe'"
    assert found["b"].reason == f"{named} in the cases before"
    again = compile_store(labels)
    assert statuses(again) == ["skipped", "failed"]
    assert (again["b"].reason or "").endswith("'liver: left lobe' in the classes")
    plain = compile_store(labels, "b.zarr", classes=parse_classes("0,1"))
    assert statuses(plain) == ["done", "done"], "values alone name nothing"


def test_one_name_for_two_values(tmp_path: Path) -> None:
    found = compile_store(other_segment(tmp_path, 2, Segment0_LabelValue="2"))
    assert statuses(found) == ["done", "failed"]
    expected = "'liver: left lobe' is label 2 here and 1 in the cases before"
    assert found["b"].reason == expected


@pytest.mark.parametrize("name", ["background", "label 2"])
def test_a_given_name_wins_over_a_default_one(name: str, tmp_path: Path) -> None:
    """For example a segment that is named as another value would be."""
    fields = {**LIVER, "Segment0_Name": name}
    segmentation(tmp_path / "labels" / "a.seg.nrrd", blobs((8, 9, 10), 2), **fields)
    write_image(tmp_path / "labels" / "b.nrrd", blobs((8, 9, 10), 3))
    assert statuses(compile_store(tmp_path / "labels")) == ["done", "done"]
    found = [c.name for c in open_store(tmp_path / "a.zarr").classes.classes]
    assert found[1] == name
    expected = {"background": ["label 0", "label 2"], "label 2": ["background"]}
    assert found[::2][: len(expected[name])] == expected[name]
    assert len(set(found)) == 3
    again = compile_store(tmp_path / "labels")
    assert statuses(again) == ["skipped", "skipped"]


@pytest.mark.parametrize("count", [1_100, 65_600])
def test_an_image_among_label_maps_fails_alone(count: int, labels: Path) -> None:
    """Its intensities would be classes of the whole data set."""
    many = np.arange(count, dtype=np.uint32).reshape(1, 20, -1)
    write_image(labels / "many.nrrd", many)
    found = compile_store(labels)
    assert statuses(found) == ["done", "done", "done", "failed"]
    own = f"{count - 4} labels that no other case has: is this a label map?"
    assert (found["many"].reason or "").startswith(own)
    (labels / "alone").mkdir()
    (labels / "many.nrrd").rename(labels / "alone" / "many.nrrd")
    alone = compile_store(labels / "alone")["many"]
    if count > 65_535:
        assert "65600 distinct labels" in (alone.reason or "")
    else:
        assert alone.status == "done"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"classes": [0, 1]},
            "classes must be what parse_classes returns",
        ),
        ({"method": "svls"}, "method must be a Method, such as .*, found 'svls'"),
        ({"batch": 4}, "batch must be a Batch, such as .*, found 4"),
    ],
)
def test_parameters_of_another_type(
    wrong: dict[str, Any], message: str, labels: Path
) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        compile_store(labels, **wrong)
    assert not (labels.parent / "a.zarr").exists()


def test_no_cases(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no cases"):
        smooth_cases([], tmp_path / "a.zarr", classes=parse_classes("0"))


@pytest.mark.parametrize("there", [True, False])
def test_store_behind_a_link(there: bool, labels: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    if there:
        (tmp_path / "disk" / "real.zarr").mkdir()
    (tmp_path / "a.zarr").symlink_to(tmp_path / "disk" / "real.zarr")
    compile_store(labels)
    compile_store(labels, overwrite=True, dtype="uint16")
    assert (tmp_path / "a.zarr").is_symlink()
    assert len(open_store(tmp_path / "disk" / "real.zarr")) == 3
    assert names(tmp_path / "disk") == ["real.zarr"]


def test_ignore_label_from_the_class_file(labels: Path, tmp_path: Path) -> None:
    text = '{"labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}}'
    (tmp_path / "dataset.json").write_text(text)
    spec = parse_classes(str(tmp_path / "dataset.json"))
    assert statuses(compile_store(labels, classes=spec)) == ["done"] * 3
    assert open_store(tmp_path / "a.zarr").config.ignore_label == 3


def test_parameters_that_are_none(labels: Path) -> None:
    with pytest.raises(InvalidParameterError, match="dtype must be one of uint8"):
        compile_store(labels, dtype="int8")
    with pytest.raises(InvalidParameterError, match="ignore_label 1 is also a class"):
        compile_store(labels, classes=parse_classes("0,1"), ignore_label=1)
    for name in ("case_0.nrrd", "case_1.nrrd", "case_2.nrrd"):
        write_image(labels / name, np.full((3, 4, 5), 9, np.uint8))
    with pytest.raises(InputError, match="all voxels carry the ignore label"):
        compile_store(labels, ignore_label=9)
    assert names(labels.parent) == ["labels"]


def test_progress_is_told(labels: Path) -> None:
    told: list[tuple[int, str]] = []

    def progress(items: Any, total: int, doing: str) -> Any:
        told.append((total, doing))
        return items

    batch, classes = Batch(progress=progress), parse_classes("0,1,2,3")
    compile_store(labels, batch=batch)
    assert told == [(3, "scan"), (3, "smooth")]
    compile_store(labels, "b.zarr", batch=batch, classes=classes)
    assert told[2:] == [(3, "smooth")]
