"""`smooth` of tensors: their library and device, and NumPy's very bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from svls_cli import smooth
from svls_cli.errors import InputError, InvalidParameterError
from svls_cli.soften import libraries, tensors
from tests.helpers.label_maps import blobs

VALUES = np.array([0, 3, 7, 300], np.int32)


@pytest.fixture(autouse=True, params=["main memory", "a GPU"])
def lies_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tensors are, or are taken to be."""
    if request.param == "a GPU":
        monkeypatch.setattr(libraries, "_CPU", None)


def same(labels: Any, **options: Any) -> torch.Tensor:
    """What `smooth` makes of the tensor, which it makes of the array."""
    soft = smooth(torch.tensor(labels), **options)
    assert isinstance(soft, torch.Tensor)
    expected = smooth(labels, device="cpu", **options)
    assert soft.dtype == getattr(torch, expected.dtype.name)
    assert tuple(soft.shape) == expected.shape
    assert soft.numpy().tobytes() == expected.tobytes()
    return soft


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"classes": [0, 3, 5, 7, 300]},
        {"sigma_mm": 2.0, "spacing_mm": (3.0, 1.0, 1.0)},
        {"method": "gaussian", "size": 5},
        {"method": "ls"},
        {"method": "onehot"},
        {"strength": 1.0},
    ],
    ids=str,
)
def test_the_bytes_of_numpy(options: dict[str, Any], dtype: str) -> None:
    same(VALUES[blobs((20, 24, 22), 4)], dtype=dtype, **options)


@pytest.mark.parametrize("method", ["svls", "onehot"])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_ignored_voxels(
    monkeypatch: pytest.MonkeyPatch, dtype: str, method: str
) -> None:
    """Some blocks hold some, some volumes none."""
    monkeypatch.setattr(tensors, "BLOCK_EDGE", {3: 16})
    labels = VALUES[blobs((20, 24, 22), 4)]
    same(labels, ignore_label=255, dtype=dtype, method=method)
    labels[3, 2:9, 4] = 255
    same(labels, ignore_label=255, dtype=dtype, method=method)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.int64, np.float32])
def test_any_type_of_label(kind: type[Any]) -> None:
    same(blobs((12, 14), 3).astype(kind), classes=[0, 1, 2, 9])
    same(blobs((12, 14), 3).astype(kind))


def test_booleans() -> None:
    same(blobs((12, 14), 2).astype(bool))


def test_large_label_values() -> None:
    same(np.array([[0, 2**31, 2**32 - 1, 2**32 - 1]]), ignore_label=0)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([[0, 4]], {"classes": [0, 1]}, "label values 4 are not among the classes"),
        ([[0.0, 0.5]], {}, r"0\.5 (at .*)?is not a label"),
        ([[0.0, 0.5]], {"classes": [0, 1]}, r"0\.5 (at .*)?is not a label"),
        ([[0.0, float("nan")]], {"classes": [0, 1]}, "nan (at .*)?is not a label"),
        ([[0, -1]], {}, "-1 (at .*)?is not a label"),
        ([[9, 9]], {"ignore_label": 9}, "no classes"),
        ([[0, 1]], {"ignore_label": 1, "classes": [0, 1]}, "also a class"),
        ([[[[0, 1]]]], {}, "2-D or 3-D, found shape"),
        ([[0, 1]], {"sigma_mm": 1.0}, "sigma_mm needs spacing_mm"),
        ([[0, 1]], {"device": "cpu"}, "a tensor is softened where it is"),
    ],
)
def test_refuses(labels: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, InvalidParameterError), match=message):
        smooth(torch.tensor(labels), **options)
