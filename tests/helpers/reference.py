"""The published definition, transcribed: slow, plain, and independent of the engine.

Islam & Glocker, IPMI 2021: a Gaussian window without its centre, normalised, and a
centre as heavy as all neighbours together; one-hot labels are convolved with it, the
volume's edge voxels repeated outside.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def kernel(
    sigma: Sequence[float], size: Sequence[int], strength: float = 0.5
) -> dict[tuple[int, ...], float]:
    """Weight of each offset."""
    offsets = list(itertools.product(*(range(-(n // 2), n // 2 + 1) for n in size)))
    exponents = {
        offset: 0.5 * sum((i / s) ** 2 for i, s in zip(offset, sigma, strict=True))
        for offset in offsets
        if any(offset)
    }
    least = min(exponents.values())
    gauss = {offset: float(np.exp(least - e)) for offset, e in exponents.items()}
    total = sum(gauss.values())
    weights = {offset: strength * g / total for offset, g in gauss.items()}
    weights[(0,) * len(size)] = 1 - strength
    return weights


def soft_labels(
    indices: npt.NDArray[np.integer],
    n_classes: int,
    *,
    sigma: Sequence[float],
    size: Sequence[int],
    strength: float = 0.5,
    ignored: int | None = None,
) -> npt.NDArray[np.float64]:
    """(c, ...) probabilities of class indices."""
    weights = kernel(sigma, size, strength)
    radius = [n // 2 for n in size]
    padded = np.pad(indices, [(r, r) for r in radius], mode="edge")
    neighbours = np.zeros((n_classes, *indices.shape))
    seen = np.zeros(indices.shape)
    for offset, weight in weights.items():
        if not any(offset):
            continue
        window = tuple(
            slice(r + i, r + i + n)
            for r, i, n in zip(radius, offset, indices.shape, strict=True)
        )
        for c in range(n_classes):
            neighbours[c] += weight * (padded[window] == c)
        seen += weight * (padded[window] != (-1 if ignored is None else ignored))
    onehot = np.stack([indices == c for c in range(n_classes)]).astype(float)
    if ignored is None:
        return (1 - strength) * onehot + neighbours
    with np.errstate(invalid="ignore", divide="ignore"):
        shared = (1 - strength) * onehot + neighbours * (strength / seen)
    soft = np.where(seen > 0, shared, onehot)
    soft[:, indices == ignored] = 0
    return soft
