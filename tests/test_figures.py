"""One style for all figures: the same file for the same content, nothing overflows."""

from pathlib import Path

import pytest
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg

from svls_cli.figures import drawing, legend_below, series


def draw(path: Path, names: list[str]) -> None:
    with drawing(path, height_mm=50) as figure:
        axes = figure.subplots()
        for number, name in enumerate(names):
            axes.plot([0, 1], [0, number], label=name, **series(number))
        legend_below(figure, axes)


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png"])
def test_equal_figures_are_equal_files(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / f"a{suffix}", ["x", "y"])
    # Without a date of its own matplotlib takes the current one, or this.
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    draw(tmp_path / f"b{suffix}", ["x", "y"])
    assert (tmp_path / f"a{suffix}").read_bytes() == (
        tmp_path / f"b{suffix}"
    ).read_bytes()


def test_text_of_an_svg_is_text(tmp_path: Path) -> None:
    draw(tmp_path / "a.svg", ["a method's name"])
    assert ">a method's name</text>" in (tmp_path / "a.svg").read_text()


def test_no_two_curves_look_alike() -> None:
    looks = [series(number) for number in range(28)]
    assert len({tuple(look.values()) for look in looks}) == 28
    # Without colour, too.
    assert len({(k["marker"], k["linestyle"]) for k in looks}) == 28


@pytest.mark.parametrize("number", [2, 10, 22])
@pytest.mark.parametrize("length", [3, 40, 300])
def test_legends_fit_the_page(tmp_path: Path, number: int, length: int) -> None:
    names = ["a b" * (length // 3) + f" {n}" for n in range(number)]
    with drawing(tmp_path / "a.png", height_mm=50) as figure:
        axes = figure.subplots()
        for name in names:
            axes.plot([0, 1], label=name)
        legend_below(figure, axes)
        FigureCanvasAgg(figure).draw()
        page, [legend] = figure.bbox, figure.legends
        box = legend.get_window_extent()
        assert page.x0 <= box.x0 <= box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert axes.get_window_extent().height > 30 / 25.4 * figure.dpi
        assert box.y1 < axes.get_window_extent().y0


def test_the_style_stays_in_the_figure(tmp_path: Path) -> None:
    names = ("font.size", "axes.grid", "svg.fonttype")
    before = [rcParams[name] for name in names]
    draw(tmp_path / "a.png", ["x"])
    assert [rcParams[name] for name in names] == before
