"""Are neighbours that look alike better forecasts of other raters than near ones?

    python tests/benchmarks/image_guided.py r1/ r2/ r3/ r4/ --images images/ \
        --patients cases.csv

Binary label maps by several raters, and the images they were drawn on, of the cases
and patients that the file lists. Smoothed within slices, by SVLS and by bilateral
weights, whose window also falls off with the difference of the intensities:

    w_j ~ exp(-1/2 |j|^2 / sigma^2) exp(-|I_j - I_i| / s), j != i, sum_j w_j = strength

with s in standard deviations of the case's image. One rater's map forecasts the others
("one map"); the mean of all but one forecasts the one left out ("fused"). NLL, with p
clipped to [1e-3, 1], and Brier score of the voxels of a band around any rater's
boundary, averaged within cases; folds by patient: sigma, strength and s are those with
the least NLL on the other folds. Intervals: bootstrap over patients.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from numpy.lib.stride_tricks import sliding_window_view
from timing import print_table

from svls_cli.arrays import Float32Array, FloatArray, IndexArray
from svls_cli.metrics.boundary_band import boundary_band
from svls_cli.metrics.calibration import CLIP
from svls_cli.soften.kernel import auto_size, svls_kernel

SIGMAS = (0.75, 1.0, 1.5, 2.0, 3.0)
SCALES = (np.inf, 0.25, 0.5, 1.0, 2.0)  # infinite: SVLS
STRENGTHS = np.arange(1, 11, dtype=np.float32) / 10
QUESTIONS = ("one map", "fused")
SCORES = ("NLL", "Brier")
FOLDS, RESAMPLES, BATCH = 5, 2000, 2048
SIZE = max(auto_size((max(SIGMAS),)))


def windows() -> Float32Array:
    """(neighbours, 1 + sigmas) weights; the first is the published window of 3."""
    sizes = [(1.0, 3), *((sigma, auto_size((sigma,))[0]) for sigma in SIGMAS)]
    kernels = [
        np.pad(svls_kernel((s, s), size=(n, n), strength=1.0), (SIZE - n) // 2)
        for s, n in sizes
    ]
    flat = np.delete(np.stack(kernels, -1).reshape(SIZE**2, -1), SIZE**2 // 2, axis=0)
    return flat.astype(np.float32)


def neighbours(volume: Float32Array) -> Float32Array:
    """View of each voxel's window within its slice, edges repeated."""
    padded = np.pad(volume, ((0, 0), *((SIZE // 2,) * 2,) * 2), mode="edge")
    return sliding_window_view(padded, (SIZE, SIZE), axis=(1, 2))


def score_case(
    maps: Sequence[Float32Array], image: Float32Array, band: int
) -> FloatArray:
    """(questions, scores, scales, windows, strengths) means over the band."""
    labels = [m.astype(np.uint8) for m in maps]
    inside = np.nonzero(boundary_band(labels, n_classes=2, radius=(0, band, band)))
    deviation = float(image.std()) or 1.0
    seen = [neighbours(volume) for volume in (image / deviation, *maps)]
    weights, total = windows(), np.zeros(())
    for start in range(0, len(inside[0]), BATCH):
        at = tuple(axis[start : start + BATCH] for axis in inside)
        flat = [view[at].reshape(len(at[0]), -1) for view in seen]
        centre = [values[:, SIZE**2 // 2] for values in flat]
        intensity, *near = (np.delete(values, SIZE**2 // 2, axis=1) for values in flat)
        difference = -np.abs(intensity - centre[0][:, None])
        own = np.stack(centre[1:])
        for k, scale in enumerate(SCALES):
            alike = np.exp(difference / np.float32(scale))
            whole = alike @ weights
            share = np.stack([(alike * one) @ weights / whole for one in near])
            sums = scores(own, share)
            if not total.ndim:
                total = np.zeros((2, 2, len(SCALES), *sums.shape[2:]))
            total[:, :, k] += sums
    return total / len(inside[0])


def scores(own: Float32Array, share: Float32Array) -> FloatArray:
    """Sums over voxels; ``own`` (raters, n), ``share`` (raters, n, windows)."""
    raters = len(own)
    others = (1 - np.eye(raters, dtype=np.float32)) / (raters - 1)
    mean, wide = others @ own, np.tensordot(others, share, axes=1)
    # Who says foreground: the mean of the others; or the one left out.
    result = np.empty((2, 2, share.shape[2], len(STRENGTHS)))
    for q in range(len(QUESTIONS)):
        before, near, said = ((own, share, mean), (mean, wide, own))[q]
        for k, strength in enumerate(STRENGTHS):
            p = (1 - strength) * before[..., None] + strength * near
            y = said[..., None]
            nll = y * np.log(np.maximum(p, CLIP))
            nll += (1 - y) * np.log(np.maximum(1 - p, CLIP))
            brier = 2 * (p * p - 2 * p * y + y)
            result[q, 0, :, k] = -nll.sum((0, 1), dtype=np.float64) / raters
            result[q, 1, :, k] = brier.sum((0, 1), dtype=np.float64) / raters
    return result


def chosen(nll: FloatArray, scales: slice) -> tuple[int, int, int]:
    """Scale, window and strength with the least mean over cases."""
    means = nll.mean(axis=0)[scales, 1:]
    scale, window, strength = np.unravel_index(means.argmin(), means.shape)
    return int(scale) + (scales.start or 0), int(window) + 1, int(strength)


def shown(setting: tuple[int, int, int]) -> str:
    scale, window, strength = setting
    guided = "" if scale == 0 else f", s {SCALES[scale]:g}"
    return f"sigma {SIGMAS[window - 1]:g}, strength {STRENGTHS[strength]:.1f}{guided}"


def held_out(
    table: FloatArray, folds: IndexArray, scales: slice
) -> tuple[FloatArray, Counter[str]]:
    """(cases, scores) by the setting chosen on the other folds, and the settings."""
    result, settings = np.empty((len(table), 2)), Counter[str]()
    for fold in range(FOLDS):
        out = folds == fold
        setting = chosen(table[~out, 0], scales)
        result[out] = table[(out, slice(None), *setting)]
        settings[shown(setting)] += 1
    return result, settings


def interval(values: FloatArray, patients: npt.NDArray[np.str_]) -> str:
    """Mean over cases and its 95 % interval, patients drawn with replacement."""
    _, which = np.unique(patients, return_inverse=True)
    sums, counts = np.bincount(which, values), np.bincount(which)
    draws = np.random.default_rng(0).integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return f"{values.mean():+.4f} ({low:+.4f} to {high:+.4f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("raters", nargs="+", type=Path, help="a folder per rater")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--patients", type=Path, required=True, help="CSV file")
    parser.add_argument("--band", type=int, default=2, help="voxels either side")
    options = parser.parse_args()
    with options.patients.open(newline="") as file:
        rows = [(row["case"], row["patient"]) for row in csv.DictReader(file)]
    everyone = sorted({patient for _, patient in rows})
    order = np.random.default_rng(0).permutation(len(everyone))
    fold_of = {everyone[at]: k % FOLDS for k, at in enumerate(order)}

    def read(folder: Path, case: str) -> Float32Array:
        image = sitk.ReadImage(str(folder / f"{case}.nii.gz"))
        voxels: Float32Array = sitk.GetArrayFromImage(image).astype(np.float32)
        return voxels

    table, patients = [], []
    for case, patient in rows:
        maps = [read(folder, case) for folder in options.raters]
        if any(0 < one.mean() < 1 for one in maps):
            table.append(score_case(maps, read(options.images, case), options.band))
            patients.append(patient)
    every, who = np.stack(table), np.array(patients)
    folds = np.array([fold_of[patient] for patient in patients])
    print(f"{len(every)} cases of {len(set(patients))} patients, {FOLDS} folds")
    for q, question in enumerate(QUESTIONS):
        ours = {"SVLS": slice(0, 1), "bilateral": slice(1, None)}
        tuned = {name: held_out(every[:, q], folds, s) for name, s in ours.items()}
        (svls, _), (guided, _) = tuned.values()
        published = every[:, q, :, 0, 0, 4]
        table_rows = [("SVLS as published", published, "sigma 1, size 3, strength 0.5")]
        for name, (values, settings) in tuned.items():
            best = shown(chosen(every[:, q, 0], ours[name]))
            best += f"; {max(settings.values())} of {FOLDS} folds alike"
            table_rows.append((f"{name}, held out", values, best))
        print_table(
            f"{question}: means over cases; the setting chosen on all",
            ("method", *SCORES, "setting"),
            [(n, *(f"{v:.4f}" for v in vs.mean(axis=0)), s) for n, vs, s in table_rows],
        )
        for k, score in enumerate(SCORES):
            ratio = guided[:, k].mean() / svls[:, k].mean()
            change = interval(guided[:, k] - svls[:, k], who)
            print(f"{score}: bilateral / SVLS {ratio:.4f}, difference {change}")
        for k, scale in enumerate(SCALES):
            least = every[:, q, 0, k, 1:].mean(axis=0).min(axis=(-2, -1))
            print(f"s {scale:g}: least NLL on all cases {least:.4f}")


if __name__ == "__main__":
    main()
