"""How OME clients see where a case lies in the patient."""

import json
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path
from typing import Any

import ngff_zarr
import numpy as np
import numpy.typing as npt
import ome_zarr_models.v05 as ome_models
import pytest
import yaozarrs
import zarr

from svls_cli.labels.classes import ClassTable
from svls_cli.labels.geometry import Geometry
from svls_cli.store import ome
from svls_cli.store.inspect import inspect_cases
from svls_cli.store.reader import Store
from tests.helpers.commands import run_here
from tests.helpers.label_maps import OBLIQUE, blobs, grid, write_image
from tests.helpers.stores import smoothed

# Every way in which axes can lie along those of the patient: 24 turned, 24 mirrored.
STRAIGHT = [
    np.eye(3)[list(order)] * signs
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]
TABLE = ClassTable.from_values([0, 1])
# Along which world axis (x, y, z of LPS) coordinates grow, as RFC-4 has the words.
LPS = {
    "right-to-left": (1, 0, 0),
    "left-to-right": (-1, 0, 0),
    "anterior-to-posterior": (0, 1, 0),
    "posterior-to-anterior": (0, -1, 0),
    "inferior-to-superior": (0, 0, 1),
    "superior-to-inferior": (0, 0, -1),
}


def itk_direction(axes: list[dict[str, Any]]) -> npt.NDArray[Any]:
    """Direction that ITK has, from OME axes: a column each for x, y and z."""
    assert {axis["orientation"]["type"] for axis in axes} == {"anatomical"}
    by_name = {axis["name"]: LPS[axis["orientation"]["value"]] for axis in axes}
    names = sorted(by_name)
    return np.transpose([by_name[name] for name in names])[: len(names)]


def in_array_order(itk: npt.NDArray[Any]) -> Geometry:
    flat = tuple(itk.ravel()[::-1].tolist())
    return Geometry((4, 5, 6), (2.0, 1.0, 0.5), (7.0, 8.0, 9.0), flat)


def store_of(direction: npt.NDArray[Any], folder: Path) -> Store:
    path = write_image(
        folder / "a.nrrd",
        blobs((4, 5, 6), 2),
        spacing=(0.5, 1, 2),
        origin=(9, 8, 7),
        direction=direction.ravel().tolist(),
    )
    return smoothed(path, folder / "a.zarr")


@pytest.mark.parametrize("itk", STRAIGHT, ids=str)
def test_straight_axes_say_all_of_the_direction(itk: npt.NDArray[Any]) -> None:
    geometry = in_array_order(itk)
    soft = ome.image("a", geometry, TABLE, top=255)["multiscales"][0]["axes"]
    hard = ome.label_image("a", geometry, TABLE)["multiscales"][0]["axes"]
    assert "orientation" not in soft[0]  # the channels
    assert soft[1:] == hard
    np.testing.assert_array_equal(itk_direction(hard), itk)
    assert ome.oblique_mm(geometry) == 0


@pytest.mark.parametrize("itk", STRAIGHT, ids=str)
def test_tilted_axes_have_the_nearest(itk: npt.NDArray[Any]) -> None:
    c, s = np.cos(np.deg2rad(40)), np.sin(np.deg2rad(40))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    axes = ome.label_image("a", in_array_order(turn @ itk), TABLE)
    found = itk_direction(axes["multiscales"][0]["axes"])
    np.testing.assert_array_equal(found, itk)


def test_how_far_viewers_are_off() -> None:
    """3, 4, 5: the far end is at (4, 3), and in viewers at (5, 0)."""
    turned = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    flat = tuple(turned.ravel()[::-1].tolist())
    geometry = replace(grid((1, 1, 6)), direction=flat)
    assert ome.oblique_mm(geometry) == pytest.approx(np.hypot(1, 3))
    assert ome.oblique_mm(in_array_order(np.eye(3) + 1e-7)) == 0


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_2d_images_lie_in_an_axial_plane(order: Any, signs: Any) -> None:
    itk = np.eye(2)[list(order)] * signs
    flat = tuple(itk.ravel()[::-1].tolist())
    geometry = replace(grid((4, 5)), direction=flat)
    axes = ome.label_image("a", geometry, TABLE)["multiscales"][0]["axes"]
    np.testing.assert_array_equal(itk_direction(axes), itk)
    assert ome.oblique_mm(geometry) == 0


@pytest.mark.parametrize("verify", [False, True])
def test_inspect_says_where_viewers_are_off(verify: bool, tmp_path: Path) -> None:
    for name, direction in {"oblique": OBLIQUE, "straight": STRAIGHT[5]}.items():
        store = store_of(direction, tmp_path / name)
        (found,) = inspect_cases(store, verify=verify)
        assert found.record.reason is None
        off_mm = found.to_json()["oblique_mm"]
        assert off_mm == round(ome.oblique_mm(store["a"].geometry), 3)
        assert (off_mm > 0) == (name == "oblique")
        run = run_here("inspect", tmp_path / name / "a.zarr", cwd=tmp_path)
        assert ("1 oblique: viewers" in run.stdout) == (name == "oblique")


def test_clients_accept_the_orientation(tmp_path: Path) -> None:
    path = Path(str(store_of(STRAIGHT[5], tmp_path)["a"].path))
    for image in (path, path / "labels" / "hard"):
        yaozarrs.validate_zarr_store(str(image))
        text = (image / "zarr.json").read_text("utf-8")
        assert text.count('"orientation"') == 3
    group = zarr.open_group(path, mode="r")
    assert ome_models.Image.from_zarr(group).attributes.ome.version == "0.5"
    json.dumps(group.attrs.asdict())


@pytest.mark.parametrize("number", [0, 5, 22, 35])
def test_ngff_zarr_builds_the_direction(number: int, tmp_path: Path) -> None:
    store = store_of(STRAIGHT[number], tmp_path)
    image = ngff_zarr.from_ngff_zarr(f"{store['a'].path}/labels/hard").images[0]
    found = ngff_zarr.ngff_image_to_itk_image(image)
    np.testing.assert_array_equal(found.direction, STRAIGHT[number])
    assert (found.spacing, found.origin) == ([0.5, 1, 2], [9, 8, 7])
    np.testing.assert_array_equal(found.data, store["a"].hard[...])
