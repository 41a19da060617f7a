"""Whatever bytes arrive, the answer is a picture or an error that says why not."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from devices.errors import ImageError
from runtime.images import MAX_PIXELS, load_image, load_pages

# Pillow warns of what it then raises as an error, or repairs
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

RED, WHITE, BLACK = (0, 0, 255), (255, 255, 255), (0, 0, 0)  # BGR


def encoded(picture: Image.Image, format_: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format_, **options)
    return stream.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    shape = (size[1], size[0], channels)[: 3 if channels > 1 else 2]
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, shape, np.uint8), mode)


def png_header(width: int, height: int) -> bytes:
    """A PNG of that size by its header, with a byte of pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format_", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG"])
def test_every_accepted_format_comes_out_as_bgr(format_):
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(format_, {})
    image = load_image(encoded(Image.new("RGB", (24, 10), (255, 0, 0)), format_, **options))
    assert image.shape == (10, 24, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - RED).max() <= 2


@pytest.mark.parametrize(
    "data", [b"", b"not a picture", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\x89PNG"]
)
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(ImageError, match="not a picture"):
        load_image(data)


def test_a_bomb_is_refused_by_its_header_naming_its_size():
    with pytest.raises(ImageError, match="40,000 x 40,000 pixels; at most 64 megapixels"):
        load_image(png_header(40_000, 40_000))


def test_the_limit_itself_is_no_bomb():
    with pytest.raises(ImageError, match="truncated"):  # it passed the size check and fails for lack of pixels
        load_image(png_header(8_000, MAX_PIXELS // 8_000))
    with pytest.raises(ImageError, match="megapixels"):
        load_image(png_header(8_000, MAX_PIXELS // 8_000 + 1))


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "BMP", "WEBP", "TIFF"])
def test_half_a_file_is_refused_as_truncated(format_):
    data = encoded(noise(size=(200, 150)), format_)
    with pytest.raises(ImageError, match="truncated"):
        load_image(data[: len(data) // 2])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]), st.data())
def test_a_damaged_file_gives_a_picture_or_an_image_error(format_, data):
    whole = bytearray(encoded(noise(), format_))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = load_image(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    except ImageError:
        return
    assert image.ndim == 3
    assert image.dtype == np.uint8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_comes_out_upright_whatever_its_exif_says(orientation):
    upright = np.zeros((20, 40, 3), np.uint8)
    upright[:10, :20] = 255  # white in the upper left quarter only
    # how the sensor must have seen it, for a viewer that follows the tag to see the upright one (EXIF 2.3, 4.6.4 A)
    seen = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load_image(encoded(Image.fromarray(np.ascontiguousarray(seen)), "JPEG", quality=95, exif=exif))
    assert image.shape == (20, 40, 3)
    assert image[2:8, 2:18].min() > 200
    assert image[12:, :].max() < 60
    assert image[:, 22:].max() < 60


@pytest.mark.parametrize(("ink", "ground"), [((10, 10, 10), WHITE), ((240, 240, 240), BLACK)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_contrast_with_what_is_visible(ink, ground, mode):
    picture = Image.new("RGBA", (30, 20), (*ink, 0))
    picture.paste((*ink, 255), (5, 5, 15, 15))
    image = load_image(encoded(picture.convert(mode), "PNG"))
    assert np.abs(image[10, 10].astype(int) - ink[0]).max() <= 2
    assert tuple(image[1, 1]) == ground


def test_a_fully_transparent_picture_is_an_empty_page():
    assert load_image(encoded(Image.new("RGBA", (9, 9), (0, 0, 0, 0)), "PNG")).min() == 255


def test_cmyk_keeps_its_colours():
    image = load_image(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    blue, green, red = image[8, 8].astype(int)
    assert red > 200
    assert max(blue, green) < 60


def test_sixteen_bits_are_shrunk_to_eight_not_cut():
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (4, 1))
    image = load_image(encoded(Image.fromarray(ramp), "PNG"))
    assert image.shape == (4, 64, 3)
    assert image[0, 0, 0] == 0
    assert image[0, -1, 0] == 255
    assert abs(int(image[0, 32, 0]) - 130) <= 2


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_black_and_white_grey_and_palette_become_three_channels(mode):
    picture = Image.new("L", (12, 8), 255)
    picture.paste(0, (0, 0, 6, 8))
    image = load_image(encoded(picture.convert(mode), "PNG"))
    assert tuple(image[4, 2]) == BLACK
    assert tuple(image[4, 9]) == WHITE


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (10, 10), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert tuple(load_image(data)[5, 5]) == RED
    assert len(list(load_pages(data))) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_the_thinnest_pictures_load(size):
    assert load_image(encoded(Image.new("RGB", size, "white"), "PNG")).shape == (size[1], size[0], 3)


def test_a_scan_of_several_pages_loses_none():
    pages = [Image.new("L", (20, 10 + each), 200) for each in range(3)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert [(page.width, page.height, page.lines) for page in load_pages(data)] == [
        (20, 10, None),
        (20, 11, None),
        (20, 12, None),
    ]
    with pytest.raises(ImageError, match="3 pages; at most 2"):
        load_pages(data, max_pages=2)


def test_damaged_exif_does_not_cost_the_picture():
    data = encoded(noise(), "JPEG", exif=b"Exif\0\0neither II nor MM")
    assert load_image(data).shape == (30, 40, 3)


def test_a_longer_side_than_any_decoder_is_asked_for_is_refused():
    assert load_image(encoded(Image.new("L", (65_535, 2), 255), "PNG")).shape == (2, 65_535, 3)
    with pytest.raises(ImageError, match="65,536 x 2 pixels; at most 65,535"):
        load_image(encoded(Image.new("L", (65_536, 2), 255), "PNG"))


def test_a_stack_of_large_pages_is_refused_before_the_first_is_decoded():
    pages = [Image.new("1", (6_000, 6_000), 1)] * 15
    data = encoded(pages[0], "TIFF", compression="group4", save_all=True, append_images=pages[1:])
    with pytest.raises(ImageError, match="15 pages have 540 megapixels together; at most 512"):
        load_pages(data)


def test_pages_are_decoded_as_they_are_asked_for():
    pages = [Image.new("L", (20, 10), 200)] * 2
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    second = data.rindex(bytes([200] * 100))
    damaged = load_pages(data[:second] + data[second + 150 :])
    assert next(damaged).width == 20
    with pytest.raises(ImageError, match="truncated or damaged"):
        next(damaged)


def test_a_jpeg_with_something_behind_its_end_is_read_and_one_cut_short_is_not():
    data = encoded(noise(size=(300, 200)), "JPEG")
    assert np.array_equal(load_image(data + b"behind"), load_image(data))
    with pytest.raises(ImageError, match="truncated"):
        load_image(data[:-300])


def test_a_jpeg_of_printers_colours_as_photoshop_writes_it_keeps_them():
    # Photoshop's YCCK: cyan, magenta and yellow stored as a colour JPEG stores red, green and blue, all four inverted
    # (Adobe TN 5116). Pillow inverts too when it writes, so the three are inverted here to be written as they are.
    cyan = [Image.eval(band, lambda value: 255 - value) for band in Image.new("YCbCr", (16, 16), (76, 85, 255)).split()]
    data = bytearray(encoded(Image.merge("CMYK", [*cyan, Image.new("L", (16, 16), 0)]), "JPEG", quality=95))
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    data[transform] = 2
    assert np.abs(load_image(bytes(data))[8, 8].astype(int) - (255, 255, 0)).max() <= 3  # BGR


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK", "1", "I;16", "I", "F"])
def test_a_picture_converted_in_strips_is_the_same_picture(mode, monkeypatch):
    if mode in {"I;16", "I", "F"}:
        values = np.random.default_rng(1).integers(0, 60_000, (90, 70))
        picture = Image.fromarray(values.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    else:
        picture = noise("RGBA", (70, 90)).convert(mode)
    data = encoded(picture, "TIFF" if mode in {"CMYK", "F", "I"} else "PNG")
    whole = load_image(data)
    monkeypatch.setattr("runtime.images._STRIP_PIXELS", 1000)
    assert np.array_equal(load_image(data), whole)
