"""Make the phantoms in this folder; the same bytes every time.

    python sample_data/make.py

An "abdomen" of four classes (background, organ, vessel, lesion) on an oblique grid with
thick slices, annotated by an expert (`labels/`) and by three raters whose contours
differ as people's do (`raters/`, and with a mask per class `masks/`), with matching
images (`images/`); and one 2-D slice (`slice/`). The study in `dicom/` is made by
`make_dicom.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

HERE = Path(__file__).parent
SHAPE = (20, 56, 60)
SPACING_MM = (3.0, 1.0, 1.0)
ORIGIN_MM = (-112.5, -31.25, 40.75)
CLASSES = {0: "background", 1: "organ", 2: "vessel", 3: "lesion"}
# Of Okabe & Ito: colour-blind people, too, see them on grey and beside one another.
COLORS = {0: "000000", 1: "56B4E9", 2: "D55E00", 3: "F0E442"}
# As in a T2-weighted MR image: blood that flows is dark, a lesion bright.
LEVELS = {0: 60.0, 1: 120.0, 2: 10.0, 3: 220.0}
CASES = 8
RATED_CASES = 3
# How far inside (or outside) of what the expert sees each rater draws, in mm.
RATERS = {"a": 0.5, "b": 0.0, "c": -0.5}

Volume = npt.NDArray[np.float64]


def oblique() -> npt.NDArray[np.float64]:
    """Direction cosines (x, y, z) of a scan tilted by 12 and turned by 7 degrees."""
    tilt, turn = np.deg2rad([12, 7])
    about_x = [
        [1, 0, 0],
        [0, np.cos(tilt), -np.sin(tilt)],
        [0, np.sin(tilt), np.cos(tilt)],
    ]
    about_z = [
        [np.cos(turn), -np.sin(turn), 0],
        [np.sin(turn), np.cos(turn), 0],
        [0, 0, 1],
    ]
    return np.array(about_z) @ np.array(about_x)


def waves(rng: np.random.Generator, amplitude: float) -> Volume:
    """A smooth random field, in mm: how far a contour strays."""
    grid = [np.arange(n) * mm for n, mm in zip(SHAPE, SPACING_MM, strict=True)]
    z, y, x = np.meshgrid(*grid, indexing="ij")
    field = np.zeros(SHAPE)
    for _ in range(12):
        frequency = rng.normal(scale=1 / 9, size=3)
        phase = rng.uniform(0, 2 * np.pi)
        field += np.cos(frequency[0] * z + frequency[1] * y + frequency[2] * x + phase)
    return amplitude * field / np.sqrt(6)


def distance(centre_mm: npt.ArrayLike, radii_mm: npt.ArrayLike) -> Volume:
    """Roughly the distance in mm from an ellipsoid's surface, negative inside."""
    centre, radii = np.asarray(centre_mm), np.asarray(radii_mm)
    grid = [np.arange(n) * mm for n, mm in zip(SHAPE, SPACING_MM, strict=True)]
    points = np.stack(np.meshgrid(*grid, indexing="ij"))
    scaled = (points - centre[:, None, None, None]) / radii[:, None, None, None]
    return (np.sqrt((scaled**2).sum(axis=0)) - 1) * radii.min()


def anatomy(rng: np.random.Generator) -> list[Volume]:
    """Distances to organ, vessel and lesions of one patient."""
    middle = np.array(SHAPE) * SPACING_MM / 2 + rng.normal(scale=2, size=3)
    bend = waves(rng, 2)
    organ = distance(middle, rng.uniform((22, 18, 20), (26, 21, 24))) + bend
    vessel = distance(middle + np.array((0, 6, -9)), (60, 4, 4)) + bend
    lesions = [
        distance(middle + np.array(place), rng.uniform((6, 4.5, 4.5), (9, 7, 7)))
        for place in rng.permutation([(8, -6, 7), (-9, -5, -8), (-6, 8, 8)])[:2]
    ]
    return [organ, vessel, np.minimum(*lesions) + waves(rng, 1)]


def annotate(
    distances: list[Volume],
    rng: np.random.Generator,
    amplitude: float,
    margin: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """A label map, drawn by a hand that strays by ``amplitude`` mm.

    All contours lie ``margin`` mm inside of what is there.
    """
    labels = np.zeros(SHAPE, np.uint8)
    for value, field in enumerate(distances, start=1):
        labels[field + margin + waves(rng, amplitude) < 0] = value
    return labels


def image(distances: list[Volume], rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """A scan: blurred boundaries and noise."""
    scan = np.full(SHAPE, LEVELS[0])
    for value, field in enumerate(distances, start=1):
        inside = 1 / (1 + np.exp(field / 0.8))
        scan += inside * (LEVELS[value] - scan)
    noisy = scan + rng.normal(scale=12, size=SHAPE)
    return (8 * np.round(noisy / 8)).astype(np.int16)  # small when packed


def write(
    path: Path, array: npt.NDArray[np.generic], *, segments: bool = False
) -> None:
    """Write an image; ``segments`` names the classes in its header, as Slicer does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = sitk.GetImageFromArray(array)
    if array.ndim == 3:
        picture.SetSpacing(SPACING_MM[::-1])
        picture.SetOrigin(ORIGIN_MM)
        picture.SetDirection(oblique().ravel().tolist())
    else:
        picture.SetSpacing((0.7, 0.7))
        picture.SetOrigin((-12.25, 3.5))
    for value, name in CLASSES.items() if segments else ():
        rgb = " ".join(f"{part / 255:.6f}" for part in bytes.fromhex(COLORS[value]))
        texts = {"LabelValue": str(value), "Name": name, "Color": rgb}
        for key, text in texts.items():
            picture.SetMetaData(f"Segment{value}_{key}", text)
    sitk.WriteImage(picture, str(path), useCompression=True)


def write_masks(folder: Path, labels: npt.NDArray[np.uint8]) -> None:
    """A mask for each class; that of the organ is whole, with the lesion in it."""
    write(folder / "organ.nii.gz", np.isin(labels, (1, 3)).astype(np.uint8))
    write(folder / "vessel.nii.gz", (labels == 2).astype(np.uint8))
    write(folder / "lesion.nii.gz", (labels == 3).astype(np.uint8))


def main() -> None:
    for number in range(1, CASES + 1):
        rng = np.random.default_rng(number)
        distances = anatomy(rng)
        suffix = "nrrd" if number % 4 == 0 else "nii.gz"
        name = f"case_{number:02d}.{suffix}"
        labels = annotate(distances, rng, amplitude=0.2)
        write(HERE / "labels" / name, labels, segments=suffix == "nrrd")
        write(HERE / "images" / name, image(distances, rng))
        if number == 1:
            write(HERE / "slice" / "slice_01.nrrd", labels[len(labels) // 2])
        if number <= RATED_CASES:
            for rater, margin in RATERS.items():
                drawn = annotate(distances, rng, amplitude=1, margin=margin)
                write(HERE / "raters" / rater / name, drawn)
                write_masks(HERE / "masks" / f"case_{number:02d}" / rater, drawn)
    rows = [f"{value},{name},{COLORS[value]}\n" for value, name in CLASSES.items()]
    (HERE / "classes.csv").write_text("".join(["value,name,color\n", *rows]))


if __name__ == "__main__":
    main()
