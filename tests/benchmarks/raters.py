"""The script a user would write to fuse raters: SimpleITK and one-hot NumPy means.

    python tests/benchmarks/raters.py N_CLASSES OUT.zarr CASE RATER1 RATER2 [CASE ...]

For each case: the mean of the raters' one-hot maps as float32 (no smoothing), and the
consensus by LabelVoting and by MultiLabelSTAPLE.
"""

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import zarr


def main() -> None:
    n_classes, out = int(sys.argv[1]), Path(sys.argv[2])
    for start in range(3, len(sys.argv), 3):
        name, *paths = sys.argv[start : start + 3]
        images = [sitk.Cast(sitk.ReadImage(path), sitk.sitkUInt8) for path in paths]
        mean = np.zeros((n_classes, *images[0].GetSize()[::-1]), np.float32)
        for image in images:
            labels = sitk.GetArrayFromImage(image)
            onehot = labels == np.arange(n_classes)[:, None, None, None]
            mean += onehot.astype(np.float32) / len(images)
        voted = sitk.GetArrayFromImage(sitk.LabelVoting(images, n_classes))
        staple = sitk.GetArrayFromImage(sitk.MultiLabelSTAPLE(images, n_classes))
        for kind, array in (("soft", mean), ("voted", voted), ("staple", staple)):
            zarr.save_array(str(out / name / kind), array)


if __name__ == "__main__":
    main()
