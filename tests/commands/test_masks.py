"""One mask file per class, in the commands that take label maps."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import convolve

from svls_cli import svls_kernel
from svls_cli.store.reader import open_store
from tests.helpers.commands import SAMPLE, Run, records
from tests.helpers.label_maps import LabelMap, blobs, read, write_image

SHAPE = (6, 12, 10)
RATERS = ("ann", "bob", "eve")
CLASSES = "value,name\n0,background\n4,lung\n9,heart\n"
VALUES = {"heart": 9, "lung": 4}
# Of a folder with all raters' masks.
ALL = "{case}/{rater}_{class}.nrrd"


def drawn(case: int, rater: str) -> LabelMap:
    labels = blobs(SHAPE, 3, seed=case)
    return np.roll(labels, RATERS.index(rater), axis=1)


def write_masks(
    folder: Path, name: str, masks: dict[str, npt.NDArray[np.bool_]], mark: int = 1
) -> None:
    for label, inside in masks.items():
        path = folder / name.replace("{class}", label)
        write_image(path, mark * inside.astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Label maps in `maps/RATER`, and in `masks` the same as masks."""
    (tmp_path / "classes.csv").write_text(CLASSES)
    for case in range(3):
        for rater in RATERS:
            labels = drawn(case, rater)
            write_image(
                tmp_path / "maps" / rater / f"p{case}.nrrd",
                np.array([0, 9, 4], np.uint8)[labels],
            )
            masks = {"heart": labels == 1, "lung": labels == 2}
            name = f"p{case}/{rater}_{{class}}.nrrd"
            write_masks(tmp_path / "masks", name, masks, 1 if case else 255)
    return tmp_path


def check_equal_stores(one: Path, other: Path, raters: Sequence[str] = ()) -> None:
    first, second = open_store(one), open_store(other)
    assert first.classes == second.classes
    assert len(first) == 3
    assert list(first) == list(second)
    for name in first:
        np.testing.assert_array_equal(first[name].soft[...], second[name].soft[...])
        for labels in ("hard", *raters):
            np.testing.assert_array_equal(
                first[name].label_patch(labels), second[name].label_patch(labels)
            )


def test_smooth(folder: Path, installed: Run) -> None:
    classes = ("--classes", "classes.csv")
    installed("smooth", *classes, "maps/ann", "maps.zarr")
    pattern = ("--pattern", "{case}/ann_{class}.nrrd")
    result = installed("smooth", *classes, *pattern, "masks", "masks.zarr")
    assert result.stderr == ""
    check_equal_stores(folder / "maps.zarr", folder / "masks.zarr")


def test_classes_by_name(folder: Path, run: Run) -> None:
    run("smooth", "--pattern", "{case}/ann_{class}.nrrd", "masks", "a.zarr")
    store = open_store(folder / "a.zarr")
    found = [(each.value, each.name) for each in store.classes.classes]
    assert found == [(0, "background"), (1, "heart"), (2, "lung")]
    np.testing.assert_array_equal(store["p1"].label_patch("hard"), drawn(1, "ann"))
    (one, two) = store["p1"].attributes["inputs"]
    assert [each["class"] for each in (one, two)] == ["heart", "lung"]


def test_fuse_raters(folder: Path, installed: Run) -> None:
    classes = ("--classes", "classes.csv")
    maps = [f"maps/{rater}" for rater in RATERS]
    installed("fuse-raters", *classes, *maps, "maps.zarr")
    result = installed("fuse-raters", *classes, "--pattern", ALL, "masks", "masks.zarr")
    assert result.stderr == ""
    check_equal_stores(folder / "maps.zarr", folder / "masks.zarr", RATERS)


def test_sample_masks(folder: Path, run: Run) -> None:
    """They are the raters' label maps, but for the lesion's part of the organ."""
    classes = ("fuse-raters", "--classes", SAMPLE / "classes.csv")
    maps = ("--pattern", "{rater}/{case}.nii.gz", SAMPLE / "raters")
    run(*classes, *maps, "maps.zarr")
    masks = ("--pattern", "{case}/{rater}/{class}.nii.gz", SAMPLE / "masks")
    result = run(*classes, "--overlap", "last", *masks, "masks.zarr")
    assert "organ and lesion (" in result.stderr
    check_equal_stores(folder / "maps.zarr", folder / "masks.zarr", "abc")


def test_consensus(folder: Path, installed: Run) -> None:
    installed("fuse-raters", *(f"maps/{rater}" for rater in RATERS), "maps-fused")
    masks = ("fuse-raters", "--pattern", ALL, "masks")
    installed(*masks, "--report", "agreement.json", "by-name")
    installed(*masks, "--classes", "classes.csv", "by-file")
    for case in ("p0", "p1", "p2"):
        expected = read(folder / "maps-fused" / f"{case}.nrrd")
        np.testing.assert_array_equal(
            read(folder / "by-file" / f"{case}.nrrd"), expected
        )
        named = np.select([expected == 9, expected == 4], [1, 2])
        np.testing.assert_array_equal(read(folder / "by-name" / f"{case}.nrrd"), named)
    beside = json.loads((folder / "by-name" / "p0.json").read_text())
    names = {each["value"]: each["name"] for each in beside["classes"]}
    assert names == {0: "background", 1: "heart", 2: "lung"}
    report = json.loads((folder / "agreement.json").read_text())
    assert [each["name"] for each in report["classes"]] == ["heart", "lung"]
    refused = installed(*masks, "by-file", code=3)
    assert "was made with other parameters: classes is" in refused.stderr


def test_tune(folder: Path, installed: Run) -> None:
    options = ("--json", "--sigmas", "1", "--strengths", ".5", "--classes")
    maps = [f"maps/{rater}" for rater in RATERS]
    plain = json.loads(installed("tune", *options, "classes.csv", *maps).stdout)
    pattern = ("--pattern", ALL, "--overlap", "first")
    masks = json.loads(
        installed("tune", *options, "classes.csv", *pattern, "masks").stdout
    )
    command = masks["one_map"]["recommendation"].pop("command")
    for target in ("one_map", "fused"):
        for found in (plain, masks):
            found[target]["recommendation"].pop("command", None)
        assert plain[target] == masks[target]
    assert "--pattern '{case}/RATER_{class}.nrrd' --overlap first" in command
    arguments = shlex.split(command.replace("RATER", "bob"))[1:-2]
    installed(*arguments, "masks", "bob.zarr")
    stored = open_store(folder / "bob.zarr")["p2"].label_patch("hard")
    assert set(np.unique(stored)) == {0, 4, 9}


def test_evaluate(folder: Path, run: Run) -> None:
    classes = ("--classes", "classes.csv")
    run("smooth", *classes, "--method", "onehot", "maps/ann", "ann.zarr")
    evaluate = ("evaluate", "--json", "ann.zarr", "--reference", "masks", "--pattern")
    (folder / "masks" / "p1" / "ann_heart.nrrd").rename(
        folder / "masks" / "p1" / "ann_hart.nrrd"
    )
    result = run(*evaluate, "{case}/ann_{class}.nrrd")
    found = records(result.stdout)
    assert [found[case]["dice"] for case in ("p0", "p2")] == [1, 1]
    told = "masks that are not among the classes: hart; no mask, which counts as empty:"
    assert found["p1"]["reason"] == f"{told} heart"
    assert f"note: p1: {told} heart" in result.stderr


def overlapping(folder: Path) -> dict[str, npt.NDArray[np.bool_]]:
    """One case of a heart, a valve in it, and a lung that takes a row of both."""
    heart = np.zeros(SHAPE, bool)
    heart[1:5, 2:8, 2:8] = True
    valve, lung = np.zeros_like(heart), np.zeros_like(heart)
    valve[2:4, 3:7, 3:7] = True
    lung[1:5, 7:10, 2:8] = True
    masks = {"heart": heart, "valve": valve, "lung": lung}
    for rater in ("ann", "bob"):
        write_masks(folder / "odd", f"p0/{rater}/{{class}}.nrrd", masks)
    return masks


RATED = "{case}/{rater}/{class}.nrrd"
FIRST = ("--pattern", "{case}/ann/{class}.nrrd")
COUNTS = "masks overlap: heart and valve (32 voxels), heart and lung (24 voxels)"


def test_overlaps_fail_by_name(tmp_path: Path, run: Run) -> None:
    overlapping(tmp_path)
    result = run("smooth", *FIRST, "odd", "a.zarr", code=4)
    assert f"failed: p0: {COUNTS}; --overlap says what" in result.stderr
    for out in ("a.zarr", "fused"):
        result = run("fuse-raters", "--pattern", RATED, "odd", out, code=4)
        (line, *_) = result.stderr.splitlines()
        assert line.startswith(f"failed: p0: rater ann: odd/p0/ann: {COUNTS}; --over")
        assert line.endswith("[odd/p0/ann/heart.nrrd and 5 more]")
    record = run("smooth", "--json", *FIRST, "odd", "a.zarr", code=4).stdout
    assert records(record)["p0"]["inputs"] == [
        f"odd/p0/ann/{name}.nrrd" for name in ("heart", "lung", "valve")
    ]


def test_overlaps_go_to_the_first_class_or_the_last(tmp_path: Path, run: Run) -> None:
    masks = overlapping(tmp_path)
    first = ("--overlap", "first")
    result = run("smooth", *first, *FIRST, "odd", "a.zarr")
    note = f"{COUNTS}, which the first of them has; nothing is left of valve, unless "
    note += "--classes gives it a lower label value"
    assert f"note: p0: {note}\n" in result.stderr
    result = run("fuse-raters", *first, "--pattern", RATED, "odd", "b.zarr")
    assert f"note: p0: rater ann: {note}; rater bob: {note}\n" in result.stderr
    names = ("valve", "heart", "lung")
    rows = [f"{value},{name}\n" for value, name in enumerate(["background", *names])]
    (tmp_path / "classes.csv").write_text("".join(["value,name\n", *rows]))
    order, values = [masks[name] for name in names], [1, 2, 3]
    for overlap, step in (("first", 1), ("last", -1)):
        given = ("--overlap", overlap, *FIRST, "--classes", "classes.csv")
        result = run("smooth", *given, "odd", f"{overlap}.zarr")
        assert "valve and heart (32 voxels), heart and lung (24" in result.stderr
        hard = open_store(tmp_path / f"{overlap}.zarr")["p0"].label_patch("hard")
        expected = np.select(order[::step], values[::step])
        np.testing.assert_array_equal(hard, expected)
        lost = "the last of them has; nothing is left of valve, unless --classes gives "
        lost += "it a higher label value"
        assert (lost in result.stderr) == (overlap == "last")


def test_overlaps_are_shared(tmp_path: Path, run: Run) -> None:
    """As published SVLS smooths them, unless another method is named."""
    masks = overlapping(tmp_path)
    share = ("--overlap", "share", *FIRST, "--dtype", "float32")
    result = run("smooth", *share, "--method", "onehot", "odd", "a.zarr")
    assert f"note: p0: {COUNTS}, which they share\n" in result.stderr
    soft = np.asarray(open_store(tmp_path / "a.zarr")["p0"].soft[...])
    drawn = np.stack([masks[name] for name in ("heart", "lung", "valve")])
    count = drawn.sum(axis=0)
    np.testing.assert_allclose(soft[1:], drawn / np.maximum(count, 1), atol=1e-6)
    np.testing.assert_array_equal(soft[0], count == 0)
    run("smooth", *share, "odd", "b.zarr")
    store = open_store(tmp_path / "b.zarr")
    assert store.config.method["name"] == "svls"
    smoothed = np.asarray(store["p0"].soft[...])
    kernel = svls_kernel((1, 1, 1), size=(3, 3, 3))
    for before, after in zip(soft, smoothed, strict=True):
        expected = convolve(before, kernel, mode="nearest")
        np.testing.assert_allclose(after, expected, atol=1e-6)


def test_raters_whose_masks_share_voxels(tmp_path: Path, run: Run) -> None:
    """The mean of one who drew a valve in a heart, and one who drew a heart alone."""
    masks = overlapping(tmp_path)
    for name in ("valve", "lung"):
        (tmp_path / "odd" / "p0" / "bob" / f"{name}.nrrd").unlink()
    share = ("--overlap", "share", "--method", "onehot", "--dtype", "float32")
    run("fuse-raters", *share, "--pattern", RATED, "odd", "a.zarr")
    case = open_store(tmp_path / "a.zarr")["p0"]
    ann = np.stack([masks[name] for name in ("heart", "lung", "valve")]) * 1.0
    ann /= np.maximum(ann.sum(axis=0), 1)
    ann[0] += masks["heart"]
    np.testing.assert_allclose(case.soft[...][1:], ann / 2, atol=1e-6)
    np.testing.assert_array_equal(case.label_patch("bob"), masks["heart"])


def test_masks_that_are_not_there(folder: Path, run: Run) -> None:
    (folder / "masks" / "p1" / "bob_lung.nrrd").unlink()
    result = run("fuse-raters", "--pattern", ALL, "masks", "a.zarr")
    told = "rater bob: no mask, which counts as empty: lung"
    assert f"note: p1: {told}\n" in result.stderr
    stored = open_store(folder / "a.zarr")["p1"].label_patch("bob")
    np.testing.assert_array_equal(stored, drawn(1, "bob") == 1)


def test_empty_masks(folder: Path, run: Run) -> None:
    for path in (folder / "masks" / "p1").glob("ann_*"):
        write_image(path, np.zeros(SHAPE, np.uint8))
    run("smooth", "--pattern", "{case}/ann_{class}.nrrd", "masks", "a.zarr")
    assert not open_store(folder / "a.zarr")["p1"].label_patch("hard").any()


@pytest.mark.parametrize(
    ("labels", "origin", "reason"),
    [
        (np.zeros(SHAPE), (0, 0, 5), "on different grids: origin_mm is"),
        (np.zeros((3, 4, 5)), (0, 0, 0), "on different grids: shape is"),
        (np.arange(720).reshape(SHAPE) % 3, None, "not a mask: it has the values 1, 2"),
        (np.full(SHAPE, 0.5), None, "0.5 at voxel (z, y, x) = (0, 0, 0) is not a lab"),
    ],
)
def test_files_that_are_no_masks(
    labels: LabelMap,
    origin: tuple[int, ...] | None,
    reason: str,
    folder: Path,
    run: Run,
) -> None:
    kind = np.float32 if labels.max() < 1 else np.uint8
    path = folder / "masks" / "p1" / "bob_lung.nrrd"
    write_image(path, labels.astype(kind), origin=origin)
    for at, classes in enumerate([[], ["--classes", "classes.csv"]]):
        given = ["--pattern", ALL, *classes, "masks", f"{at}.zarr"]
        result = run("fuse-raters", *given, code=4)
        (line,) = result.stderr.splitlines()
        assert line.startswith("failed: p1: rater bob: masks/p1: ")
        assert "bob_lung.nrrd" in line
        assert reason in line
        assert sorted(open_store(folder / f"{at}.zarr")) == ["p0", "p2"]


def test_a_mask_of_the_background_is_no_class(tmp_path: Path, run: Run) -> None:
    heart = blobs(SHAPE, 2) > 0
    masks = {"heart": heart, "background": ~heart}
    write_masks(tmp_path / "l", "p0/{class}.nrrd", masks)
    run("smooth", "--pattern", "{case}/{class}.nrrd", "l", "a.zarr")
    store = open_store(tmp_path / "a.zarr")
    assert [each.name for each in store.classes.classes] == ["background", "heart"]
    np.testing.assert_array_equal(store["p0"].label_patch("hard"), heart)


def test_hostile_names(tmp_path: Path, run: Run) -> None:
    names = ["..", "a:b", "x\x1b[2Jy", "Gef\u00e4\u00df links", "CON"]
    masks = {name: np.zeros(SHAPE, bool) for name in names}
    for at, mask in enumerate(masks.values()):
        mask[at] = True
    write_masks(tmp_path / "l", "p0/m-{class}.nrrd", masks)
    run("smooth", "--pattern", "{case}/m-{class}.nrrd", "l", "a.zarr")
    store = open_store(tmp_path / "a.zarr")
    found = [each.name for each in store.classes.classes[1:]]
    assert found == sorted(["_", "a_b", "x_[2Jy", "Gef\u00e4\u00df links", "_CON"])
    run("export", "a.zarr", "out")
    assert all(path.parent == tmp_path / "out" for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("smooth --overlap first masks a.zarr", "--overlap is for one mask per class"),
        ("smooth --overlap share --pattern {case}/*.nrrd masks a.zarr", "--overlap is"),
        ("fuse-raters --overlap first maps/ann maps/bob fused", "--overlap is for"),
        ("tune --overlap first maps/ann maps/bob", "--overlap is for one mask"),
        ("evaluate a.zarr --reference maps/ann --overlap first", "--overlap is for"),
        ("compare --images i --out o --overlap first maps/ann", "--overlap is for"),
        (
            "smooth --pattern {case}_{class}.nrrd masks/p0/ann_lung.nrrd a.zarr",
            "masks/p0/ann_lung.nrrd: a file; masks are found in folders",
        ),
        ("smooth --pattern {class}.nrrd masks a.zarr", "needs {case}, too"),
    ],
)
def test_usage(arguments: str, message: str, folder: Path, run: Run) -> None:
    result = run(*arguments.split(), code=2)
    assert message in result.stderr
    assert sorted(p.name for p in folder.iterdir()) == ["classes.csv", "maps", "masks"]
