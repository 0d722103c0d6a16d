"""nnU-Net's data set of the sample data, preprocessed once."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from svls_cli import Store
from svls_cli.labels.class_files import parse_classes
from tests.helpers.commands import SAMPLE
from tests.helpers.nnunet import NnunetFolders
from tests.helpers.stores import smoothed

CLASSES = {"background": 0, "organ": 1, "vessel": 2, "lesion": 3}


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> NnunetFolders:
    """The sample data as nnU-Net's data set 901, in 2-D and 3-D."""
    folders = NnunetFolders(tmp_path_factory.mktemp("nnunet"))
    folders.add("Dataset901_Sample", files("images"), files("labels"), CLASSES)
    folders.preprocess("901", ["2d", "3d_fullres"])
    return folders


@pytest.fixture(scope="session")
def sample_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Soft labels of the sample data."""
    out = tmp_path_factory.mktemp("store") / "sample.zarr"
    classes = parse_classes(",".join(map(str, CLASSES.values())))
    return smoothed(SAMPLE / "labels", out, classes=classes)


@pytest.fixture
def nnunet(sample: NnunetFolders, monkeypatch: pytest.MonkeyPatch) -> NnunetFolders:
    """nnU-Net's folders, known to this process."""
    for name, value in sample.environment.items():
        if name.startswith("nnUNet"):
            monkeypatch.setenv(name, value)
    return sample


def files(folder: str) -> Mapping[str, Path]:
    """Files of a folder of the sample data, by the name of their case."""
    return {p.name.partition(".")[0]: p for p in (SAMPLE / folder).iterdir()}
