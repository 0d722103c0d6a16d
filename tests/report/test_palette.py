"""Colours are told apart by everybody, and on dark ground."""

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from svls_cli.labels.classes import ClassTable
from svls_cli.report.palette import (
    DASHES,
    ENTROPY_COLORS,
    HUES,
    class_colors,
    contrast,
    legible,
)

Array = npt.NDArray[np.float64]
WHITE = "FFFFFF"
# Machado, Oliveira & Fernandes, IEEE Trans. Vis. Comput. Graph. 15(6), 2009.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def linear(color: str) -> Array:
    rgb = np.array(list(bytes.fromhex(color))) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: Array) -> Array:
    """CIELAB (D65) of linear sRGB."""
    to_xyz = [
        [0.4124, 0.3576, 0.1805],
        [0.2126, 0.7152, 0.0722],
        [0.0193, 0.1192, 0.9505],
    ]
    xyz = np.array(to_xyz) @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("matrix", BLINDNESS.values(), ids=BLINDNESS)
def test_lines_are_told_apart(matrix: Array) -> None:
    seen = [lab(matrix @ linear(color)) for color in (*HUES, WHITE)]
    # 2.3 is a just noticeable difference.
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 15


def test_lines_stand_out_from_dark_ground() -> None:
    dark = list(bytes.fromhex("16181B"))
    assert min(contrast(list(bytes.fromhex(color)), dark) for color in HUES) > 3
    assert len(set(DASHES)) == len(DASHES) == len(HUES)


@pytest.mark.parametrize("matrix", BLINDNESS.values(), ids=BLINDNESS)
def test_more_entropy_is_lighter(matrix: Array) -> None:
    lightness = [lab(matrix @ linear(color))[0] for color in ENTROPY_COLORS]
    assert (np.diff(lightness) > 5).all()


def test_contrast_as_the_standard_has_it() -> None:
    assert contrast([0, 0, 0], [255, 255, 255]) == pytest.approx(21)
    assert contrast([119, 119, 119], [255, 255, 255]) == pytest.approx(4.48, abs=0.01)


def test_colours_of_the_data_set_are_kept() -> None:
    table = ClassTable.from_values([0, 1, 2, 3], colors={1: "00FF00", 3: "000033"})
    colors = class_colors(table)
    assert colors[1] == "00FF00"
    assert colors[2] == table.classes[2].color
    assert colors[3] == legible("000033") != "000033"
    assert contrast(list(bytes.fromhex(colors[3])), [0, 0, 0]) >= 4.5
    assert 0 not in colors
