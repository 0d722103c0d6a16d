"""PNG files: pixels by value, and damage of every kind."""

import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from svls_cli.errors import InputError
from svls_cli.labels.geometry import Geometry
from svls_cli.labels.images import open_label_file, read_header, read_image
from tests.helpers.label_maps import blobs, grid, read, refused

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
LABELS = blobs((7, 9), 3)
# First row and column, and steps, of the passes of an interlaced image.
PASSES = [
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
    (1, 0, 2, 1),
]  # fmt: skip


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
    )


def packed_rows(pixels: npt.NDArray[np.uint16], bits: int) -> list[bytes]:
    if bits == 16:
        return [row.astype(">u2").tobytes() for row in pixels]
    single = np.unpackbits(pixels.astype(np.uint8)[..., np.newaxis], axis=2)
    flat = single[..., 8 - bits :].reshape(len(pixels), -1)
    return [row.tobytes() for row in np.packbits(flat, axis=1)]


def filtered(rows: Sequence[bytes], bits: int, kinds: Sequence[int]) -> bytes:
    """Rows, of each the difference to nothing, to the left or to the one above."""
    above, result, step = bytes(len(rows[0])), b"", max(bits // 8, 1)
    for row, kind in zip(rows, kinds, strict=False):
        other = [bytes(len(row)), bytes(step) + row[:-step], above][kind]
        pairs = zip(row, other, strict=False)
        result += bytes([kind, *((a - b) % 256 for a, b in pairs)])
        above = row
    return result


def png(
    path: Path,
    pixels: npt.NDArray[np.integer] = LABELS,
    bits: int = 8,
    colours: int = GREY,
    *,
    interlaced: bool = False,
    kinds: Sequence[int] = (0,) * 99,
    piece: int = 40,
    more: Sequence[tuple[bytes, bytes]] = (),
) -> Path:
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, interlaced)
    passes = [pixels[y::dy, x::dx] for y, x, dy, dx in PASSES]
    content = b"".join(
        filtered(packed_rows(part, bits), bits, kinds)
        for part in (passes if interlaced else [pixels])
        if part.size
    )
    data = zlib.compress(content)
    palette = bytes(range(256)) * 3 if colours == PALETTE else b""
    chunks = [
        chunk(b"IHDR", header),
        *(chunk(kind, each) for kind, each in more),
        *([chunk(b"PLTE", palette[: 3 * 2**bits])] if palette else []),
        *(chunk(b"IDAT", data[at : at + piece]) for at in range(0, len(data), piece)),
        chunk(b"IEND", b""),
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def geometry(path: Path) -> Geometry:
    return read_header(path).geometry


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("png") / "a.png"


@given(st.data())
def test_pixels_are_the_numbers_stored(path: Path, data: st.DataObject) -> None:
    kinds = [(GREY, bits) for bits in (1, 2, 4, 8, 16)]
    kinds += [(PALETTE, bits) for bits in (1, 2, 4, 8)]
    colours, bits = data.draw(st.sampled_from(kinds))
    shape = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    seed = data.draw(st.integers(0, 99))
    pixels = np.random.default_rng(seed).integers(0, 2**bits, shape)
    filters = data.draw(st.lists(st.integers(0, 2), min_size=20, max_size=20))
    interlaced, piece = (
        data.draw(st.booleans()),
        data.draw(st.sampled_from([1, 7, 999])),
    )
    png(path, pixels, bits, colours, interlaced=interlaced, kinds=filters, piece=piece)
    np.testing.assert_array_equal(read(path), pixels)
    assert geometry(path) == grid(shape)


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
def test_files_of_pillow(mode: str, tmp_path: Path) -> None:
    """Which chooses filters of its own, Paeth's among them."""
    pixels = np.random.default_rng(0).integers(0, 2, (40, 30)).cumsum(axis=1)
    if mode == "1":
        pixels = pixels % 2
    kind = {"1": bool, "I;16": np.uint16}.get(mode, np.uint8)
    image = Image.fromarray(pixels.astype(kind))
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png"), pixels)


def test_mask_of_one_bit_is_0_and_1(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    with open_label_file(tmp_path / "a.png") as file:
        assert file.distinct() == [0, 1]


@pytest.mark.parametrize(
    ("per_metre", "unit", "expected"),
    [
        ((10_000, 5_000), 1, (0.2, 0.1)),
        ((10_000, 5_000), 0, (1, 1)),
        ((0, 5_000), 1, (1, 1)),
        ((2835, 2835), 1, (1, 1)),  # 72 dots per inch
        ((3779, 3779), 1, (1, 1)),  # 96
        ((11811, 11811), 1, (1000 / 11811, 1000 / 11811)),  # 300: a scanned film
    ],
)
def test_spacing(
    per_metre: tuple[int, int], unit: int, expected: tuple[float, float], path: Path
) -> None:
    png(path, more=[(b"pHYs", struct.pack(">IIB", *per_metre, unit))])
    assert geometry(path).spacing_mm == expected


def test_transparency_and_texts_change_nothing(path: Path) -> None:
    text = b"Comment\0\0" + zlib.compress(bytes(10**7))  # more than Pillow takes
    png(path, LABELS, 8, PALETTE, more=[(b"zTXt", text), (b"tEXt", b"x")])
    content = path.read_bytes()
    at = content.index(b"IDAT") - 4
    path.write_bytes(content[:at] + chunk(b"tRNS", b"\0\xff\0") + content[at:])
    np.testing.assert_array_equal(read(path), LABELS)


@pytest.mark.parametrize(
    ("colours", "name"),
    [(RGB, "RGB"), (GREY_ALPHA, "grey with transp"), (RGB_ALPHA, "RGB with transp")],
)
def test_colours(colours: int, name: str, path: Path) -> None:
    png(path, colours=colours)
    refused(path, f"its pixels are {name}.*one number per pixel; save a label map as")


def test_palette_is_no_intensity(path: Path) -> None:
    png(path, colours=PALETTE)
    with pytest.raises(InputError, match="places in a table of colours"):
        read_image(path)
    png(path, LABELS.astype(np.uint16) * 999, 16)
    np.testing.assert_array_equal(read_image(path)[1], LABELS.astype(np.uint16) * 999)


def test_every_truncation_is_found(path: Path) -> None:
    content = png(path, more=[(b"pHYs", bytes(9))]).read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refused(path, "truncated|not a PNG file|the file is empty")


def test_every_flipped_bit_is_found(path: Path) -> None:
    content = png(path, more=[(b"pHYs", bytes(9))], piece=999).read_bytes()
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        refused(path, "corrupt|truncated|not a PNG file|broken PNG")


@pytest.mark.parametrize("rows", [0, 3, 6, 8])
def test_other_number_of_pixels(rows: int, path: Path) -> None:
    """With right checksums: only the rows are others."""
    content = png(path, piece=999).read_bytes()
    at = content.index(b"IDAT") - 4
    less = chunk(b"IDAT", zlib.compress(bytes(10 * rows)))
    path.write_bytes(content[:at] + less + content[-12:])
    refused(path, "corrupt or truncated PNG data")


def test_chunks_are_named(path: Path) -> None:
    content = png(path).read_bytes()
    path.write_bytes(content[:-1])
    refused(path, "corrupt or truncated PNG: it ends within IEND$")
    path.write_bytes(content[:-1] + b"x")
    refused(path, "corrupt PNG: the checksum of IEND is wrong$")


def test_sizes_are_not_believed(path: Path) -> None:
    content = bytearray(png(path).read_bytes())
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 16, GREY, 0, 0, 0)
    content[8:33] = chunk(b"IHDR", header)
    path.write_bytes(content)
    refused(path, "promises 2147483647 x 2147483647 pixels of 16 bits, which [0-9]+ ")


@pytest.mark.parametrize(
    "header",
    [(9, 7, 8, 0, 0, 0, 2), (9, 7, 8, 0, 1, 0, 0), (9, 7, 16, 3, 0, 0, 0),
     (9, 7, 3, 0, 0, 0, 0), (9, 7, 8, 5, 0, 0, 0), (0, 7, 8, 0, 0, 0, 0)],
)  # fmt: skip
def test_broken_headers(header: tuple[int, ...], path: Path) -> None:
    content = bytearray(png(path).read_bytes())
    content[8:33] = chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
    path.write_bytes(content)
    refused(path, "broken (PNG )?header")


def test_animation(path: Path) -> None:
    refused(png(path, more=[(b"acTL", bytes(8))]), "an animation")


def test_header_elsewhere(path: Path) -> None:
    content = png(path).read_bytes()
    path.write_bytes(content[:8] + chunk(b"tEXt", b"x") + content[8:])
    refused(path, "does not begin with a header")


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG"])
def test_jpeg_is_refused_by_name(name: str, tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / name)
    refused(tmp_path / name, "JPEG changes the values of pixels")


def test_other_files_named_png(path: Path) -> None:
    path.write_bytes(b"GIF89a")
    refused(path, "not a PNG file")


def test_without_pillow(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    png(path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    refused(path, r"PNG needs Pillow: pip install 'svls-cli\[images\]'")
