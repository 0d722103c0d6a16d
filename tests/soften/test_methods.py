import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from svls_cli.errors import InvalidParameterError
from svls_cli.soften.kernel import svls_kernel
from svls_cli.soften.methods import Method
from svls_cli.soften.parsing import parse_method


def test_default_is_the_published_method() -> None:
    published = {"name": "svls", "sigma": 1.0, "size": 3, "strength": 0.5}
    assert Method().to_json() == published
    assert Method().window((3.0, 1.0, 1.0)) == ((1.0, 1.0, 1.0), (3, 3, 3))


def test_defaults_of_bilateral() -> None:
    best = {"sigma": 2.0, "size": 7, "strength": 0.8, "intensity_scale": 0.5}
    assert Method("bilateral").to_json() == {"name": "bilateral", **best}
    assert Method("bilateral", sigma=1).window((1.0, 1.0)) == ((1.0, 1.0), (7, 7))
    wide = Method("bilateral", sigma_mm=2.0)
    assert wide.window((4.0, 1.0, 0.5)) == Method(sigma_mm=2.0).window((4.0, 1.0, 0.5))
    assert wide.to_json()["strength"] == 0.8
    assert Method("gaussian").to_json() == {"name": "gaussian", "sigma": 1.0, "size": 3}


def test_sigma_mm_becomes_voxels_by_the_spacing() -> None:
    sigma, size = Method(sigma_mm=2.0).window((4.0, 1.0, 0.5))
    assert sigma == (0.5, 2.0, 4.0)
    assert size == (5, 13, 25)


def test_given_size_overrides_auto() -> None:
    assert Method(sigma_mm=2.0, size=(1, 3, 3)).window((4.0, 1, 1))[1] == (1, 3, 3)


def test_an_axis_is_left_out_of_an_auto_window() -> None:
    method = Method(sigma_mm=2.0, size=(1, "auto", "auto"))
    assert method.window((4.0, 1.0, 0.5))[1] == (1, 13, 25)
    assert parse_method("svls:sigma_mm=2:size=1xautoxauto") == method
    stored = json.loads(json.dumps(method.to_json()))
    assert Method(**stored) == replace(method, strength=0.5)


def test_gaussian_is_the_window_with_its_centre_in() -> None:
    softening = Method("gaussian", sigma=1.5, size=5).on_grid((1, 1))
    kernel = svls_kernel((1.5, 1.5), size=(5, 5), strength=softening.strength)
    # In a Gaussian, a step along an axis costs exp(-1 / (2 sigma^2)), centre included.
    assert kernel[2, 3] / kernel[2, 2] == pytest.approx(0.800737, abs=1e-6)


def test_integer_and_float_sigma_are_one_parameter() -> None:
    one, same, default = Method(sigma=1), Method(sigma=1.0), Method()
    assert one.to_json() == same.to_json() == default.to_json()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"name": "blur"},
            "method must be one of svls, bilateral, ls",
        ),
        ({"name": "onehot", "sigma": 1.0}, "sigma does not apply to method onehot"),
        ({"name": "ls", "size": 3}, "size does not apply to method ls"),
        ({"name": "gaussian", "strength": 0.5}, "strength does not apply"),
        ({"alpha": 0.1}, "alpha does not apply to method svls"),
        ({"name": "ls", "alpha": 1.5}, r"alpha must lie in \[0, 1\]"),
        ({"sigma": 1.0, "sigma_mm": 1.0}, "sigma or sigma_mm, not both"),
        ({"sigma": -1.0}, "sigma must be positive"),
        ({"sigma": (1.0, 1.0, 0.0)}, "sigma must be positive"),
        ({"size": 4}, "odd"),
        ({"size": 0}, "odd"),
        ({"size": 3.5}, "odd"),
        ({"sigma_mm": float("nan")}, "positive"),
        ({"sigma_mm": float("inf")}, "finite"),
        ({"sigma_mm": -1.0, "size": 3}, "positive"),
        ({"sigma_mm": 1.0, "size": 4}, "odd"),
        ({"sigma": float("inf"), "size": "auto"}, "finite"),
        ({"sigma": 1e308, "size": "auto"}, r"sigma is 1e\+308 voxels, which wants"),
        ({"sigma": 1e-200}, "at least 1e-100"),
        ({"size": (3, 3, 2)}, "odd"),
        ({"strength": 2.0}, "strength must lie"),
        ({"intensity_scale": 1.0}, "intensity_scale does not apply to method svls"),
        ({"name": "bilateral", "intensity_scale": 0.0}, "must be positive and finite"),
        ({"name": "bilateral", "alpha": 0.1}, "alpha does not apply"),
        ({"sigma": (1.0, 1.0, 1.0, 1.0)}, "one value, or one per axis"),
        ({"sigma": (1.0, 1.0), "size": (3, 3, 3)}, "one value, or one per axis"),
    ],
)
def test_parameters_that_do_not_fit(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        Method(**parameters)


def test_lists_and_arrays_will_do() -> None:
    expected = Method(sigma=(1.0, 2.0, 3.0), size=(3, 5, 7))
    assert Method(sigma=[1.0, 2.0, 3.0], size=np.array([3, 5, 7])) == expected  # type: ignore[arg-type]
    json.dumps(Method(sigma=np.float64(2), size=np.int64(5)).to_json())  # type: ignore[arg-type]


def test_wide_sigma_mm_is_judged_on_the_images_own_grid() -> None:
    method = Method(sigma_mm=25.0)
    assert method.window((5.0, 5.0, 5.0))[1] == (31, 31, 31)
    with pytest.raises(InvalidParameterError, match="sigma is 25 voxels, which wants"):
        method.on_grid((1.0, 1.0, 1.0))


def test_number_of_axes_must_fit_the_image() -> None:
    method = Method(sigma=(1.0, 1.0, 1.0))
    with pytest.raises(InvalidParameterError, match="sigma has 3 values, the image 2"):
        method.on_grid((1.0, 1.0))
