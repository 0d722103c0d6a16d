"""Temperature scaling: probabilities p^(1/T), renormalised, T fitted by NLL.

It makes all forecasts less sure (T > 1) or surer (T < 1) by one number, and is what
softer labels compete with.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from svls_cli.arrays import Float32Array, FloatArray, SoftArray, UIntArray

# Temperatures at which the NLL is measured, so close that a parabola between three of
# them finds the least NLL within .5 %.
TEMPERATURES = np.geomspace(0.2, 8, 41)


def scale_by_temperature(p: SoftArray, temperature: float) -> Float32Array:
    """Probabilities p^(1/T), renormalised; a probability of 0 stays 0.

    Parameters
    ----------
    p : (c, ...)
        Probabilities or their levels; all 0 where there is no forecast.
    temperature
        T: above 1 for less sure forecasts, below 1 for surer ones.

    References
    ----------
    .. [1] Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; the
       softmax of logits over T.

    Examples
    --------
    >>> scale_by_temperature(np.array([[0.9, 0], [0.1, 0]]), 2).tolist()
    [[0.75, 0.0], [0.25, 0.0]]
    """
    scaled = np.zeros(p.shape, np.float32)
    # Most are 0, where there are many classes.
    np.power(p, 1 / temperature, out=scaled, where=p > 0, dtype=np.float32)
    total = scaled.sum(axis=0)
    np.divide(scaled, total, out=scaled, where=total > 0)
    return scaled


def nll_by_temperature(
    forecasts: UIntArray, said: UIntArray, *, levels: int
) -> FloatArray:
    """NLL of scaled forecasts at each of `TEMPERATURES`.

    The sum of -ln p, not clipped, of what raters said, but for labels of probability 0:
    these stay 0 at any temperature, and so would add the same, infinite number to all.

    Parameters
    ----------
    forecasts : (c, n)
        Levels of each class's probability, ``levels`` for 1; none is certain.
    said : (raters, n)
        Levels that the forecast has for what each rater said.
    levels
        Number of levels above 0.

    Returns
    -------
    (temperatures,) float64
        Convex in 1/T.
    """
    labels = np.count_nonzero(said, axis=0)  # that count, at each forecast
    by_voxel = forecasts.T[labels > 0]
    if not len(by_voxel):
        return np.zeros(len(TEMPERATURES))
    # Most classes have probability 0, and so add nothing to the sum over classes.
    present = by_voxel[by_voxel > 0]
    starts = np.cumsum(np.count_nonzero(by_voxel, axis=1))
    starts = np.append(0, starts[:-1])
    charged = np.bincount(said.ravel().astype(np.intp), minlength=levels + 1)[1:]
    own = -float(charged @ np.log(np.arange(1, levels + 1) / levels))
    totals = (np.add.reduceat(power[present], starts) for power in _powers(levels))
    sums = [float(labels[labels > 0] @ np.log(total)) for total in totals]
    nll: FloatArray = own / TEMPERATURES + np.array(sums)
    return nll


def best_temperature(nll: FloatArray) -> float:
    """Temperature of the least NLL, by a parabola in ln T; 1 if none is better.

    Parameters
    ----------
    nll : (temperatures,)
        NLL at each of `TEMPERATURES`. If the least is the first or last one, that is
        the answer.

    Examples
    --------
    >>> round(best_temperature((np.log(TEMPERATURES) - np.log(1.3)) ** 2), 6)
    1.3
    """
    at = int(np.argmin(nll))
    if nll[at] == nll.max():
        return 1.0
    if at in (0, len(nll) - 1):
        return float(TEMPERATURES[at])
    before, least, after = nll[at - 1 : at + 2]
    shift = (before - after) / (before - 2 * least + after) / 2
    step = np.log(TEMPERATURES[1] / TEMPERATURES[0])
    return float(TEMPERATURES[at] * np.exp(shift * step))


@cache
def _powers(levels: int) -> FloatArray:
    """(temperatures, levels + 1) of p^(1/T)."""
    p = np.arange(levels + 1) / levels
    powers: FloatArray = p ** (1 / TEMPERATURES[:, np.newaxis])
    return powers
