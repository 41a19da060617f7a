"""Bytes from outside become pages: pictures, scans and PDFs, whatever their name or declared type.

Nothing is decoded before its header was found small enough, pages are decoded one after another as they are asked for,
and every fault of a decoder comes out as ``ImageError`` or ``PdfError``.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from devices.errors import ImageError
from runtime.ocr.line import Line
from runtime.pdf import is_pdf, read_pdf

MAX_PIXELS = 64_000_000
MAX_SIDE = 65_535  # pixels, as many as a JPEG can have
# of all pages of a TIFF: 50 of A4 at 300 dpi have 435 million
MAX_DOCUMENT_PIXELS = 512_000_000
# Named one by one: others run foreign programs (EPS) or are read by decoders that few people test
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
# Pillow's own limit counts pixels and cannot name the size; MAX_PIXELS is lower and checked before decoding
Image.MAX_IMAGE_PIXELS = None
_DECODER_FAULTS = (OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError, OverflowError, struct.error)
_ORIENTATION_TAG = 0x0112
# what undoes each EXIF orientation (EXIF 2.3, 4.6.4 A), as (exchange rows and columns, flip rows, flip columns)
_UPRIGHT = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
# All decoding is Pillow's: OpenCV decodes JPEG as fast, but makes up what a damaged one lacks and says nothing.
# Pictures are converted in strips: Pillow keeps 4 bytes a pixel, and a copy of all of them for each step adds up
_STRIP_PIXELS = 1 << 20


@dataclass(frozen=True, eq=False)
class Page:
    """One page.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        lines: The text that a PDF carries for the page; None where it must be read from the picture.
        width: Of ``image``, in pixels.
        height: Of ``image``, in pixels.
        of: Pages that the whole document has, also those that are not read.
    """

    image: NDArray[np.uint8]
    lines: tuple[Line, ...] | None
    width: int
    height: int
    of: int


def load_image(data: bytes) -> NDArray[np.uint8]:
    """Decode a picture, upright and opaque; of an animation or a stack the first frame.

    Transparent parts become white behind dark content and black behind light content, so that text stays visible.

    Args:
        data: JPEG, PNG, WebP, TIFF, BMP or GIF.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        ImageError: Not a picture, truncated or damaged, more than 64 megapixels, or a side of more than 65,535 pixels.
    """
    return next(_frames(_opened(data), 1))


def load_pages(data: bytes, *, max_pages: int = 50, cut: bool = False) -> Iterator[Page]:
    """Decode a document: the pages of a PDF, those of a TIFF scan, or one picture. The bytes decide which.

    What the header tells is checked at once. Pages are decoded one after another as they are asked for, and the errors
    of their decoding come then.

    Args:
        data: A PDF, or what ``load_image`` reads.
        max_pages: Longer documents are refused.
        cut: Read the first ``max_pages`` of a longer document instead.

    Raises:
        PdfError: The PDF is damaged, wants a password, is empty, has too many pages, or takes too much to draw.
        ImageError: As ``load_image``; or a TIFF has too many pages, or too large ones.
    """
    if is_pdf(data):
        return (_page(image, lines, of) for image, lines, of in read_pdf(data, max_pages=max_pages, cut=cut))
    picture = _opened(data)
    count, of = _count(picture, max_pages, cut) if picture.format == "TIFF" else (1, 1)
    return (_page(image, None, of) for image in _frames(picture, count))


def _page(image: NDArray[np.uint8], lines: tuple[Line, ...] | None, of: int) -> Page:
    return Page(image=image, lines=lines, width=image.shape[1], height=image.shape[0], of=of)


def _opened(data: bytes) -> Image.Image:
    """A picture whose header was read and found small enough; its pixels were not touched."""
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        what = f"{len(data):,} bytes beginning with {data[:8]!r}" if data else "no bytes at all"
        raise ImageError(f"This is not a picture that can be read: {what}; {', '.join(_FORMATS)} can.") from error
    except _DECODER_FAULTS as error:
        raise ImageError(f"The picture's header is truncated or damaged: {error}.") from error
    _check_size(picture)
    return picture


def _check_size(picture: Image.Image) -> int:
    """The number of pixels, when it is one that may be decoded."""
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"The picture is {width:,} x {height:,} pixels; at most {MAX_PIXELS // 10**6} megapixels are read.",
            remedy="Save it smaller and send it again.",
        )
    if max(width, height) > MAX_SIDE:
        raise ImageError(
            f"The picture is {width:,} x {height:,} pixels; at most {MAX_SIDE:,} are read along a side.",
            remedy="Cut it into parts and send them.",
        )
    return width * height


def _count(picture: Image.Image, max_pages: int, cut: bool) -> tuple[int, int]:
    """How many pages of a TIFF to read, and of how many; elsewhere later frames are an animation."""
    try:
        of = int(getattr(picture, "n_frames", 1))
        if of > max_pages and not cut:
            raise ImageError(
                f"The scan has {of} pages; at most {max_pages} are read.", remedy="Split it and send the parts."
            )
        count = min(of, max_pages)
        pixels = 0
        for index in range(count):
            picture.seek(index)
            pixels += _check_size(picture)
        picture.seek(0)
    except _DECODER_FAULTS as error:
        raise ImageError(f"The picture is truncated or damaged: {error}.") from error
    if pixels > MAX_DOCUMENT_PIXELS:
        raise ImageError(
            f"The scan's {count} pages have {pixels // 10**6:,} megapixels together; at most "
            f"{MAX_DOCUMENT_PIXELS // 10**6} are read.",
            remedy="Scan it with 300 dpi or less, or split it and send the parts.",
        )
    return count, of


def _frames(picture: Image.Image, count: int) -> Iterator[NDArray[np.uint8]]:
    with picture:
        for index in range(count):
            try:
                if index:
                    picture.seek(index)
                picture.load()
                yield _upright(_opaque_bgr(picture), picture)
            except _DECODER_FAULTS as error:
                raise ImageError(f"The picture is truncated or damaged: {error}.") from error


def _upright(pixels: NDArray[np.uint8], picture: Image.Image) -> NDArray[np.uint8]:
    turn = _UPRIGHT.get(picture.getexif().get(_ORIENTATION_TAG, 1))
    if turn is None:
        return pixels
    exchange, flip_rows, flip_columns = turn
    if exchange:
        pixels = pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])


def _strips(picture: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """The picture cut across, and the rows of each piece."""
    width, height = picture.size
    rows = max(1, _STRIP_PIXELS // width)
    if rows >= height:
        yield slice(0, height), picture
        return
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        yield slice(top, bottom), picture.crop((0, top, width, bottom))


def _opaque_bgr(picture: Image.Image) -> NDArray[np.uint8]:
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    if picture.mode in {"I", "F"} or picture.mode.startswith("I;16"):
        top = max(float(_numbers(strip).max(initial=0)) for _, strip in _strips(picture))
        for rows, strip in _strips(picture):
            pixels[rows] = _eight_bits(_numbers(strip), top, fractions=picture.mode == "F")[:, :, np.newaxis]
        return pixels
    ground = _ground(picture) if picture.has_transparency_data else None
    for rows, strip in _strips(picture):
        opaque = strip.convert("RGB") if ground is None else _on_ground(strip, ground)
        cv2.cvtColor(np.asarray(opaque), cv2.COLOR_RGB2BGR, dst=pixels[rows])
    return pixels


def _numbers(strip: Image.Image) -> NDArray[np.float32]:
    return np.nan_to_num(np.asarray(strip).astype(np.float32), posinf=0, neginf=0)


def _eight_bits(values: NDArray[np.float32], top: float, *, fractions: bool) -> NDArray[np.uint8]:
    """Shrink 16-bit, 32-bit or float grey to 8 bits; what needs no more than 8 stays as it is.

    Args:
        values: (H, W).
        top: The picture's largest value.
        fractions: Whether values up to 1 mean white.
    """
    if top > 255:
        values = values * (255 / max(65535.0, top))
    elif 0 < top <= 1 and fractions:
        values = values * 255
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _ground(picture: Image.Image) -> tuple[int, int, int]:
    """White behind dark content, black behind light content."""
    visible = light = 0.0
    for _, strip in _strips(picture):
        strip = strip.convert("RGBA")
        opacity = np.asarray(strip.getchannel("A"), np.float32)
        visible += float(opacity.sum(dtype=np.float64))
        light += float((np.asarray(strip.convert("L"), np.float32) * opacity).sum(dtype=np.float64))
    return (0, 0, 0) if visible and light / visible >= 128 else (255, 255, 255)


def _on_ground(strip: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    strip = strip.convert("RGBA")
    ground = Image.new("RGB", strip.size, colour)
    ground.paste(strip.convert("RGB"), mask=strip.getchannel("A"))
    return ground
