"""Scores of soft labels against the masks of several raters, class by class."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from svls_cli.arrays import FloatArray, IntArray


def soft_dice(count: IntArray, hits: IntArray, overlaps: IntArray) -> float:
    """Dice of a soft label p and the raters' mean q: 2 sum pq / (sum p^2 + sum q^2).

    1 if and only if p = q everywhere; NaN if both are 0 everywhere.

    Parameters
    ----------
    count : (levels + 1,)
        Number of voxels at each level of p.
    hits : (raters, levels + 1)
        Number of these that each rater gave the class.
    overlaps : (raters, raters)
        Number of voxels that both of two raters gave the class.

    References
    ----------
    .. [1] Milletari et al., "V-Net", 3DV 2016, arXiv:1606.04797.
    """
    p = np.arange(len(count)) / (len(count) - 1)
    both = float(hits.mean(axis=0) @ p)
    total = float(count @ p**2) + float(overlaps.mean())
    return 2 * both / total if total else math.nan


def generalised_energy_distance(
    count: IntArray, hits: IntArray, overlaps: IntArray
) -> float:
    """Squared generalised energy distance of a soft label and the raters' masks.

    2 E[d(S, Y)] - E[d(S, S')] - E[d(Y, Y')] with d = 1 - IoU, and 0 between two empty
    masks. Y is the mask of a rater drawn at random; S is {voxels of p > u}, u uniform
    on [0, 1). So S has the soft label's probability at every voxel, and outlines that
    lie inside of one another, as those of a stricter and a looser rater; drawn for each
    voxel by itself it would be noise that no rater draws, and the argmax alone would
    say nothing of the uncertainty. The expectations are exact: nothing is drawn.

    Parameters
    ----------
    count, hits, overlaps
        As in `soft_dice`.

    Returns
    -------
    float
        0 if the distributions are the same, up to 2; NaN if neither has the class.

    References
    ----------
    .. [1] Kohl et al., "A Probabilistic U-Net for Segmentation of Ambiguous Images",
       NeurIPS 2018, arXiv:1806.05034.
    """
    # Voxels of S at each of the levels that u can lie below, largest S first.
    sizes, inside = (
        np.cumsum(part[..., :0:-1], axis=-1)[..., ::-1] for part in (count, hits)
    )
    drawn = overlaps.diagonal()
    if not sizes[0] and not drawn.any():
        return math.nan
    between = 1 - _iou(inside, sizes, drawn[:, np.newaxis]).mean()
    raters = 1 - _iou(overlaps, drawn, drawn[:, np.newaxis]).mean()
    return float(2 * between - _mean_distance(sizes) - raters)


def volume_crps(volume: float, drawn: npt.ArrayLike) -> float:
    """Continuous ranked probability score of a volume and those that raters drew.

    The integral of (F(v) - [v >= volume])^2, F being the normal distribution of the
    mean and the standard deviation (over n) of the raters' volumes. It is |volume -
    drawn| where they all drew the same. (The challenge's code integrates over three
    standard deviations either side, beyond which all volumes are equally bad.)

    Parameters
    ----------
    volume
        Predicted volume: the sum of the probabilities.
    drawn : (raters,)
        Volume by each rater, in the same unit, which is that of the score.

    Returns
    -------
    float
        0 or more; NaN if the volume and all that were drawn are 0.

    References
    ----------
    .. [1] Riera-Marin et al., "Calibration and Uncertainty for multiRater Volume
       Assessment in multiorgan Segmentation (CURVAS) challenge results", Comput. Biol.
       Med. 197, 2025, arXiv:2505.08685.
    .. [2] Gneiting & Raftery, J. Am. Stat. Assoc. 102, 2007, section 4.2 (of the normal
       distribution).

    Examples
    --------
    >>> volume_crps(7.0, [5.0, 5.0]), round(volume_crps(5.0, [4.0, 6.0]), 4)
    (2.0, 0.2337)
    """
    volumes = np.asarray(drawn, np.float64)
    if not volume and not volumes.any():
        return math.nan
    away, deviation = abs(volume - float(volumes.mean())), float(volumes.std())
    if not deviation:
        return away
    z = away / deviation
    density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    within = math.erf(z / math.sqrt(2))
    return deviation * (z * within + 2 * density - 1 / math.sqrt(math.pi))


def _iou(both: IntArray, one: IntArray, other: IntArray) -> FloatArray:
    either = one + other - both
    iou = np.ones(either.shape)
    np.divide(both, either, out=iou, where=either > 0)
    return iou


def _mean_distance(sizes: IntArray) -> float:
    """Mean of 1 - IoU over all pairs of masks that lie inside of one another.

    Parameters
    ----------
    sizes : (n,)
        Voxels of each mask, descending.
    """
    n, filled = len(sizes), sizes[sizes > 0].astype(np.float64)
    empty = n - len(filled)
    # The IoU of two is the smaller over the larger, and with itself 1.
    smaller = np.cumsum(filled[::-1])[::-1] - filled
    iou = 2 * float((smaller / filled).sum()) + len(filled) + empty**2
    return 1 - iou / n**2
