"""Writing images, and resampling label maps onto another grid.

The only user of SimpleITK, whose (x, y, z) is reversed here.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy.typing as npt
import SimpleITK as sitk

from svls_cli.arrays import UIntArray
from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import open_image_file
from svls_cli.labels.png import set_pixel_size
from svls_cli.labels.suffixes import suffix_of

# Silence ITK's warnings on stderr; problems are raised as errors.
sitk.ProcessObject.SetGlobalWarningDisplay(False)


def write_image(path: Path, voxels: npt.NDArray[Any], geometry: Geometry) -> None:
    """Write an image with its geometry, compressed where the format can.

    Parameters
    ----------
    path
        File to write; its suffix chooses the format. NRRD and MetaImage keep the
        geometry as doubles; NIfTI-1 has room for single precision only.
    voxels : (*geometry.shape)
        Any real type.
    geometry
        The voxel grid.

    Raises
    ------
    InputError
        If the file cannot be written whole, or its format cannot hold the geometry.
    """
    if suffix_of(path) == ".png" and geometry.ndim != 2:
        raise InputError(".png holds images, and this is a volume")
    image = sitk.GetImageFromArray(voxels)
    _set_geometry(image, geometry)
    _call_itk(lambda: sitk.WriteImage(image, str(path), useCompression=True), "write")
    if geometry.plane_mm and suffix_of(path) in (".nii", ".nii.gz"):
        _set_plane(path, *geometry.plane_mm)
    if suffix_of(path) == ".png":  # ITK leaves it out
        set_pixel_size(path, geometry.spacing_mm)
    # ITK's NIfTI writer reports neither a full disk nor a direction it cannot hold.
    with open_image_file(path) as file:
        written = file.geometry
    if not written.is_close(geometry, relative=1e-6):
        raise InputError(
            f"{suffix_of(path)} cannot hold this geometry: it would become {written}; "
            "nrrd and mha can"
        )


def resample_nearest(
    labels: UIntArray, source: Geometry, target: Geometry, *, outside: int
) -> UIntArray:
    """Resample a label map onto another grid; each voxel gets the nearest one's label.

    Parameters
    ----------
    labels : (*source.shape)
        Any unsigned integers.
    source, target
        Grids of the same number of axes.
    outside
        Label of voxels beyond the source.

    Returns
    -------
    (*target.shape), same type

    Raises
    ------
    InputError
        If one grid is 2-D and the other 3-D, or they are slices in two planes.
    """
    if source.ndim != target.ndim:
        raise InputError(
            f"a {source.ndim}-D label map cannot be resampled to {target.ndim}-D"
        )
    if not source.may_share_plane(target):
        raise InputError(f"slices at {source.plane_mm} and {target.plane_mm} mm")
    image = sitk.GetImageFromArray(labels)
    _set_geometry(image, source)
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(target.shape[::-1])
    resampler.SetOutputSpacing(target.spacing_mm[::-1])
    resampler.SetOutputOrigin(target.origin_mm[::-1])
    resampler.SetOutputDirection(target.direction[::-1])
    resampler.SetInterpolator(sitk.sitkNearestNeighbor)
    resampler.SetDefaultPixelValue(outside)
    resampled = _call_itk(lambda: resampler.Execute(image), "resample")
    voxels: UIntArray = sitk.GetArrayFromImage(resampled)
    return voxels


def _set_plane(path: Path, plane_mm: float) -> None:
    """Give a 2-D NIfTI file its place along z, which ITK leaves out."""
    packed, content = path.name.endswith(".gz"), path.read_bytes()
    header = bytearray(gzip.decompress(content) if packed else content)
    for place in (276, 324):  # of the offset in the qform and in the sform
        struct.pack_into("<f", header, place, plane_mm)
    path.write_bytes(gzip.compress(header, mtime=0) if packed else header)


def _set_geometry(image: sitk.Image, geometry: Geometry) -> None:
    """Give an image its voxel grid; reversed lists are SimpleITK's (x, y, z)."""
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin(geometry.origin_mm[::-1])
    image.SetDirection(geometry.direction[::-1])


def _call_itk(call: Callable[[], Any], doing: str) -> Any:
    """Call ITK, whose exceptions are RuntimeErrors with the reason in the last line.

    Raises
    ------
    InputError
        If ITK fails, with that reason.
    """
    try:
        return call()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("sitk::ERROR: ")
        raise InputError(f"ITK cannot {doing} it: {reason}") from error
