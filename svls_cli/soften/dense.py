"""The method as one reads it in the paper, dense, on any array library.

    y_c(x) = (1 - strength) [label(x) = c] + strength sum_i w_i [label(x + i) = c]

NumPy, CuPy, PyTorch: the array decides where it is computed. The engine (`smoothing`)
gives the same bytes faster on a CPU, because it skips what is known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import iadd, imul
from typing import Any

import numpy as np
import numpy.typing as npt

from svls_cli.soften.bilateral import guided_sum
from svls_cli.soften.kernel import NeighbourWeights
from svls_cli.soften.levels import ROUNDING_MARGIN, checked_dtype, levels
from svls_cli.soften.libraries import Array, as_type, look_up, namespace, repeat_edges
from svls_cli.soften.methods import Softening
from svls_cli.soften.mixture import Mixture, labels_of


def soften_dense(
    labels: Array,
    softening: Softening,
    *,
    n_classes: int,
    dtype: npt.DTypeLike,
    mixture: Mixture | None = None,
    guide: Array | None = None,
    classes: Sequence[int] | None = None,
    ignores: bool | None = None,
    batched: bool = False,
    halo: bool = False,
) -> Array:
    """Soft labels of every voxel, in the library and on the device of the labels.

    Parameters
    ----------
    labels : (z, y, x) or (y, x); with ``batched`` one axis more in front
        Class index of each voxel, ``n_classes`` where it is ignored; or codes.
    softening, n_classes, dtype, mixture
        As in `soften_block`, and so are errors.
    guide : as ``labels``
        The image, as `standardised` makes it, for a method that takes one.
    classes
        The classes to return, ascending, none that occurs left out; default: all.
    ignores
        Whether a voxel is ignored, which takes double precision; default: look.
    halo
        Whether ``labels`` have one; otherwise edge voxels are repeated.

    Returns
    -------
    (c, z, y, x), with ``batched`` (b, c, z, y, x); or without z
        Each voxel's vector sums to exactly `levels` for integers; to 0 if ignored.
    """
    xp, kind, axis = namespace(labels), checked_dtype(dtype), int(batched)
    meaning = labels_of(mixture, n_classes, kind, uniform=softening.uniform)
    weights, radius = softening.neighbours, softening.radius or ()
    wanted = range(n_classes) if classes is None else classes
    codes = as_type(xp, labels, "int32")
    codes = codes if halo else repeat_edges(xp, codes, radius, axis)
    hard = codes if mixture is None else look_up(xp, mixture.hard.astype("i4"), codes)
    centre = (..., *(slice(r, -r or None) for r in radius))
    own, rated = hard[centre], hard != n_classes
    # The own class takes what others leave: negative while they are too many.
    wide = np.result_type(kind, np.int8) if kind.kind == "u" else kind

    def share_of(c: int) -> Array:  # share before smoothing
        if mixture is None:
            return codes == c
        return look_up(xp, mixture.column(c).astype(np.float32), codes)

    def alone(c: int) -> Array:  # where the window holds one code only
        return look_up(xp, meaning.alone(c).astype(wide), codes[centre])

    if weights is None:
        return xp.stack([as_type(xp, alone(c), kind) for c in wanted], axis=axis)
    ignoring = not bool(xp.all(rated)) if ignores is None else ignores
    top, work = levels(kind), "float64" if ignoring else "float32"
    sum_up = _summing(softening, weights, guide, axis, halo=halo)
    counting = ignoring or guide is not None  # else the weights sum to 1
    seen = (sum_up(as_type(xp, rated, work)), rated[centre]) if counting else None
    near, kept = _scale(xp, seen, top, top * softening.strength)
    half = float(np.float32(0.5 - top * ROUNDING_MARGIN)) if kind.kind == "u" else 0.0
    rest, soft = as_type(xp, own * 0 + top, wide), []
    for c in wanted:
        share = as_type(xp, share_of(c), work)
        values = sum_up(share)
        values *= near
        if mixture is not None:  # otherwise the own class alone keeps a share
            values += share[centre] * kept
        values += half
        values *= as_type(xp, own != c, work)
        soft.append(as_type(xp, values, wide))
        rest -= soft[-1]
    if mixture is not None or 2 * len(wanted) >= top * (1 - softening.strength):
        rest = _not_negative(xp, soft, rest, floats=kind.kind == "f")
    one = None if mixture is None else _one_code(xp, codes, radius, axis)
    for at, c in enumerate(wanted):
        soft[at] += rest * as_type(xp, own == c, wide)
        if one is not None:
            soft[at] = xp.where(one, alone(c), soft[at])
        soft[at] = as_type(xp, soft[at], kind)
    return xp.stack(soft, axis=axis)


def _summing(
    softening: Softening,
    weights: NeighbourWeights,
    guide: Array | None,
    axis: int,
    *,
    halo: bool,
) -> Callable[[Array], Array]:
    """The weighted sum over the neighbours."""
    if guide is None:
        return partial(_neighbours, weights=weights, axis=axis)
    if not halo:
        guide = repeat_edges(namespace(guide), guide, weights.radius, axis)
    return partial(guided_sum, guide=guide, softening=softening, axis=axis)


def _scale(
    xp: Any, seen: tuple[Array, Array] | None, top: int, near: float
) -> tuple[Any, Any]:
    """Factors of the neighbours and of the centre.

    ``seen`` is the weight of the neighbours that count, and whether the centre does.
    """
    if seen is None:
        return near, top - near
    # Those that count share it; where none does, a voxel keeps all.
    weight, rated = seen
    counted = (weight > np.finfo("float64").tiny) & rated
    shared = as_type(xp, counted, "float64") * near
    return shared / xp.where(counted, weight, xp.ones_like(weight)), top - shared


def _neighbours(share: Array, weights: NeighbourWeights, axis: int) -> Array:
    """F_z + G_z F_y + G_z G_y F_x, with G = 1 + total F: all but the centre."""
    result: Array = None
    for at, column in enumerate(weights.offsets, start=axis):
        if reach := len(column):
            shifts = _shifts(share, at, reach)
            pairs = (shifts[reach - d] + shifts[reach + d] for d in range(1, reach + 1))
            along = reduce(iadd, map(imul, pairs, column.tolist()))
            if at < axis + len(weights.offsets) - 1:  # the next axis is blurred with it
                share = along * weights.total
                share += shifts[reach]
            if result is not None:
                along += _shifts(result, at, reach)[reach]
            result = along
    return result


def _one_code(xp: Any, codes: Array, radius: Sequence[int], axis: int) -> Array:
    """Whether a voxel's window holds one code only."""
    low = high = codes
    for at, reach in enumerate(radius, start=axis):
        low = reduce(xp.minimum, _shifts(low, at, reach))
        high = reduce(xp.maximum, _shifts(high, at, reach))
    return low == high


def _not_negative(xp: Any, others: list[Array], rest: Array, *, floats: bool) -> Array:
    """Lower the largest of the ``others`` level by level until all have theirs."""
    if floats:
        return xp.clip(rest, 0, None)
    while bool(xp.any(rest < 0)):
        over = as_type(xp, rest < 0, "int16")
        largest = xp.argmax(xp.stack(others, axis=0), axis=0)
        others[:] = [other - over * (largest == k) for k, other in enumerate(others)]
        rest = rest + over
    return rest


def _shifts(array: Array, axis: int, reach: int) -> list[Array]:
    """The array seen from ``-reach`` to ``reach`` voxels away along an axis."""
    length, before = array.shape[axis] - 2 * reach, (slice(None),) * axis
    return [array[*before, slice(at, at + length)] for at in range(2 * reach + 1)]
