"""The methods by name, and the parameters that each one takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from svls_cli.errors import InvalidParameterError, check_choice
from svls_cli.soften.choices import METHODS, MethodName
from svls_cli.soften.kernel import (
    NeighbourWeights,
    auto_size,
    check_sigma,
    check_strength,
    neighbour_weights,
)

Size = int | Literal["auto"]

_WINDOW = ("sigma", "sigma_mm", "size")
# Names of the parameters of each method.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "svls": (*_WINDOW, "strength"),
    "bilateral": (*_WINDOW, "strength", "intensity_scale"),
    "gaussian": _WINDOW,
    "ls": ("alpha",),
    "onehot": (),
    "contours": (),
}


@dataclass(frozen=True)
class Softening:
    """Weights that make hard labels soft on one voxel grid.

    ``y = (1 - strength - uniform) * onehot + strength * neighbours + uniform / C``.

    Parameters
    ----------
    neighbours
        Weights of the window around a voxel; None if only the voxel itself counts.
    strength
        Share of the neighbours.
    uniform
        Share that all classes split evenly.
    intensity_scale
        Difference of intensity over which a neighbour's weight falls to 1/e, in
        standard deviations of the case's image; None if no image is used.
    """

    neighbours: NeighbourWeights | None
    strength: float
    uniform: float
    intensity_scale: float | None = None

    @property
    def radius(self) -> tuple[int, ...] | None:
        """Voxels the window reaches along each axis; None without a window."""
        return self.neighbours.radius if self.neighbours else None


@dataclass(frozen=True)
class Method:
    """A method and its parameters, before any voxel grid is known.

    Parameters
    ----------
    name
        ``svls``; ``bilateral`` (SVLS where neighbours count by how much they look like
        the voxel, too); ``gaussian`` (Gaussian blur: the window of SVLS, its centre
        included); ``ls`` (uniform label smoothing); ``onehot`` (no smoothing);
        ``contours`` (none either: the share of each voxel's area inside contours).
    sigma : one float, or one per spatial axis in array order
        Standard deviation of the neighbour weights, voxels. By default 1, as published,
        and 2 for ``bilateral``.
    sigma_mm
        Standard deviation in mm, instead of ``sigma``.
    size : one odd int or ``auto``, or one per spatial axis
        Window in voxels, 1 leaves an axis out; ``auto`` holds three sigmas either side.
        By default 3, as published (``bilateral``: 7), for ``sigma`` and ``auto`` for
        ``sigma_mm``, where 3 voxels may be far less than the width asked for.
    strength
        Share of the neighbours (``svls``, ``bilateral``). By default 0.5, as published,
        and 0.8 for ``bilateral``.
    intensity_scale
        Difference of intensity, in standard deviations of the case's image, over which
        a neighbour's weight falls to 1/e (``bilateral``). By default 0.5.
    alpha
        Share spread over all classes (``ls``).

    Raises
    ------
    InvalidParameterError
        If a value is out of range, or a parameter belongs to another method.
    """

    name: MethodName = "svls"
    sigma: float | tuple[float, ...] | None = None
    sigma_mm: float | tuple[float, ...] | None = None
    size: Size | tuple[Size, ...] | None = None
    strength: float | None = None
    intensity_scale: float | None = None
    alpha: float | None = None

    def __post_init__(self) -> None:
        check_choice("method", self.name, METHODS)
        for name in _WINDOW:  # lists and arrays will do
            object.__setattr__(self, name, _plain(getattr(self, name)))
        self._check_applicable()
        # Refuse inconsistent parameters before any file is read. A sigma in mm is
        # 1 voxel on a grid with this spacing.
        spacing: Any = 1.0
        if self.sigma_mm is not None:
            spacing = self.sigma_mm
            check_sigma(np.atleast_1d(spacing).tolist())
        for axes in self._lengths() or {2, 3}:
            self.on_grid(_per_axis(spacing, axes, "sigma_mm"))

    def on_grid(self, spacing_mm: Sequence[float]) -> Softening:
        """The method on a grid of ``len(spacing_mm)`` axes.

        Raises
        ------
        InvalidParameterError
            If sigma or size has another number of axes.
        """
        if not PARAMETERS[self.name]:
            return Softening(None, strength=0.0, uniform=0.0)
        if self.name == "ls":
            if not 0 <= self._alpha <= 1:
                raise InvalidParameterError(
                    f"alpha must lie in [0, 1], found {self._alpha}"
                )
            return Softening(None, strength=0.0, uniform=self._alpha)
        sigma_vox, size = self.window(spacing_mm)
        weights = neighbour_weights(sigma_vox, size=size)
        strength = self._strength
        if self.name == "gaussian":
            strength = weights.total / (1 + weights.total)
        check_strength(strength)
        scale = self._intensity_scale if self.needs_image else None
        if scale is not None and not 0 < scale < np.inf:
            raise InvalidParameterError(
                f"intensity_scale must be positive and finite, found {scale}"
            )
        return Softening(weights if strength else None, strength, 0.0, scale)

    def window(
        self, spacing_mm: Sequence[float]
    ) -> tuple[tuple[float, ...], tuple[int, ...]]:
        """Sigma in voxels and size, per axis of this grid."""
        axes = len(spacing_mm)
        if self.sigma_mm is not None:
            sigmas_mm = _per_axis(self.sigma_mm, axes, "sigma_mm")
            sigma_vox = tuple(
                s / mm for s, mm in zip(sigmas_mm, spacing_mm, strict=True)
            )
        else:
            sigma_vox = _per_axis(self._sigma, axes, "sigma")
        sizes = _per_axis(self._size, axes, "size")
        sizes = tuple(
            auto_size((sigma,))[0] if size == "auto" else size
            for size, sigma in zip(sizes, sigma_vox, strict=True)
        )
        return sigma_vox, sizes

    def window_json(self, spacing_mm: Sequence[float]) -> dict[str, Any]:
        """The window on this grid, as stored; empty if the method has none."""
        if "sigma" not in PARAMETERS[self.name]:
            return {}
        sigma_vox, size = self.window(spacing_mm)
        return {"sigma_vox": list(sigma_vox), "size_vox": list(size)}

    def to_json(self) -> dict[str, Any]:
        """Every parameter of the method as stored, defaults filled in."""
        if not PARAMETERS[self.name]:
            return {"name": self.name}
        if self.name == "ls":
            return {"name": self.name, "alpha": self._alpha}
        record: dict[str, Any] = {"name": self.name}
        if self.sigma_mm is not None:
            record["sigma_mm"] = _floats(self.sigma_mm)
        else:
            record["sigma"] = _floats(self._sigma)
        size = self._size
        record["size"] = list(size) if isinstance(size, tuple) else size
        if self.name != "gaussian":
            record["strength"] = self._strength
        if self.name == "bilateral":
            record["intensity_scale"] = self._intensity_scale
        return record

    # Defaults: sigma 1, size 3, strength 1/2 are the published SVLS; .1 is the smallest
    # of the published alphas; fused labels forecast other raters best by bilateral's,
    # whose window of 7 forecasts nearly as well as one of 13, at a tenth of the time.
    @property
    def _sigma(self) -> float | tuple[float, ...]:
        if self.sigma is None:
            return 2.0 if self.needs_image else 1.0
        return self.sigma

    @property
    def _size(self) -> Size | tuple[Size, ...]:
        if self.size is None:
            in_voxels = 7 if self.needs_image else 3
            return in_voxels if self.sigma_mm is None else "auto"
        return self.size

    @property
    def _strength(self) -> float:
        if self.strength is None:
            return 0.8 if self.needs_image else 0.5
        return float(self.strength)

    @property
    def needs_image(self) -> bool:
        """Whether the labels are smoothed by the case's image, too."""
        return self.name == "bilateral"

    @property
    def needs_contours(self) -> bool:
        """Whether it stands for contours, which no label map has."""
        return self.name == "contours"

    @property
    def _intensity_scale(self) -> float:
        return 0.5 if self.intensity_scale is None else float(self.intensity_scale)

    @property
    def _alpha(self) -> float:
        return 0.1 if self.alpha is None else float(self.alpha)

    def _check_applicable(self) -> None:
        """Refuse parameters of other methods, and two sigmas."""
        for parameter in {name for names in PARAMETERS.values() for name in names}:
            given = getattr(self, parameter) is not None
            if given and parameter not in PARAMETERS[self.name]:
                raise InvalidParameterError(
                    f"{parameter} does not apply to method {self.name}"
                )
        if self.sigma is not None and self.sigma_mm is not None:
            raise InvalidParameterError("give sigma or sigma_mm, not both")

    def _lengths(self) -> set[int]:
        """Numbers of axes of the parameters that have one value per axis."""
        per_axis = (self.sigma, self.sigma_mm, self.size)
        lengths = {len(value) for value in per_axis if isinstance(value, tuple)}
        if len(lengths) > 1 or lengths - {2, 3}:
            raise InvalidParameterError(
                "sigma and size take one value, or one per axis (z, y, x)"
            )
        return lengths


def _plain(value: Any) -> Any:
    """A number, a word or None; or a tuple of them from a list or an array."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    plain = np.asarray(value).tolist()
    return tuple(plain) if isinstance(plain, list) else plain


def _per_axis(value: Any, axes: int, name: str) -> tuple[Any, ...]:
    values = value if isinstance(value, tuple) else (value,) * axes
    if len(values) != axes:
        raise InvalidParameterError(
            f"{name} has {len(values)} values, the image {axes} axes"
        )
    return values


def _floats(value: float | tuple[float, ...]) -> float | list[float]:
    """Floats as stored, so that 1 and 1.0 are the same parameter."""
    return [float(v) for v in value] if isinstance(value, tuple) else float(value)
