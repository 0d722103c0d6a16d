"""Pages as a browser shows them; with the Chromium of the system, or not at all."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from svls_cli import Batch, find_rated_cases, fuse_cases, parse_classes
from svls_cli.batch.workers import ThisProcess
from svls_cli.report.folder import file_name
from svls_cli.report.palette import contrast
from svls_cli.report.report import report_cases
from tests.helpers.label_maps import write_image
from tests.helpers.stores import edit_svls, reseal, smoothed

CASE = "<script>alert(1)<∕script> \"q\" 'a' &amp; \u202egnp"
CLASS = "<img src=x onerror=alert(1)> \u202egnp"
RATER = "r'x' &lt; \u05d0\u05d1"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
# Class 1 of rater a, of all rows and columns. Around all labels there is less than the
# margin, so that pages show whole slices.
SHAPE, ROWS, COLUMNS = (4, 96, 120), (8, 86), (13, 60)
END = 107  # column at which class 2 ends, which follows
# The patient's right and front are where indices grow, so that slices are turned round.
DIRECTION = (-1, 0, 0, 0, -1, 0, 0, 0, 1)
CORNER = 5  # pixels that a picture's round corners take
# A page's scripts that count how far it moves while it is loaded.
SHIFTS = """
window.shifts = 0;
new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
  window.shifts += entry.value;
})).observe({ type: "layout-shift", buffered: true });
"""
# Points along a path, from the corner of the window.
POINTS = """(path) => {
  const matrix = path.getScreenCTM(), step = path.getTotalLength() / 500;
  return Array.from({ length: 500 }, (_, at) => {
    const { x, y } = path.getPointAtLength(step * at).matrixTransform(matrix);
    return [x, y];
  });
}"""
# For each check box of a page, which elements of its layer are drawn.
DRAWN = """() => Object.fromEntries(
  [...document.querySelectorAll("input")].map(({ id }) => [
    id.slice(2),
    [...document.querySelectorAll(".tiles ." + id.slice(2))].map(
      (each) => getComputedStyle(each).visibility === "visible"
    ),
  ])
)"""

Visit = Callable[..., Any]


def write(path: Path, array: npt.NDArray[Any]) -> Path:
    return write_image(path, array, spacing=(1, 1.5, 3), direction=DIRECTION)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a store of three raters, with a prediction and images."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    folder = tmp_path_factory.mktemp("browser")
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:3, slice(*ROWS), slice(*COLUMNS)] = 1
    labels[1:3, slice(*ROWS), COLUMNS[1] : END] = 2
    small = labels * (np.arange(SHAPE[2]) < 80)
    records = []
    for case, second in (("good", labels), ("fair", small), ("poor", labels)):
        third = np.roll(labels, -4, axis=1) if case == "poor" else labels
        maps = {"a": labels, "b": second, RATER: third}
        paths = {
            name: str(write(folder / case / f"{at}.nii.gz", each))
            for at, (name, each) in enumerate(maps.items())
        }
        records.append(json.dumps({"case": case, "raters": paths}))
        write(folder / "predicted" / f"{case}.nii.gz", np.roll(second, 3, axis=2))
        bright = np.where(labels == 1, 1000, 0).astype(np.int16)
        write(folder / "images" / f"{case}.nii.gz", bright)
    names = folder / "classes.csv"
    names.write_text(f'value,name\n0,none\n1,"{CLASS}"\n2,liver\n', "utf-8")
    classes = parse_classes(str(names))
    cases = find_rated_cases("-", lines=records)
    fused, predicted = folder / "fused.zarr", folder / "predicted.zarr"
    for record in fuse_cases(cases, fused, classes=classes, batch=Batch(jobs=1)):
        assert record.status == "done", record.reason
    smoothed(folder / "predicted", predicted, classes=classes)
    for store in (fused, predicted):
        (store / "fair").rename(store / CASE)
        edit_svls(store / CASE, lambda svls: svls.update(case=CASE))
        reseal(store / CASE)
    out, here = folder / "report", Batch(jobs=ThisProcess())
    found = report_cases(
        fused, predicted, images=[folder / "images"], out=out, batch=here
    )
    assert [record.status for record in found] == ["done"] * 3
    return out


@pytest.fixture(scope="module")
def browser(report: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium
        yield chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def visit(browser: Browser, report: Path) -> Visit:
    """Open a page of the report, and see that nothing is wrong with it."""

    @contextmanager
    def opened(name: str, *, width: int = 1280, **options: Any) -> Iterator[Page]:
        viewport = {"width": width, "height": 800}
        context = browser.new_context(viewport=viewport, **options)
        context.add_init_script(SHIFTS)
        page, wrong = context.new_page(), []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(error.message))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("requestfailed", lambda request: wrong.append(request.url))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((report / name).as_uri(), wait_until="load")
        yield page
        assert wrong == []
        allowed = (report.as_uri(), "data:")
        assert [url[:99] for url in asked if not url.startswith(allowed)] == []
        context.close()

    return opened


PAGES = ["index.html", "cases/poor.html", f"cases/{file_name(CASE)}.html"]


@pytest.mark.parametrize("name", PAGES, ids=["index", "case", "hostile"])
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 800)])
def test_pages_fit_and_stay_still(
    visit: Visit, name: str, scheme: str, width: int
) -> None:
    with visit(name, width=width, color_scheme=scheme) as page:
        page.mouse.wheel(0, 10_000)
        page.wait_for_function("[...document.images].every((i) => i.naturalWidth)")
        # Columns may grow while a table is read.
        assert page.evaluate("window.shifts") < 0.01
        wide = page.evaluate("document.scrollingElement.scrollWidth")
        assert wide <= width
        ink, ground = (
            page.evaluate(f"getComputedStyle(document.body).{each}")
            for each in ("color", "backgroundColor")
        )
        numbers = [[int(n) for n in each[4:-1].split(",")] for each in (ink, ground)]
        assert contrast(*numbers) > 7
        assert (sum(numbers[1]) > 300) == (scheme == "light")


def test_names_are_text(visit: Visit) -> None:
    with visit("index.html") as page:
        page.get_by_role("link", name=CASE, exact=True).click()
        page.wait_for_url("**/cases/*")
        assert page.title() == page.locator("h1").inner_text() == CASE
        assert page.get_by_role("checkbox", name=RATER, exact=True).is_checked()
        assert CLASS in page.get_by_role("table").first.inner_text()
        page.get_by_role("link", name="All cases").click()
        page.wait_for_url("**/index.html")


def boxes(page: Page) -> dict[str, Locator]:
    """The check boxes of a case's page, by the layers that they show."""
    found = page.get_by_role("checkbox").all()
    return {str(box.get_attribute("id"))[2:]: box for box in found}


def hidden(page: Page) -> list[str]:
    """The layers of which nothing is drawn; the others are drawn in all pictures."""
    drawn = page.evaluate(DRAWN)
    assert all(len(set(each)) == 1 for each in drawn.values())
    return [layer for layer, each in drawn.items() if not each[0]]


def test_each_box_hides_its_layer(visit: Visit) -> None:
    with visit("cases/poor.html") as page:
        found = boxes(page)
        layers = ["r0", "r1", "r2", "hard", "pred", "l10", "l50", "l90"]
        layers += ["missed", "added", "other", "numbers", "grey"]
        assert list(found) == layers
        for layer, box in found.items():
            assert hidden(page) == []
            box.uncheck()
            assert hidden(page) == [layer]
            box.check()


def test_keyboard_reaches_all_in_order(visit: Visit) -> None:
    with visit("cases/poor.html") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.href").endswith("index.html")
        layers = list(boxes(page))
        for at, layer in enumerate(layers):
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.id") == f"t-{layer}"
            page.keyboard.press("Space")
            assert hidden(page) == layers[: at + 1]
        page.keyboard.press("Tab")
        active = "document.activeElement.ariaLabel"
        assert page.evaluate(active) == "Table of classes"


def pixels(page: Page, box: Any) -> npt.NDArray[np.int64]:
    """A page, (rows, columns, channels); black but in a box, and without letters."""
    content = page.screenshot(full_page=True, style=".side { visibility: hidden }")
    seen = np.asarray(Image.open(BytesIO(content)).convert("RGB"), np.int64)
    left, top = int(box["x"]) + CORNER, int(box["y"]) + CORNER
    right, bottom = int(box["x"] + box["width"]), int(box["y"] + box["height"])
    inside = np.s_[top : bottom - CORNER, left : right - CORNER]
    kept = np.zeros_like(seen)
    kept[inside] = seen[inside]
    return kept


def lines(profile: npt.NDArray[np.int64]) -> list[float]:
    """Centres of the lines that a row of pixels crosses."""
    (at,) = np.nonzero(profile)
    pieces = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
    return [float(np.average(piece + 0.5, weights=profile[piece])) for piece in pieces]


def test_contours_lie_where_the_labels_are(visit: Visit) -> None:
    with visit("cases/good.html") as page:
        found = boxes(page)
        svg = page.locator("figure svg").first
        box = svg.bounding_box()
        n_rows, n_columns = SHAPE[1:]
        # Whole, turned round, and each pixel as wide and high as on the patient.
        assert svg.get_attribute("viewBox") == f"0 0 {10 * n_columns} {10 * n_rows}"
        ratio = n_columns / (1.5 * n_rows)
        assert box["width"] / box["height"] == pytest.approx(ratio, rel=0.01)
        x = {n: box["x"] + box["width"] * (1 - n / n_columns) for n in (*COLUMNS, END)}
        y = {n: box["y"] + box["height"] * (1 - n / n_rows) for n in ROWS}
        (right, left), (bottom, top) = (x[n] for n in COLUMNS), y.values()
        middle = int((left + right) / 2), int((top + bottom) / 2)

        # The image's own pixels: what is bright is class 1.
        for layer, check_box in found.items():
            check_box.set_checked(layer == "grey")
        plain = pixels(page, box)
        assert not np.ptp(plain, axis=2).any()
        bright = plain[..., 0] > plain.max() / 2
        rows, columns = (np.flatnonzero(bright.any(axis=axis)) for axis in (1, 0))
        assert [rows[0], rows[-1] + 1] == pytest.approx([top, bottom], abs=1)
        assert [columns[0], columns[-1] + 1] == pytest.approx([left, right], abs=1)
        assert bright.sum() == pytest.approx(len(rows) * len(columns), rel=1e-3)

        # The pixels that a rater's contours change.
        found["r0"].check()
        changed = np.abs(pixels(page, box) - plain).sum(axis=2)
        near = [slice(n - 8, n + 8) for n in middle]
        down, across = changed[:, near[0]].sum(axis=1), changed[near[1]].sum(axis=0)
        assert lines(down) == pytest.approx([top, bottom], abs=1)
        assert lines(across) == pytest.approx([x[END], left, right], abs=1)

        # The lines as the browser has them.
        path = svg.locator(".r0 .c1")
        around = path.bounding_box()
        ends = around["x"] + around["width"], around["y"] + around["height"]
        assert (around["x"], around["y"]) == pytest.approx((left, top), abs=1)
        assert ends == pytest.approx((right, bottom), abs=1)
        points = np.array(path.evaluate(POINTS))
        np.testing.assert_allclose(points.min(axis=0), [left, top], atol=1)
        np.testing.assert_allclose(points.max(axis=0), [right, bottom], atol=1)
        # Every point is on a side, or on a corner that is cut off.
        away = np.abs(points[:, [0, 0, 1, 1]] - [left, right, top, bottom]).min(axis=1)
        assert away.max() <= 0.5 * box["width"] / n_columns


def names(page: Page) -> list[str]:
    return page.locator("#cases tbody th:visible").all_inner_texts()


def test_index_is_sorted_by_mouse_and_keyboard(visit: Visit) -> None:
    with visit("index.html") as page:
        button = page.get_by_role("button", name="Case", exact=True)
        button.click()
        assert names(page) == sorted(names(page)) == [CASE, "good", "poor"]
        button.focus()
        page.keyboard.press("Enter")
        assert names(page) == ["poor", "good", CASE]
        head = page.locator("#cases th", has=button)
        assert head.get_attribute("aria-sort") == "descending"
        for each in page.locator("#cases thead button").all()[2:]:
            column = each.evaluate("(button) => button.closest('th').cellIndex")
            cells = page.locator(f"#cases tbody tr > :nth-child({column + 1})")
            for order in (1, -1):
                each.click()
                texts = cells.all_inner_texts()
                values = [order * float(t) for t in texts if t != "–"]
                assert all(a <= b for a, b in pairwise(values)), each.inner_text()
                assert "–" not in texts[: len(values)]
        assert page.locator("[aria-sort]").count() == 1


def test_index_without_scripts(visit: Visit) -> None:
    with visit("index.html", java_script_enabled=False) as page:
        assert page.get_by_role("button", disabled=True).count() > 5
        assert len(names(page)) == 3


def test_boxes_of_the_index(visit: Visit) -> None:
    with visit("index.html") as page:
        for picture in page.locator("#cases img").all():
            assert picture.bounding_box()["width"] == 40
        page.get_by_label("Only those to look at").check()
        assert names(page) == [CASE]  # its image is missing
        page.get_by_label("Only those to look at").uncheck()
        page.get_by_label("Pictures only").focus()
        page.keyboard.press("Space")
        assert len(names(page)) == 3
        assert page.locator("#cases :is(td, thead):visible").count() == 0
        for picture in page.locator("#cases img").all():
            assert picture.bounding_box()["width"] > 60


@pytest.mark.parametrize("name", PAGES[:2], ids=["index", "case"])
def test_print_has_a_key_and_no_boxes(visit: Visit, name: str) -> None:
    with visit(name) as page:
        lines = page.locator(".controls label:visible", has=page.locator("svg"))
        count = lines.count()
        assert (count > 0) == name.startswith("cases")
        if count:
            lines.first.click()
        page.emulate_media(media="print", color_scheme="dark")
        assert page.get_by_role("checkbox").count() == 0
        labels = page.locator(".controls label:visible")
        assert labels.count() == max(0, count - 1)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
