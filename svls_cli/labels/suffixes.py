"""Formats of image files: what their suffixes say, or their first bytes."""

from __future__ import annotations

from pathlib import Path

from svls_cli.labels.names import safe_name

# Longest first: `.nii.gz` is one suffix. Only formats whose integrity we can check.
SUFFIXES = (
    ".ome.tiff", ".ome.tif", ".seg.nrrd", ".nii.gz", ".nrrd", ".nhdr", ".tiff",
    ".nii", ".hdr", ".mha", ".mhd", ".mgz", ".mgh", ".png", ".tif",
)  # fmt: skip
JPEG = (".jpg", ".jpeg", ".jp2")
# Pictures that we do not read, and that somebody may take for label maps or images.
PICTURES = (*JPEG, ".bmp", ".gif", ".webp")
NO_SERIES = (
    "images are no DICOM series: SimpleITK writes one as a file on the same grid, by "
    "ReadImage(ImageSeriesReader.GetGDCMSeriesFileNames(DIR)) and WriteImage"
)
NO_JPEG = "JPEG changes the values of pixels: save what it was made from as PNG"


def suffix_of(path: Path) -> str:
    """The file's suffix if it is one we read, else ``""``.

    Examples
    --------
    >>> suffix_of(Path("a.b/case.1.nii.gz"))
    '.nii.gz'
    """
    return next((s for s in SUFFIXES if path.name.lower().endswith(s)), "")


def case_name(path: Path) -> str:
    """The file's name without its suffix.

    Examples
    --------
    >>> case_name(Path("labels/liver_01.nii.gz"))
    'liver_01'
    """
    suffix = suffix_of(path) or path.suffix
    return safe_name(path.name[: len(path.name) - len(suffix)])


def is_dicom(path: Path) -> bool:
    """Whether a file bears the mark of DICOM, whatever its name."""
    try:
        if not path.is_file():  # a pipe would wait for ever
            return False
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
