"""Labels softened in the training loop: what a store of them holds."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.losses import DiceCELoss
from monai.transforms import Compose, LoadImaged, RandFlipd

from svls_cli import (
    Method,
    find_cases,
    open_store,
    pair_images,
    parse_classes,
    smooth_cases,
)
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.soften import libraries
from svls_cli.training import SoftenLabelsd, soft_cross_entropy, soften_labels
from tests.helpers.label_maps import blobs, write_image
from tests.helpers.stores import smoothed

VALUES = np.array([0, 3, 7, 300], np.uint16)
SPACING_MM = (3.0, 1.0, 1.5)
METHODS = [
    Method(),
    Method(sigma_mm=1.5),
    Method(sigma=(0.7, 1.0, 2.0), size=5, strength=0.8),
    Method("gaussian", sigma=0.8),
    Method("ls", alpha=0.2),
    Method("onehot"),
]


def label_map(shape: tuple[int, ...], *, ignored: bool = False) -> Any:
    labels = VALUES[blobs(shape, 4)]
    if ignored:
        labels[..., 3:9, 4] = 255
    return labels


def stored(labels: Any, folder: Path, **options: Any) -> Any:
    """The soft labels that `smooth` stores of a label map."""
    spacing = SPACING_MM[-labels.ndim :][::-1]
    path = write_image(folder / "case.nrrd", labels, spacing=spacing)
    store = smoothed(path, folder / "out.zarr", **options)
    return store["case"].patch((slice(None),) * labels.ndim)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.name}-{m.sigma_mm}")
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("ignored", [False, True])
def test_equals_a_store(
    tmp_path: Path, method: Method, dtype: str, ignored: bool
) -> None:
    labels = label_map((40, 44, 70), ignored=ignored)
    options: dict[str, Any] = {
        "method": method,
        "ignore_label": 255 if ignored else None,
        "dtype": dtype,
    }
    batch = torch.tensor(np.stack([labels[::-1], labels])[:, None].astype(np.int64))
    values = [0, 3, 5, 7, 300]  # one that does not occur
    soft = soften_labels(batch, classes=values, spacing_mm=SPACING_MM, **options)
    assert soft.dtype == getattr(torch, dtype)
    table = parse_classes("0,3,5,7,300")
    expected = stored(labels, tmp_path, classes=table, **options)
    np.testing.assert_array_equal(soft[1], expected)
    np.testing.assert_array_equal(soft[0].flip(1), expected)


def test_slices_equal_a_store(tmp_path: Path) -> None:
    labels = label_map((50, 60))
    soft = soften_labels(
        torch.tensor(labels.astype(np.float32))[None, None],
        classes=VALUES.tolist(),
        method=Method(sigma_mm=2),
        spacing_mm=SPACING_MM[1:],
        dtype="uint8",
    )
    expected = stored(labels, tmp_path, method=Method(sigma_mm=2))
    np.testing.assert_array_equal(soft[0], expected)


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("device", ["main memory", "a GPU"])
def test_image_guided_labels_equal_a_store(
    tmp_path: Path, ignored: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = label_map((10, 24, 30), ignored=ignored)
    image = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    path = write_image(tmp_path / "labels" / "case.nrrd", labels)
    write_image(tmp_path / "images" / "case.nrrd", image)
    method = Method("bilateral", sigma=1.2, size=5, strength=0.7)
    options: dict[str, Any] = {"method": method, "ignore_label": 255, "dtype": "uint8"}
    cases = pair_images(find_cases(path), tmp_path / "images")
    out = tmp_path / "out.zarr"
    smooth_cases(cases, out, classes=parse_classes("0,3,7,300"), **options)
    expected = open_store(out)["case"].patch((slice(None),) * 3).astype(int)
    if device == "a GPU":
        monkeypatch.setattr(libraries, "_CPU", None)  # taken to be there
    step = int(device == "a GPU")
    batch = [torch.tensor(each)[None] for each in (labels.astype(np.int32), image)]
    options["classes"] = VALUES.tolist()
    soft = soften_labels(batch[0][None], images=batch[1][None], **options)[0]
    np.testing.assert_allclose(soft.numpy().astype(int), expected, atol=step)
    soften = SoftenLabelsd("label", image_key="image", **options)
    sample = soften({"label": batch[0], "image": batch[1]})
    assert torch.equal(sample["label"], soft)


@pytest.mark.parametrize("ignored", [False, True])
def test_the_same_on_every_device(
    monkeypatch: pytest.MonkeyPatch, ignored: bool
) -> None:
    labels = label_map((3, 20, 24, 28), ignored=ignored)
    labels[1:][labels[1:] == 255] = 0  # one of three has ignored voxels
    batch = torch.tensor(labels[:, None].astype(np.int32))
    options: dict[str, Any] = {"classes": VALUES.tolist(), "ignore_label": 255}
    expected = soften_labels(batch, **options)
    monkeypatch.setattr(libraries, "_CPU", None)  # taken to be elsewhere
    assert torch.equal(soften_labels(batch, **options), expected)


def test_any_loss_takes_it() -> None:
    labels = torch.tensor(blobs((2, 1, 12, 14, 16), 3).astype(np.int32))
    soft = soften_labels(labels, classes=range(3))
    assert soft.dtype == torch.float32
    assert not soft.requires_grad
    assert torch.allclose(soft.sum(dim=1), torch.ones(()))
    logits = torch.zeros_like(soft, requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(logits, soft)
    assert torch.allclose(theirs, soft_cross_entropy(logits, soft))
    DiceCELoss(softmax=True)(logits, soft).backward()
    assert logits.grad is not None


def test_in_a_compiled_step() -> None:
    labels = torch.tensor(blobs((1, 1, 10, 12), 3).astype(np.int64))

    def step(labels: torch.Tensor) -> torch.Tensor:
        return soften_labels(labels + 1, classes=range(1, 4)).sum(dim=(2, 3)) * 2

    compiled: Any = torch.compile(step, backend="eager")
    assert torch.equal(compiled(labels), step(labels))


def test_labels_may_carry_gradients_and_affines() -> None:
    labels = MetaTensor(blobs((1, 1, 12, 14), 3).astype(np.float32))
    labels.requires_grad_()
    soft = soften_labels(labels, classes=range(3))
    assert type(soft) is torch.Tensor
    assert not soft.requires_grad


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 8, 8, 8), {}, r"found shape \(2, 8, 8, 8\)"),
        ((1, 3, 8, 8, 8), {}, "a batch with one channel"),
        ((1, 1, 8), {}, "a batch with one channel"),
        ((1, 1, 8, 8), {"method": Method(sigma_mm=1)}, "sigma_mm needs spacing_mm"),
        ((1, 1, 8, 8), {"spacing_mm": (1, 1, 1)}, "must be 2 positive numbers"),
        ((1, 1, 8, 8), {"classes": [1]}, "label values 0 are not among the classes"),
        ((1, 1, 8, 8), {"ignore_label": 1}, "ignore_label 1 is also a class"),
        ((1, 1, 8, 8), {"dtype": "int16"}, "dtype must be one of"),
        ((0, 1, 8, 8), {}, r"not empty, found shape \(0, 1, 8, 8\)"),
        ((1, 1, 8, 8), {"method": "svls"}, "method must be a Method, such as"),
        ((1, 1, 8, 8), {"classes": 3}, "classes must be label values, .* found 3"),
        ((1, 1, 8, 8), {"classes": "01"}, "classes must be label values, .* '01'"),
        ((1, 1, 8, 8), {"dtype": torch.float16}, ", as text, found torch.float16"),
    ],
)
def test_refuses(shape: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, InvalidParameterError), match=message):
        soften_labels(torch.zeros(shape), **{"classes": [0, 1], **options})


def test_refuses_what_is_no_tensor() -> None:
    wrong: list[Any] = [np.zeros((1, 1, 8, 8)), torch.zeros(1, 1, 8, 8, device="meta")]
    for labels in wrong:
        with pytest.raises(InputError, match="labels must be a tensor of PyTorch"):
            soften_labels(labels, classes=[0, 1])
    method: Any = "svls"
    with pytest.raises(InvalidParameterError, match="method must be a Method"):
        SoftenLabelsd("label", classes=[0, 1], method=method)


def test_one_spacing_stands_for_every_axis() -> None:
    labels = torch.tensor(blobs((1, 1, 10, 12), 2).astype(np.int64))
    one, all_axes = (
        soften_labels(
            labels, classes=[0, 1], method=Method(sigma_mm=2), spacing_mm=spacing
        )
        for spacing in (1.5, (1.5, 1.5))
    )
    assert torch.equal(one, all_axes)


def test_a_monai_transform_keeps_the_affine(tmp_path: Path) -> None:
    labels = label_map((20, 24, 28))
    path = write_image(tmp_path / "label.nii.gz", labels, spacing=SPACING_MM[::-1])
    method = Method(sigma_mm=2)  # the spacing is the affine's
    soften = SoftenLabelsd("label", classes=VALUES.tolist(), method=method)
    load = LoadImaged(["label"], image_only=True, ensure_channel_first=True)
    hard = load({"label": path})["label"]
    soft = Compose([soften])({"label": hard, "case": "a"})["label"]
    assert isinstance(soft, MetaTensor)
    assert soft.shape == (4, *hard.shape[1:])
    assert torch.equal(soft.affine, hard.affine)
    # MONAI's axes are x, y, z; so sums end otherwise in their last digit.
    expected = stored(labels, tmp_path, method=method, dtype="float32")
    np.testing.assert_allclose(soft.numpy().transpose(0, 3, 2, 1), expected, atol=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_only_an_affine_gives_a_spacing(kind: Any) -> None:
    sample = {"label": kind(np.zeros((1, 4, 4, 4), np.uint8))}
    method = Method(sigma_mm=2)
    with pytest.raises(InvalidParameterError, match="sigma_mm needs spacing_mm"):
        SoftenLabelsd("label", classes=[0, 1], method=method)(sample)
    soften = SoftenLabelsd("label", classes=[0], method=method, spacing_mm=SPACING_MM)
    assert soften(sample)["label"].shape == (1, 4, 4, 4)


def test_a_monai_transform_takes_what_others_take() -> None:
    soften = SoftenLabelsd(
        ["a", "b"], classes=[0, 1], ignore_label=9, allow_missing_keys=True
    )
    sample = {"a": np.array([[[0, 0, 1, 9]]])}
    soft = soften(sample)
    assert soft.keys() == sample.keys()
    assert soft["a"].sum(dim=0).tolist() == [[1, 1, 1, 0]]
    assert sample["a"].shape == (1, 1, 4)
    with pytest.raises(KeyError, match="b"):
        SoftenLabelsd(["a", "b"], classes=[0, 1, 9])(sample)
    with pytest.raises(InvalidParameterError, match="also a class"):
        SoftenLabelsd("a", classes=[0, 1], ignore_label=1)


def test_a_monai_transform_in_spawned_workers() -> None:
    labels = torch.tensor(blobs((4, 1, 10, 12, 14), 3).astype(np.int16))
    flip = RandFlipd(["label"], prob=1.0, spatial_axis=0)
    changes = Compose([flip, SoftenLabelsd("label", classes=range(3), dtype="uint8")])
    pickle.loads(pickle.dumps(changes))
    dataset = Dataset([{"label": MetaTensor(each)} for each in labels], changes)
    loader = DataLoader(
        dataset, batch_size=2, num_workers=1, multiprocessing_context="spawn"
    )
    found = torch.cat([batch["label"].as_tensor() for batch in loader])
    expected = soften_labels(labels.flip(2), classes=range(3), dtype="uint8")
    assert torch.equal(found, expected)
