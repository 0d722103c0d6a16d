"""Reports of stores: what is in them, resuming, and folders that are not theirs."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svls_cli import (
    Batch,
    Store,
    evaluate_cases,
    find_rated_cases,
    fuse_cases,
    measure_cases,
    open_store,
    parse_classes,
)
from svls_cli.batch.workers import ThisProcess
from svls_cli.errors import InputError
from svls_cli.report.case_page import MOST_BYTES
from svls_cli.report.folder import ReportFolder
from svls_cli.report.report import report_cases, report_folder
from tests.helpers.commands import tree
from tests.helpers.label_maps import blobs, write_image
from tests.helpers.shapes import supersampled
from tests.helpers.stores import edit_svls, reseal, smoothed
from tests.report.test_contours import polygons

HOSTILE = "<script>alert(1)<|script> \"q\" 'a' &amp; \u202egnp"


class Page(HTMLParser):
    """What a browser finds in a page: tags, attributes and text."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        return [v for _, found in self.tags if (v := found.get(name)) is not None]


def report(store: Store | Path, *arguments: Any, **options: Any) -> dict[str, str]:
    """The status of each case."""
    path = store.path if isinstance(store, Store) else store
    batch = Batch(jobs=ThisProcess())
    found = report_cases(path, *arguments, batch=batch, **options)
    assert all(r.status != "failed" for r in found), [r.reason for r in found]
    return {record.case: record.status for record in found}


def pages(folder: Path) -> dict[str, Page]:
    found = sorted(folder.rglob("*.html"))
    return {str(path.relative_to(folder)): Page(path.read_bytes()) for path in found}


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two cases by two raters, one of whom left one out, with images."""
    folder = tmp_path_factory.mktemp("fused")
    for case in ("one", "two"):
        labels = np.pad(blobs((6, 20, 24), 3), ((1, 1), (8, 8), (8, 8)))
        write_image(folder / "a" / f"{case}.nii.gz", labels, spacing=(1, 1.5, 3))
        image = np.arange(labels.size, dtype=np.int16).reshape(labels.shape)
        write_image(folder / "images" / f"{case}.nii.gz", image, spacing=(1, 1.5, 3))
    moved = np.roll(labels, 2, axis=2)
    write_image(folder / "b" / "two.nii.gz", moved, spacing=(1, 1.5, 3))
    cases = find_rated_cases([folder / "a", folder / "b"])
    for record in fuse_cases(cases, folder / "fused.zarr", batch=Batch(jobs=1)):
        assert record.status == "done"
    return folder


@pytest.fixture(scope="module")
def reported(fused: Path) -> Path:
    """A report with everything: raters, images, a prediction."""
    out = fused / "report"
    store = fused / "fused.zarr"
    assert set(report(store, store, images=[fused / "images"], out=out).values()) == {
        "done"
    }
    return out


def test_pages_are_small_and_need_nothing_else(reported: Path) -> None:
    found = pages(reported)
    assert sorted(found) == ["cases/one.html", "cases/two.html", "index.html"]
    for name, page in found.items():
        assert (reported / name).stat().st_size <= MOST_BYTES
        inside = [*page.values("src"), *page.values("href")]
        if name != "index.html":
            assert not [tag for tag, _ in page.tags if tag == "script"]
            inside.remove("../index.html")
            assert all(v.startswith(("data:image/", "#")) for v in inside), inside
        assert all("//" not in v for v in inside if not v.startswith("data:"))
        content = (reported / name).read_text("utf-8")
        assert not re.search(r"https?:|@import|url\((?!#)", content)


def test_references_inside_a_page_have_one_target_each(reported: Path) -> None:
    for page in pages(reported).values():
        ids = page.values("id")
        assert len(set(ids)) == len(ids)
        targets = [v[1:] for v in page.values("href") if v.startswith("#")]
        targets += page.values("aria-labelledby")
        assert set(targets) <= set(ids)


def test_each_layer_has_a_labelled_switch(reported: Path) -> None:
    page = pages(reported)["cases/two.html"]
    style = (reported / "cases" / "two.html").read_text("utf-8").split("</style>")[0]
    switches = [v[2:] for v in page.values("id") if v.startswith("t-")]
    assert switches == [
        *("r0", "r1", "hard", "pred", "l10", "l50", "l90"),
        *("missed", "added", "other", "numbers", "grey"),
    ]
    used = {name for classes in page.values("class") for name in classes.split()}
    for key in switches:
        assert (
            f"body:has(#t-{key}:not(:checked)) .tiles {{ --{key}: hidden; }}" in style
        )
        assert f".{key} {{ visibility: var(--{key}, visible); }}" in style
        assert key in used


def test_links_lead_to_files(reported: Path) -> None:
    index = pages(reported)["index.html"]
    links = [*index.values("href"), *index.values("src")]
    assert len(links) == 4
    assert all((reported / link).is_file() for link in links)


def test_cases_that_were_trained_on_are_told(fused: Path, tmp_path: Path) -> None:
    store, seen = fused / "fused.zarr", tmp_path / "seen.zarr"
    shutil.copytree(store, seen)
    edit_svls(seen / "two", lambda svls: svls.update(trained_on=True))
    reseal(seen / "two")
    report(store, seen, out=tmp_path / "report")
    found = pages(tmp_path / "report")
    told = {n for n, p in found.items() if "the network was trained on it" in p.text}
    assert told == {"cases/two.html", "index.html"}


def test_page_says_what_is_known(reported: Path) -> None:
    text = pages(reported)["cases/two.html"].text
    assert "8 × 36 × 40 voxels" in text
    assert "3 × 1.5 × 1 mm" in text
    assert "Entropy, bit: 01 or more" in text
    assert "svls, sigma 1.0, size 3, strength 0.5" in text
    for name in ("label 1", "label 2", "a", "b", "consensus", "prediction"):
        assert name in text
    assert "Surface Dice: at 1 mm." in text
    assert "bit where foreground is possible" in text
    assert "no label map of b" in pages(reported)["cases/one.html"].text


def test_numbers_are_those_of_evaluate_and_of_the_raters(
    fused: Path, reported: Path
) -> None:
    store = fused / "fused.zarr"
    scores = evaluate_cases(store, store, batch=Batch(jobs=ThisProcess()))
    agreement, _ = measure_cases(
        find_rated_cases([fused / "a", fused / "b"]),
        classes=open_store(store).classes,
        batch=Batch(jobs=ThisProcess()),
    )
    assert agreement is not None
    folder = ReportFolder(reported)
    [case] = [each for each in agreement.cases if each.case == "two"]
    found = folder.summary("two")
    assert found.dice == pytest.approx(case.class_mean("dice"))
    assert found.surface_dice == pytest.approx(case.class_mean("surface_dice"))
    assert found.disputed_share == pytest.approx(case.disputed_share)
    assert folder.summary("one").dice is None
    for each in scores.cases:
        assert each.result is not None
        own = folder.summary(each.record.case).scores
        assert own is not None
        for name in ("dice", "surface_dice", "hd95_mm"):
            assert own[name] == pytest.approx(each.result.class_mean(name))
        assert own["ece"] == pytest.approx(each.result.regions["band"].ece)
        assert own["nll"] == pytest.approx(each.result.regions["band"].nll)
    hard = open_store(store)["two"].label_patch("hard")
    volumes = {str(v): np.count_nonzero(hard == v) * 4.5e-3 for v in (1, 2)}
    assert found.sizes == pytest.approx(volumes)


def test_contours_lie_where_the_labels_are(fused: Path, reported: Path) -> None:
    """The consensus's lines on a page, filled, are its labels, cropped."""
    case = open_store(fused / "fused.zarr")["two"]
    page = (reported / "cases" / "two.html").read_text("utf-8")
    for part in page.split('<section class="slice">')[1:]:
        number = int(re.search(r"<h3>Slice (\d+) ", part)[1]) - 1
        width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', part).groups())
        hard = case.label_patch("hard")[number]
        layer = re.search(r'<g class="hard">(.*?)</g>', part)[1]
        for index, d in re.findall(r'<path class="c(\d)" d="([^"]*)"', layer):
            shape = (height // 10, width // 10)
            drawn = supersampled(polygons(d), shape, 1) == 1
            labels = hard == int(index)
            rows, columns = np.nonzero(drawn)
            # Cropped: the same shape at another place, in a picture large enough.
            inside = np.argwhere(labels) - np.argwhere(labels).min(axis=0)
            np.testing.assert_array_equal(
                inside, np.argwhere(drawn) - [rows.min(), columns.min()]
            )
            assert min(rows.min(), columns.min()) >= 1


def test_index_lists_the_worst_first(reported: Path) -> None:
    names = re.findall(
        r"cases/(\w+)\.html", (reported / "index.html").read_text("utf-8")
    )
    assert names == ["two", "one"]


def test_pages_that_are_there_are_left(fused: Path, tmp_path: Path) -> None:
    store, out = fused / "fused.zarr", tmp_path / "out"
    assert set(report(store, out=out).values()) == {"done"}
    before = tree(out)
    assert set(report(store, out=out).values()) == {"skipped"}
    assert tree(out) == before
    (out / "cases" / "one.html").write_text("half")
    assert report(store, out=out) == {"one": "done", "two": "skipped"}
    assert tree(out) == before
    assert set(report(store, store, out=out).values()) == {"done"}


def test_folder_with_other_things_is_refused(fused: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="something else than a report"):
        report(fused / "fused.zarr", out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(InputError, match="inside the store"):
        report(fused / "fused.zarr", out=fused / "fused.zarr" / "report")


def test_hostile_names_are_text(tmp_path: Path) -> None:
    name = HOSTILE.replace("|", "∕")
    labels = tmp_path / "labels"
    write_image(labels / "case.nii.gz", blobs((4, 12, 12), 2))
    store = smoothed(labels, tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "case").rename(tmp_path / "a.zarr" / name)
    _rename(tmp_path / "a.zarr" / name, name)
    assert report(store) == {name: "done"}
    out = report_folder(store.path)
    for page in pages(out).values():
        assert "alert" not in "".join(tag for tag, _ in page.tags)
        assert not [
            tag for tag, found in page.tags if "q" in found or "onerror" in found
        ]
        assert name in page.text
    scripts = [t for t, _ in pages(out)["index.html"].tags if t == "script"]
    assert len(scripts) == 1


def _rename(case: Path, name: str) -> None:
    edit_svls(case, lambda svls: svls.update(case=name))
    reseal(case)


def test_cases_without_foreground_and_flat_ones(tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    write_image(labels / "empty.nii.gz", np.zeros((4, 8, 8), np.uint8))
    write_image(labels / "flat.nii.gz", blobs((30, 20), 3))
    store = smoothed(labels, tmp_path / "a.zarr")
    assert set(report(store, out=tmp_path / "out").values()) == {"done"}
    found = pages(tmp_path / "out")
    empty = found["cases/empty.html"].text
    assert "No class other than background" in empty
    assert "1 of 4 axial slices." in empty
    assert "Mean entropy" not in empty
    assert "Ignored" not in empty
    assert "mm²" in found["cases/flat.html"].text


def test_small_classes_do_not_look_empty(tmp_path: Path) -> None:
    large, small = np.ones((10, 50, 50), np.uint8), np.zeros((4, 8, 8), np.uint8)
    small[2, 4, 4] = 1
    for name, labels in (("large", large), ("small", small)):
        write_image(tmp_path / "labels" / f"{name}.nii.gz", labels)
    store = smoothed(tmp_path / "labels", tmp_path / "a.zarr")
    report(store, out=tmp_path / "out")
    rows = (tmp_path / "out" / "index.html").read_text("utf-8").split("<tr")
    [row] = [r for r in rows if "small.html" in r]
    assert "<td>0.001" in row


def test_ignored_voxels_are_told(tmp_path: Path) -> None:
    labels = blobs((4, 12, 12), 2)
    labels[:, :3] = 9
    write_image(tmp_path / "labels" / "a.nii.gz", labels)
    store = smoothed(tmp_path / "labels", tmp_path / "a.zarr", ignore_label=9)
    report(store, out=tmp_path / "out")
    assert "25.0 % of all voxels" in pages(tmp_path / "out")["cases/a.html"].text


def test_cases_that_a_store_no_longer_has_leave_no_page(tmp_path: Path) -> None:
    for name in ("left", "stays.1"):
        write_image(tmp_path / "labels" / f"{name}.nii.gz", blobs((4, 12, 12), 2))
    store = smoothed(tmp_path / "labels", tmp_path / "a.zarr")
    out = tmp_path / "out"
    report(store, out=out)
    (out / "cases" / "mine.json").write_text("{}")
    shutil.rmtree(tmp_path / "a.zarr" / "left")
    assert report(store, out=out) == {"stays.1": "skipped"}
    names = sorted(path.name for path in (out / "cases").iterdir())
    own = [f"stays.1{suffix}" for suffix in (".html", ".json", ".webp")]
    assert names == ["mine.json", *own]


def test_damaged_predictions_are_named(fused: Path, tmp_path: Path) -> None:
    shutil.copytree(fused / "fused.zarr", tmp_path / "p.zarr")
    (tmp_path / "p.zarr" / "one" / "zarr.json").write_text("{}")
    report(fused / "fused.zarr", tmp_path / "p.zarr", out=tmp_path / "out")
    assert "prediction: damaged" in pages(tmp_path / "out")["cases/one.html"].text


def test_label_maps_are_no_images(fused: Path, tmp_path: Path) -> None:
    found = report_cases(
        fused / "fused.zarr",
        images=fused / "a",
        out=tmp_path / "out",
        batch=Batch(jobs=ThisProcess()),
    )
    assert {record.status for record in found} == {"failed"}
    assert all("label map of the case" in str(record.reason) for record in found)


def test_many_classes_and_noise_fit_into_a_page(tmp_path: Path) -> None:
    labels = blobs((2, 45, 45), 110).repeat(3, axis=1).repeat(3, axis=2)
    noise = np.random.default_rng(0).integers(0, 2**12, labels.shape).astype(np.int16)
    write_image(tmp_path / "labels" / "a.nii.gz", labels)
    write_image(tmp_path / "images" / "a.nii.gz", noise)
    store = smoothed(tmp_path / "labels", tmp_path / "a.zarr")
    assert len(store.classes) > 100
    report(store, store.path, images=[tmp_path / "images"], out=tmp_path / "out")
    page = tmp_path / "out" / "cases" / "a.html"
    assert page.stat().st_size <= MOST_BYTES
    assert "short ones may be left out" in Page(page.read_bytes()).text


def test_names_of_classes_and_raters_are_text(tmp_path: Path) -> None:
    classes = tmp_path / "classes.csv"
    classes.write_text('value,name\n0,none\n1,"<img src=x onerror=alert(1)>"\n')
    path = write_image(tmp_path / "a.nii.gz", blobs((4, 12, 12), 2))
    record = {"case": "a", "raters": {"r1": str(path), "r<b>": str(path)}}
    with pytest.raises(InputError):  # on Windows this were no folder's name
        find_rated_cases("-", lines=[json.dumps(record)])
    record = {"case": "a", "raters": {"r1": str(path), "r'x' &lt;": str(path)}}
    cases = find_rated_cases("-", lines=[json.dumps(record)])
    for each in fuse_cases(
        cases,
        tmp_path / "a.zarr",
        classes=parse_classes(str(classes)),
        batch=Batch(jobs=1),
    ):
        assert each.status == "done"
    report(tmp_path / "a.zarr", out=tmp_path / "out")
    for page in pages(tmp_path / "out").values():
        assert "<img src=x onerror=alert(1)>" in page.text
        assert not page.values("onerror")
    assert "r'x' &lt;" in pages(tmp_path / "out")["cases/a.html"].text


def test_damaged_cases_are_named(fused: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    for name in ("good", "bad"):
        write_image(labels / f"{name}.nii.gz", blobs((4, 12, 12), 2))
    store = smoothed(labels, tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "bad" / "zarr.json").write_text("{}")
    found = report_cases(store.path, batch=Batch(jobs=ThisProcess()))
    assert {r.case: r.status for r in found} == {"good": "done", "bad": "failed"}
    index = pages(report_folder(store.path))["index.html"]
    assert "bad" in index.text
    assert "failed: damaged" in index.text


def test_default_folder() -> None:
    assert report_folder("a/b.zarr/") == Path("a/b-report")
    assert report_folder("s3://bucket/name.zarr") == Path("name-report")
