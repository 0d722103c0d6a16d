"""Soft labels on nnU-Net's grid, beside what nnU-Net makes of the label map."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunetv2.preprocessing.preprocessors.default_preprocessor import (
    DefaultPreprocessor,
)

from svls_cli import Store
from svls_cli.errors import InputError
from svls_cli.nnunet.preprocessed import PreprocessedCase, PreprocessedCases
from svls_cli.nnunet.soft_on_grid import soft_on_grid
from tests.helpers.commands import SAMPLE
from tests.helpers.nnunet import NnunetFolders
from tests.helpers.stores import smoothed

VALUES = (0, 1, 2, 3)


def preprocessed(
    folders: NnunetFolders,
    name: str = "case_01",
    *,
    spacing: list[float] | None = None,  # by default the case's own
    transpose: list[int] | None = None,
    reader: str = "SimpleITKIO",
    resampling: str | None = None,
    nonzero: tuple[slice, ...] = (),
    configuration: str = "3d_fullres",
) -> tuple[PreprocessedCase, np.ndarray]:
    """A case as nnU-Net preprocesses it, and nnU-Net's label map of it."""
    (base,) = folders.preprocessed.glob("Dataset901*")
    cases = PreprocessedCases(base, "nnUNetPlans", configuration)
    plans = cases.plans.plans
    if transpose is not None:
        plans["transpose_forward"] = transpose
        plans["transpose_backward"] = np.argsort(transpose).tolist()
    plans["image_reader_writer"] = reader
    settings = cases.manager.configuration
    if resampling is not None:
        settings["resampling_fn_seg"] = resampling
        settings["resampling_fn_seg_kwargs"] = {"is_seg": True}
    raw = folders.raw / "Dataset901_Sample"
    source = cases.plans.image_reader_writer_class()
    image, properties = source.read_images([raw / "imagesTr" / f"{name}_0000.nii.gz"])
    labels, _ = source.read_seg(str(raw / "labelsTr" / f"{name}.nii.gz"))
    own = [properties["spacing"][axis] for axis in cases.plans.transpose_forward]
    settings["spacing"] = spacing or own[-len(settings["patch_size"]) :]
    if nonzero:
        kept = np.zeros_like(image)
        kept[(slice(None), *nonzero)] = image[(slice(None), *nonzero)] + 1
        image = kept
    dataset = {"labels": {"background": 0, "organ": 1, "vessel": 2, "lesion": 3}}
    _, seg, properties = DefaultPreprocessor(verbose=False).run_case_npy(
        image, labels, properties, cases.plans, cases.manager, dataset
    )
    return PreprocessedCase(cases, seg, properties), np.maximum(seg[0], 0)


@pytest.fixture(scope="module")
def onehot_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    from svls_cli import Method

    out = tmp_path_factory.mktemp("onehot") / "onehot.zarr"
    return smoothed(SAMPLE / "labels", out, method=Method("onehot"))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"transpose": [2, 0, 1]},
        {"nonzero": (slice(3, 15), slice(5, 50), slice(8, 44))},
        {"configuration": "2d"},
        {"reader": "NibabelIO"},
        {"reader": "NibabelIOWithReorient"},
        {"reader": "SimpleITKIOWithReorient"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["case_01", "case_05", "case_07"])
def test_without_resampling_every_voxel_is_nnunet_s(
    sample: NnunetFolders, onehot_store: Store, change: dict[str, Any], name: str
) -> None:
    case, labels = preprocessed(sample, name, **change)
    soft = soft_on_grid(onehot_store[name], case, VALUES)
    assert np.array_equal(soft, 255 * (labels == np.array(VALUES).reshape(4, 1, 1, 1)))


@pytest.mark.parametrize(
    "spacing", [[1.5, 1.5, 1.5], [3.0, 0.7, 0.7], [5.0, 2.0, 2.0]], ids=str
)
@pytest.mark.parametrize("resampling", [None, "resample_torch_fornnunet"])
def test_resampled_soft_labels_are_probabilities(
    sample: NnunetFolders,
    sample_store: Store,
    spacing: list[float],
    resampling: str | None,
) -> None:
    for name in ("case_01", "case_06"):
        case, labels = preprocessed(
            sample, name, spacing=spacing, resampling=resampling
        )
        soft = soft_on_grid(sample_store[name], case, VALUES)
        assert soft.shape[1:] == labels.shape
        assert (soft.sum(axis=0) == 255).all()
        assert (soft.argmax(axis=0) == labels).mean() > 0.98


def test_another_grid_fails(sample: NnunetFolders, sample_store: Store) -> None:
    case, _ = preprocessed(sample, "case_01")
    case.properties["sitk_stuff"]["origin"] = (0.0, 0.0, 1.0)
    with pytest.raises(InputError, match="different grids: origin"):
        soft_on_grid(sample_store["case_01"], case, VALUES)


def test_images_without_geometry_need_the_same_voxels(
    sample: NnunetFolders, sample_store: Store
) -> None:
    case, labels = preprocessed(sample, "case_01")
    case.properties["sitk_stuff"] = None
    assert soft_on_grid(sample_store["case_01"], case, VALUES).shape[1:] == labels.shape
    case.properties["shape_before_cropping"] = (20, 56, 61)
    with pytest.raises(InputError, match="voxels"):
        soft_on_grid(sample_store["case_01"], case, VALUES)


def test_ignored_voxels_stay_without_label(
    sample: NnunetFolders, tmp_path: Path
) -> None:
    store = smoothed(SAMPLE / "labels", tmp_path / "ignored.zarr", ignore_label=3)
    case, labels = preprocessed(sample, "case_01", spacing=[3.0, 1.0, 1.0])
    soft = soft_on_grid(store["case_01"], case, (0, 1, 2))
    total = soft.sum(axis=0, dtype=int)
    assert (total[labels == 3] == 0).all()
    assert (total[labels != 3] == 255).all()
    case, labels = preprocessed(sample, "case_01", spacing=[2.0, 1.3, 1.3])
    total = soft_on_grid(store["case_01"], case, (0, 1, 2)).sum(axis=0, dtype=int)
    ignored = labels == 3
    assert (total[ignored] <= 128).mean() > 0.98
    assert (total[~ignored] >= 127).mean() > 0.98
    assert total.max() == 255
