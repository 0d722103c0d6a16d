"""Cases by name, whatever form of Unicode their folders have."""

import shutil
from pathlib import Path

import pytest

from svls_cli import export_cases
from svls_cli.errors import UnknownCaseError
from tests.helpers.label_maps import blobs, write_image
from tests.helpers.stores import make_version_1, smoothed

COMPOSED, DECOMPOSED = "Müller", "Mu\u0308ller"
# Older stores have names as users gave them.
MIXED, COLON = "Mu\u0308ller é", "a:b"


def test_names_are_compared_in_composed_form(tmp_path: Path) -> None:
    path = write_image(tmp_path / f"{DECOMPOSED}.nrrd", blobs((5, 6, 7), 2))
    store = smoothed(path, tmp_path / "a.zarr")
    assert [each.name for each in store.path.iterdir() if each.is_dir()] == [COMPOSED]
    for asked in (COMPOSED, DECOMPOSED):
        assert store[asked].name == COMPOSED
        out = tmp_path / "out"
        (record,) = export_cases(store.path, out, cases=[asked])
        assert record.case == COMPOSED
        shutil.rmtree(out)


def test_older_names_are_read(tmp_path: Path) -> None:
    path = write_image(tmp_path / "first.nrrd", blobs((5, 6, 7), 2))
    store = smoothed(path, tmp_path / "a.zarr")
    make_version_1(tmp_path / "a.zarr")
    for folder in (DECOMPOSED, MIXED, COLON):
        shutil.copytree(tmp_path / "a.zarr/first", tmp_path / "a.zarr" / folder)
    expected = {COMPOSED: DECOMPOSED, MIXED: MIXED, COLON: COLON, "first": "first"}
    assert {name: case.path.name for name, case in store.items()} == expected
    assert store[DECOMPOSED].hard.shape == (5, 6, 7)


@pytest.mark.parametrize("name", ["..", ".", "", "../a.zarr/first", "/first", "a\0"])
def test_no_name_leads_out_of_the_store(name: str, tmp_path: Path) -> None:
    path = write_image(tmp_path / "first.nrrd", blobs((5, 6, 7), 2))
    store = smoothed(path, tmp_path / "a.zarr")
    with pytest.raises(UnknownCaseError, match="no case"):
        store[name]
