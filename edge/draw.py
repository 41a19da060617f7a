"""What was read, drawn: the page with its boxes, and beside it the text at the same places."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from runtime.ocr.line import Box, Line

_LONGEST_SIDE = 2200  # pixels of the page in the drawing; an A4 page at 180 dpi stays as it is
_FIELD = (36, 92, 214)  # RGB
_CONFIDENT, _DOUBTFUL, _POOR = (22, 132, 60), (214, 130, 0), (204, 30, 40)
_FULL_SIZE = 64  # the font's size before a line is fitted to its box; larger ones only cost time


def draw_lines(
    image: NDArray[np.uint8], lines: Sequence[Line], font: bytes | Path, fields: Mapping[str, Box] | None = None
) -> bytes:
    """Draw the boxes over a page, and the read text on a white page of the same size beside it.

    Colours tell the confidence: green from 0.9 on, orange from 0.7, red below. The boxes of ``fields`` are filled with
    blue. Large pages are drawn smaller.

    Args:
        image: (H, W, 3) uint8, BGR.
        lines: What was read on it.
        font: A TrueType or OpenType font with the characters of the lines.
        fields: Boxes of the fields that stand on the page.

    Returns:
        A PNG, twice as wide as the page.

    Raises:
        OSError: The font cannot be read.
    """
    scale = min(1.0, _LONGEST_SIDE / max(image.shape[:2]))
    if scale < 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = image.shape[:2]
    source = io.BytesIO(font) if isinstance(font, bytes) else str(font)
    # characters are set one by one, so nothing needs shaping, and the shaper fails on some that OCR may invent
    face = ImageFont.truetype(source, _FULL_SIZE, layout_engine=ImageFont.Layout.BASIC)

    picture = np.ascontiguousarray(image[:, :, ::-1])  # (H, W, 3) RGB
    page = np.full((height, width, 3), 255, np.uint8)
    for side in (picture, page):
        _fill(side, [_corners(box, scale) for box in (fields or {}).values()])
    thickness = max(1, round(max(height, width) / 900))
    for line in lines:
        corners, colour = _corners(line.box, scale), _colour(line.confidence)
        outline = [np.rint(corners).astype(np.int32)]
        cv2.polylines(picture, outline, isClosed=True, color=colour, thickness=thickness, lineType=cv2.LINE_AA)
        pale = tuple(255 - (255 - channel) // 3 for channel in colour)
        cv2.polylines(page, outline, isClosed=True, color=pale, thickness=1, lineType=cv2.LINE_AA)
        _write(page, line.text, corners, colour, face)

    out = io.BytesIO()
    Image.fromarray(np.hstack([picture, page])).save(out, "PNG")
    return out.getvalue()


def _colour(confidence: float) -> tuple[int, int, int]:
    return _CONFIDENT if confidence >= 0.9 else _DOUBTFUL if confidence >= 0.7 else _POOR


def _corners(box: Box, scale: float) -> NDArray[np.float32]:
    return np.asarray(box, np.float32) * np.float32(scale)  # (4, 2)


def _fill(page: NDArray[np.uint8], boxes: Sequence[NDArray[np.float32]]) -> None:
    """Tint the boxes, in place."""
    for corners in boxes:
        filled = page.copy()
        cv2.fillPoly(filled, [np.rint(corners).astype(np.int32)], _FIELD)
        cv2.addWeighted(page, 0.7, filled, 0.3, 0, dst=page)


def _write(
    page: NDArray[np.uint8],
    text: str,
    corners: NDArray[np.float32],
    colour: tuple[int, int, int],
    face: ImageFont.FreeTypeFont,
) -> None:
    """Write ``text`` so that it fills the box whose corners are given clockwise from where the text begins."""
    text = "".join(character for character in text if character.isprintable())
    natural = face.getlength(text)
    if natural <= 0:
        return
    # written large with the box's proportions, then turned and shrunk into it: characters stand apart where the box
    # is long, and the whole is squeezed where it is short
    height = round(1.1 * _FULL_SIZE)  # what Chinese characters take; the font's own line height is half as much again
    along, across = (float(np.hypot(*(corners[end] - corners[0]))) for end in (1, 3))
    stretched = min(along * height / max(across, 1.0), 20 * natural)
    gap = max(0.0, stretched - natural) / max(1, len(text) - 1)
    width = round(max(natural, stretched)) + 1
    ink = Image.new("L", (width, height), 0)
    pen, position = ImageDraw.Draw(ink), 0.0
    for character in text:
        pen.text((position, height / 2), character, font=face, fill=255, anchor="lm")
        position += face.getlength(character) + gap

    x0, y0, x1, y1 = _bounds(corners, page)
    if x1 <= x0 or y1 <= y0:
        return
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, (corners - (x0, y0)).astype(np.float32))
    mask = cv2.warpPerspective(np.asarray(ink), matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_AREA)
    share_of_ink = mask[:, :, None].astype(np.float32) / 255  # (h, w, 1)
    part = page[y0:y1, x0:x1]
    part[:] = (part * (1 - share_of_ink) + np.array(colour, np.float32) * share_of_ink).astype(np.uint8)


def _bounds(corners: NDArray[np.float32], page: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """The upright rectangle around the corners, cut at the page: left, top, right, bottom."""
    height, width = page.shape[:2]
    x0, y0 = np.floor(corners.min(axis=0)).astype(int)
    x1, y1 = np.ceil(corners.max(axis=0)).astype(int) + 1
    return max(0, int(x0)), max(0, int(y0)), min(width, int(x1)), min(height, int(y1))
