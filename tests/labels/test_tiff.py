"""TIFF files: pages of every layout, their scale, and what is no volume."""

import struct
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from svls_cli.errors import InputError
from svls_cli.labels.images import open_image_file, read_header, read_image
from tests.helpers.label_maps import blobs, read, refused

LABELS = blobs((3, 7, 9), 3)
WHITE, BLACK, RGB, PALETTE = 0, 1, 2, 3
PLAIN, LZW, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 8, 32946, 32773
UNPREDICTED, DIFFERENCES, FLOAT_DIFFERENCES = 1, 2, 3


def packed(part: npt.NDArray[Any], bits: int, packing: int, predictor: int) -> bytes:
    """A strip or tile as bytes."""
    if bits < 8:
        single = np.unpackbits(part[..., np.newaxis].astype(np.uint8), axis=2)
        flat = single[..., 8 - bits :].reshape(len(part), -1)
        content = np.packbits(flat, axis=1).tobytes()
    else:
        size = part.dtype.itemsize
        if predictor == DIFFERENCES:
            whole = np.ascontiguousarray(part).view(part.dtype.str.replace("f", "u"))
            first = np.zeros((len(part), 1), whole.dtype)
            differences = np.diff(whole, axis=1, prepend=first)
            part = differences.astype(whole.dtype)
        if predictor == FLOAT_DIFFERENCES:
            big = part.astype(f">f{size}").view(np.uint8).reshape(*part.shape, size)
            planes = big.transpose(0, 2, 1).reshape(len(part), -1)
            part = np.diff(planes, axis=1, prepend=np.zeros((len(part), 1), np.uint8))
        content = part.tobytes()
    if packing in (DEFLATE, OLD_DEFLATE):
        return zlib.compress(content)
    if packing == PACKBITS:
        pieces = (content[at : at + 100] for at in range(0, len(content), 100))
        return b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)
    return content


def parts(
    page: npt.NDArray[Any], step: tuple[int, int], *, tiled: bool
) -> Iterator[npt.NDArray[Any]]:
    """Strips, or tiles, which are whole at the edges, too."""
    if tiled:
        page = np.pad(
            page, [(0, -m % n) for m, n in zip(page.shape, step, strict=True)]
        )
    for top in range(0, page.shape[0], step[0]):
        for left in range(0, page.shape[1], step[1]):
            yield page[top : top + step[0], left : left + step[1]]


def tiff(
    path: Path,
    pages: npt.NDArray[Any] | Sequence[npt.NDArray[Any]] = LABELS,
    *,
    bits: int = 0,
    order: str = "<",
    big: bool = False,
    packing: int = PLAIN,
    predictor: int = UNPREDICTED,
    rows: int = 999,
    tile: tuple[int, int] | None = None,
    text: str = "",
    resolution: tuple[float, float, int] | None = None,
    more: dict[int, int] | None = None,
) -> Path:
    """A TIFF file, its pixels before its tags; ``more`` are other tags or values."""
    word, count = (f"{order}{form}" for form in ("QQ" if big else "IH"))
    content = {"<": b"II", ">": b"MM"}[order]
    content += struct.pack(f"{order}H", 43 if big else 42)
    content += struct.pack(f"{order}HH", 8, 0) if big else b""
    link = len(content)  # where the place of the next page is written
    content += bytes(struct.calcsize(word))
    for page in pages:
        own, kind = bits or 8 * page.dtype.itemsize, "_uif".index(page.dtype.kind)
        page = page.astype(page.dtype.newbyteorder(order))
        step = tile or (min(rows, len(page)), page.shape[1])
        places = []
        for part in parts(page, step, tiled=tile is not None):
            data = packed(part, own, packing, predictor)
            places.append((len(content), len(data)))
            content += data
        offsets, counts = zip(*places, strict=True)
        tags = {
            256: [page.shape[1]], 257: [len(page)], 258: [own], 259: [packing],
            262: [BLACK], 277: [1], 317: [predictor], 339: [kind],
        }  # fmt: skip
        if tile:
            tags |= {322: [step[1]], 323: [step[0]], 324: offsets, 325: counts}
        else:
            tags |= {273: offsets, 278: [rows], 279: counts}
        tags |= {tag: [value] for tag, value in (more or {}).items()}
        entries = {tag: (4, np.array(n, f"{order}u4")) for tag, n in tags.items()}
        if text:
            entries[270] = 2, np.frombuffer(text.encode() + b"\0", np.uint8)
        if resolution:
            for tag, value in zip((282, 283), resolution, strict=False):
                entries[tag] = 5, np.array([round(value * 1000), 1000], f"{order}u4")
            entries[296] = 3, np.array(resolution[2:], f"{order}u2")
        content, directory = with_values(content, entries, order, word)
        behind = content[link + struct.calcsize(word) :]
        content = content[:link] + struct.pack(word, len(content)) + behind
        content += struct.pack(count, len(entries)) + directory
        link = len(content)
        content += bytes(struct.calcsize(word))
    path.write_bytes(content)
    return path


def with_values(
    content: bytes,
    entries: dict[int, tuple[int, npt.NDArray[Any]]],
    order: str,
    word: str,
) -> tuple[bytes, bytes]:
    """The file so far and the values that no entry has room for; and the entries."""
    written = b""
    for tag, (kind, values) in sorted(entries.items()):
        field, fraction = values.tobytes(), kind == 5
        if len(field) > struct.calcsize(word):
            content, field = content + field, struct.pack(word, len(content))
        written += struct.pack(f"{order}HH", tag, kind)
        written += struct.pack(word, len(values) // (2 if fraction else 1))
        written += field.ljust(struct.calcsize(word), b"\0")
    return content, written


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiff") / "a.tif"


def spacing(path: Path) -> tuple[float, ...]:
    return read_header(path).geometry.spacing_mm


@given(st.data())
def test_pixels_are_the_numbers_stored(path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["u1", "u2", "u4", "u8", "i1", "i2", "i4", "f4"]))
    dtype = np.dtype(kind)
    bits = data.draw(st.sampled_from([1, 2, 4, 8])) if kind == "u1" else 0
    highest = 2 ** (bits or min(8 * dtype.itemsize - 1, 20))
    predictors = [UNPREDICTED, *([DIFFERENCES] if bits in (0, 8) else [])]
    packing = data.draw(st.sampled_from([PLAIN, DEFLATE, OLD_DEFLATE, PACKBITS]))
    predictor = UNPREDICTED
    if packing in (DEFLATE, OLD_DEFLATE):
        predictor = data.draw(
            st.sampled_from(predictors + [FLOAT_DIFFERENCES] * (kind == "f4"))
        )
    shape = data.draw(st.tuples(*[st.integers(1, n) for n in (3, 20, 20)]))
    voxels = np.random.default_rng(data.draw(st.integers(0, 99))).integers(
        0, highest, shape
    )
    tiff(
        path,
        voxels.astype(dtype),
        bits=bits,
        order=data.draw(st.sampled_from("<>")),
        big=data.draw(st.booleans()),
        packing=packing,
        predictor=predictor,
        rows=data.draw(st.integers(1, 20)),
        tile=data.draw(st.sampled_from([None, (16, 16), (8, 32)])),
    )
    expected = voxels if shape[0] > 1 else voxels[0]
    with open_image_file(path) as file:
        found = file.read(slice(None))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == dtype
    assert file.geometry.shape == expected.shape


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "I", "F"])
def test_files_of_pillow(mode: str, compression: str | None, path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (40, 30))
    kind = {"1": "?", "I;16": "u2", "I": "i4", "F": "f4"}.get(mode, "u1")
    image = Image.fromarray(pixels.astype(kind))
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    predictor = {317: 2} if compression == "tiff_lzw" and mode != "1" else {}
    image.save(path, compression=compression, tiffinfo=predictor)
    np.testing.assert_array_equal(read(path), pixels)


@pytest.mark.parametrize("compressed", [False, True])
def test_volumes_of_itk(compressed: bool, path: Path) -> None:
    image = sitk.GetImageFromArray(LABELS.astype(np.uint16))
    image.SetSpacing((0.5, 0.25, 3))  # the last one has no place in the file
    sitk.WriteImage(image, str(path), useCompression=compressed)
    np.testing.assert_array_equal(read(path), LABELS)
    np.testing.assert_allclose(spacing(path), (1, 0.25, 0.5), rtol=1e-6)


def test_numbers_are_as_stored_where_0_is_white(path: Path) -> None:
    for bits in (1, 8):
        tiff(path, LABELS[:1] % 2, bits=bits, more={262: WHITE})
        np.testing.assert_array_equal(read(path), LABELS[0] % 2)


def test_palette(path: Path) -> None:
    tiff(path, more={262: PALETTE})
    np.testing.assert_array_equal(read(path), LABELS)
    with pytest.raises(InputError, match="places in a table of colours"):
        read_image(path)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_floats(kind: str, path: Path) -> None:
    np.testing.assert_array_equal(read(tiff(path, LABELS.astype(kind))), LABELS)
    refused(tiff(path, LABELS.astype(kind) / 2), "0.5 at voxel .* is not a label")


def test_negative_labels(path: Path) -> None:
    refused(tiff(path, LABELS.astype(np.int8) - 1), "-1 at voxel")


OME = '<?xml version="1.0"?><OME xmlns="x"><Image ID="0"><Pixels SizeX="9" {}/></OME>'
MICRONS = "ImageJ=1.54f\nimages=3\nslices=3\nunit={}\nspacing=2.5\nloop=false\n"


@pytest.mark.parametrize(
    ("text", "resolution", "expected"),
    [
        ("", None, (1, 1, 1)),
        ("", (10, 20, 1), (1, 1, 1)),  # no unit
        ("", (0, 20, 3), (1, 1, 1)),
        ("", (10, 20, 3), (1, 0.5, 1)),
        ("", (254, 508, 2), (1, 0.05, 0.1)),
        ("", (72, 72, 2), (1, 1, 1)),  # of screens
        ("", (96, 96, 2), (1, 1, 1)),
        (MICRONS.format("micron"), (5, 4, 1), (2.5e-3, 0.25e-3, 0.2e-3)),
        (MICRONS.format("\\u00B5m"), (5, 4, 1), (2.5e-3, 0.25e-3, 0.2e-3)),
        (MICRONS.format("mm"), (5, 4, 1), (2.5, 0.25, 0.2)),
        (MICRONS.format("mm").replace("2.5", "-2.5"), (5, 4, 1), (2.5, 0.25, 0.2)),
        (MICRONS.format("pixel"), (5, 4, 1), (1, 1, 1)),
        ("ImageJ=1.54f\nimages=3\nunit=mm\n", (5, 4, 1), (1, 0.25, 0.2)),
        (OME.format('SizeZ="3" PhysicalSizeX="2" PhysicalSizeY="4" PhysicalSizeZ="8"'),
         None, (8e-3, 4e-3, 2e-3)),
        (OME.format("SizeZ='3' PhysicalSizeX='2' PhysicalSizeXUnit='mm'"), None,
         (1, 1, 2)),
        (OME.format('SizeZ="3" PhysicalSizeX="2" PhysicalSizeXUnit="pixel"'), None,
         (1, 1, 1)),
        ('{"shape": [3, 7, 9]}', None, (1, 1, 1)),
        ('{"shape": [1, 3, 1, 7, 9]}', None, (1, 1, 1)),
    ],
)  # fmt: skip
def test_spacing(text: str, resolution: Any, expected: Any, path: Path) -> None:
    tiff(path, text=text, resolution=resolution)
    np.testing.assert_allclose(spacing(path), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OME.format('SizeZ="1" SizeC="3"'), "OME-TIFF of 3 channels and 1 times"),
        (OME.format('SizeZ="1" SizeC="1" SizeT="3"'), "of 1 channels and 3 times"),
        (OME.format('SizeZ="9"'), "OME-TIFF of 9 slices, and 3 pages are in this"),
        (OME.format('SizeZ="many"'), "broken header: SizeZ is 'many'"),
        (OME.format('SizeZ="3" PhysicalSizeX="x"'), "PhysicalSizeX is 'x'"),
        (OME.format('SizeZ="3" PhysicalSizeX="-1"'), "broken TIFF: voxels of "),
        (OME.format('SizeZ="3" PhysicalSizeX="nan"'), "its geometry is not finite"),
        (OME.format('SizeZ="3"') * 2, "OME-TIFF of 2 images"),
        ("ImageJ=1\nimages=3\nframes=3\n", "ImageJ TIFF of 1 channels and 3 times"),
        ("ImageJ=1\nimages=30\nslices=30\n", "ImageJ TIFF of 30 slices, and 3 pages"),
        ("ImageJ=1\nimages=3\nunit=mm\nspacing=x\n", "spacing is 'x'"),
        ('{"shape": [3, 2, 7, 9]}', "4-D, 3 x 2 x 7 x 9, in 3 pages"),
        ('{"shape": 3}', "its description is"),
    ],
)
def test_pages_that_are_no_slices(text: str, message: str, path: Path) -> None:
    refused(tiff(path, text=text), message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {262: RGB, 277: 3},
            "pixels are RGB: expected one number per pixel; save a",
        ),
        ({262: 6, 277: 3}, "pixels are YCbCr"),
        ({277: 2}, "pixels are 2 numbers each: expected one number"),
        ({254: 1}, "a thumbnail, a mask or the image in another size"),
        ({254: 4}, "a thumbnail, a mask"),
        ({274: 6}, "turned .Orientation 6, FillOrder 1.; save it upright"),
        ({266: 2}, "turned .Orientation 1, FillOrder 2"),
        ({259: 7}, "packed as JPEG; expected no compression, or deflate, LZW or Pack"),
        ({259: 50000}, "packed as Zstandard"),
        ({259: 99}, "packed as kind 99"),
        ({258: 12}, "pixels are whole numbers of 12 bits; expected 1 or 2 or 4 or 8"),
        ({339: 6}, "pixels are other numbers of 8 bits; expected whole numbers or fl"),
        ({256: 0}, "broken TIFF: .7, 0. pixels"),
        ({257: 9}, "truncated: its tags promise 81 bytes of pixels, which 63 bytes"),
        ({256: 60000, 257: 999}, "its tags promise 59940000 bytes of pixels"),
        ({278: 2}, "broken TIFF: its pixels are in 4 parts, but it names 1 offsets"),
        ({259: 5}, "corrupt or truncated TIFF data"),
        ({259: 8}, "corrupt or truncated TIFF data"),
    ],
)
def test_what_is_not_read(more: dict[int, int], message: str, path: Path) -> None:
    refused(tiff(path, more=more), message)


def test_predictor_of_no_such_pixels(path: Path) -> None:
    for predictor in (3, 9):
        tiff(path, packing=DEFLATE, more={317: predictor})
        refused(path, f"broken TIFF: Predictor {predictor} of 8-bit pixels")


@pytest.mark.parametrize("other", [LABELS[0, 1:], LABELS[0].astype(np.uint16)])
def test_pages_of_different_form(other: npt.NDArray[Any], path: Path) -> None:
    refused(tiff(path, [LABELS[0], other]), "its pages differ: 9 x 7 pixels of 8 bits")


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("packing", [PLAIN, DEFLATE])
def test_every_truncation_is_found(packing: int, big: bool, path: Path) -> None:
    content = tiff(path, packing=packing, big=big, rows=4).read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refused(path, "truncated|not a TIFF file|the file is empty|broken TIFF")


def test_damage_of_deflated_pixels(path: Path) -> None:
    content = tiff(path, LABELS[:1], packing=DEFLATE).read_bytes()
    for bit in range(8 * 8, 8 * (8 + len(packed(LABELS[0], 8, DEFLATE, 1)))):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with suppress(InputError):  # but for bits that only fill up the last byte
            np.testing.assert_array_equal(read(path), LABELS[0])


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, b"IM", "not a TIFF file"),
        (2, b"\x2a\x2a", "not a TIFF file"),
        (4, b"\0\0\0\0", "it has no page"),
        (4, b"\xff\xff\xff\xff", "ends within a page's tags"),
    ],
)
def test_broken_starts(place: int, value: bytes, message: str, path: Path) -> None:
    content = bytearray(tiff(path).read_bytes())
    content[place : place + len(value)] = value
    path.write_bytes(content)
    refused(path, message)


def test_pages_in_a_circle(path: Path) -> None:
    content = bytearray(tiff(path, LABELS[:1]).read_bytes())
    content[-4:] = content[4:8]
    path.write_bytes(content)
    refused(path, "its pages lead in a circle")


@given(st.data())
def test_damage_is_never_worse_than_an_error(path: Path, data: st.DataObject) -> None:
    packing = data.draw(st.sampled_from([PLAIN, DEFLATE, PACKBITS]))
    content = bytearray(tiff(path, packing=packing, rows=3).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with suppress(InputError):
        read(path)


def test_without_pillow(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    for packing in (PLAIN, DEFLATE):
        np.testing.assert_array_equal(read(tiff(path, packing=packing)), LABELS)
    refused(
        tiff(path, packing=PACKBITS), r"TIFF needs Pillow: pip install 'svls-cli\[imag"
    )
