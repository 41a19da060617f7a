"""Bytes from outside become pages: pictures, scans and PDFs, whatever their name or declared type.

Nothing is decoded before its header was found small enough, and every fault of a decoder comes out as ``ImageError``
or ``PdfError``.
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
# Named one by one: others run foreign programs (EPS) or are read by decoders that few people test
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
# Pillow's own limit counts pixels and cannot name the size; MAX_PIXELS is lower and checked before decoding
Image.MAX_IMAGE_PIXELS = None
_DECODER_FAULTS = (OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError, OverflowError, struct.error)
_ORIENTATION_TAG = 0x0112
# what undoes each EXIF orientation (EXIF 2.3, 4.6.4 A)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, eq=False)
class Page:
    """One page.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        lines: The text that a PDF carries for the page; None where it must be read from the picture.
        width: Of ``image``, in pixels.
        height: Of ``image``, in pixels.
    """

    image: NDArray[np.uint8]
    lines: tuple[Line, ...] | None
    width: int
    height: int


def load_image(data: bytes) -> NDArray[np.uint8]:
    """Decode a picture, upright and opaque; of an animation or a stack the first frame.

    Transparent parts become white behind dark content and black behind light content, so that text stays visible.

    Args:
        data: JPEG, PNG, WebP, TIFF, BMP or GIF.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        ImageError: Not a picture, truncated or damaged, or more than 64 megapixels.
    """
    return next(_frames(data, 1))


def load_pages(data: bytes, *, max_pages: int = 50) -> tuple[Page, ...]:
    """Decode a document: the pages of a PDF, those of a TIFF scan, or one picture. The bytes decide which.

    Args:
        data: A PDF, or what ``load_image`` reads.
        max_pages: Longer documents are refused.

    Raises:
        PdfError: The PDF is damaged, wants a password, is empty, or has too many pages.
        ImageError: As ``load_image``, or a TIFF has too many pages.
    """
    if is_pdf(data):
        return tuple(_page(image, lines) for image, lines in read_pdf(data, max_pages=max_pages))
    return tuple(_page(image, None) for image in _frames(data, max_pages))


def _page(image: NDArray[np.uint8], lines: tuple[Line, ...] | None) -> Page:
    return Page(image=image, lines=lines, width=image.shape[1], height=image.shape[0])


def _frames(data: bytes, wanted: int) -> Iterator[NDArray[np.uint8]]:
    """Decode frames one after another; only TIFF is a stack of pages, elsewhere later frames are an animation."""
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:
        what = f"{len(data):,} bytes beginning with {data[:8]!r}" if data else "no bytes at all"
        raise ImageError(f"This is not a picture that can be read: {what}; {', '.join(_FORMATS)} can.") from error
    except _DECODER_FAULTS as error:
        raise ImageError(f"The picture's header is truncated or damaged: {error}.") from error
    with picture:
        try:
            count = getattr(picture, "n_frames", 1) if wanted > 1 and picture.format == "TIFF" else 1
        except _DECODER_FAULTS as error:
            raise ImageError(f"The picture is truncated or damaged: {error}.") from error
        if count > wanted:
            raise ImageError(
                f"The scan has {count} pages; at most {wanted} are read.", remedy="Split it and send the parts."
            )
        for index in range(count):
            try:
                if index:
                    picture.seek(index)
                _check_size(picture)
                picture.load()
                yield _opaque_bgr(_upright(picture))
            except _DECODER_FAULTS as error:
                raise ImageError(f"The picture is truncated or damaged: {error}.") from error


def _check_size(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"The picture is {width:,} x {height:,} pixels; at most {MAX_PIXELS // 10**6} megapixels are read.",
            remedy="Save it smaller and send it again.",
        )


def _upright(picture: Image.Image) -> Image.Image:
    turn = _UPRIGHT.get(picture.getexif().get(_ORIENTATION_TAG, 1))
    return picture.transpose(turn) if turn is not None else picture


def _opaque_bgr(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode in {"I", "F"} or picture.mode.startswith("I;16"):
        grey = _eight_bits(np.asarray(picture))
        return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
    if picture.has_transparency_data:
        picture = _on_ground(picture.convert("RGBA"))
    return np.asarray(cv2.cvtColor(np.asarray(picture.convert("RGB")), cv2.COLOR_RGB2BGR), np.uint8)


def _eight_bits(grey: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Shrink 16-bit, 32-bit or float grey to 8 bits; what needs no more than 8 stays as it is."""
    values = np.nan_to_num(grey.astype(np.float32), posinf=0, neginf=0)
    top = float(values.max(initial=0))
    if top > 255:
        values = values * (255 / max(65535.0, top))
    elif 0 < top <= 1 and grey.dtype.kind == "f":
        values = values * 255
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _on_ground(picture: Image.Image) -> Image.Image:
    alpha = picture.getchannel("A")
    opacity = np.asarray(alpha, np.float32)
    visible = float(opacity.sum())
    luminance = float((np.asarray(picture.convert("L"), np.float32) * opacity).sum()) / visible if visible else 0.0
    ground = Image.new("RGB", picture.size, (255, 255, 255) if luminance < 128 else (0, 0, 0))
    ground.paste(picture.convert("RGB"), mask=alpha)
    return ground
