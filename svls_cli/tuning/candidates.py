"""The windows and strengths of SVLS to try, and the search for the best."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from svls_cli.errors import InvalidParameterError
from svls_cli.metrics.boundary_band import check_band_mm
from svls_cli.soften.methods import Method
from svls_cli.tuning.score_names import SCORES, ScoreName

# From the nearest neighbours alone to wider than what raters of organs or lesions
# differ by; ratios of about 4/3, as the scores change slowly with sigma.
DEFAULT_SIGMAS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
DEFAULT_STRENGTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

# What half and one standard deviation of an image tell apart.
DEFAULT_INTENSITY_SCALES = (0.5, 1.0)


def is_auto(method: Method) -> bool:
    """Whether its window holds three sigmas either side."""
    return "auto" in (method.size if isinstance(method.size, tuple) else (method.size,))


# Groups of candidates whose best is reported as well.
KINDS: dict[str, Callable[[Method], bool]] = {
    "mm": lambda method: (
        method.name == "svls" and method.sigma_mm is not None and is_auto(method)
    ),
    "voxels": lambda method: (
        method.name == "svls" and method.sigma is not None and is_auto(method)
    ),
    "size 3": lambda method: not is_auto(method),
    "image-guided": lambda method: method.needs_image,
}


@dataclass(frozen=True)
class Candidates:
    """The smoothing methods to try: every window with every strength.

    Parameters
    ----------
    sigmas
        Standard deviations, tried in voxels and in mm, each with window ``auto`` and
        with the published window of 3 voxels.
    strengths
        Shares of the neighbours, in (0, 1].
    in_plane
        Leave the first axis of three out of every window.
    intensity_scales
        Intensity scales of image-guided windows, tried with each sigma and window
        ``auto``.
    unfit
        Windows at strength 1 that are left out.

    Raises
    ------
    InvalidParameterError
        If there are none, or one is out of range.
    """

    sigmas: tuple[float, ...] = DEFAULT_SIGMAS
    strengths: tuple[float, ...] = DEFAULT_STRENGTHS
    in_plane: bool = False
    intensity_scales: tuple[float, ...] = ()
    unfit: tuple[Method, ...] = ()

    def __post_init__(self) -> None:
        for name in ("sigmas", "strengths", "intensity_scales"):
            values = sorted({float(value) for value in getattr(self, name)})
            if not values and name != "intensity_scales":
                raise InvalidParameterError(f"{name} must hold at least one number")
            object.__setattr__(self, name, tuple(values))
        for strength in self.strengths:
            if not 0 < strength <= 1:
                raise InvalidParameterError(
                    f"strengths must lie in (0, 1], found {strength:g}; 0 is one-hot, "
                    "which is scored anyway"
                )
        for sigma in self.sigmas:
            try:
                Method(sigma=sigma, size="auto")
            except InvalidParameterError as error:
                message = f"--sigmas {sigma:g} is no sigma in voxels: {error}"
                raise InvalidParameterError(message) from error
        _ = self.windows  # Method checks the intensity scales

    @cached_property
    def published(self) -> Method:
        """SVLS as published."""
        return Method(sigma=1.0, size=(1, 3, 3) if self.in_plane else 3, strength=0.5)

    @cached_property
    def windows(self) -> tuple[Method, ...]:
        """Windows at strength 1; SVLS in mm first: the first of equal scores wins."""
        auto: Any = (1, "auto", "auto") if self.in_plane else "auto"
        three = self.published.size
        windows = [
            *(Method(sigma_mm=s, size=auto, strength=1.0) for s in self.sigmas),
            *(Method(sigma=s, size=auto, strength=1.0) for s in self.sigmas),
            *(Method(sigma=s, size=three, strength=1.0) for s in self.sigmas),
            *(Method(sigma_mm=s, size=three, strength=1.0) for s in self.sigmas),
            replace(self.published, strength=1.0),
        ]
        windows += [
            replace(window, name="bilateral", intensity_scale=scale)
            for window in windows[: 2 * len(self.sigmas)]
            for scale in self.intensity_scales
        ]
        return tuple(each for each in dict.fromkeys(windows) if each not in self.unfit)

    def fitting(
        self, spacings_mm: Iterable[tuple[float, ...]]
    ) -> tuple[Candidates, tuple[str, ...]]:
        """Those that suit the voxels of all cases, and why each other one does not.

        Parameters
        ----------
        spacings_mm
            Size of the voxels of each case.
        """
        cases, reasons, unfit = Counter(spacings_mm), dict[str, str](), list[Method]()
        for window in self.windows:
            found = {each: _misfit(window, each) for each in cases}
            odd = {each: reason for each, reason in found.items() if reason}
            if not odd:
                continue
            unfit.append(window)
            svls = replace(window, name="svls", intensity_scale=None)
            name = method_options(svls).partition(" --strength")[0]
            finest = min(odd)
            voxel = " x ".join(f"{mm:.4g}" for mm in finest)
            number = f"{sum(cases[each] for each in odd)} of {cases.total()} cases"
            reasons[name] = (
                f"{name} is not tried, as it does not suit {number}: {odd[finest]}, on "
                f"voxels of {voxel} mm"
            )
        return replace(self, unfit=tuple(unfit)), tuple(reasons.values())

    @cached_property
    def tried_strengths(self) -> tuple[float, ...]:
        """The strengths to try, and the published one for comparison; ascending."""
        return tuple(sorted({*self.strengths, 0.5}))

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        """All candidates, in the order of flattened (windows, strengths) scores."""
        return tuple(
            replace(window, strength=strength)
            for window in self.windows
            for strength in self.tried_strengths
        )

    def edge_warnings(self, best: Method) -> list[str]:
        """Warnings where a larger or smaller value than any tried may be better.

        Examples
        --------
        >>> candidates = Candidates(sigmas=(1, 2))
        >>> candidates.edge_warnings(Method(sigma_mm=2, strength=0.3))
        ['sigma 2 is the largest that was tried: try larger sigmas']
        """
        # Numbers, as no window has one sigma per axis.
        sigma: Any = best.sigma if best.sigma_mm is None else best.sigma_mm
        strength: Any = best.strength
        warnings = []
        tried = (
            ("sigma", sigma, self.sigmas, math.inf),
            ("strength", strength, self.tried_strengths, 1.0),
        )
        for name, value, values, limit in tried:
            many = "sigmas" if name == "sigma" else "strengths"
            if value >= values[-1] and value < limit:
                warnings.append(
                    f"{name} {value:g} is the largest that was tried: try larger {many}"
                )
            elif value <= values[0]:
                warnings.append(
                    f"{name} {value:g} is the smallest that was tried: try smaller "
                    f"{many}"
                )
        return warnings


@dataclass(frozen=True)
class Search:
    """The search for the best candidate; parameters as in `tune_smoothing`.

    Raises
    ------
    InvalidParameterError
        If a parameter is out of range.
    """

    candidates: Candidates
    score: ScoreName
    band_mm: float
    folds: int
    seed: int

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise InvalidParameterError(
                f"score must be {' or '.join(SCORES)}, found {self.score!r}"
            )
        check_band_mm(self.band_mm)
        for name, least in (("folds", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise InvalidParameterError(
                    f"{name} must be at least {least}, found {getattr(self, name)}"
                )

    def to_json(self) -> dict[str, Any]:
        """The parameters as reported."""
        return {
            "sigmas": list(self.candidates.sigmas),
            "strengths": list(self.candidates.tried_strengths),
            "in_plane": self.candidates.in_plane,
            "intensity_scales": list(self.candidates.intensity_scales),
            "score": self.score,
            "band_mm": self.band_mm,
            "folds": self.folds,
            "seed": self.seed,
        }


def _misfit(window: Method, spacing_mm: tuple[float, ...]) -> str | None:
    """Reason why a window cannot be used on a grid, or None."""
    try:
        window.on_grid(spacing_mm)
    except InvalidParameterError as error:
        return str(error)
    return None


def method_options(method: Method, *, defaults: bool = True) -> str:
    """A method as command-line options; default values of SVLS may be left out.

    Examples
    --------
    >>> method_options(Method(sigma_mm=1, size=(1, "auto", "auto"), strength=0.8))
    '--sigma-mm 1 --size 1,auto,auto --strength 0.8'
    >>> method_options(Method(size=(1, 3, 3)), defaults=False)
    '--size 1,3,3'
    """
    left_out = {"name": "svls"} if defaults else Method().to_json()
    return " ".join(
        f"--{_OPTIONS.get(key, key).replace('_', '-')} {_text(value)}"
        for key, value in method.to_json().items()
        if left_out.get(key) != value
    )


# Parameters whose options have other names.
_OPTIONS = {"name": "method"}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return value if isinstance(value, str) else f"{value:g}"
