"""Header facts against other readers: nibabel for NIfTI, pynrrd for NRRD.

Whatever is accepted has the grid and the labels that they read, but for the rules that
`nifti`, `nrrd` and `meta_image` name; the rest is refused with a reason.
"""

import bz2
import gzip
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.header import OUTSIDE_DATA
from svls_cli.labels.images import open_image_file, open_label_file
from svls_cli.labels.output import resample_nearest
from svls_cli.labels.output import write_image as write
from tests.helpers.label_maps import OBLIQUE, blobs, patched, read, refused, write_image

LABELS = blobs((4, 5, 6), 3)
NAN, INF = float("nan"), float("inf")


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def shorts(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}h", *values)


def image_of(path: Path) -> tuple[np.ndarray, Geometry] | None:
    """Voxels and grid of a file; None if it is refused."""
    try:
        with open_image_file(path) as file:
            return file.read(slice(None)), file.geometry
    except InputError:
        return None


def geometry(path: Path) -> Geometry:
    with open_label_file(path) as file:
        return file.geometry


def affine(grid: Geometry) -> np.ndarray:
    """Voxel (x, y, z) to millimetres in RAS, as nibabel has it."""
    result = np.eye(4)
    axes = np.reshape(grid.direction, (3, 3)) * grid.spacing_mm
    result[:3, :3] = axes[::-1, ::-1]
    result[:3, 3] = grid.origin_mm[::-1]
    return np.diag([-1, -1, 1, 1]) @ result


def nifti(path: Path, changes: dict[int, bytes] | None = None) -> Path:
    """A NIfTI-1 file of an oblique grid, with other bytes in its header."""
    direction = OBLIQUE.ravel().tolist()
    geometry = {"spacing": (0.7, 0.8, 2.5), "origin": (1, -2, 3)}
    write_image(path, LABELS, direction=direction, **geometry)
    return patched(path, changes or {})


FIELDS: dict[int, list[bytes]] = {  # place in the header, and values
    40: [shorts(2, 6, 20), shorts(3, 6, 5, 4), shorts(4, 6, 5, 4, 1), shorts(3, 5, 6)],
    70: [shorts(2), shorts(4), shorts(256), shorts(128), shorts(0)],
    76: [floats(1), floats(-1), floats(NAN)],
    80: [floats(0), floats(NAN), floats(-0.7), floats(2)],
    108: [floats(v) for v in (0, 348, 352, 352.5, 356, NAN)],
    112: [floats(*v) for v in ((0, 5), (NAN, 5), (INF, 1), (2, 1), (1, NAN), (0.5, 0))],
    252: [shorts(*v) for v in ((0, 1), (1, 0), (2, 2), (0, 4), (1, 2))],
    256: [floats(0.1, 0.2, 0.3), floats(1, 1, 0), floats(NAN)],
    280: [floats(1.4, 0, 0, 5), floats(0, 0.5, 0, 9), floats(INF), floats(NAN)],
    300: [floats(9, 8), floats(-3)],
    344: [b"ni1\0", b"n+2\0", b"\0\0\0\0"],
}  # fmt: skip


@given(st.data())
def test_any_nifti_that_is_accepted_is_read_as_by_nibabel(
    nifti_path: Path, data: st.DataObject
) -> None:
    places = data.draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=3))
    changes = {at: data.draw(st.sampled_from(FIELDS[at])) for at in places}
    path = nifti(nifti_path, changes)
    if (accepted := image_of(path)) is None:
        return
    found, grid = accepted
    image: Any = nibabel.load(path)  # type: ignore[attr-defined]
    expected = np.asanyarray(image.dataobj).T
    np.testing.assert_array_equal(np.squeeze(found), np.squeeze(expected))
    if grid.ndim == 3:
        np.testing.assert_allclose(affine(grid), image.affine, atol=1e-5)


@pytest.fixture(scope="module")
def nifti_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel's, on what it mends
        yield tmp_path_factory.mktemp("nifti") / "a.nii"


@pytest.mark.parametrize("slope", [0, NAN, INF])
def test_no_slope_means_no_scaling(slope: float, tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", {112: floats(slope, 5)})
    np.testing.assert_array_equal(read(path), LABELS)


def test_scaled_labels(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii.gz")
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[112:120] = floats(2, 1)
    path.write_bytes(gzip.compress(bytes(content)))
    np.testing.assert_array_equal(read(path), 2 * LABELS + 1)


@pytest.mark.parametrize("offset", [0, 16, 348, 351, 352.5, -1, INF])
def test_voxels_cannot_begin_in_the_header(offset: float, tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", {108: floats(offset)})
    refused(path, "vox_offset")


def test_sform_of_other_voxels_than_pixdim(tmp_path: Path) -> None:
    """The sform is what places voxels; pixdim says the half here."""
    path = write_image(tmp_path / "a.nii", LABELS, spacing=(1, 1, 3))
    changes = {280: floats(2), 300: floats(2), 320: floats(6)}
    assert geometry(patched(path, changes)).spacing_mm == (6, 2, 2)


@pytest.mark.parametrize("size", [0, NAN, INF])
def test_voxels_without_size(size: float, tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", {80: floats(size)})
    np.testing.assert_allclose(geometry(path).spacing_mm[2], 0.7, rtol=1e-6)  # sform
    patched(path, {252: shorts(1, 0)})
    refused(path, "broken NIfTI header: voxels of ")


def test_infinite_sform(tmp_path: Path) -> None:
    """ITK never comes back from this one."""
    refused(nifti(tmp_path / "a.nii", {304: floats(INF)}), "geometry is not finite")


def test_first_pixdim_is_a_sign(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", {252: shorts(1, 0), 76: floats(-0.5)})
    refused(path, r"pixdim\[0\] is -0.5, not 1 or -1")


@pytest.mark.parametrize(("unit", "mm"), [(0, 0.7), (1, 700), (2, 0.7), (3, 0.0007)])
def test_units_of_nifti(unit: int, mm: float, tmp_path: Path) -> None:
    found = geometry(nifti(tmp_path / "a.nii", {123: bytes([unit])}))
    np.testing.assert_allclose(found.spacing_mm[2], mm, rtol=1e-6)
    np.testing.assert_allclose(found.origin_mm[2], mm / 0.7, rtol=1e-6)


def test_no_qform_and_no_sform(tmp_path: Path) -> None:
    """As ITK: the voxel size alone; nibabel mirrors an axis and centres the image."""
    found = geometry(nifti(tmp_path / "a.nii", {252: shorts(0, 0)}))
    np.testing.assert_allclose(found.spacing_mm, (2.5, 0.8, 0.7), rtol=1e-6)
    assert found.origin_mm == (0, 0, 0)
    assert found.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)


@pytest.mark.parametrize("order", "<>")
def test_nifti_2(order: str, tmp_path: Path) -> None:
    matrix = np.diag([-0.7, -0.8, 2.5, 1])
    matrix[:3, 3] = -1, 2, 3
    header = nibabel.Nifti2Header(endianness=order)
    image = nibabel.Nifti2Image(LABELS.T.astype(f"{order}i2"), matrix, header)
    for name in ("a.nii", "a.nii.gz"):
        nibabel.save(image, tmp_path / name)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(read(tmp_path / name), LABELS)
        np.testing.assert_allclose(affine(geometry(tmp_path / name)), matrix)


def test_analyze_does_not_say_which_side_is_left(tmp_path: Path) -> None:
    image = nibabel.AnalyzeImage(LABELS.T, np.eye(4))
    nibabel.save(image, tmp_path / "a.hdr")  # type: ignore[attr-defined]
    refused(tmp_path / "a.hdr", "an Analyze header does not say which side is left")


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal", "oblique"])
def test_slices_of_nifti(plane: str, tmp_path: Path) -> None:
    """A slice that is no axial one is where its file says, as a volume of one slice."""
    axes = {
        "axial": np.eye(3),
        "coronal": np.eye(3)[:, [0, 2, 1]],
        "sagittal": np.eye(3)[:, [1, 2, 0]],
        "oblique": OBLIQUE,
    }[plane]
    matrix = np.diag([0.7, 0.8, 2.5, 1.0])
    matrix[:3, :3] = axes @ matrix[:3, :3]
    matrix[:3, 3] = 4, 5, 6
    image = nibabel.Nifti1Image(LABELS[0].T, matrix)
    nibabel.save(image, tmp_path / "a.nii")  # type: ignore[attr-defined]
    found = geometry(tmp_path / "a.nii")
    if plane == "axial":
        assert (found.shape, found.origin_mm) == ((5, 6), (-5, -4))
        assert found.plane_mm == (6,)
        return
    np.testing.assert_array_equal(read(tmp_path / "a.nii"), LABELS[:1])
    np.testing.assert_allclose(affine(found), matrix, atol=1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_place_of_an_axial_slice(suffix: str, tmp_path: Path) -> None:
    """Two slices of one scan are not two maps of one slice."""
    grids = []
    for at, z in (("a", 0.0), ("b", 300.0)):
        matrix = np.diag([-0.7, -0.8, 3.0, 1.0])
        matrix[:3, 3] = 4, 5, z
        image = nibabel.Nifti1Image(LABELS[0].T, matrix)
        path = tmp_path / f"{at}{suffix}"
        nibabel.save(image, path)  # type: ignore[attr-defined]
        grids.append(geometry(path))
    assert grids[0].difference(grids[1]) == "plane_mm is (0.0,) and (300.0,)"
    assert Geometry.from_json(grids[1].to_json()) == grids[1]
    written = tmp_path / f"c{suffix}"
    write(written, LABELS[0], grids[1])
    assert geometry(written).plane_mm == (300,)
    found: Any = nibabel.load(written)  # type: ignore[attr-defined]
    assert found.affine[2, 3] == 300
    with pytest.raises(InputError, match="slices at"):
        resample_nearest(LABELS[0], grids[0], grids[1], outside=0)


def nrrd_header(**fields: str) -> bytes:
    defaults = {
        "type": "uint8", "dimension": "3", "sizes": "6 5 4", "encoding": "raw",
        "space": "left-posterior-superior",
        "space directions": "(0.7,0,0) (0,0.8,0) (0,0,2.5)", "space origin": "(1,2,3)",
    }  # fmt: skip
    texts = {name.replace("_", " "): text for name, text in fields.items()}
    lines = [f"{name}: {text}" for name, text in {**defaults, **texts}.items() if text]
    return "\n".join(["NRRD0005", *lines, "", ""]).encode()


def nrrd_file(path: Path, content: bytes = LABELS.tobytes(), **fields: str) -> Path:
    path.write_bytes(nrrd_header(**fields) + content)
    return path


NRRD_FIELDS = {
    "sizes": ["6 5 4", "5 6 4", "4 5 6", "6 5", "6 5 4 1", "0 5 4", "6 5 -4", "6² 5 4"],
    "type": ["uint8", "unsigned char", "int8", "short", "float", "block"],
    "space": ["right-anterior-superior", "left-anterior-superior", "", "unknown"],
    "space_directions": [
        "(0,1,0) (0.5,0,0) (0,0,3)", "(1,0,0) (0.2,1,0) (0,0,1)", "none (1,0) (0,1)",
        "(0,0,0) (0,1,0) (0,0,1)", "(nan,0,0) (0,1,0) (0,0,1)", "(1,0) (0,1)", "",
    ],
    "space_origin": ["(9,8,7)", "(nan,0,0)", "(1,2)", ""],
    "encoding": ["raw", "gzip", "bzip2", "ascii", "zrl"],
    "kinds": ["domain domain domain", "list domain domain", "domain domain"],
    "byte_skip": ["0", "1", "-1", "-2"],
    "line_skip": ["0", "1", "x"],
    "endian": ["little", "big"],
}  # fmt: skip


@given(st.data())
def test_any_nrrd_that_is_accepted_is_read_as_by_pynrrd(
    nifti_path: Path, data: st.DataObject
) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(NRRD_FIELDS)), max_size=3))
    fields = {name: data.draw(st.sampled_from(NRRD_FIELDS[name])) for name in names}
    if fields.get("encoding") in ("gzip", "bzip2") and fields.get("byte_skip") == "1":
        del fields["byte_skip"]  # counts unpacked bytes; pynrrd skips packed ones, too
    skips = int(fields.get("byte_skip", "0") in ("1", "-1"))
    content = b"\n" * skips + LABELS.tobytes()
    pack = {"gzip": gzip.compress, "bzip2": bz2.compress}.get(
        fields.get("encoding", "")
    )
    content = pack(content) if pack else content
    if fields.get("encoding") == "ascii":
        content = " ".join(map(str, LABELS.ravel().tolist())).encode()
    if fields.get("line_skip") == "1":
        content = b"a line\n" + content
    path = nrrd_file(nifti_path.with_suffix(".nrrd"), content, **fields)
    if (accepted := image_of(path)) is None:
        return
    found, grid = accepted
    expected, header = nrrd.read(str(path), index_order="C")
    np.testing.assert_array_equal(np.squeeze(found), np.squeeze(expected))
    vectors = header.get("space directions")
    if vectors is not None:
        space = header.get("space", "left-posterior-superior")
        signs = [-1 if space.startswith("right") else 1, -1 if "ant" in space else 1, 1]
        expected_axes = np.array(vectors) * signs
        axes = np.reshape(grid.direction, (3, 3)) * grid.spacing_mm
        np.testing.assert_allclose(axes[::-1, ::-1].T, expected_axes, atol=1e-12)
        origin = header.get("space origin", np.zeros(3)) * signs
        np.testing.assert_allclose(grid.origin_mm[::-1], origin)


def test_data_in_a_list_of_files(tmp_path: Path) -> None:
    path = nrrd_file(tmp_path / "a.nhdr", b"", data_file="LIST\na.raw\nb.raw")
    refused(path, "spread over several files")


def test_microns(tmp_path: Path) -> None:
    directions = "(300,0,0) (0,300,0) (0,0,300)"
    units = '"microns" "microns" "microns"'
    fields = {"space_directions": directions, "space_units": units}
    found = geometry(nrrd_file(tmp_path / "a.nrrd", **fields))
    np.testing.assert_allclose(found.spacing_mm, (0.3, 0.3, 0.3))
    np.testing.assert_allclose(found.origin_mm, (0.003, 0.002, 0.001))
    fields["space_units"] = '"furlong" "mm" "mm"'
    refused(nrrd_file(tmp_path / "a.nrrd", **fields), "its space units are")


def test_nrrd_without_directions(tmp_path: Path) -> None:
    """Cells begin half a voxel before their centre, as in ITK."""
    none = {"space": "", "space_directions": "", "space_origin": ""}
    more = {"spacings": "0.5 nan -2", "axis_mins": "5 nan 1"}
    found = geometry(nrrd_file(tmp_path / "a.nrrd", **none, **more))
    assert found.spacing_mm == (2, 1, 0.5)
    assert found.origin_mm == (2, 0, 5.25)
    assert found.direction == (-1, 0, 0, 0, 1, 0, 0, 0, 1)
    more = {"axis_mins": "0 0 0", "axis_maxs": "3 5 10"}
    refused(nrrd_file(tmp_path / "a.nrrd", **none, **more), "given by axis maxs only")
    none["space"] = "LPS"
    refused(nrrd_file(tmp_path / "a.nrrd", **none), "directions without a space")


@pytest.mark.parametrize("skip", [{"line_skip": "1"}, {"byte_skip": "3"}])
def test_flipped_bits_behind_a_skip(skip: dict[str, str], tmp_path: Path) -> None:
    """Every bit of a packed stream is under its checksum, wherever it begins."""
    line = b"hello\n" if "line_skip" in skip else b""
    packed = gzip.compress(b"xyz" * ("byte_skip" in skip) + LABELS.tobytes())
    path = tmp_path / "a.nrrd"
    nrrd_file(path, line + packed, encoding="gzip", **skip)
    np.testing.assert_array_equal(read(path), LABELS)
    for at in range(12, len(packed), 7):
        flipped = bytearray(packed)
        flipped[at] ^= 4
        nrrd_file(path, line + bytes(flipped), encoding="gzip", **skip)
        refused(path, "corrupt or truncated gzip data")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sizes: 6 5 4\n", "there twice"),
        ("what is this\n", "no field"),
        ("spaec origin: (0,0,0)\n", "no field"),
        ("spacings: 1 1 1\n", "it has spacings and space directions"),
    ],
)
def test_fields_that_nobody_knows(text: str, message: str, tmp_path: Path) -> None:
    path = nrrd_file(tmp_path / "a.nrrd")
    content = path.read_bytes().replace(b"type:", text.encode() + b"type:")
    path.write_bytes(content)
    refused(path, message)


META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = 6 5 4\n"
    "ElementType = MET_UCHAR\nElementSpacing = 1 2 3\nOffset = 4 5 6\n"
)


def meta_image(path: Path, more: str = "", content: bytes = LABELS.tobytes()) -> Path:
    path.write_bytes(f"{META}{more}ElementDataFile = LOCAL\n".encode() + content)
    return path


def test_distance_units(tmp_path: Path) -> None:
    found = geometry(meta_image(tmp_path / "a.mha", "DistanceUnits = um\n"))
    np.testing.assert_allclose(found.spacing_mm, (0.003, 0.002, 0.001))
    np.testing.assert_allclose(found.origin_mm, (0.006, 0.005, 0.004))


def test_last_bytes_of_a_meta_image(tmp_path: Path) -> None:
    last = "HeaderSize = -1\n"
    path = meta_image(tmp_path / "a.mha", last, b"anything" + LABELS.tobytes())
    np.testing.assert_array_equal(read(path), LABELS)
    refused(meta_image(path, last, LABELS.tobytes()[:-1]), "truncated: the header")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("BinaryData = False\n", "twice"),
        ("ElementToIntensityFunctionSlope = 2\n", "its header scales the voxels"),
        ("TransformMatrix = 1 0 0 0 1 0\n", "TransformMatrix is .*, not 9 numbers"),
        ("ElementSize = 1\nNDims\0 = 3\n", "no name"),
        ("HeaderSize = 5\n", "HeaderSize 5 is within it"),
        ("BinaryDataByteOrderMSB = 0\nElementByteOrderMSB = 1\n", "two byte orders"),
        ("HeaderSize = -1\nCompressedData = 1\n", "HeaderSize is -1, but the data"),
        ("Compr\u00e9ssed = 1\n", "no name"),
        ("CompressedDataSize = x\n", "CompressedDataSize is 'x'"),
        ("CompressedData = True\nCompressedDataSize = 7\n", "promises 7 packed bytes"),
    ],
)
def test_meta_images_that_are_refused(more: str, message: str, tmp_path: Path) -> None:
    refused(meta_image(tmp_path / "a.mha", more), message)


def test_text_in_a_meta_image(tmp_path: Path) -> None:
    path = meta_image(tmp_path / "a.mha")
    path.write_bytes(path.read_bytes().replace(b"Data = True", b"Data = False"))
    refused(path, "its voxels are text")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("compress", [True, False])
def test_bytes_that_nobody_promised(
    suffix: str, compress: bool, tmp_path: Path
) -> None:
    """A header of too small a type would otherwise read one voxel as two."""
    path = tmp_path / f"a{suffix}"
    writers = {
        ".nii": lambda content: nifti(path).write_bytes(
            nifti(path).read_bytes()[:352] + content
        ),
        ".nii.gz": lambda content: path.write_bytes(
            gzip.compress(nifti(tmp_path / "b.nii").read_bytes()[:352] + content)
        ),
        ".nrrd": lambda content: nrrd_file(
            path,
            gzip.compress(content) if compress else content,
            encoding="gzip" if compress else "raw",
        ),
        ".mha": lambda content: meta_image(
            path,
            f"CompressedData = {compress}\n",
            zlib.compress(content) if compress else content,
        ),
    }
    writers[suffix](LABELS.tobytes())
    np.testing.assert_array_equal(read(path), LABELS)
    writers[suffix](LABELS.astype("<u2").tobytes())
    refused(path, "promises 120 bytes of voxels, the file has ")


def test_bytes_behind_a_packed_stream(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii.gz")
    packed = path.read_bytes()
    for tail in (b"x", b"\0\0x", b"\x1f"):
        path.write_bytes(packed + tail)
        refused(path, "other bytes follow its end")


def test_bytes_behind_bzip2(tmp_path: Path) -> None:
    whole = bz2.compress(LABELS.tobytes()[:50]) + bz2.compress(LABELS.tobytes()[50:])
    path = nrrd_file(tmp_path / "a.nrrd", whole + b"\0\0", encoding="bzip2")
    np.testing.assert_array_equal(read(path), LABELS)
    nrrd_file(path, whole + b"x", encoding="bzip2")
    refused(path, "other bytes follow its end")


def test_promises_that_nothing_can_hold(tmp_path: Path) -> None:
    """Each is refused before a byte is allocated or unpacked."""
    huge = {"sizes": "100000 100000 100000"}
    nrrd_file(tmp_path / "a.nrrd", **huge)
    refused(
        tmp_path / "a.nrrd", "truncated: the header promises 1000000000000000 bytes"
    )
    packed = gzip.compress(LABELS.tobytes())
    nrrd_file(tmp_path / "a.nrrd", packed, encoding="gzip", **huge)
    refused(tmp_path / "a.nrrd", "packed bytes cannot hold")
    packed = bz2.compress(LABELS.tobytes())
    nrrd_file(tmp_path / "a.nrrd", packed, encoding="bzip2", **huge)
    refused(tmp_path / "a.nrrd", "bytes of voxels, and [0-9]+ are free in")
    nrrd_file(tmp_path / "a.nrrd", b"1 2 3", encoding="ascii", **huge)
    refused(tmp_path / "a.nrrd", "truncated")


def test_bomb_is_unpacked_to_its_promise_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """120 bytes of voxels are promised, and 64 MB are there."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    packed = gzip.compress(LABELS.tobytes() + bytes(2**26))
    nrrd_file(tmp_path / "a.nrrd", packed, encoding="gzip")
    refused(tmp_path / "a.nrrd", "promises 120 bytes of voxels, the file has more")
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["../other/b.raw", "/etc/hostname", "x/../../b.raw"])
@pytest.mark.parametrize("suffix", [".nhdr", ".mhd"])
def test_data_outside_of_the_headers_folder(
    name: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in" / "x").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.raw").write_bytes(LABELS.tobytes())
    (tmp_path / "b.raw").write_bytes(LABELS.tobytes())
    path = tmp_path / "in" / f"a{suffix}"
    if suffix == ".nhdr":
        nrrd_file(path, b"", data_file=name)
    else:
        path.write_text(f"{META}ElementDataFile = {name}\n")
    refused(path, f"its voxels are in '{name}', outside of its own folder")
    monkeypatch.setenv(OUTSIDE_DATA, "1")
    if "hostname" not in name:
        np.testing.assert_array_equal(read(path), LABELS)


def test_data_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "zero.raw").symlink_to("/dev/zero")
    path = nrrd_file(tmp_path / "a.nhdr", b"", data_file="zero.raw")
    refused(path, "the data file 'zero.raw' cannot be read: a device, not a file")
    nifti(tmp_path / "p.hdr")
    (tmp_path / "p.img").unlink()
    (tmp_path / "p.img").symlink_to("/dev/zero")
    refused(tmp_path / "p.hdr", "cannot be read: a device")


@pytest.mark.parametrize("suffix", [".NII", ".NII.GZ", ".HDR", ".NRRD", ".MHA", ".MHD"])
def test_suffixes_in_capitals(suffix: str, tmp_path: Path) -> None:
    path = write_image(tmp_path / f"a{suffix.lower()}", LABELS)
    np.testing.assert_array_equal(read(path.rename(tmp_path / f"a{suffix}")), LABELS)
